//! Weights as the matrix unit streams them: slices of a recipe's rows, packed in a format.
//!
//! In: the recipe of a matrix `[outputs, inputs]`, its format. Out: the bytes of the image, slice by slice. Always holds: slices are packed
//! in parallel but come in order, so the bytes do not depend on threads; no more than a few slices are in memory.

use narae_isa::format::{self, WeightFormat};
use narae_isa::{Diagnostic, Element, Overflow};
use rayon::prelude::*;

use super::{Recipe, Sources, stored};

/// Slices that are packed at a time, in parallel.
const SLICES_AT_ONCE: usize = 32;

/// Gives the bytes of a packed weight to `write`, in order.
pub fn stream(
    recipe: &Recipe,
    format: WeightFormat,
    sources: &Sources,
    mut write: impl FnMut(&[u8]) -> Result<(), Diagnostic>,
) -> Result<(), Diagnostic> {
    let outputs = recipe.dims()[0];
    let slice = format::SLICE as usize;
    let starts: Vec<usize> = (0..outputs).step_by(slice).collect();
    for some in starts.chunks(SLICES_AT_ONCE) {
        let packed: Result<Vec<Vec<u8>>, Diagnostic> =
            some.par_iter().map(|&start| rows(recipe, format, sources, start, slice.min(outputs - start))).collect();
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

/// One slice.
fn rows(
    recipe: &Recipe,
    format: WeightFormat,
    sources: &Sources,
    start: usize,
    count: usize,
) -> Result<Vec<u8>, Diagnostic> {
    let (inputs, mut out) = (recipe.dims()[1], Vec::new());
    match format {
        WeightFormat::Float(kind) => {
            let rows = recipe.rows(sources, start, count)?;
            let values = rows.convert(Element::F32, Overflow::Wrap).to_f32_vec();
            format::pack_float_slice(kind, inputs, &values, &mut out);
        }
        WeightFormat::Uniform { kind, group, scale } => {
            let codes = stored::rows(recipe, sources, start, count)?;
            let rows = format::UniformRows { codes: &codes.codes, scales: &codes.scales, zeros: &codes.zeros };
            format::pack_uniform_slice(kind, group, scale, inputs, rows, &mut out);
        }
    }
    Ok(out)
}
