//! Opening what writes text, shared by `generate` and `eval`. In: an image or an ONNX decoder, and how much text there will be. Out: a
//! [`LanguageModel`] with room for it. Always holds: ids, lengths and positions that the model cannot take are refused before it is
//! compiled, where its file says so, and before the first token in any case.

use std::path::Path;

use narae::language::LanguageModel;
use narae::session::{Session, import};
use narae::settings::Settings;
use narae_compiler::bounds::{self, Unsaid};
use narae_compiler::compile::{KvCache, Logits, Options};
use narae_compiler::graph::Graph;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::Voice;
use super::options::CompileOptions;
use super::run::is_model;

/// How much text there will be.
pub struct Need<'a> {
    /// Ids of one call.
    pub call: usize,
    /// Ids of a whole text.
    pub whole: usize,
    /// Ids that will be fed, as far as they are known.
    pub ids: &'a [i64],
    /// Whether logits of all tokens are needed.
    pub all_logits: bool,
}

/// Opens an image, or compiles a decoder for this much text.
pub fn open(
    model: &Path,
    settings: &Settings,
    compile: &CompileOptions,
    need: &Need<'_>,
    voice: Voice,
) -> Result<LanguageModel, Diagnostics> {
    let language = match is_model(model) {
        true => LanguageModel::new(compiled(model, settings, compile, need, voice)?)?,
        false => {
            compile.set_jobs();
            let session = Session::open(model)?;
            if let Some(chip) = compile.asked_chip()? {
                session.image().check_chip(&chip)?;
            }
            LanguageModel::new(session)?
        }
    };
    language.check_ids(need.ids)?;
    language.check_room(need.whole)?;
    Ok(language)
}

fn compiled(
    model: &Path,
    settings: &Settings,
    compile: &CompileOptions,
    need: &Need<'_>,
    voice: Voice,
) -> Result<Session, Diagnostics> {
    let mut options = compile.resolve(model, KvCache::State)?;
    let graph = import(model, &options.limits)?;
    check(&graph, &options, need)?;
    let forgets = keeps_no_cache(&graph);
    drop(graph);
    if need.all_logits {
        options.logits = Logits::All;
    }
    if forgets && !compile.says_kv_cache() {
        options.kv_cache = KvCache::Io;
    }
    // What this one text needs: bounds cost memory, so they are no larger.
    let maxima = &mut options.maxima;
    maxima.unsaid = Unsaid::Chosen { positions: settings.positions };
    maxima.batch = maxima.batch.or(Some(1));
    // A model without a cache is given the whole text with every call.
    maxima.sequence = maxima.sequence.or(Some(length(if forgets { need.whole } else { need.call })));
    maxima.past = maxima.past.or(Some(length(need.whole)));
    let outcome = session(model, &options, compile, voice);
    match outcome {
        Err(problems) if options.kv_cache == KvCache::State && !compile.says_kv_cache() && refuses_state(&problems) => {
            let reason = problems.0.first().map_or("", |problem| problem.message.as_str());
            voice.note(format_args!("caches travel with every call (--kv-cache io): {reason}"));
            options.kv_cache = KvCache::Io;
            session(model, &options, compile, voice)
        }
        outcome => outcome,
    }
}

fn session(model: &Path, options: &Options, compile: &CompileOptions, voice: Voice) -> Result<Session, Diagnostics> {
    let mut watcher = compile.watch.watcher(voice, None)?;
    let (session, _) = Session::compile_observed(model, options, &mut watcher)?;
    watcher.all_ran()?;
    Ok(session)
}

fn refuses_state(problems: &Diagnostics) -> bool {
    problems.iter().all(|problem| problem.code.id == codes::E0409.id)
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / 4)
}

/// Whether nothing of the tokens before a call is given to it.
fn keeps_no_cache(graph: &Graph) -> bool {
    graph.inputs().iter().all(|port| !port.name.to_ascii_lowercase().contains("past") || graph.rank(port.value) < 2)
}

/// What the file says of ids and positions.
fn check(graph: &Graph, options: &Options, need: &Need<'_>) -> Result<(), Diagnostics> {
    let logits = graph.outputs().iter().find(|port| port.name == "logits");
    let tokens = logits.and_then(|port| graph.dims(port.value).last()?.as_const());
    if let Some(tokens) = tokens
        && let Some(id) = need.ids.iter().find(|id| !(0..tokens).contains(*id))
    {
        let what = format!("the id {id} is no token of the model, which has {tokens}");
        return Err(Diagnostic::new(&codes::E0603, what).help("take ids from the tokenizer of this model").into());
    }
    let given = options.maxima.past.is_some() || options.maxima.sequence.is_some();
    match bounds::positions(graph) {
        Some(positions) if length(need.whole) > positions && !given => {
            let what = format!("{} tokens do not fit: the tables of the model have {positions} positions", need.whole);
            Err(Diagnostic::new(&codes::E0604, what).help("give a shorter prompt, or write fewer tokens (-n)").into())
        }
        _ => Ok(()),
    }
}
