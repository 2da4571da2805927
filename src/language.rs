//! A decoder as a user of text sees it. In: token ids. Out: rows of logits.
//!
//! Works with all forms of an image: caches kept on the chip (an input `past_len`), caches as plain inputs and outputs, which are carried
//! from call to call here, and none at all: then every call is given the whole text so far. Always holds: the position is the number of ids
//! fed since [`LanguageModel::reset`]; a prompt longer than one call takes is fed in chunks, which changes no bit of the result; ids that
//! the model does not have and positions that it was not compiled for are errors before anything runs.

use std::path::Path;

use narae_compiler::compile::Options;
use narae_isa::image::{Entry, TensorInfo};
use narae_isa::{Diagnostic, Diagnostics, DimExpr, HostTensor, codes};

use crate::npz::Arrays;
use crate::session::{Session, Timed};

/// What an input of a decoder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Token ids `[batch, sequence]`.
    Ids,
    /// 1 for every real token, past ones included `[batch, past + sequence]`.
    Mask,
    /// The position of each new token `[batch, sequence]`.
    Positions,
    /// Tokens before this call, of each sequence `[batch]`; the caches are on the chip.
    PastLength,
    /// A cache of past keys or values `[batch, heads, past, width]`.
    Cache,
}

/// A compiled decoder and its position.
pub struct LanguageModel {
    session: Session,
    past: usize,
    /// Ids of one call at most.
    chunk: usize,
    /// Whether a call takes exactly as many, and single ones go to `decode`.
    exact: bool,
    /// The caches as the last call returned them, by input name; empty if they are on the chip.
    caches: Arrays,
    /// The ids so far, of a model that is given them again with every call.
    again: Option<Vec<i64>>,
    /// How many tokens there are, where the image says it.
    vocabulary: Option<usize>,
    /// How many tokens of one text the image has room for, where that is limited.
    room: Option<usize>,
}

/// What limits a text, as an image says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Caches on the chip.
    State,
    /// Caches that travel.
    Caches,
    /// None.
    Nothing,
}

impl LanguageModel {
    /// Compiles an ONNX decoder.
    pub fn compile(model: &Path, options: &Options) -> Result<Self, Diagnostics> {
        LanguageModel::new(Session::compile(model, options)?)
    }

    /// A session as a language model; an error if its image is something else.
    pub fn new(session: Session) -> Result<Self, Diagnostics> {
        let entry = first_entry(&session)?;
        for info in &entry.inputs {
            role(info).ok_or_else(|| not_a_decoder(format!("the input `{}` is none that a decoder has", info.name)))?;
        }
        let ids = entry.inputs.iter().find(|info| role(info) == Some(Role::Ids));
        let ids = ids.ok_or_else(|| not_a_decoder("no input takes token ids".to_string()))?;
        let chunk = greatest(&entry, ids.dims.get(1)).unwrap_or(1).max(1);
        let exact = matches!(ids.dims.get(1), Some(DimExpr::Const(length)) if *length > 1);
        let exact = exact && session.image().metadata().entries.iter().any(|entry| entry.name == "decode");
        let memory = memory(&entry);
        let room = match memory {
            Memory::State => slot(&entry, "capacity"),
            Memory::Caches => cache_room(&entry),
            Memory::Nothing => Some(chunk),
        };
        let again = (memory == Memory::Nothing).then(Vec::new);
        let vocabulary = vocabulary(&entry);
        Ok(LanguageModel { session, past: 0, chunk, exact, caches: Arrays::new(), again, vocabulary, room })
    }

    /// Forgets everything that was fed.
    pub fn reset(&mut self) {
        self.past = 0;
        self.caches.clear();
        if let Some(ids) = &mut self.again {
            ids.clear();
        }
    }

    /// The number of tokens that the model knows, where the image says it.
    pub fn vocabulary(&self) -> Option<usize> {
        self.vocabulary
    }

    /// How many tokens of one text the image has room for, where that is limited.
    pub fn room(&self) -> Option<usize> {
        self.room
    }

    /// All ids are tokens of the model.
    pub fn check_ids(&self, ids: &[i64]) -> Result<(), Diagnostics> {
        let most = self.vocabulary.map_or(i64::MAX, |count| i64::try_from(count).unwrap_or(i64::MAX));
        let wrong = ids.iter().enumerate().find(|(_, id)| !(0..most).contains(*id));
        let Some((at, id)) = wrong else { return Ok(()) };
        let what = match self.vocabulary {
            Some(count) => format!("the id {id} (number {at}) is no token of the model, which has {count}"),
            None => format!("the id {id} (number {at}) is no token of a model"),
        };
        Err(Diagnostic::new(&codes::E0603, what).help("take ids from the tokenizer of this model").into())
    }

    /// So many tokens of one text fit.
    pub fn check_room(&self, tokens: usize) -> Result<(), Diagnostics> {
        match self.room {
            Some(room) if tokens > room => {
                let what = format!("{tokens} tokens do not fit: the image has room for {room}");
                let help = match self.again {
                    None => "write fewer, or compile with a greater --max-past",
                    Some(_) => "write fewer, or compile with a greater --max-seq: the model keeps no cache",
                };
                Err(Diagnostic::new(&codes::E0604, what).help(help).into())
            }
            _ => Ok(()),
        }
    }

    /// The number of ids fed so far.
    pub fn position(&self) -> usize {
        self.past
    }

    /// The session behind it.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Feeds ids; the logits that follow the last of them.
    pub fn feed(&mut self, ids: &[i64]) -> Result<Vec<f32>, Diagnostics> {
        let mut last = Vec::new();
        for chunk in self.calls(ids) {
            last = last_row(&self.call(chunk)?);
        }
        Ok(last)
    }

    /// Ids as calls take them.
    fn calls<'a>(&self, ids: &'a [i64]) -> Vec<&'a [i64]> {
        let short = |chunk: &&[i64]| self.exact && chunk.len() < self.chunk;
        ids.chunks(self.chunk)
            .flat_map(|chunk| if short(&chunk) { chunk.chunks(1) } else { chunk.chunks(self.chunk) })
            .collect()
    }

    /// Ids of one call at most.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Feeds ids; the logits that follow each of them, row after row. An image that keeps its caches must be compiled with `--logits all`.
    pub fn logits(&mut self, ids: &[i64]) -> Result<Vec<f32>, Diagnostics> {
        let mut all = Vec::new();
        for chunk in self.calls(ids) {
            let rows = self.call(chunk)?;
            if rows.dims.get(1) != Some(&chunk.len()) {
                let what = "the image gives the logits of the last token only";
                return Err(Diagnostic::new(&codes::E0603, what).help("compile it with --logits all").into());
            }
            all.extend(rows.to_f32_vec());
        }
        Ok(all)
    }

    /// Feeds ids and times every call on the chip; `see` is shown each with the number of tokens before it. The logits that follow
    /// the last id.
    pub fn feed_timed(
        &mut self,
        ids: &[i64],
        see: &mut dyn FnMut(&Session, usize, Timed) -> Result<(), Diagnostics>,
    ) -> Result<Vec<f32>, Diagnostics> {
        let mut last = Vec::new();
        for chunk in self.calls(ids) {
            let (entry, inputs, tokens) = self.prepare(chunk)?;
            let timed = self.session.run_timed(Some(&entry.name), &inputs, Some(tokens as u64));
            let mut timed = timed.map_err(|problems| self.beyond(problems))?;
            let (past, outputs) = (self.past, std::mem::take(&mut timed.outputs));
            last = last_row(&self.take_logits(&entry, outputs, chunk)?);
            see(&self.session, past, timed)?;
        }
        Ok(last)
    }

    /// One call of the machine.
    fn call(&mut self, ids: &[i64]) -> Result<HostTensor, Diagnostics> {
        let (entry, inputs, _) = self.prepare(ids)?;
        let outputs = self.session.run(Some(&entry.name), &inputs).map_err(|problems| self.beyond(problems))?;
        self.take_logits(&entry, outputs, ids)
    }

    /// The entry and the inputs of a call, and the number of tokens that it is given.
    fn prepare(&self, ids: &[i64]) -> Result<(Entry, Arrays, usize), Diagnostics> {
        self.check_ids(ids)?;
        self.check_room(self.past + ids.len())?;
        let whole: Vec<i64> = self.again.iter().flatten().chain(ids).copied().collect();
        let entry = self.entry_for(whole.len())?;
        let past = if self.again.is_some() { 0 } else { self.past };
        let inputs = self.inputs(&entry, &whole, past)?;
        Ok((entry, inputs, whole.len()))
    }

    /// An access out of bounds or operands that do not fit, although all ids are tokens and all lengths are within the maxima: what is left
    /// that a user decides is the position.
    fn beyond(&self, problems: Diagnostics) -> Diagnostics {
        let ours = |problem: &Diagnostic| [codes::E0605.id, codes::E0608.id].contains(&problem.code.id);
        if !problems.iter().any(ours) {
            return problems;
        }
        let what = format!("token {} of the text is beyond the positions that the model knows", self.past);
        let mut found = Diagnostic::new(&codes::E0604, what)
            .help("write fewer tokens; if the model does know this position, please report the model as a bug of ours");
        found.notes = problems.iter().map(|problem| problem.message.clone()).collect();
        found.into()
    }

    /// The logits among the outputs of a call; caches that came back are kept.
    fn take_logits(&mut self, entry: &Entry, mut outputs: Arrays, ids: &[i64]) -> Result<HostTensor, Diagnostics> {
        let caches = entry.inputs.iter().filter(|info| role(info) == Some(Role::Cache));
        for info in caches {
            let present = present_name(&info.name);
            let missing = || not_a_decoder(format!("the cache `{}` has no output `{present}`", info.name));
            self.caches.insert(info.name.clone(), outputs.remove(&present).ok_or_else(missing)?);
        }
        self.past += ids.len();
        let rows = outputs.remove("logits").filter(|rows| rows.rank() == 3);
        let rows = rows.ok_or_else(|| not_a_decoder("there is no output `logits` of rank 3".to_string()))?;
        let Some(again) = &mut self.again else { return Ok(rows) };
        again.extend(ids);
        Ok(last_rows(&rows, ids.len()))
    }

    /// `decode` for one token where there is such an entry, else the first one.
    fn entry_for(&self, count: usize) -> Result<Entry, Diagnostics> {
        let decode = self.session.image().metadata().entries.iter().find(|entry| entry.name == "decode" && count == 1);
        decode.cloned().map_or_else(|| first_entry(&self.session), Ok)
    }

    fn inputs(&self, entry: &Entry, ids: &[i64], past: usize) -> Result<Arrays, Diagnostics> {
        let new = ids.len();
        let integers =
            |info: &TensorInfo, dims: &[usize], values: &[i64]| HostTensor::from_i64_as(info.element, dims, values);
        let mut inputs = Arrays::new();
        for info in &entry.inputs {
            let tensor = match role(info) {
                Some(Role::Ids) => integers(info, &[1, new], ids),
                Some(Role::Mask) => integers(info, &[1, past + new], &vec![1; past + new]),
                Some(Role::Positions) => {
                    integers(info, &[1, new], &(past as i64..(past + new) as i64).collect::<Vec<_>>())
                }
                Some(Role::PastLength) => integers(info, &[1], &[past as i64]),
                Some(Role::Cache) => match self.caches.get(&info.name) {
                    Some(cache) => cache.clone(),
                    None => HostTensor::zeros(info.element, &empty_cache(info)?),
                },
                None => continue,
            };
            inputs.insert(info.name.clone(), tensor);
        }
        Ok(inputs)
    }
}

/// What a model remembers of the tokens before a call, and where.
fn memory(entry: &Entry) -> Memory {
    let has = |wanted| entry.inputs.iter().any(|info| role(info) == Some(wanted));
    match (has(Role::PastLength), has(Role::Cache)) {
        (true, _) => Memory::State,
        (false, true) => Memory::Caches,
        (false, false) => Memory::Nothing,
    }
}

/// The greatest value of a length of an entry.
fn slot(entry: &Entry, name: &str) -> Option<usize> {
    entry.slots.iter().find(|slot| slot.name == name).and_then(|slot| usize::try_from(slot.max).ok())
}

/// The greatest extent of a dim that is a number or a length.
fn greatest(entry: &Entry, dim: Option<&DimExpr>) -> Option<usize> {
    let most = match dim? {
        DimExpr::Slot(slot) => entry.slots.get(usize::from(*slot))?.max,
        DimExpr::Const(length) => *length,
        _ => return None,
    };
    usize::try_from(most).ok()
}

/// The tokens for which caches that travel are long enough: the longest past and one token more, and no more than a mask covers.
fn cache_room(entry: &Entry) -> Option<usize> {
    let of = |info: &TensorInfo| match role(info) {
        Some(Role::Cache) => greatest(entry, info.dims.get(2)).map(|past| past + 1),
        Some(Role::Mask) => greatest(entry, info.dims.get(1)),
        _ => None,
    };
    entry.inputs.iter().filter_map(of).min()
}

/// The tokens that a row of logits has places for.
fn vocabulary(entry: &Entry) -> Option<usize> {
    let logits = entry.outputs.iter().find(|info| info.name == "logits" && info.dims.len() == 3)?;
    match logits.dims.last()? {
        DimExpr::Const(count) => usize::try_from(*count).ok(),
        _ => None,
    }
}

/// The last rows of logits `[1, tokens, vocabulary]`; all of them if there are no more.
fn last_rows(rows: &HostTensor, count: usize) -> HostTensor {
    let (tokens, width) = (rows.dims[1], rows.dims[2] * rows.element.bytes());
    let first = tokens.saturating_sub(count);
    HostTensor {
        element: rows.element,
        dims: vec![1, tokens - first, rows.dims[2]],
        bytes: rows.bytes[first * width..].to_vec(),
    }
}

/// The last row of logits.
fn last_row(rows: &HostTensor) -> Vec<f32> {
    let width = rows.dims.last().copied().unwrap_or(0);
    (rows.len().saturating_sub(width)..rows.len()).map(|index| rows.get_f32(index)).collect()
}

fn first_entry(session: &Session) -> Result<Entry, Diagnostics> {
    let entries = &session.image().metadata().entries;
    let found = entries.iter().find(|entry| entry.name == "prefill").or(entries.first());
    found.cloned().ok_or_else(|| not_a_decoder("the image has no entry".to_string()))
}

/// What an input is for, by what exporters call it.
fn role(info: &TensorInfo) -> Option<Role> {
    let name = info.name.to_ascii_lowercase();
    match info.dims.len() {
        1 if name == "past_len" => Some(Role::PastLength),
        2 if name.contains("mask") => Some(Role::Mask),
        2 if name.contains("position") => Some(Role::Positions),
        2 if name.contains("ids") && !info.element.is_float() => Some(Role::Ids),
        4 if name.contains("past") && info.element.is_float() => Some(Role::Cache),
        _ => None,
    }
}

/// `past_key_values.0.key` comes back as `present.0.key`.
fn present_name(name: &str) -> String {
    name.replace("past_key_values", "present").replace("past_", "present_")
}

/// The dims of a cache without any token.
fn empty_cache(info: &TensorInfo) -> Result<Vec<usize>, Diagnostics> {
    let size = |axis: usize| match info.dims.get(axis) {
        Some(DimExpr::Const(size)) => usize::try_from(*size).ok(),
        _ => None,
    };
    match (size(1), size(3)) {
        (Some(heads), Some(width)) => Ok(vec![1, heads, 0, width]),
        _ => Err(not_a_decoder(format!("heads and width of the cache `{}` are not fixed", info.name))),
    }
}

fn not_a_decoder(what: String) -> Diagnostics {
    Diagnostic::new(&codes::E0601, format!("the image is not a decoder that writes text: {what}")).into()
}
