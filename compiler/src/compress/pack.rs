//! Weights as the matrix unit streams them: slices of a recipe's rows, packed in a format.
//!
//! In: the recipe of a matrix `[outputs, inputs]`, its format. Out: the bytes of the image, slice by slice. Always holds: slices are packed
//! in parallel but come in order, so the bytes do not depend on threads; only some MiB of a weight are in memory.

use narae_isa::format::{self, WeightFormat};
use narae_isa::{Diagnostic, Element, Overflow};
use rayon::prelude::*;

use super::{Recipe, Sources, stored};

/// Elements that one thread reads and packs at a time: many rows, because of a weight that the file holds transposed each row of the file
/// gives as many neighbours as there are rows here.
const ELEMENTS_AT_ONCE: usize = 1 << 20;

/// Parts that are packed at a time, in parallel.
const PARTS_AT_ONCE: usize = 8;

/// Rows of a slice.
const SLICE: usize = format::SLICE as usize;

/// Gives the bytes of a packed weight to `write`, in order.
pub fn stream(
    recipe: &Recipe,
    format: WeightFormat,
    sources: &Sources,
    mut write: impl FnMut(&[u8]) -> Result<(), Diagnostic>,
) -> Result<(), Diagnostic> {
    let [outputs, inputs] = [0, 1].map(|axis| recipe.dims()[axis]);
    let part = (ELEMENTS_AT_ONCE / inputs.max(1) / SLICE).clamp(1, outputs.div_ceil(SLICE).max(1)) * SLICE;
    let starts: Vec<usize> = (0..outputs).step_by(part).collect();
    for some in starts.chunks(PARTS_AT_ONCE) {
        let packed: Result<Vec<Vec<u8>>, Diagnostic> =
            some.par_iter().map(|&start| slices(recipe, format, sources, start, part.min(outputs - start))).collect();
        packed?.iter().try_for_each(|bytes| write(bytes))?;
    }
    Ok(())
}

/// All bytes of a packed weight.
pub fn whole(recipe: &Recipe, format: WeightFormat, sources: &Sources) -> Result<Vec<u8>, Diagnostic> {
    let mut all = Vec::new();
    stream(recipe, format, sources, |bytes| {
        all.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(all)
}

/// The slices of some rows, the first of which begins a slice.
fn slices(
    recipe: &Recipe,
    format: WeightFormat,
    sources: &Sources,
    start: usize,
    count: usize,
) -> Result<Vec<u8>, Diagnostic> {
    let (inputs, mut out) = (recipe.dims()[1], Vec::new());
    match format {
        WeightFormat::Float(kind) => {
            let values = recipe.rows(sources, start, count)?.convert(Element::F32, Overflow::Wrap).to_f32_vec();
            for rows in values.chunks((SLICE * inputs).max(1)) {
                format::pack_float_slice(kind, inputs, rows, &mut out);
            }
        }
        WeightFormat::Uniform { kind, group, scale } => {
            let all = stored::rows(recipe, sources, start, count)?;
            let groups = (SLICE * all.groups()).max(1);
            let parameters = all.scales.chunks(groups).zip(all.zeros.chunks(groups));
            for (codes, (scales, zeros)) in all.codes.chunks((SLICE * inputs).max(1)).zip(parameters) {
                format::pack_uniform_slice(
                    kind,
                    group,
                    scale,
                    inputs,
                    format::UniformRows { codes, scales, zeros },
                    &mut out,
                );
            }
        }
    }
    Ok(out)
}
