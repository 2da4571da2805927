//! `narae generate`: text or ids that follow a prompt. In: an image, an ONNX decoder (compiled on the fly) or a folder as Hugging Face
//! writes it. Out: the text as it comes, on standard output; speed, on standard error. Always holds: what cannot be done (ids that the model
//! does not have, more tokens than it has room for) is said before the first token; the text follows from model, prompt, options and seed.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use narae::language::LanguageModel;
use narae::npz;
use narae::quality::numbers;
use narae::sampling::{Sampler, Strategy};
use narae::settings::{self, Settings, beside};
use narae::tokenizer::Tokenizer;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::decoder::{self, Need};
use super::options::CompileOptions;
use super::progress::Progress;
use super::report::{ReportOptions, Reporter};
use super::running::RunOptions;
use super::timed::TimedCalls;
use super::written::Written;
use super::{Outcome, Voice, wrong_option};

/// Ids of one call of `prefill` when a model is compiled on the fly.
const CHUNK: usize = 64;

/// What writes, what it continues, how it chooses.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image (.narae), a decoder (.onnx), or a folder with model.onnx (or onnx/model.onnx) and tokenizer.json
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
    #[arg(short, default_value_t = 100, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    n: usize,
    /// Print ids, one a line, instead of text
    #[arg(long)]
    emit_ids: bool,
    /// Do not stop at the end-of-text tokens (eos_token_id of the files beside the model, special tokens of the tokenizer)
    #[arg(long)]
    ignore_end: bool,
    /// Stop before this text; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
    /// For the report, time K tokens, and K - 1 more that measure the error of interpolation, instead of all [K: 5 if not given]
    #[arg(long, value_name = "K", num_args = 0..=1, require_equals = true, default_missing_value = "5")]
    sample: Option<usize>,
    #[command(flatten)]
    choosing: Choosing,
    #[command(flatten)]
    report: ReportOptions,
    #[command(flatten)]
    running: RunOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// How tokens are chosen; what is not given is as generation_config.json, genai_config.json or config.json beside the model say.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Choosing tokens")]
struct Choosing {
    /// 0 takes the likeliest token; above, tokens are drawn from softmax(logits / T) [default: as the model's files say, else 0]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw from the K likeliest tokens only
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..), allow_negative_numbers = true)]
    top_k: Option<u64>,
    /// Draw from the likeliest tokens that together have the probability P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Draw from tokens that are at least P times as likely as the likeliest
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Make tokens that were there already less likely: above 1
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,
    /// Determines what is drawn [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// A number of tokens.
fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1 << 30).contains(count));
    count.ok_or_else(|| String::from("it is a whole number of 1 or more"))
}

impl Choosing {
    /// The strategy, after what the files beside the model say; and whether that says anything.
    fn strategy(&self, settings: &Settings) -> Result<(Strategy, bool), Diagnostics> {
        self.check()?;
        let said = settings.choice;
        let draws = said.sample == Some(true);
        let temperature = self.temperature.unwrap_or(if draws { said.temperature.unwrap_or(1.0) } else { 0.0 });
        let mut strategy = Strategy { temperature, ..Strategy::GREEDY };
        strategy.repetition_penalty = self.repetition_penalty.or(said.repetition_penalty).unwrap_or(1.0);
        if temperature == 0.0 {
            self.draws_nothing()?;
        } else {
            strategy.top_k = self.top_k.or(said.top_k);
            strategy.top_p = self.top_p.or(said.top_p).unwrap_or(1.0);
            strategy.min_p = self.min_p.or(said.min_p).unwrap_or(0.0);
        }
        let own = Strategy {
            temperature: self.temperature.unwrap_or(0.0),
            top_k: self.top_k,
            top_p: self.top_p.unwrap_or(1.0),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
        };
        Ok((strategy, strategy != own))
    }

    fn check(&self) -> Result<(), Diagnostics> {
        let options: [(&str, Option<f64>, fn(f64) -> bool, &str); 4] = [
            ("--temperature", self.temperature, |x| x >= 0.0 && x.is_finite(), "a number of 0 or more"),
            ("--top-p", self.top_p, |x| x > 0.0 && x <= 1.0, "a probability above 0, at most 1"),
            ("--min-p", self.min_p, |x| (0.0..=1.0).contains(&x), "a probability from 0 to 1"),
            ("--repetition-penalty", self.repetition_penalty, |x| x > 0.0 && x.is_finite(), "a number above 0"),
        ];
        for (name, value, accepted, what) in options {
            if let Some(value) = value.filter(|value| !accepted(*value)) {
                return Err(wrong_option(name, &value.to_string(), &what));
            }
        }
        Ok(())
    }

    /// Nothing that decides draws was given.
    fn draws_nothing(&self) -> Result<(), Diagnostics> {
        let given = [
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => {
                let what = format!("{name} would change nothing here: at temperature 0 the likeliest token is taken");
                Err(Diagnostic::new(&codes::E0801, what).help("give --temperature T above 0, too, or leave it out").into())
            }
        }
    }
}

/// Generates.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    if arguments.sample.is_some() && !arguments.report.wants_report() {
        return Err(wrong_option("--sample", "", &"it is for reports: give --report FILE or --baseline GPU, too"));
    }
    if arguments.sample.is_some_and(|knots| knots < 2) {
        return Err(wrong_option("--sample", "", &"a curve goes through 2 tokens or more"));
    }
    arguments.report.leaves_stdout_to("the text")?;
    let reporter = arguments.report.prepare()?;
    let model = settings::model_file(&arguments.model)?;
    let settings = settings::settings(&model)?;
    let (strategy, from_files) = arguments.choosing.strategy(&settings)?;
    if from_files {
        say_strategy(&strategy, &settings, voice);
    }
    let tokenizer = tokenizer(&arguments, &model)?;
    let prompt = prompt(&arguments, tokenizer.as_ref())?;
    let start = Instant::now();
    // The last token that is written is not fed.
    let whole = prompt.len().saturating_add(arguments.n - 1);
    let need = Need { call: CHUNK.min(prompt.len()), whole, ids: &prompt, all_logits: false };
    let opened = decoder::open(&model, &settings, &arguments.compile, &need, voice);
    let mut language = opened.map_err(|problems| misfit(problems, &arguments, tokenizer.as_ref()))?;
    arguments.running.limit(language.session());
    language.session().set_timing(arguments.report.timing());
    voice.detail(format_args!("ready after {:.2} s", start.elapsed().as_secs_f64()));
    let ends = match arguments.ignore_end {
        true => Vec::new(),
        false => ends(&settings, tokenizer.as_ref()),
    };
    let sampler = Sampler::new(strategy, arguments.choosing.seed.unwrap_or(0));
    write_on(&arguments, &mut language, Writing { prompt, tokenizer: tokenizer.as_ref(), ends, sampler }, reporter, voice)
}

/// Ids that the tokenizer gave and the model does not have: the two do not belong together.
fn misfit(problems: Diagnostics, arguments: &Arguments, tokenizer: Option<&Tokenizer>) -> Diagnostics {
    let from_text = arguments.ids.is_none();
    let wrong_ids = problems.iter().any(|problem| problem.code.id == codes::E0603.id && problem.message.contains("no token"));
    let (Some(tokenizer), true, true) = (tokenizer, from_text, wrong_ids) else { return problems };
    let said = problems.0.first().map_or("", |problem| problem.message.as_str());
    let what = format!("the tokenizer, which knows {} tokens, does not fit the model: {said}", tokenizer.size());
    Diagnostic::new(&codes::E0804, what).help("pass the tokenizer.json of this model with --tokenizer").into()
}

/// What the files beside the model say of choosing tokens, where that is used.
fn say_strategy(strategy: &Strategy, settings: &Settings, voice: Voice) {
    let mut parts = vec![match strategy.temperature {
        0.0 => String::from("the likeliest token"),
        temperature => format!("temperature {temperature}"),
    }];
    parts.extend(strategy.top_k.map(|k| format!("top-k {k}")));
    parts.extend((strategy.top_p < 1.0).then(|| format!("top-p {}", strategy.top_p)));
    parts.extend((strategy.min_p > 0.0).then(|| format!("min-p {}", strategy.min_p)));
    parts.extend((strategy.repetition_penalty != 1.0).then(|| format!("repetition penalty {}", strategy.repetition_penalty)));
    let file = settings.choice_from.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    voice.note(format_args!("tokens are chosen as {file} says, where no option does: {}", parts.join(", ")));
}

/// The ids that end a text.
fn ends(settings: &Settings, tokenizer: Option<&Tokenizer>) -> Vec<i64> {
    let said = settings.end_ids.iter().flatten().copied();
    said.chain(tokenizer.map(Tokenizer::end_ids).unwrap_or_default()).collect()
}

/// The tokenizer, where text is read, written or looked at.
fn tokenizer(arguments: &Arguments, model: &Path) -> Result<Option<Tokenizer>, Diagnostics> {
    let only_ids = arguments.ids.is_some() && arguments.emit_ids && arguments.stop.is_empty();
    if only_ids && arguments.tokenizer.is_none() {
        return Ok(None);
    }
    let plain = || model.parent().unwrap_or(Path::new(".")).join("tokenizer.json");
    let found = || beside(model, "tokenizer.json").unwrap_or_else(plain);
    Tokenizer::open(&arguments.tokenizer.clone().unwrap_or_else(found)).map(Some)
}

fn prompt(arguments: &Arguments, tokenizer: Option<&Tokenizer>) -> Result<Vec<i64>, Diagnostics> {
    let ids = match (&arguments.ids, &arguments.prompt, tokenizer) {
        (Some(path), _, _) => ids(path)?,
        (None, Some(text), Some(tokenizer)) => tokenizer.encode(text)?,
        (None, _, _) => Vec::new(),
    };
    if ids.is_empty() {
        return Err(Diagnostic::new(&codes::E0801, "the prompt has no tokens").help("give at least one token").into());
    }
    Ok(ids)
}

/// The ids of one text in an array.
fn ids(path: &Path) -> Result<Vec<i64>, Diagnostics> {
    let array = npz::read_array(path)?;
    let wrong = |code, what: String, help: &str| {
        Err(Diagnostic::new(code, what).at_file(path.display().to_string()).help(help).into())
    };
    if !array.element.is_integer() {
        let what = format!("ids are integers, the array holds {}", array.element.name());
        return wrong(&codes::E0602, what, "convert it: ids.astype(numpy.int64)");
    }
    match array.dims.as_slice() {
        [_] | [1, _] => Ok(array.to_i64_vec()),
        dims => wrong(&codes::E0603, format!("a prompt is one text, the array has the dims {dims:?}"), "give ids of the dims [n]"),
    }
}

/// What writes, after what, until when.
struct Writing<'a> {
    prompt: Vec<i64>,
    tokenizer: Option<&'a Tokenizer>,
    ends: Vec<i64>,
    sampler: Sampler,
}

fn write_on(
    arguments: &Arguments,
    language: &mut LanguageModel,
    mut writing: Writing<'_>,
    reporter: Reporter,
    voice: Voice,
) -> Outcome {
    let prompt = std::mem::take(&mut writing.prompt);
    let mut calls = match arguments.report.wants_report() {
        true => TimedCalls::whole(prompt.len(), arguments.n, arguments.sample),
        false => TimedCalls::last_only(prompt.len(), arguments.n),
    };
    let (text, stops) = (arguments.prompt.as_deref(), &arguments.stop);
    let mut out = Written::after(writing.tokenizer, &prompt, text, arguments.emit_ids, stops)?;
    let start = Instant::now();
    let mut logits = calls.feed_prompt(language, &prompt, &Progress::new(voice, "prompt", prompt.len() as u64))?;
    let prefill = start.elapsed();
    writing.sampler.see(&prompt);
    let bar = bar(arguments, voice);
    let (start, mut written) = (Instant::now(), 0);
    while written < arguments.n {
        numbers(&logits)?;
        let Some(next) = writing.sampler.next(&logits).map(|index| index as i64) else { break };
        if writing.ends.contains(&next) {
            calls.end_early(language, next)?;
            break;
        }
        written += 1;
        writing.sampler.see(&[next]);
        bar.iter().for_each(|bar| bar.advance(1));
        if out.push(next)? {
            calls.end_early(language, next)?;
            break;
        }
        if written < arguments.n {
            logits = calls.feed(language, next)?;
        }
    }
    drop(bar);
    out.finish()?;
    let speed = written.saturating_sub(1) as f64 / start.elapsed().as_secs_f64().max(1e-9);
    let (generation, last) = calls.finish(written);
    if let Some((past, timed)) = last {
        let report = reporter.write(language.session(), &timed, Some(past), generation)?;
        voice.say(report.to_text().trim_end());
    }
    if out.unknown() > 0 {
        voice.note(format_args!("the tokenizer has no text for {} of {written} tokens: is it that of this model?", out.unknown()));
    }
    voice.say(format_args!("host: {} prompt tokens in {:.3} s, then {speed:.1} tokens/s", prompt.len(), prefill.as_secs_f64()));
    Ok(())
}

/// A bar for the tokens, where the text itself does not show how far it is.
fn bar(arguments: &Arguments, voice: Voice) -> Option<Progress> {
    let visible = std::io::stdout().is_terminal();
    (!visible).then(|| Progress::new(voice, "tokens", arguments.n as u64))
}
