//! From an instruction and its captured registers to what it costs: clocks, LPDDR traffic, what it wants of SRAM, counts for energy.
//!
//! In: a [`Context`] at dispatch. Out: [`Work`]. Always: looks at descriptors, scalar registers and lengths (past and valid keys), never at
//! other tensor data; rows that an index names are assumed to lie evenly spread where the index has not been computed.

mod matrix;
mod operands;

use super::counts::Counts;
use super::occupancy;
use super::sram::{Collector, Demand, Load};
use crate::execute::{Context, Touched, touch};
use crate::state::{Fault, Space};
use narae_isa::chip::Chip;
use narae_isa::functions::{BinaryFunction, UnaryFunction};
use narae_isa::operand::DescriptorRegister;
use narae_isa::{Element, Inst};

/// What an engine instruction costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Clocks that the engine is occupied when nothing keeps it waiting.
    pub clocks: u64,
    /// LPDDR ranges that are read: first byte and length.
    pub reads: Vec<(u64, u64)>,
    /// LPDDR ranges that are written.
    pub writes: Vec<(u64, u64)>,
    /// Bytes that pass the weight FIFO.
    pub weight_bytes: u64,
    /// What it wants of the SRAM, in all and per clock.
    pub sram: Demand,
    /// See [`Load::new`].
    pub load: Load,
    /// For moves: ranges that contain they touch, one per operand, for the interlock of those that run at the same time.
    pub hulls: Vec<Hull>,
    /// For energy.
    pub counts: Counts,
}

/// The least range that contains what an operand touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hull {
    /// In SRAM, or in LPDDR.
    pub sram: bool,
    /// Written, or read.
    pub write: bool,
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Work {
    /// Whether the order of two moves matters: one writes what the other touches.
    pub fn conflicts(&self, other: &Work) -> bool {
        let meet = |a: &Hull, b: &Hull| (a.write || b.write) && a.sram == b.sram && a.start < b.end && b.start < a.end;
        self.hulls.iter().any(|a| other.hulls.iter().any(|b| meet(a, b)))
    }
}

/// More ranges than this are merged; their lengths in whole bursts stay.
const MAX_RANGES: usize = 256;
/// Bytes that LPDDR moves at least.
const BURST: u64 = 32;

/// Adds a range to those of an instruction; ranges that meet in a burst become one.
fn add_range(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    let full = ranges.len() >= MAX_RANGES;
    match ranges.last_mut() {
        Some(last) if start >= last.0 && start / BURST <= (last.0 + last.1) / BURST => {
            last.1 = last.1.max(end - last.0);
        }
        Some(last) if full => last.1 += (end.div_ceil(BURST) - start / BURST) * BURST,
        _ => ranges.push((start, end - start)),
    }
}

/// Dims and element of a tensor operand; nothing for an empty register (execution reports it).
fn dims<'a>(c: &'a Context<'_>, register: DescriptorRegister) -> (&'a [u32], Element) {
    match &c.descriptors[register.index()] {
        Some(narae_isa::Descriptor::Tensor(view)) => (view.dims(), view.element),
        _ => (&[], Element::F32),
    }
}

fn product(dims: &[u32]) -> u64 {
    dims.iter().fold(1u64, |n, d| n.saturating_mul(u64::from(*d)))
}

/// What an engine instruction costs.
pub(super) fn work(chip: &Chip, inst: &Inst, c: &Context<'_>) -> Result<Work, Fault> {
    let mut work = Work::default();
    let moved = operands::collect(chip, inst, c, &mut work)?;
    let of = |register| dims(c, register);
    match inst {
        Inst::QueueSync(_) => {}
        Inst::LoadWeight(_) => {
            work.weight_bytes = moved;
            work.clocks = chip.dmaw.start_clocks;
        }
        Inst::Transfer(_) | Inst::Append(_) => work.clocks = occupancy::transfer(chip, moved.div_ceil(2)),
        Inst::GatherRows(row) => operands::rows(chip, c, &mut work, row.out, row.table, false),
        Inst::ScatterRows(row) => operands::rows(chip, c, &mut work, row.a, row.table, true),
        Inst::Linear(row) => matrix::linear(chip, c, row, &mut work),
        Inst::Matmul(row) => matrix::matmul(chip, of(row.out).0, of(row.a), &mut work),
        Inst::MatmulInteger(row) => matrix::matmul(chip, of(row.out).0, of(row.a), &mut work),
        Inst::Convolution(row) => matrix::convolution(chip, of(row.out).0, of(row.x), of(row.w).0, &mut work),
        Inst::Attend(row) => matrix::attend(chip, c, row, &mut work)?,
        _ => vector(chip, inst, c, &mut work),
    }
    work.load = Load::new(chip, &work.sram, work.clocks);
    work.counts.sram_bytes += work.sram.bank_bytes;
    work.counts.crossbar_bytes += work.sram.crossbar_bytes;
    // A weight crosses to the FIFO and is written there when it arrives, and read when it is used.
    if work.weight_bytes > 0 {
        work.counts.sram_bytes += work.weight_bytes;
        work.counts.crossbar_bytes += if matches!(inst, Inst::LoadWeight(_)) { work.weight_bytes } else { 0 };
    }
    Ok(work)
}

/// Clocks per element of a vector instruction, and whether its function is transcendental.
fn vector(chip: &Chip, inst: &Inst, c: &Context<'_>, work: &mut Work) {
    let mut widest = Element::U8;
    let mut elements = 0;
    inst.visit_operands(&mut |operand| {
        let (dims, element) = dims(c, operand.register);
        widest = if element.bits() > widest.bits() { element } else { widest };
        elements = elements.max(product(dims));
    });
    let vpe = &chip.vpe;
    let (clocks, transcendentals) = match inst {
        Inst::Unary(row) if is_transcendental(row.function) => (vpe.transcendental_clocks, 1),
        Inst::Binary(row)
            if matches!(row.function, BinaryFunction::Pow | BinaryFunction::Atan2 | BinaryFunction::MulSilu) =>
        {
            (vpe.transcendental_clocks, 1)
        }
        // Maximum, exponential, sum, quotient.
        Inst::Softmax(_) => (3 + vpe.transcendental_clocks, 1),
        // Sum, sum of squares, product with factor and gain.
        Inst::Norm(_) => (3, 0),
        Inst::Rope(_) => (3, 0),
        Inst::Gather(_)
        | Inst::GatherElements(_)
        | Inst::GatherNd(_)
        | Inst::ScatterElements(_)
        | Inst::ScatterNd(_)
        | Inst::NonZero(_) => (vpe.indexed_clocks, 0),
        Inst::TopK(row) => {
            let (dims, _) = dims(c, row.a);
            let n = dims.get(row.axis.index()).map_or(1, |n| u64::from(*n));
            (vpe.sort_clocks * occupancy::sort_passes(n), 0)
        }
        Inst::Pool(row) => (product_of_kernel(c, row.window), 0),
        Inst::Resize(_) => (4, 0),
        Inst::Quantize(_) | Inst::Dequantize(_) => (2, 0),
        _ => (1, 0),
    };
    work.clocks = occupancy::vector(chip, widest, elements, clocks);
    work.counts.vector_operations += elements * clocks;
    work.counts.transcendentals += elements * transcendentals;
}

fn product_of_kernel(c: &Context<'_>, register: DescriptorRegister) -> u64 {
    match &c.descriptors[register.index()] {
        Some(narae_isa::Descriptor::Parameters(narae_isa::descriptor::Parameters::Window(window))) => {
            window.kernel.iter().map(|k| u64::from(k.unsigned_abs())).product()
        }
        _ => 1,
    }
}

fn is_transcendental(function: UnaryFunction) -> bool {
    use UnaryFunction::*;
    match function {
        Neg | Abs | Floor | Ceil | Round | Truncate | Sign | Relu | HardSwish | Not | BitwiseNot | IsNan | IsInf
        | IsPosInf | IsNegInf | Square => false,
        Exp | Log | Sqrt | Rsqrt | Reciprocal | Tanh | Erf | Sin | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh
        | Asinh | Acosh | Atanh | Sigmoid | Softplus | Softsign | Mish | Gelu | GeluTanh | Silu | QuickGelu | Expm1
        | Log1p | Exp2 | LogGamma => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_become_one_and_many_keep_their_bursts() {
        let mut ranges = Vec::new();
        add_range(&mut ranges, 0, 64);
        add_range(&mut ranges, 64, 100);
        add_range(&mut ranges, 120, 130); // the burst that ends at 128
        assert_eq!(ranges, [(0, 130)]);
        for i in 1..1000u64 {
            add_range(&mut ranges, i * 4096 + 8, i * 4096 + 12);
        }
        assert_eq!(ranges.len(), MAX_RANGES);
        let merged: u64 = ranges[MAX_RANGES - 1].1;
        assert_eq!(merged, 4 + (999 - 255) * BURST);
    }
}
