//! From an instruction and its captured registers to what it costs: clocks, LPDDR traffic, counts for energy.
//!
//! In: a [`Context`] at dispatch. Out: [`Work`]. Always: looks at descriptors, scalar registers and lengths (past and valid keys), never at
//! other tensor data; rows that an index names are assumed to lie evenly spread where the index has not been computed.

use super::occupancy;
use super::{Action, Step};
use crate::execute::{Context, touch};
use crate::machine::Recorder;
use crate::state::{Fault, Space};
use narae_isa::chip::Chip;
use narae_isa::format::WeightFormat;
use narae_isa::functions::{BinaryFunction, UnaryFunction};
use narae_isa::operand::DescriptorRegister;
use narae_isa::{Element, Inst, Word};

/// Events that cost energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes read from or written to SRAM by engines.
    pub sram_bytes: u64,
    /// Weights × planes × tokens of look-up products.
    pub lut_planes: u64,
    /// Multiply-adds of f16 and bf16.
    pub f16_macs: u64,
    /// Multiply-adds of f32.
    pub f32_macs: u64,
    /// Multiply-adds of f64.
    pub f64_macs: u64,
    /// Multiply-adds of integers.
    pub integer_macs: u64,
    /// Elementwise operations.
    pub vector_operations: u64,
    /// Transcendental functions.
    pub transcendentals: u64,
    /// Instructions.
    pub instructions: u64,
}

impl Counts {
    /// Adds other counts.
    pub fn add(&mut self, other: &Counts) {
        self.sram_bytes += other.sram_bytes;
        self.lut_planes += other.lut_planes;
        self.f16_macs += other.f16_macs;
        self.f32_macs += other.f32_macs;
        self.f64_macs += other.f64_macs;
        self.integer_macs += other.integer_macs;
        self.vector_operations += other.vector_operations;
        self.transcendentals += other.transcendentals;
        self.instructions += other.instructions;
    }
}

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
    /// For energy.
    pub counts: Counts,
}

/// More ranges than this are merged; bytes stay exact.
const MAX_RANGES: usize = 256;

fn add_range(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    let full = ranges.len() >= MAX_RANGES;
    match ranges.last_mut() {
        Some(last) if full || last.0 + last.1 == start => last.1 += end - start,
        _ => ranges.push((start, end - start)),
    }
}

/// Collects the steps of a run.
#[derive(Debug)]
pub struct StepRecorder<'a> {
    chip: &'a Chip,
    /// The steps so far.
    pub steps: Vec<Step>,
}

impl<'a> StepRecorder<'a> {
    /// A recorder for this chip.
    pub fn new(chip: &'a Chip) -> StepRecorder<'a> {
        StepRecorder { chip, steps: Vec::new() }
    }
}

impl Recorder for StepRecorder<'_> {
    fn step(&mut self, pc: u32, word: &Word, context: &Context<'_>) -> Result<(), Fault> {
        let agent = word.inst.engine().code();
        let action = if agent == 0 {
            scalar_action(&word.inst, context)
        } else {
            Action::Dispatch(work(self.chip, &word.inst, context)?)
        };
        self.steps.push(Step { pc, agent, sync: word.sync, action });
        Ok(())
    }
}

fn scalar_action(inst: &Inst, c: &Context<'_>) -> Action {
    match inst {
        Inst::Fence(_) | Inst::Halt(_) => Action::Fence,
        Inst::Jump(_) => Action::Branch,
        Inst::Branch(_) | Inst::BranchImmediate(_) => Action::Branch,
        Inst::LoadDescriptor(row) => {
            let offset = row.ri.map_or(0, |register| c.scalars[register.index()]);
            Action::Descriptor((i64::from(row.row.0).wrapping_add(offset)) as u32)
        }
        Inst::LoadScalar(_) | Inst::StoreScalar(_) => {
            let mut address = None;
            let found = touch::<Fault>(c, inst, |space, _, start, _| {
                address = (space == Space::Dram).then_some(start);
                Ok(())
            });
            // A bad address is reported when the instruction is executed.
            Action::Load(found.ok().and(address))
        }
        Inst::Mark(row) => {
            let offset = row.ri.map_or(0, |register| c.scalars[register.index()]);
            Action::Mark(row.kind, i64::from(row.value).wrapping_add(offset))
        }
        _ => Action::Scalar,
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
fn work(chip: &Chip, inst: &Inst, c: &Context<'_>) -> Result<Work, Fault> {
    let mut work = Work::default();
    work.counts.instructions = 1;
    let mut moved = 0;
    let whole_table = matches!(inst, Inst::GatherRows(_) | Inst::ScatterRows(_));
    if !whole_table {
        touch::<Fault>(c, inst, |space, write, start, end| {
            moved += end - start;
            match (space, write) {
                (Space::Sram, _) => work.counts.sram_bytes += end - start,
                (Space::Dram, false) => add_range(&mut work.reads, start, end),
                (Space::Dram, true) => add_range(&mut work.writes, start, end),
            }
            Ok(())
        })?;
    }
    let of = |register| dims(c, register);
    match inst {
        Inst::LoadWeight(_) => {
            work.weight_bytes = moved;
            work.clocks = chip.dmaw.start_clocks;
        }
        Inst::Transfer(_) | Inst::Append(_) => work.clocks = occupancy::transfer(chip, moved.div_ceil(2)),
        Inst::GatherRows(row) => rows(chip, c, &mut work, row.out, row.table, false),
        Inst::ScatterRows(row) => rows(chip, c, &mut work, row.a, row.table, true),
        Inst::Linear(row) => linear(chip, c, row, &mut work),
        Inst::Matmul(row) => matmul(chip, of(row.out).0, of(row.a), &mut work),
        Inst::MatmulInteger(row) => matmul(chip, of(row.out).0, of(row.a), &mut work),
        Inst::Convolution(row) => convolution(chip, of(row.out).0, of(row.x), of(row.w).0, &mut work),
        Inst::Attend(row) => attend(chip, c, row, &mut work),
        _ => vector(chip, inst, c, &mut work),
    }
    Ok(work)
}

/// Rows of a table: where the index lies in memory is not looked at, the rows are taken as evenly spread.
fn rows(
    chip: &Chip,
    c: &Context<'_>,
    work: &mut Work,
    rows: DescriptorRegister,
    table: DescriptorRegister,
    write: bool,
) {
    let ((dims, element), bytes_of) =
        (dims(c, rows), |dims: &[u32], element: Element| product(dims) * element.bytes() as u64);
    let bytes = bytes_of(dims, element);
    let count = u64::from(dims.first().copied().unwrap_or(0));
    work.clocks = occupancy::transfer(chip, bytes);
    work.counts.sram_bytes += bytes;
    if let Some(narae_isa::Descriptor::Tensor(view)) = &c.descriptors[table.index()]
        && view.memory == narae_isa::Memory::Dram
        && count > 0
    {
        let range = view.byte_range();
        let (row, spread) = (bytes / count, (range.end - range.start) / count);
        for i in 0..count {
            let start = range.start + i * spread;
            add_range(if write { &mut work.writes } else { &mut work.reads }, start, start + row);
        }
    }
}

fn linear(chip: &Chip, c: &Context<'_>, row: &narae_isa::instructions::Linear, work: &mut Work) {
    let Some(narae_isa::Descriptor::Weight(weight)) = &c.descriptors[row.weight.index()] else { return };
    let (n, k) = (u64::from(weight.outputs), u64::from(weight.inputs));
    let (x, element) = dims(c, row.x);
    let tokens = product(x).checked_div(k).unwrap_or(0);
    work.weight_bytes = weight.packed_bytes();
    match weight.format {
        WeightFormat::Uniform { kind, .. } => {
            let planes = u64::from(kind.bits());
            work.clocks = occupancy::lut_product(chip, n, k, planes, tokens);
            work.counts.lut_planes = n * k * planes * tokens;
        }
        WeightFormat::Float(kind) => {
            // A product is as wide as its wider operand.
            let wide = kind.bytes() == 4 || element.bits() >= 32;
            work.clocks = occupancy::plain_product(chip, if wide { Element::F32 } else { Element::F16 }, tokens, n, k);
            *(if wide { &mut work.counts.f32_macs } else { &mut work.counts.f16_macs }) += n * k * tokens;
        }
    }
}

fn count_macs(counts: &mut Counts, element: Element, macs: u64) {
    let counter = match (element.is_float(), element.bits()) {
        (true, 64) => &mut counts.f64_macs,
        (true, 32) => &mut counts.f32_macs,
        (true, _) => &mut counts.f16_macs,
        (false, _) => &mut counts.integer_macs,
    };
    *counter += macs;
}

fn matmul(chip: &Chip, out: &[u32], (a, element): (&[u32], Element), work: &mut Work) {
    let (Some((n, leading)), Some(k)) = (out.split_last(), a.last()) else { return };
    let (n, k, rows) = (u64::from(*n), u64::from(*k), product(leading));
    work.clocks = occupancy::batched_product(chip, element, 1, rows, n, k);
    count_macs(&mut work.counts, element, rows * n * k);
}

fn convolution(chip: &Chip, out: &[u32], (_, element): (&[u32], Element), w: &[u32], work: &mut Work) {
    if out.len() < 3 || w.len() < 3 {
        return;
    }
    let (batches, outputs, positions, terms) =
        (product(&out[..2]), u64::from(out[2]), product(&out[3..]), product(&w[2..]));
    work.clocks = occupancy::batched_product(chip, element, batches, positions, outputs, terms);
    count_macs(&mut work.counts, element, batches * positions * outputs * terms);
}

fn attend(chip: &Chip, c: &Context<'_>, row: &narae_isa::instructions::Attend, work: &mut Work) {
    let ((q, element), (k, kv_element), (v, _)) = (dims(c, row.q), dims(c, row.k), dims(c, row.v));
    let ([batch, heads, queries, depth], [_, kv_heads, keys, _], [_, _, _, value_depth]) = (q, k, v) else { return };
    let past = crate::execute::sequence_lengths(c, row.past, *batch as usize);
    let (mut pairs, mut blocks) = (0u64, 0u64);
    for b in 0..*batch as usize {
        let before = match &past {
            Some(past) => past[b] as u64,
            None if row.causal => u64::from(keys.saturating_sub(*queries)),
            None => 0,
        };
        let end = if past.is_some() { u64::from(*keys).min(before + u64::from(*queries)) } else { u64::from(*keys) };
        blocks += end.div_ceil(64) * u64::from(*kv_heads);
        for i in 0..u64::from(*queries) {
            let seen = if row.causal { end.min(before + i + 1) } else { end };
            pairs += seen.div_ceil(64) * u64::from(*heads);
        }
    }
    let wider = if element.bits() >= kv_element.bits() { element } else { kv_element };
    work.clocks = occupancy::attention(chip, wider, pairs, blocks, u64::from(*depth), u64::from(*value_depth));
    count_macs(&mut work.counts, wider, pairs * 64 * u64::from(depth + value_depth));
    work.counts.transcendentals += pairs * 64;
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
        Inst::QueueSync(_) => return,
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
