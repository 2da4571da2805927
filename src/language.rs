//! A decoder as a user of text sees it. In: token ids. Out: rows of logits.
//!
//! Works with both forms of an image: caches kept on the chip (an input `past_len`), and caches as plain inputs and outputs, which
//! are carried from call to call here. Always holds: the position is the number of ids fed since [`LanguageModel::reset`];
//! a prompt longer than one call takes is fed in chunks, which changes no bit of the result; a position beyond the maximum is an
//! error of the machine, not a wrap.

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
    /// The caches as the last call returned them, by input name; empty if they are on the chip.
    caches: Arrays,
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
        let chunk = match ids.dims.get(1) {
            Some(DimExpr::Slot(slot)) => entry.slots.get(usize::from(*slot)).map_or(1, |slot| slot.max),
            Some(DimExpr::Const(length)) => *length,
            _ => 1,
        };
        Ok(LanguageModel { session, past: 0, chunk: usize::try_from(chunk).unwrap_or(1).max(1), caches: Arrays::new() })
    }

    /// Forgets everything that was fed.
    pub fn reset(&mut self) {
        self.past = 0;
        self.caches.clear();
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
        for chunk in ids.chunks(self.chunk) {
            last = last_row(&self.call(chunk)?);
        }
        Ok(last)
    }

    /// Ids of one call at most.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Feeds ids; the logits that follow each of them, row after row. An image that keeps its caches must be compiled with `--logits all`.
    pub fn logits(&mut self, ids: &[i64]) -> Result<Vec<f32>, Diagnostics> {
        let mut all = Vec::new();
        for chunk in ids.chunks(self.chunk) {
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
        for chunk in ids.chunks(self.chunk) {
            let entry = self.entry_for(chunk.len())?;
            self.check_room(&entry, chunk.len())?;
            let inputs = self.inputs(&entry, chunk)?;
            let mut timed = self.session.run_timed(Some(&entry.name), &inputs, Some(chunk.len() as u64))?;
            let (past, outputs) = (self.past, std::mem::take(&mut timed.outputs));
            last = last_row(&self.take_logits(&entry, outputs, chunk.len())?);
            see(&self.session, past, timed)?;
        }
        Ok(last)
    }

    /// One call of the machine.
    fn call(&mut self, ids: &[i64]) -> Result<HostTensor, Diagnostics> {
        let entry = self.entry_for(ids.len())?;
        self.check_room(&entry, ids.len())?;
        let inputs = self.inputs(&entry, ids)?;
        let outputs = self.session.run(Some(&entry.name), &inputs)?;
        self.take_logits(&entry, outputs, ids.len())
    }

    /// Caches on the chip hold what the image was compiled for.
    fn check_room(&self, entry: &Entry, new: usize) -> Result<(), Diagnostics> {
        let capacity = entry.slots.iter().find(|slot| slot.name == "capacity").map(|slot| slot.max);
        match capacity.and_then(|capacity| usize::try_from(capacity).ok()) {
            Some(capacity) if self.past + new > capacity => {
                let what = format!("{} tokens do not fit the caches, which hold {capacity}", self.past + new);
                Err(Diagnostic::new(&codes::E0604, what).help("compile again with a greater --max-past").into())
            }
            _ => Ok(()),
        }
    }

    /// The logits among the outputs of a call; caches that came back are kept.
    fn take_logits(&mut self, entry: &Entry, mut outputs: Arrays, new: usize) -> Result<HostTensor, Diagnostics> {
        let caches = entry.inputs.iter().filter(|info| role(info) == Some(Role::Cache));
        for info in caches {
            let present = present_name(&info.name);
            let missing = || not_a_decoder(format!("the cache `{}` has no output `{present}`", info.name));
            self.caches.insert(info.name.clone(), outputs.remove(&present).ok_or_else(missing)?);
        }
        self.past += new;
        let rows = outputs.remove("logits").filter(|rows| rows.rank() == 3);
        rows.ok_or_else(|| not_a_decoder("there is no output `logits` of rank 3".to_string()))
    }

    /// `decode` for one token where there is such an entry, else the first one.
    fn entry_for(&self, count: usize) -> Result<Entry, Diagnostics> {
        let decode = self.session.image().metadata().entries.iter().find(|entry| entry.name == "decode" && count == 1);
        decode.cloned().map_or_else(|| first_entry(&self.session), Ok)
    }

    fn inputs(&self, entry: &Entry, ids: &[i64]) -> Result<Arrays, Diagnostics> {
        let (new, past) = (ids.len(), self.past);
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
