//! `narae generate`: text or ids that follow a prompt. In: an image, an ONNX decoder (compiled on the fly) or a folder with `model.onnx`
//! and `tokenizer.json`. Out: the text as it comes, on standard output; speed, on standard error.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use narae::language::LanguageModel;
use narae::npz;
use narae::sampling::Sampler;
use narae::session::Session;
use narae::tokenizer::{TextStream, Tokenizer};
use narae_compiler::compile::KvCache;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::options::CompileOptions;
use super::progress::Progress;
use super::report::{ReportOptions, Reporter};
use super::run::is_model;
use super::timed::TimedCalls;
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
    /// For the report, time K tokens, and K - 1 more that measure the error of interpolation, instead of all [K: 5 if not given]
    #[arg(long, value_name = "K", num_args = 0..=1, require_equals = true, default_missing_value = "5")]
    sample: Option<usize>,
    #[command(flatten)]
    report: ReportOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Generates.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    if !(arguments.temperature >= 0.0 && arguments.temperature.is_finite()) {
        return Err(super::wrong_option("--temperature", &arguments.temperature.to_string(), &"a number of 0 or more"));
    }
    if arguments.sample.is_some() && !arguments.report.wants_report() {
        return Err(super::wrong_option("--sample", "", &"it is for reports: give --report FILE or --baseline GPU, too"));
    }
    if arguments.sample.is_some_and(|knots| knots < 2) {
        return Err(super::wrong_option("--sample", "", &"a curve goes through 2 tokens or more"));
    }
    let reporter = arguments.report.prepare()?;
    let model = if arguments.model.is_dir() { arguments.model.join("model.onnx") } else { arguments.model.clone() };
    let tokenizer = tokenizer(&arguments, &model)?;
    let prompt = prompt(&arguments, tokenizer.as_ref())?;
    let start = Instant::now();
    let mut language = LanguageModel::new(session(&arguments, &model, prompt.len(), voice)?)?;
    language.session().set_timing(arguments.report.timing());
    voice.detail(format_args!("ready after {:.2} s", start.elapsed().as_secs_f64()));
    write_on(&arguments, &mut language, &prompt, tokenizer.as_ref(), reporter, voice)
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
    reporter: Reporter,
    voice: Voice,
) -> Outcome {
    let mut calls = match arguments.report.wants_report() {
        true => TimedCalls::whole(prompt.len(), arguments.n, arguments.sample),
        false => TimedCalls::last_only(prompt.len(), arguments.n),
    };
    let mut text = Text::new(arguments, tokenizer, prompt)?;
    let start = Instant::now();
    let mut logits = calls.feed_prompt(language, prompt, &Progress::new(voice, "prompt", prompt.len() as u64))?;
    let prefill = start.elapsed();
    let mut sampler = Sampler::new(arguments.temperature, arguments.seed);
    let bar = bar(arguments, voice);
    let (start, mut written) = (Instant::now(), 0);
    while written < arguments.n {
        let Some(next) = sampler.next(&logits).map(|index| index as i64) else { break };
        if text.ends_with(next) {
            calls.end_early(language, next)?;
            break;
        }
        written += 1;
        text.write(next)?;
        bar.iter().for_each(|bar| bar.advance(1));
        if written < arguments.n {
            logits = calls.feed(language, next)?;
        }
    }
    drop(bar);
    text.finish()?;
    let speed = written.saturating_sub(1) as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let (generation, last) = calls.finish(written);
    if let Some((past, timed)) = last {
        let report = reporter.write(language.session(), &timed, Some(past), generation)?;
        voice.say(report.to_text().trim_end());
    }
    voice.say(format_args!(
        "host: {} prompt tokens in {:.3} s, then {speed:.1} tokens/s",
        prompt.len(),
        prefill.as_secs_f64()
    ));
    Ok(())
}

/// A bar for the tokens, where the text itself does not show how far it is.
fn bar(arguments: &Arguments, voice: Voice) -> Option<Progress> {
    let visible = std::io::stdout().is_terminal();
    (!visible).then(|| Progress::new(voice, "tokens", arguments.n as u64))
}

/// Where the tokens go: text as it becomes complete, or ids.
struct Text<'a> {
    stream: Option<(TextStream, &'a Tokenizer)>,
    ends: Vec<i64>,
}

impl<'a> Text<'a> {
    /// Begins with the prompt, if it is text.
    fn new(arguments: &Arguments, tokenizer: Option<&'a Tokenizer>, prompt: &[i64]) -> Result<Text<'a>, Diagnostics> {
        let text = tokenizer.filter(|_| !arguments.emit_ids);
        let stream = text.map(|tokenizer| (TextStream::after(tokenizer, prompt), tokenizer));
        let ends = tokenizer.filter(|_| !arguments.ignore_end).map(Tokenizer::end_ids).unwrap_or_default();
        if let (Some(_), Some(prompt)) = (&stream, &arguments.prompt) {
            output::to_stdout(prompt.as_bytes())?;
        }
        Ok(Text { stream, ends })
    }

    fn ends_with(&self, id: i64) -> bool {
        self.ends.contains(&id)
    }

    fn write(&mut self, id: i64) -> Outcome {
        match &mut self.stream {
            Some((stream, tokenizer)) => output::to_stdout(stream.push(tokenizer, id).as_bytes()),
            None => output::to_stdout(format!("{id}\n").as_bytes()),
        }
    }

    fn finish(&self) -> Outcome {
        if self.stream.is_some() { output::to_stdout(b"\n") } else { Ok(()) }
    }
}
