//! Which bytes an instruction reads and writes: what the happens-before checker and the timing look at.
//!
//! In: an instruction and its captured registers. Out: calls with a [`Touched`] range. Always: every byte that the instruction
//! accesses is covered; where the data decides which rows are touched, the whole view is, except for appends and attention, whose rows
//! follow from the lengths that they read themselves.

use super::scalar::element_at;
use super::{Context, Fault, moves};
use crate::state::{Cache, Space, View};
use narae_isa::table::{Access, MemoryRule};
use narae_isa::{Descriptor, Inst};

/// A contiguous range that an instruction reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The operand's name in the instruction's row.
    pub operand: &'static str,
    /// Which memory.
    pub space: Space,
    /// Written, or read.
    pub write: bool,
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// Calls `f` for the byte ranges of all operands, operand by operand.
pub fn touch<E: From<Fault>>(
    c: &Context<'_>,
    inst: &Inst,
    mut f: impl FnMut(Touched) -> Result<(), E>,
) -> Result<(), E> {
    match inst {
        Inst::Append(row) => return append(c, row, f),
        Inst::LoadScalar(row) => {
            let element = element_at(&c.view(row.source)?, row.index, c.optional_scalar(row.ri))?;
            let (operand, space) = ("source", element.space);
            return element.ranges(|start, end| f(Touched { operand, space, write: false, start, end }));
        }
        Inst::StoreScalar(row) => {
            let element = element_at(&c.view(row.to)?, row.index, c.optional_scalar(row.ri))?;
            let (operand, space) = ("to", element.space);
            return element.ranges(|start, end| f(Touched { operand, space, write: true, start, end }));
        }
        _ => {}
    }
    let mut result = Ok(());
    let name = |operand: &narae_isa::table::Operand| operand.name;
    inst.visit_operands(&mut |operand| {
        if result.is_err()
            || operand.place == MemoryRule::Fifo
            || matches!(operand.access, Access::Define | Access::Parameters)
        {
            return;
        }
        result = match c.descriptor(operand.register) {
            Err(fault) => Err(fault.into()),
            Ok(Descriptor::Parameters(_)) => Ok(()),
            Ok(Descriptor::Weight(weight)) => {
                let range = weight.byte_range();
                let operand = name(&operand);
                f(Touched { operand, space: Space::Dram, write: false, start: range.start, end: range.end })
            }
            Ok(Descriptor::Tensor(row)) => {
                let mut both = |space, start, end| {
                    let touched = |write| Touched { operand: name(&operand), space, write, start, end };
                    if matches!(operand.access, Access::Read | Access::ReadWrite) {
                        f(touched(false))?;
                    }
                    if matches!(operand.access, Access::Write | Access::ReadWrite) { f(touched(true)) } else { Ok(()) }
                };
                let view = View::of(row);
                let attention = match inst {
                    Inst::Attend(attend) if matches!(operand.name, "k" | "v") => Some(attend),
                    _ => None,
                };
                if attention.is_some() || row.paging.is_some() || row.scaled_rows {
                    cache(c, row, attention, &mut |start, end| both(view.space, start, end))
                } else {
                    view.ranges(|start, end| both(view.space, start, end))
                }
            }
        };
    });
    result
}

/// The rows of a cache that are read: those that some query of an attention sees, else all.
fn cache<E: From<Fault>>(
    c: &Context<'_>,
    row: &narae_isa::View,
    attention: Option<&narae_isa::instructions::Attend>,
    f: &mut impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let cache = Cache::of(row)?;
    let [batch, _, tokens, _] = cache.dims();
    let seen = attention.and_then(|attend| super::attention::seen(c, attend, batch, tokens).ok());
    for b in 0..batch {
        let keys = seen.as_ref().map_or(0..tokens, |seen| seen[b].clone());
        cache.ranges_of_heads(c.memory, b, keys, &mut *f)?;
    }
    Ok(())
}

/// The rows that an append writes.
fn append<E: From<Fault>>(
    c: &Context<'_>,
    row: &narae_isa::instructions::Append,
    mut f: impl FnMut(Touched) -> Result<(), E>,
) -> Result<(), E> {
    let (target, new) = (c.tensor(row.cache)?, c.view(row.new)?);
    let (cache, space) = (Cache::of(target)?, View::of(target).space);
    new.ranges(|start, end| f(Touched { operand: "new", space: new.space, write: false, start, end }))?;
    if let Some(past) = c.optional_view(row.past)? {
        past.ranges(|start, end| f(Touched { operand: "past", space: past.space, write: false, start, end }))?;
    }
    let [batch, heads, capacity, _] = cache.dims();
    let past = moves::lengths(c, row.past, batch)?.unwrap_or_else(|| vec![0; batch]);
    let count = if new.rank == 4 { new.dims[2] } else { 0 };
    for (b, past) in past.into_iter().enumerate() {
        let tokens = past.min(capacity)..past.saturating_add(count).min(capacity);
        for h in 0..heads {
            cache.ranges(c.memory, b, h, tokens.clone(), |start, end| {
                f(Touched { operand: "cache", space, write: true, start, end })
            })?;
        }
    }
    Ok(())
}
