//! Which bytes an instruction reads and writes: what the happens-before checker and the timing look at.
//!
//! In: an instruction and its captured registers. Out: calls with (space, write?, start, end). Always: every byte that the instruction
//! accesses is covered; where the data decides which rows are touched, the whole view is, except for appends, whose rows follow from the
//! lengths that they read themselves.

use super::scalar::element_at;
use super::{Context, Fault, moves};
use crate::state::{Cache, Space, View};
use narae_isa::table::{Access, MemoryRule};
use narae_isa::{Descriptor, Inst};

/// Calls `f` for the byte ranges of all operands.
pub fn touch<E: From<Fault>>(
    c: &Context<'_>,
    inst: &Inst,
    mut f: impl FnMut(Space, bool, u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    match inst {
        Inst::Append(row) => return append(c, row, f),
        Inst::LoadScalar(row) => {
            let element = element_at(&c.view(row.source)?, row.index, c.optional_scalar(row.ri))?;
            return element.ranges(|start, end| f(element.space, false, start, end));
        }
        Inst::StoreScalar(row) => {
            let element = element_at(&c.view(row.to)?, row.index, c.optional_scalar(row.ri))?;
            return element.ranges(|start, end| f(element.space, true, start, end));
        }
        _ => {}
    }
    let mut result = Ok(());
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
                f(Space::Dram, false, range.start, range.end)
            }
            Ok(Descriptor::Tensor(row)) => {
                let mut both = |space, start, end| {
                    if matches!(operand.access, Access::Read | Access::ReadWrite) {
                        f(space, false, start, end)?;
                    }
                    if matches!(operand.access, Access::Write | Access::ReadWrite) {
                        f(space, true, start, end)
                    } else {
                        Ok(())
                    }
                };
                let view = View::of(row);
                if row.paging.is_some() || row.scaled_rows {
                    cache(c, row, &mut |start, end| both(view.space, start, end))
                } else {
                    view.ranges(|start, end| both(view.space, start, end))
                }
            }
        };
    });
    result
}

/// All rows of a paged or scaled cache, and its page table.
fn cache<E: From<Fault>>(
    c: &Context<'_>,
    row: &narae_isa::View,
    f: &mut impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let cache = Cache::of(row)?;
    let [batch, heads, tokens, _] = cache.dims();
    for b in 0..batch {
        for h in 0..heads {
            cache.ranges(c.memory, b, h, 0..tokens, &mut *f)?;
        }
    }
    Ok(())
}

/// The rows that an append writes.
fn append<E: From<Fault>>(
    c: &Context<'_>,
    row: &narae_isa::instructions::Append,
    mut f: impl FnMut(Space, bool, u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let (target, new) = (c.tensor(row.cache)?, c.view(row.new)?);
    let (cache, space) = (Cache::of(target)?, View::of(target).space);
    new.ranges(|start, end| f(new.space, false, start, end))?;
    if let Some(past) = c.optional_view(row.past)? {
        past.ranges(|start, end| f(past.space, false, start, end))?;
    }
    let [batch, heads, capacity, _] = cache.dims();
    let past = moves::lengths(c, row.past, batch)?.unwrap_or_else(|| vec![0; batch]);
    let count = if new.rank == 4 { new.dims[2] } else { 0 };
    for (b, past) in past.into_iter().enumerate() {
        for h in 0..heads {
            cache.ranges(
                c.memory,
                b,
                h,
                past.min(capacity)..past.saturating_add(count).min(capacity),
                |start, end| f(space, true, start, end),
            )?;
        }
    }
    Ok(())
}
