//! What the operands of an instruction are in the memories: LPDDR ranges, SRAM demand, hulls.
//!
//! In: an instruction at dispatch. Out: the parts of [`Work`] that follow from addresses. Always: how an operand is read (once or often, by
//! one tile or by all) is decided in [`reading`], in one place.

use super::{Chip, Element, product, touch};
use super::{
    Collector, Context, DescriptorRegister, Fault, Hull, Inst, Space, Touched, Work, add_range, dims, occupancy,
};
use crate::timing::sram::{Reading, Tiles};
use narae_isa::format::SLICE;
use narae_isa::table::Access;
use narae_isa::{Descriptor, Engine, Memory, View};

/// Collects all operands; returns the bytes that are touched in both memories.
pub(super) fn collect(chip: &Chip, inst: &Inst, c: &Context<'_>, work: &mut Work) -> Result<u64, Fault> {
    let mut moved = 0;
    // Which rows of the table an index names is not looked at here: see `rows`.
    let table = matches!(inst, Inst::GatherRows(_) | Inst::ScatterRows(_));
    let mut sram = Collector::new(chip);
    let interlocked = inst.engine() == Engine::Dmaa;
    let mut current: Option<(&'static str, bool, Space, Reading)> = None;
    touch::<Fault>(c, inst, |touched| {
        let Touched { operand, space, write, start, end } = touched;
        if table && operand == "table" {
            return Ok(());
        }
        moved += end - start;
        let reading = match current {
            Some((name, was_written, in_space, reading))
                if (name, was_written, in_space) == (operand, write, space) =>
            {
                let hull = work.hulls.last_mut();
                if let Some(hull) = hull {
                    (hull.start, hull.end) = (hull.start.min(start), hull.end.max(end));
                }
                reading
            }
            _ => {
                if interlocked {
                    work.hulls.push(Hull { sram: space == Space::Sram, write, start, end });
                }
                sram.next_operand();
                let reading = reading(chip, inst, c, operand);
                current = Some((operand, write, space, reading));
                reading
            }
        };
        match (space, write) {
            // A result is written once, whatever is read to make it.
            (Space::Sram, true) => sram.add(start, end, Reading { repeats: 1, ..reading }),
            (Space::Sram, false) => sram.add(start, end, reading),
            (Space::Dram, false) => add_range(&mut work.reads, start, end),
            (Space::Dram, true) => add_range(&mut work.writes, start, end),
        }
        Ok(())
    })?;
    work.sram = sram.finish();
    Ok(moved)
}

/// How an operand is read.
/// - Matrix products: a tile works on slices of 32 outputs. The first factor is needed by all tiles, once for each slice that a tile has;
///   of the second factor a tile needs its own slices, once for every `lut_tokens` rows of the first.
/// - Attention: queries and results are dealt out by KV heads, keys and values as well, once for every `lut_tokens` queries of a KV head.
/// - Vectors: the tile that holds an element of the result computes it; operands that lie like the result are there already.
/// - Moves: what comes from or goes to LPDDR crosses to its tile.
fn reading(chip: &Chip, inst: &Inst, c: &Context<'_>, operand: &'static str) -> Reading {
    let rows_of = |leading: &[u32]| product(leading).div_ceil(chip.mxe.lut_tokens).max(1);
    let once = Reading { repeats: 1, by: Tiles::One };
    match inst {
        Inst::Linear(row) if operand == "x" => {
            let outputs = dims(c, row.out).0.last().copied().unwrap_or(0);
            first_factor(chip, u64::from(outputs))
        }
        Inst::Matmul(row) => factors(chip, dims(c, row.out).0, operand, rows_of),
        Inst::MatmulInteger(row) => factors(chip, dims(c, row.out).0, operand, rows_of),
        Inst::Convolution(row) => {
            let out = dims(c, row.out).0;
            match (operand, out.get(2)) {
                ("x" | "x_zero", Some(outputs)) => first_factor(chip, u64::from(*outputs)),
                ("w" | "w_zero", Some(_)) => Reading { repeats: rows_of(&out[3..]), by: Tiles::One },
                _ => once,
            }
        }
        Inst::Attend(row) if matches!(operand, "k" | "v") => {
            let (q, kv_heads) = (dims(c, row.q).0, dims(c, row.k).0.get(1).copied().unwrap_or(1).max(1));
            match q {
                [_, heads, queries, _] => Reading { repeats: rows_of(&[heads / kv_heads, *queries]), by: Tiles::One },
                _ => once,
            }
        }
        _ if inst.engine() == Engine::Vpe => vector_operand(chip, inst, c, operand),
        _ => once,
    }
}

/// The operand that all tiles need, once for each slice of a tile.
fn first_factor(chip: &Chip, outputs: u64) -> Reading {
    Reading { repeats: occupancy::slices_of_a_tile(chip, outputs).max(1), by: Tiles::All }
}

fn factors(chip: &Chip, out: &[u32], operand: &str, rows_of: impl Fn(&[u32]) -> u64) -> Reading {
    let Some((outputs, leading)) = out.split_last() else { return Reading { repeats: 1, by: Tiles::One } };
    let (slices, tiles) = (u64::from(*outputs).div_ceil(SLICE), chip.tiles.count);
    match operand {
        "a" | "a_zero" if slices >= tiles => first_factor(chip, u64::from(*outputs)),
        // Too few slices for all tiles: rows are dealt out as well, each is needed by the tiles that have its slices.
        "a" | "a_zero" => Reading { repeats: slices.max(1), by: Tiles::One },
        "b" | "b_zero" => Reading { repeats: rows_of(&leading[leading.len().saturating_sub(1)..]), by: Tiles::One },
        _ => Reading { repeats: 1, by: Tiles::One },
    }
}

/// Vectors: an operand that lies like the result is where it is needed.
fn vector_operand(chip: &Chip, inst: &Inst, c: &Context<'_>, operand: &'static str) -> Reading {
    let (mut own, mut result) = (None, None);
    inst.visit_operands(&mut |field| {
        if let Some(Descriptor::Tensor(view)) = &c.descriptors[field.register.index()] {
            if field.name == operand {
                own = Some((*view, field.access));
            }
            if result.is_none() && field.access != Access::Read {
                result = Some(*view);
            }
        }
    });
    let in_place = match (own, result) {
        (Some((own, access)), Some(result)) => access != Access::Read || lies_like(chip, &own, &result),
        _ => true,
    };
    Reading { repeats: 1, by: if in_place { Tiles::Owner } else { Tiles::One } }
}

/// Same places in the same tiles: equal dims, dense, elements of one size, bases a multiple of a line in every tile apart.
fn lies_like(chip: &Chip, a: &View, b: &View) -> bool {
    let round = chip.tiles.count * chip.sram.bank_bytes_per_clock;
    let dense = |view: &View| {
        let whole = View::dense(view.memory, view.element, view.dims(), view.base);
        view.paging.is_none() && whole.strides() == view.strides()
    };
    a.memory == b.memory
        && a.element.bytes() == b.element.bytes()
        && a.dims() == b.dims()
        && a.base % round == b.base % round
        && dense(a)
        && dense(b)
}

/// Rows of a table: where the index lies in memory is not looked at, the rows are taken as evenly spread.
pub(super) fn rows(
    chip: &Chip,
    c: &Context<'_>,
    work: &mut Work,
    rows: DescriptorRegister,
    table: DescriptorRegister,
    write: bool,
) {
    let bytes_of = |(dims, element): (&[u32], Element)| product(dims) * element.bytes() as u64;
    let bytes = bytes_of(dims(c, rows));
    let count = u64::from(dims(c, rows).0.first().copied().unwrap_or(0));
    work.clocks = occupancy::transfer(chip, bytes);
    let Some(Descriptor::Tensor(view)) = &c.descriptors[table.index()] else { return };
    let range = view.byte_range();
    work.hulls.push(Hull { sram: view.memory == Memory::Sram, write, start: range.start, end: range.end });
    if view.memory == Memory::Sram {
        work.counts.sram_bytes += bytes;
        return;
    }
    if let (Some(row), Some(spread)) = (bytes.checked_div(count), (range.end - range.start).checked_div(count)) {
        for i in 0..count {
            let start = range.start + i * spread;
            add_range(if write { &mut work.writes } else { &mut work.reads }, start, start + row);
        }
    }
}
