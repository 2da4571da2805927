//! Products and attention: clocks by the formulas of [`occupancy`], multiply-adds by the shape.

use super::{Chip, Context, Counts, Element, Fault, Work, dims, occupancy, product};
use crate::execute::visible_keys;
use narae_isa::format::WeightFormat;
use narae_isa::instructions::{Attend, Linear};

/// Keys of one block of the attention engine.
const BLOCK: u64 = 64;

pub(super) fn linear(chip: &Chip, c: &Context<'_>, row: &Linear, work: &mut Work) {
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
            work.counts.lut_macs = n * k * tokens;
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

pub(super) fn matmul(chip: &Chip, out: &[u32], (a, element): (&[u32], Element), work: &mut Work) {
    let (Some((n, leading)), Some(k)) = (out.split_last(), a.last()) else { return };
    let (n, k, rows) = (u64::from(*n), u64::from(*k), product(leading));
    work.clocks = occupancy::batched_product(chip, element, 1, rows, n, k);
    count_macs(&mut work.counts, element, rows * n * k);
}

pub(super) fn convolution(chip: &Chip, out: &[u32], (_, element): (&[u32], Element), w: &[u32], work: &mut Work) {
    if out.len() < 3 || w.len() < 3 {
        return;
    }
    let (batches, outputs, positions, terms) =
        (product(&out[..2]), u64::from(out[2]), product(&out[3..]), product(&w[2..]));
    work.clocks = occupancy::batched_product(chip, element, batches, positions, outputs, terms);
    count_macs(&mut work.counts, element, batches * positions * outputs * terms);
}

pub(super) fn attend(chip: &Chip, c: &Context<'_>, row: &Attend, work: &mut Work) -> Result<(), Fault> {
    let ((q, element), (k, kv_element), (v, _)) = (dims(c, row.q), dims(c, row.k), dims(c, row.v));
    let ([batch, heads, queries, depth], [_, kv_heads, keys, _], [_, _, _, value_depth]) = (q, k, v) else {
        return Ok(());
    };
    let visible = visible_keys(c, row, *batch as usize, *queries as usize, *keys as usize)?;
    let (mut pairs, mut blocks) = (0u64, 0u64);
    for sequence in &visible {
        let blocks_of = |first: usize, end: usize| (end as u64).div_ceil(BLOCK).saturating_sub(first as u64 / BLOCK);
        pairs += sequence.iter().map(|seen| blocks_of(seen.start, seen.end)).sum::<u64>() * u64::from(*heads);
        let (first, end) = (sequence.iter().map(|s| s.start).min(), sequence.iter().map(|s| s.end).max());
        blocks += blocks_of(first.unwrap_or(0), end.unwrap_or(0)) * u64::from(*kv_heads);
    }
    let wider = if element.bits() >= kv_element.bits() { element } else { kv_element };
    work.clocks = occupancy::attention(chip, wider, pairs, blocks, u64::from(*depth), u64::from(*value_depth));
    count_macs(&mut work.counts, wider, pairs * BLOCK * u64::from(depth + value_depth));
    work.counts.transcendentals += pairs * BLOCK;
    Ok(())
}
