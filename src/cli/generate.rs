//! `narae generate`: text or ids that follow a prompt. In: an image, an ONNX decoder (compiled on the fly) or a folder with `model.onnx`
//! and `tokenizer.json`. Out: the text as it comes, on standard output; speed, on standard error.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use narae::language::LanguageModel;
use narae::npz;
use narae::sampling::Sampler;
use narae::session::Session;
use narae::tokenizer::{TextStream, Tokenizer};
use narae_compiler::compile::KvCache;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::options::CompileOptions;
use super::run::is_model;
use super::{Outcome, Voice, output};

/// Ids of one call of `prefill` when a model is compiled on the fly.
const CHUNK: i64 = 64;

/// What writes, what it continues, how it chooses.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image (.narae), a decoder (.onnx), or a folder with model.onnx and tokenizer.json
    model: PathBuf,
    /// The text to continue
    #[arg(long, value_name = "TEXT", required_unless_present = "ids")]
    prompt: Option<String>,
    /// Ids to continue instead of text (.npy)
    #[arg(long, value_name = "NPY", conflicts_with = "prompt")]
    ids: Option<PathBuf>,
    /// The tokenizer [default: tokenizer.json beside the model]
    #[arg(long, value_name = "JSON")]
    tokenizer: Option<PathBuf>,
    /// How many tokens to write at most
    #[arg(short, default_value_t = 100, value_name = "N")]
    n: usize,
    /// 0 takes the likeliest token; above, tokens are drawn from softmax(logits / T)
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    temperature: f64,
    /// Determines what is drawn
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Print ids, one a line, instead of text
    #[arg(long)]
    emit_ids: bool,
    /// Do not stop at the end-of-text token
    #[arg(long)]
    ignore_end: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Generates.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    if !(arguments.temperature >= 0.0 && arguments.temperature.is_finite()) {
        return Err(super::wrong_option("--temperature", &arguments.temperature.to_string(), &"a number of 0 or more"));
    }
    let model = if arguments.model.is_dir() { arguments.model.join("model.onnx") } else { arguments.model.clone() };
    let tokenizer = tokenizer(&arguments, &model)?;
    let prompt = prompt(&arguments, tokenizer.as_ref())?;
    let start = Instant::now();
    let mut language = LanguageModel::new(session(&arguments, &model, prompt.len(), voice)?)?;
    voice.detail(format_args!("ready after {:.2} s", start.elapsed().as_secs_f64()));
    write_on(&arguments, &mut language, &prompt, tokenizer.as_ref(), voice)
}

/// The tokenizer, where text is read or written.
fn tokenizer(arguments: &Arguments, model: &Path) -> Result<Option<Tokenizer>, Diagnostics> {
    if arguments.ids.is_some() && arguments.emit_ids {
        return Ok(None);
    }
    let beside = || model.parent().unwrap_or(Path::new(".")).join("tokenizer.json");
    Tokenizer::open(&arguments.tokenizer.clone().unwrap_or_else(beside)).map(Some)
}

fn prompt(arguments: &Arguments, tokenizer: Option<&Tokenizer>) -> Result<Vec<i64>, Diagnostics> {
    let ids = match (&arguments.ids, &arguments.prompt, tokenizer) {
        (Some(path), _, _) => npz::read_array(path)?.to_i64_vec(),
        (None, Some(text), Some(tokenizer)) => tokenizer.encode(text)?,
        (None, _, _) => Vec::new(),
    };
    if ids.is_empty() {
        return Err(Diagnostic::new(&codes::E0801, "the prompt has no tokens").help("give at least one token").into());
    }
    Ok(ids)
}

fn session(arguments: &Arguments, model: &Path, prompt: usize, voice: Voice) -> Result<Session, Diagnostics> {
    if !is_model(model) {
        let session = Session::open(model)?;
        if let Some(chip) = arguments.compile.asked_chip()? {
            session.image().check_chip(&chip)?;
        }
        return Ok(session);
    }
    let mut options = arguments.compile.resolve(model, KvCache::State)?;
    // What this one text needs: bounds cost memory, so they are no larger.
    let maxima = &mut options.maxima;
    maxima.batch = maxima.batch.or(Some(1));
    maxima.sequence = maxima.sequence.or(Some(CHUNK.min(prompt as i64)));
    maxima.past = maxima.past.or(Some((prompt + arguments.n) as i64));
    let mut watcher = arguments.compile.watch.watcher(voice, None)?;
    Ok(Session::compile_observed(model, &options, &mut watcher)?.0)
}

fn write_on(
    arguments: &Arguments,
    language: &mut LanguageModel,
    prompt: &[i64],
    tokenizer: Option<&Tokenizer>,
    voice: Voice,
) -> Outcome {
    let text = tokenizer.filter(|_| !arguments.emit_ids);
    let mut stream = text.map(|tokenizer| TextStream::after(tokenizer, prompt));
    let end_ids = tokenizer.filter(|_| !arguments.ignore_end).map(Tokenizer::end_ids).unwrap_or_default();
    let mut sampler = Sampler::new(arguments.temperature, arguments.seed);
    if let (Some(_), Some(prompt)) = (text, &arguments.prompt) {
        output::to_stdout(prompt.as_bytes())?;
    }
    let start = Instant::now();
    let mut logits = language.feed(prompt)?;
    let (prefill, mut written) = (start.elapsed(), 0);
    let (start, mut timing, mut timed) = (Instant::now(), Duration::ZERO, None);
    while written < arguments.n {
        let Some(next) = sampler.next(&logits).map(|index| index as i64) else { break };
        if end_ids.contains(&next) {
            break;
        }
        written += 1;
        match (&mut stream, text) {
            (Some(stream), Some(tokenizer)) => output::to_stdout(stream.push(tokenizer, next).as_bytes())?,
            _ => output::to_stdout(format!("{next}\n").as_bytes())?,
        }
        // The last token is timed on the chip: the one with the longest past.
        match arguments.n - written {
            0 => {}
            1 => {
                let before = Instant::now();
                let (row, report) = language.feed_timed(next)?;
                timing += before.elapsed();
                (logits, timed) = (row, Some(report));
            }
            _ => logits = language.feed(&[next])?,
        }
    }
    if stream.is_some() {
        output::to_stdout(b"\n")?;
    }
    let calls = written.saturating_sub(1 + usize::from(timed.is_some()));
    if let Some(report) = timed {
        voice.say(format_args!(
            "simulated {}: {:.1} tokens/s at position {} ({} cycles, {:.1} % of LPDDR bandwidth, {:.3} mJ per token)",
            report.chip,
            report.tokens_per_s,
            language.position(),
            report.cycles,
            100.0 * report.dram_utilization,
            1e3 * report.joules_per_token,
        ));
    }
    voice.say(format_args!(
        "host: {} prompt tokens in {:.3} s, then {:.1} tokens/s",
        prompt.len(),
        prefill.as_secs_f64(),
        calls as f64 / (start.elapsed() - timing).as_secs_f64().max(1e-9),
    ));
    Ok(())
}
