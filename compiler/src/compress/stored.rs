//! How the weight of a linear layer is stored, read off its recipe; and the codes to pack.
//!
//! In: the recipe of a weight `[N, K]`. Out: its format, and any rows of it as codes with scales and zero points. Codes that a file
//! already holds (MatMulNBits, DequantizeLinear) are found through transposes, reshapes, concatenations and slices of their
//! dequantisation and are carried over exactly. Always holds: the recipe's elements are the values of the codes, so evaluator
//! and image agree.

use narae_isa::format::{FloatKind, Group, ScaleType, UniformKind, WeightFormat};
use narae_isa::{BinaryFunction, Diagnostic, Element, codes};

use super::carry::{self, CarryError};
use super::policy::Storage;
use super::quantize::{Codes, NoCode};
use super::recipe::{Recipe, Step};
use super::sources::Sources;

/// Integer weights of a file: `codes [N, K]`, `scales [N, G]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    codes: Recipe,
    scales: Recipe,
    zeros: Option<Recipe>,
    kind: UniformKind,
    group: Group,
    scale: ScaleType,
}

/// A dequantisation along axis `axis`, whatever was done to its result.
struct Parts {
    codes: Recipe,
    scales: Recipe,
    zeros: Option<Recipe>,
    axis: usize,
    block: usize,
}

/// How a weight `[N, K]` is stored if nothing more is decided.
pub fn storage(weight: &Recipe) -> Storage {
    let weight = chosen(weight);
    if let Step::Store { storage, .. } = weight.step() {
        return *storage;
    }
    if let Some(carried) = carried(weight) {
        return Storage::Carried { kind: carried.kind, group: carried.group, scale: carried.scale };
    }
    Storage::Float(match weight.element() {
        Element::F16 => FloatKind::F16,
        Element::BF16 => FloatKind::BF16,
        _ => FloatKind::F32,
    })
}

/// The weight below conversions of one for which a storage was chosen: the program's precision does not touch codes.
fn chosen(weight: &Recipe) -> &Recipe {
    let mut below = weight;
    while let Step::Convert { source, .. } = below.step() {
        below = source;
    }
    if matches!(below.step(), Step::Store { .. }) { below } else { weight }
}

/// Rows `start..start + count` of a weight whose storage is not plain floats.
pub fn rows(weight: &Recipe, sources: &Sources, start: usize, count: usize) -> Result<Codes, Diagnostic> {
    let weight = chosen(weight);
    let columns = weight.dims()[1];
    if let Step::Store { source, storage: Storage::Quantized(quantizer) } = weight.step() {
        let values =
            source.rows(sources, start, count)?.convert(Element::F32, narae_isa::Overflow::Saturate).to_f32_vec();
        return quantizer.matrix(&values, columns).map_err(|error| {
            let error = error.from_row(start);
            let code = if matches!(error, NoCode::Scale { .. }) { &codes::E0412 } else { &codes::E0203 };
            Diagnostic::new(code, error.to_string())
        });
    }
    let carried = carried(weight);
    let carried = carried.expect("only quantised and carried weights are read as codes");
    carried.rows(sources, start, count)
}

/// The format in memory of a weight.
pub fn format(weight: &Recipe) -> WeightFormat {
    storage(weight).format()
}

/// The integer weights that a recipe only rearranges, if it does.
pub fn carried(weight: &Recipe) -> Option<Carried> {
    let weight = match weight.step() {
        Step::Store { source, storage: Storage::Carried { .. } } => source,
        _ => weight,
    };
    let parts = parts(weight)?;
    let [rows, columns] = *parts.codes.dims() else { return None };
    let (kind, signed_fits) = match parts.codes.element() {
        Element::U8 | Element::I8 => (UniformKind::U8, true),
        Element::U4 | Element::I4 => (UniformKind::U4, true),
        Element::U2 | Element::I2 => (UniformKind::U2, true),
        _ => (UniformKind::U8, false),
    };
    if !signed_fits {
        return None;
    }
    let scale = match parts.scales.element() {
        Element::F16 => ScaleType::F16,
        Element::BF16 => ScaleType::BF16,
        Element::F32 => ScaleType::F32,
        _ => return None,
    };
    let group = match parts.block {
        0 => Group::Row,
        block if block >= columns => Group::Row,
        block if parts.axis == 1 => Group::of_inputs(u32::try_from(block).ok()?)?,
        _ => return None,
    };
    let groups = group.count(columns as u64) as usize;
    let whole = |recipe: &Recipe| match *recipe.dims() {
        [n, g] if (n == rows || n == 1) && (g == groups || g == 1) => recipe.broadcast(vec![rows, groups]).ok(),
        _ => None,
    };
    let zeros = match &parts.zeros {
        Some(zeros) => Some(whole(zeros)?),
        None => None,
    };
    Some(Carried { scales: whole(&parts.scales)?, zeros, codes: parts.codes, kind, group, scale })
}

impl Carried {
    fn rows(&self, sources: &Sources, start: usize, count: usize) -> Result<Codes, Diagnostic> {
        let columns = self.codes.dims()[1];
        let codes = self.codes.rows(sources, start, count)?.to_i64_vec();
        let scales =
            self.scales.rows(sources, start, count)?.convert(Element::F32, narae_isa::Overflow::Saturate).to_f32_vec();
        let zeros = match &self.zeros {
            Some(zeros) => zeros.rows(sources, start, count)?.to_i64_vec(),
            None => vec![],
        };
        let mut all = Codes::new(columns, self.group);
        let groups = all.groups();
        let signed = matches!(self.codes.element(), Element::I8 | Element::I4 | Element::I2);
        for row in 0..count {
            let own = |list: &[i64]| list.get(row * groups..(row + 1) * groups).unwrap_or_default().to_vec();
            let codes = &codes[row * columns..(row + 1) * columns];
            let scales = &scales[row * groups..(row + 1) * groups];
            carry::integer_row(codes, scales, &own(&zeros), self.kind.bits(), signed, &mut all)
                .map_err(|error| refused(start + row, &error))?;
        }
        Ok(all)
    }
}

fn refused(row: usize, error: &CarryError) -> Diagnostic {
    Diagnostic::new(&codes::E0203, format!("row {row} of an integer weight cannot be stored: {error}"))
}

/// The codes of a file whose zero points are floats, as the importer spells them: `(codes - zeros) · scales`. They have no format of ours.
pub fn with_float_zeros(weight: &Recipe) -> Option<&Recipe> {
    match weight.step() {
        Step::Transpose(source, _)
        | Step::Reshape(source)
        | Step::Convert { source, .. }
        | Step::Slice { source, .. } => with_float_zeros(source),
        Step::Binary(BinaryFunction::Mul, centred, _) => match centred.step() {
            Step::Binary(BinaryFunction::Sub, wide, zeros) => match wide.step() {
                Step::Convert { source, .. } if source.element().is_integer() && zeros.element().is_float() => {
                    Some(source)
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Finds the dequantisation under changes of layout, and does the changes to its codes, scales and zero points.
fn parts(weight: &Recipe) -> Option<Parts> {
    match weight.step() {
        Step::Dequantize { codes, scale, zero, axis, block } => {
            let parts =
                Parts { codes: codes.clone(), scales: scale.clone(), zeros: zero.clone(), axis: *axis, block: *block };
            Some(parts)
        }
        Step::Transpose(source, permutation) if *permutation == [1, 0] => {
            let parts = parts(source)?;
            let axis = if parts.block == 0 { parts.axis } else { 1_usize.checked_sub(parts.axis)? };
            Some(Parts { axis, ..parts.map(|recipe| recipe.transpose(permutation).ok())? })
        }
        Step::Reshape(source) => reshaped(&parts(source)?, weight.dims()),
        Step::Concat(list, axis) => concatenated(&list.iter().map(parts).collect::<Option<Vec<_>>>()?, *axis),
        Step::Slice { source, starts, steps } => sliced(parts(source)?, starts, steps, weight.dims()),
        // The product is with the codes themselves, so a rounding of their values in between is not needed.
        Step::Convert { source, .. } => parts(source).filter(|_| weight.element().is_float()),
        Step::Inline(_)
        | Step::File { .. }
        | Step::Unpack(_)
        | Step::Transpose(..)
        | Step::Broadcast(_)
        | Step::Gather { .. }
        | Step::Unary(..)
        | Step::Binary(..)
        | Step::Store { .. } => None,
    }
}

impl Parts {
    /// The same change to all recipes.
    fn map(&self, change: impl Fn(&Recipe) -> Option<Recipe>) -> Option<Parts> {
        let zeros = match &self.zeros {
            Some(zeros) => Some(change(zeros)?),
            None => None,
        };
        let (codes, scales) = (change(&self.codes)?, change(&self.scales)?);
        Some(Parts { codes, scales, zeros, axis: self.axis, block: self.block })
    }
}

/// Blocks `[N, G, B]` with one scale each, seen as rows `[N, G·B]`.
fn reshaped(parts: &Parts, dims: &[usize]) -> Option<Parts> {
    let [n, groups, block] = *parts.codes.dims() else { return None };
    if dims != [n, groups * block] || parts.block != 0 || parts.scales.dims() != [n, groups, 1] {
        return None;
    }
    let codes = parts.codes.reshape(dims.to_vec()).ok()?;
    let per_group = |recipe: &Recipe| recipe.reshape(vec![n, groups]).ok();
    let zeros = match &parts.zeros {
        Some(zeros) => Some(per_group(zeros)?),
        None => None,
    };
    Some(Parts { codes, scales: per_group(&parts.scales)?, zeros, axis: 1, block })
}

/// Rows of several weights with the same grouping.
fn concatenated(list: &[Parts], axis: usize) -> Option<Parts> {
    let first = list.first()?;
    let alike = |parts: &Parts| {
        parts.block == first.block
            && parts.axis == first.axis
            && parts.zeros.is_some() == first.zeros.is_some()
            && parts.codes.element() == first.codes.element()
            && parts.scales.element() == first.scales.element()
            && (parts.block == 0 || parts.axis != axis)
    };
    if axis != 0 || !list.iter().all(alike) {
        return None;
    }
    let join = |part: &dyn Fn(&Parts) -> Option<Recipe>| {
        let recipes: Option<Vec<Recipe>> = list.iter().map(part).collect();
        Recipe::concat(&recipes?, axis).ok()
    };
    // One scale for all rows of a part becomes one per row.
    let per_row = |parts: &Parts, recipe: &Recipe| {
        let (rows, rest) = (parts.codes.dims().first()?, recipe.dims().get(1)?);
        recipe.broadcast(vec![*rows, *rest]).ok()
    };
    let zeros = match &first.zeros {
        Some(_) => Some(join(&|parts| per_row(parts, parts.zeros.as_ref()?))?),
        None => None,
    };
    let codes = join(&|parts| Some(parts.codes.clone()))?;
    let scales = join(&|parts| per_row(parts, &parts.scales))?;
    Some(Parts { codes, scales, zeros, axis: first.axis, block: first.block })
}

/// Padding behind the last group cut off.
fn sliced(parts: Parts, starts: &[usize], steps: &[i64], dims: &[usize]) -> Option<Parts> {
    let same_groups = parts.axis == 1
        && parts.block > 0
        && dims.len() == 2
        && parts.scales.dims()[1] == dims[1].div_ceil(parts.block);
    if starts.iter().any(|start| *start != 0)
        || steps.iter().any(|step| *step != 1)
        || !same_groups
        || dims[0] != parts.codes.dims()[0]
    {
        return None;
    }
    let codes = parts.codes.slice(starts, steps, dims.to_vec()).ok()?;
    Some(Parts { codes, ..parts })
}
