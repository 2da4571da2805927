//! `narae eval`: perplexity over token ids. In: an image or an ONNX decoder, ids. Out: perplexity, and against another model its
//! mean KL divergence and the share of equal first choices.
//!
//! Protocol: windows of `--window` predictions, the last id of a window being the first of the next, a fresh cache for each;
//! log-softmax in f64 over ascending ids.

use std::path::{Path, PathBuf};

use narae::language::LanguageModel;
use narae::npz;
use narae::quality::{Quality, windows};
use narae::settings;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::decoder::{self, Need};
use super::options::CompileOptions;
use super::progress::Progress;
use super::running::RunOptions;
use super::{Outcome, Voice, output};

/// Which model on which ids.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image (.narae), a decoder (.onnx), or a folder with one
    model: PathBuf,
    /// The ids (.npy): one text, or one window a row
    #[arg(long, value_name = "NPY")]
    ids: PathBuf,
    /// Predictions of a window, where the ids are one text [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    window: Option<u32>,
    /// Use the first windows only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    windows: Option<u32>,
    /// An image or a decoder to compare with: KL divergence and agreement are against it
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: RunOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Predictions of a window unless --window says otherwise.
const WINDOW: usize = 256;

/// Evaluates.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    let ids = npz::read_array(&arguments.ids)?;
    if arguments.window.is_some() && ids.rank() == 2 {
        let what = "--window would change nothing here: every row of the ids is a window";
        return Err(Diagnostic::new(&codes::E0801, what).help("leave it out, or give one text [n]").into());
    }
    let predictions = arguments.window.map_or(WINDOW, |window| window as usize);
    let windows = windows(&ids, predictions, arguments.windows.map(|windows| windows as usize))?;
    let mut model = open(&arguments, &arguments.model, &windows, voice)?;
    let mut reference = arguments.against.as_deref().map(|path| open(&arguments, path, &windows, voice)).transpose()?;
    let mut quality = Quality::default();
    let progress = Progress::new(voice, "windows", windows.len() as u64);
    for (number, window) in windows.iter().enumerate() {
        quality.add_window(&mut model, reference.as_mut(), window)?;
        progress.advance(1);
        let so_far = quality.perplexity();
        progress.aside(|| voice.detail(format_args!("window {} of {}: perplexity {so_far:.4}", number + 1, windows.len())));
    }
    drop(progress);
    let text = if arguments.json { json(&quality) } else { human(&quality) };
    output::to_stdout(text.as_bytes())
}

fn open(arguments: &Arguments, path: &Path, windows: &[Vec<i64>], voice: Voice) -> Result<LanguageModel, Diagnostics> {
    let model = settings::model_file(path)?;
    let settings = settings::settings(&model)?;
    let ids: Vec<i64> = windows.iter().flatten().copied().collect();
    let fed = windows.iter().map(|window| window.len() - 1).max().unwrap_or(1);
    let need = Need { call: fed, whole: fed, ids: &ids, all_logits: true };
    let mut model = decoder::open(&model, &settings, &arguments.compile, &need, voice)?;
    arguments.running.limit(model.session());
    Ok(model)
}

fn human(quality: &Quality) -> String {
    let mut out = format!("perplexity  {:.4} over {} predictions\n", quality.perplexity(), quality.predictions);
    if let Some((divergence, agreement)) = quality.against() {
        out.push_str(&format!("KL          {divergence:.5} nats/token\ntop-1       {:.2} % equal\n", 100.0 * agreement));
    }
    out
}

fn json(quality: &Quality) -> String {
    let against = quality.against();
    let value = serde_json::json!({
        "perplexity": quality.perplexity(), "predictions": quality.predictions,
        "kl": against.map(|(divergence, _)| divergence), "top1": against.map(|(_, agreement)| agreement),
    });
    format!("{value:#}\n")
}
