//! The written formulas: how many clocks an engine is occupied by an instruction, from the chip sheet and the shape of the work.
//!
//! In: a chip sheet and lengths. Out: clocks. Always: integers, exact; work on a matrix is dealt out to the tiles in slices of 32 outputs, so
//! the tile with the most slices decides. Waiting for memory is not part of a formula.

use narae_isa::chip::Chip;
use narae_isa::format::SLICE;
use narae_isa::{Element, ElementClass};

/// Slices of 32 outputs on the tile that has most of them.
pub fn slices_of_a_tile(chip: &Chip, outputs: u64) -> u64 {
    outputs.div_ceil(SLICE).div_ceil(chip.tiles.count)
}

/// Look-up products: slices·⌈32/outputs a clock⌉·⌈K/µ⌉·⌈planes/planes a clock⌉·⌈T/tokens a clock⌉ + fill.
pub fn lut_product(chip: &Chip, outputs: u64, inputs: u64, planes: u64, tokens: u64) -> u64 {
    let mxe = &chip.mxe;
    let slices = slices_of_a_tile(chip, outputs) * SLICE.div_ceil(mxe.lut_outputs);
    slices * inputs.div_ceil(mxe.lut_inputs) * planes.div_ceil(mxe.lut_planes) * tokens.div_ceil(mxe.lut_tokens)
        + mxe.fill_clocks
}

/// Multiply-adds that the matrix engine does in a tile and clock for products of this element type.
pub fn product_rate(chip: &Chip, element: Element) -> u64 {
    match (element.class(), element.bits()) {
        (ElementClass::Float, 64) => chip.mxe.f64_macs,
        (ElementClass::Float, 32) => chip.mxe.f32_macs,
        (ElementClass::Float, _) => chip.mxe.f16_macs,
        (ElementClass::Integer | ElementClass::Bool, 0..=16) => chip.mxe.integer_macs,
        (ElementClass::Integer | ElementClass::Bool, 17..=32) => chip.mxe.f32_macs,
        (ElementClass::Integer | ElementClass::Bool, _) => chip.mxe.f64_macs,
    }
}

/// Plain products of `rows` rows with a matrix [outputs, inputs]: ⌈slices·32·K·rows / rate⌉ + fill, slices dealt out to the tiles.
pub fn plain_product(chip: &Chip, element: Element, rows: u64, outputs: u64, inputs: u64) -> u64 {
    let work = slices_of_a_tile(chip, outputs) * SLICE * inputs * rows;
    work.div_ceil(product_rate(chip, element)) + chip.mxe.fill_clocks
}

/// Products of many pairs of matrices, [rows, inputs] × [inputs, outputs] each: the slices of all rows of all pairs are dealt out.
pub fn batched_product(chip: &Chip, element: Element, batches: u64, rows: u64, outputs: u64, inputs: u64) -> u64 {
    let units = (batches * rows * outputs.div_ceil(SLICE)).div_ceil(chip.tiles.count);
    (units * SLICE * inputs).div_ceil(product_rate(chip, element)) + chip.mxe.fill_clocks
}

/// Attention: blocks of 64 keys of all batches and KV heads are dealt out; a block of q visible pairs (query, block) takes
/// ⌈q·64·(D + Dv) / rate⌉ + ⌈q·64 / exponentials⌉ + fill. `pairs` counts (query, block) over all heads, `blocks` (KV head, block).
pub fn attention(chip: &Chip, element: Element, pairs: u64, blocks: u64, depth: u64, value_depth: u64) -> u64 {
    let rate = if element.bits() >= 32 { chip.ate.f32_macs } else { chip.ate.f16_macs };
    let pairs_of_a_tile = pairs.div_ceil(chip.tiles.count);
    let blocks_of_a_tile = blocks.div_ceil(chip.tiles.count);
    (pairs_of_a_tile * 64 * (depth + value_depth)).div_ceil(rate)
        + (pairs_of_a_tile * 64).div_ceil(chip.ate.exponentials)
        + blocks_of_a_tile * chip.ate.block_clocks
}

/// Lanes of the vector engine in a tile for the widest element type of an instruction.
pub fn lanes(chip: &Chip, widest: Element) -> u64 {
    match widest.bits() {
        0..=16 => chip.vpe.f16_lanes,
        17..=32 => chip.vpe.f32_lanes,
        _ => chip.vpe.f64_lanes,
    }
}

/// Vector instructions: ⌈elements / (lanes·tiles)⌉·clocks per element + fill.
pub fn vector(chip: &Chip, widest: Element, elements: u64, clocks_per_element: u64) -> u64 {
    elements.div_ceil(lanes(chip, widest) * chip.tiles.count) * clocks_per_element + chip.vpe.fill_clocks
}

/// Moves: ⌈bytes / bytes a clock⌉ + start.
pub fn transfer(chip: &Chip, bytes: u64) -> u64 {
    bytes.div_ceil(chip.dmaa.bytes_per_clock) + chip.dmaa.start_clocks
}

/// Passes of a merge sort of n elements: ⌈log2 n⌉, at least one.
pub fn sort_passes(n: u64) -> u64 {
    u64::from(64 - n.saturating_sub(1).leading_zeros()).max(1)
}
