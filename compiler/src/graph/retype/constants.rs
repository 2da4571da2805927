//! What the numbers of a constant are, as far as a narrower type is concerned; and the constant in that type.
//!
//! In: a recipe, the target. Out: whether a finite element is beyond the target's range, or the only number below its normal ones; the
//! recipe narrowed so that finite numbers stay finite. Always holds: only constants up to a limit are read, weights of layers never.

use narae_isa::{Element, HostTensor, Overflow};

use crate::compress::{Recipe, Sources};

/// Constants of elementwise ops up to so many bytes are looked at.
const MOST_READ: usize = 16 << 20;
/// Constants up to so many bytes are narrowed at once, infinities kept.
const MOST_NARROWED: usize = 1 << 20;

/// Greatest finite and least normal number of a float type.
fn limits(target: Element) -> (f64, f64) {
    match target {
        Element::F16 => (65504.0, 6.103_515_625e-5),
        Element::BF16 => (f64::from(half::bf16::MAX.to_f32()), f64::from(f32::MIN_POSITIVE)),
        _ => (f64::INFINITY, 0.0),
    }
}

/// Whether `target` cannot hold the numbers of a constant: one is finite and too large, or all are one number too small.
pub(super) fn is_beyond(recipe: &Recipe, sources: &Sources, target: Element) -> bool {
    if !recipe.element().is_float() || recipe.bytes() > MOST_READ || recipe.count() == 0 {
        return false;
    }
    // A file that cannot be read is reported when the constant is used.
    let Ok(tensor) = recipe.evaluate(sources) else { return false };
    let (most, least) = limits(target);
    let values = tensor.to_f64_vec();
    let too_large = values.iter().any(|value| value.is_finite() && value.abs() > most);
    let first = values[0];
    let too_small = first != 0.0 && first.abs() < least && values.iter().all(|value| *value == first);
    too_large || too_small
}

/// The constant in a narrower type: finite numbers stay finite, and of small constants infinities stay infinite.
pub(super) fn narrowed(recipe: &Recipe, sources: &Sources, target: Element) -> Recipe {
    if recipe.bytes() <= MOST_NARROWED
        && let Ok(tensor) = recipe.evaluate(sources)
        && let values = tensor.to_f64_vec()
        && values.iter().any(|value| value.is_infinite())
    {
        let mut narrow = HostTensor::zeros(target, &tensor.dims);
        for (index, value) in values.into_iter().enumerate() {
            let overflow = if value.is_infinite() { Overflow::Wrap } else { Overflow::Saturate };
            target.store_f64(value, overflow, narrow.element_bytes_mut(index));
        }
        return Recipe::inline(narrow);
    }
    recipe.convert(target, true)
}
