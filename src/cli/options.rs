//! Compile options as they stand on a command line, shared by every subcommand that compiles (`compile`, and `run`, `generate`, `eval`
//! on an ONNX file). In: text. Out: [`narae_compiler::compile::Options`]. Always holds: a wrong value names the option and
//! what is accepted.

use std::path::Path;

use clap::ValueEnum;
use narae_compiler::bounds::Rest;
use narae_compiler::compile::{KvCache, Logits, Options, Precision};
use narae_compiler::compress::policy::Policy;
use narae_compiler::rewrite::rules;
use narae_isa::{Chip, Diagnostics};
use narae_sim::session::memory_sheet;

use super::reading::ReadOptions;
use super::watch::WatchOptions;
use super::wrong_option;

/// `--precision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionName {
    /// The file's own types.
    Auto,
    /// f32
    F32,
    /// f16
    F16,
    /// bf16
    Bf16,
}

/// `--kv-cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CacheName {
    /// Kept on the chip.
    State,
    /// Plain inputs and outputs.
    Io,
}

/// `--logits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogitsName {
    /// Of the last token.
    Last,
    /// Of all tokens.
    All,
}

/// The name that stands for all lengths without a bound of their own.
const REST: &str = "*";

/// Options of the compiler.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Compile options")]
pub struct CompileOptions {
    /// The chip: narae-1, narae-edge, narae-fpga, or a TOML file [default: narae-1]
    #[arg(long, value_name = "CHIP")]
    chip: Option<String>,
    /// Weight formats: none, auto (by --error-budget), a format (u4, u8:g32, f16) for the linear layers, or patterns: 'lm_head=u8,*=u4:g64'
    #[arg(long, default_value = "none", value_name = "POLICY")]
    quant: String,
    /// With --quant auto: the error that all weights together may cost, in nats per token
    #[arg(long, value_name = "X", value_parser = budget, allow_negative_numbers = true, hide_short_help = true)]
    error_budget: Option<f64>,
    /// The type of activations: auto (as the file says), f32, f16 or bf16
    #[arg(long, value_enum, default_value = "auto", value_name = "TYPE", hide_possible_values = true)]
    precision: PrecisionName,
    /// The largest batch [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true)]
    max_batch: Option<i64>,
    /// The longest sequence of one call [default: 512, or what fits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..), allow_negative_numbers = true)]
    max_seq: Option<i64>,
    /// The longest past [default: the model's maximum position, or what fits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true)]
    max_past: Option<i64>,
    /// Fix a dim of the model; may be repeated
    #[arg(long = "dim", value_name = "NAME=N", value_parser = named_length)]
    dims: Vec<(String, i64)>,
    /// The greatest value of a length of the model; '*' for every length without a bound [default: what fits]; may be repeated
    #[arg(long = "max", value_name = "NAME=N", value_parser = named_maximum)]
    lengths: Vec<(String, i64)>,
    /// The greatest extents of an input or output, one per axis: y=3,4; may be repeated
    #[arg(long = "max-shape", value_name = "X=N", value_parser = named_shape, hide_short_help = true)]
    shapes: Vec<(String, Vec<usize>)>,
    /// Where past and present live: io (plain inputs and outputs) or state (on the chip)
    #[arg(long, value_enum, value_name = "PLACE", hide_possible_values = true)]
    kv_cache: Option<CacheName>,
    /// With --kv-cache state: the logits of the last token or of all
    #[arg(
        long,
        value_enum,
        default_value = "last",
        value_name = "WHICH",
        hide_possible_values = true,
        hide_short_help = true
    )]
    logits: LogitsName,
    /// Optimisation: 0 no laws, 1 laws that recover, 2 and 3 all
    #[arg(short = 'O', default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3), value_name = "LEVEL")]
    optimisation: u8,
    /// Leave out a law of recovery; may be repeated
    #[arg(long, value_name = "LAW", value_parser = law_name, hide_short_help = true)]
    without_law: Vec<String>,
    /// Threads [default: all cores]; never changes a result
    #[arg(short = 'j', value_name = "N", value_parser = jobs, allow_negative_numbers = true, hide_short_help = true)]
    jobs: Option<usize>,
    /// How the model is read.
    #[command(flatten)]
    pub read: ReadOptions,
    /// Looking between passes.
    #[command(flatten)]
    pub watch: WatchOptions,
}

impl CompileOptions {
    /// The compiler's options; `kv_cache` is what the subcommand uses when the user does not say.
    pub fn resolve(&self, model: &Path, kv_cache: KvCache) -> Result<Options, Diagnostics> {
        self.set_jobs();
        once("--dim", &self.dims)?;
        once("--max", &self.lengths)?;
        once("--max-shape", &self.shapes)?;
        let mut options = Options::new(self.chip()?);
        options.precision = match self.precision {
            PrecisionName::Auto => Precision::Auto,
            PrecisionName::F32 => Precision::F32,
            PrecisionName::F16 => Precision::F16,
            PrecisionName::Bf16 => Precision::Bf16,
        };
        options.quant = Policy::parse(&self.quant).map_err(|reason| wrong_option("--quant", &self.quant, &reason))?;
        if let Some(budget) = self.error_budget {
            if options.quant != Policy::Auto {
                return Err(wrong_option("--error-budget", &budget.to_string(), &"it belongs to --quant auto"));
            }
            options.error_budget = budget;
        }
        options.kv_cache = match self.kv_cache {
            None => kv_cache,
            Some(CacheName::State) => KvCache::State,
            Some(CacheName::Io) => KvCache::Io,
        };
        options.logits = match self.logits {
            LogitsName::Last => Logits::Last,
            LogitsName::All => Logits::All,
        };
        options.optimisation = self.optimisation;
        options.without_laws = self.without_law.iter().cloned().collect();
        options.maxima.batch = self.max_batch;
        options.maxima.sequence = self.max_seq;
        options.maxima.past = self.max_past;
        options.maxima.fixed = self.dims.clone();
        options.verify_each = self.watch.verifies();
        options.maxima.lengths = self.lengths.iter().filter(|(name, _)| name != REST).cloned().collect();
        if let Some((_, most)) = self.lengths.iter().find(|(name, _)| name == REST) {
            options.maxima.rest = Rest::AtMost(*most);
        }
        options.maxima.shapes = vec![self.shapes.iter().cloned().collect()];
        options.limits = self.read.limits()?;
        options.name = model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(options)
    }

    /// Sets the number of threads, of simulators as well.
    pub fn set_jobs(&self) {
        if let Some(jobs) = self.jobs {
            // Fails only if the pool was built before; then it has its size already.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
        }
    }

    fn chip(&self) -> Result<Chip, Diagnostics> {
        let chip = Chip::load(self.chip.as_deref().unwrap_or("narae-1"))?;
        memory_sheet(&chip)?; // a chip whose memory contradicts itself is refused before anything is compiled for it
        Ok(chip)
    }

    /// Whether the user said where caches live.
    pub fn says_kv_cache(&self) -> bool {
        self.kv_cache.is_some()
    }

    /// The lengths that `--dim` names.
    pub fn named_lengths(&self) -> &[(String, i64)] {
        &self.dims
    }

    /// The chip that the user asked for, if any: an image is for one chip only.
    pub fn asked_chip(&self) -> Result<Option<Chip>, Diagnostics> {
        self.chip.as_deref().map(Chip::load).transpose()
    }
}

/// No name stands twice among the values of an option that may be repeated.
pub(super) fn once<T>(option: &str, values: &[(String, T)]) -> Result<(), Diagnostics> {
    let twice = values.iter().enumerate().find(|(at, (name, _))| values[..*at].iter().any(|(other, _)| other == name));
    match twice {
        Some((_, (name, _))) => Err(wrong_option(option, name, &"it is given twice; give it once")),
        None => Ok(()),
    }
}

/// `NAME=N`.
fn named_number(text: &str, least: i64) -> Result<(String, i64), String> {
    let (name, number) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=N"))?;
    let value: i64 = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
    if name.is_empty() || value < least {
        return Err(format!("`{text}` is not NAME=N with an N of {least} or more"));
    }
    Ok((name.to_string(), value))
}

/// A length by its name, as it is in one call: `NAME=N`.
pub(super) fn named_length(text: &str) -> Result<(String, i64), String> {
    named_number(text, 0)
}

/// The maximum of a length by its name.
fn named_maximum(text: &str) -> Result<(String, i64), String> {
    named_number(text, 1).map_err(|reason| match text.ends_with("=0") {
        true => format!("{reason}: a length that is always 0 is fixed with --dim {text}"),
        false => reason,
    })
}

/// A number of threads.
fn jobs(text: &str) -> Result<usize, String> {
    let jobs = text.parse().ok().filter(|jobs| (1..=4096).contains(jobs));
    jobs.ok_or_else(|| String::from("a number of threads is from 1 to 4096"))
}

/// An error in nats.
fn budget(text: &str) -> Result<f64, String> {
    let budget = text.parse().ok().filter(|budget: &f64| *budget > 0.0 && budget.is_finite());
    budget.ok_or_else(|| String::from("a budget is a number of nats above 0, such as 0.02"))
}

/// The name of a law.
fn law_name(text: &str) -> Result<String, String> {
    let names: Vec<&str> = rules::laws().iter().map(|law| law.name).collect();
    if names.contains(&text) { Ok(text.to_string()) } else { Err(format!("the laws are {}", names.join(", "))) }
}

/// `NAME=N,N`; nothing behind the sign for a scalar.
fn named_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, extents) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=N,N"))?;
    let number = |extent: &str| extent.trim().parse().map_err(|_| format!("`{extent}` is not a number"));
    let extents = extents.split(',').filter(|extent| !extent.is_empty()).map(number).collect::<Result<_, _>>()?;
    Ok((name.to_string(), extents))
}
