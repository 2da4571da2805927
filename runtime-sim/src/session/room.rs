//! Room in the caches that an image keeps on the chip.
//!
//! In: an entry, the lengths of a call, the tokens before it. Out: an error if the call would write beyond the caches. Always holds: that is
//! said before anything runs, of calls that compute and of calls that are only timed.

use narae_isa::image::Entry;
use narae_isa::{Diagnostic, Diagnostics, HostTensor, codes};

/// The input that says how many tokens are there, and the length that says how many fit.
const PAST: &str = "past_len";
const CAPACITY: &str = "capacity";

/// The tokens before a call, of each sequence, where the caches are on the chip.
pub(super) fn past(inputs: &super::Tensors) -> Vec<i64> {
    inputs.get(PAST).filter(|past| !past.element.is_float()).map(HostTensor::to_i64_vec).unwrap_or_default()
}

/// The tokens before a call and those of the call fit the caches.
pub(super) fn check(entry: &Entry, slots: &[i64], past: &[i64]) -> Result<(), Diagnostics> {
    let capacity = entry.slots.iter().find(|slot| slot.name == CAPACITY).map(|slot| slot.max);
    let has_past = entry.inputs.iter().any(|info| info.name == PAST);
    let (Some(capacity), true) = (capacity, has_past) else { return Ok(()) };
    let ids =
        entry.inputs.iter().find(|info| info.dims.len() == 2 && !info.element.is_float() && info.name.contains("ids"));
    let dims = ids.and_then(|ids| ids.dims_at(slots).ok());
    let new = dims.and_then(|dims| i64::try_from(*dims.get(1)?).ok()).unwrap_or(1);
    for &past in past {
        if past < 0 {
            let what = format!("`{PAST}` is {past}: a number of tokens is not negative");
            return Err(Diagnostic::new(&codes::E0603, what).tensor(PAST).into());
        }
        if past.saturating_add(new) > capacity {
            let what = format!("{past} tokens and {new} more do not fit the caches, which hold {capacity}");
            return Err(Diagnostic::new(&codes::E0604, what)
                .dim(CAPACITY)
                .help("compile again with a greater --max-past")
                .into());
        }
    }
    Ok(())
}
