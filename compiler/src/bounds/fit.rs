//! Bounds of lengths that nothing limits, chosen so that the program stays small.
//!
//! In: a graph some of whose lengths have no bound, a way to build the program with what is said of them. Out: the program with the
//! greatest of a few bounds with which its buffers stay small. Always holds: a graph in which every length has a bound is built once, as it is.

use narae_isa::{Diagnostics, codes};

use super::{Rest, derive};
use crate::graph::Graph;

/// Bounds that are tried, the greatest first.
const TRIED: &[i64] = &[4096, 1024, 256, 64, 16];
/// Buffers of a program that is small enough, in bytes.
const SMALL: u64 = 1 << 28;

/// The bound that was chosen for lengths that nothing bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    /// The bound.
    pub most: i64,
    /// Their names, each in quotes.
    pub names: Vec<String>,
}

/// Builds with the first bound that fits; `build` gives a program and the bytes of its buffers. Says which bound was chosen for what.
pub(crate) fn fit<T>(
    graph: &Graph,
    mut build: impl FnMut(Rest) -> Result<(T, u64), Diagnostics>,
) -> Result<(T, Option<Fitted>), Diagnostics> {
    let names = derive::open_names(graph);
    if names.is_empty() {
        return Ok((build(Rest::Fitting)?.0, None));
    }
    // Caches and other buffers whose lengths were given are no smaller with any of these bounds: what they take is no reason.
    let mut given = None;
    let mut last = None;
    for &most in TRIED {
        let fitted = || Some(Fitted { most, names: names.clone() });
        match build(Rest::AtMost(most)) {
            Ok((program, bytes)) => {
                if bytes <= SMALL || bytes - SMALL <= *given.get_or_insert_with(|| least(&mut build)) {
                    return Ok((program, fitted()));
                }
                // Nothing smaller is tried than the smallest bound.
                last = Some(Ok((program, fitted())));
            }
            // What is smaller contradicts the model; what was larger does not.
            Err(problems) if contradicts(&problems) && matches!(last, Some(Ok(_))) => break,
            Err(problems) if exceeds(&problems) => last = Some(last.filter(Result::is_ok).unwrap_or(Err(problems))),
            Err(problems) => return Err(problems),
        }
    }
    last.unwrap_or_else(|| unreachable!("some bound was tried"))
}

/// The bytes of the buffers with the smallest bound; 0 if nothing is built with it.
fn least<T>(build: &mut impl FnMut(Rest) -> Result<(T, u64), Diagnostics>) -> u64 {
    TRIED.last().and_then(|&least| build(Rest::AtMost(least)).ok()).map_or(0, |(_, bytes)| bytes)
}

/// Whether the only problem is that something is too large.
pub(super) fn exceeds(problems: &Diagnostics) -> bool {
    problems.0.iter().all(|problem| [codes::E0402.id, codes::E0403.id].contains(&problem.code.id))
}

/// Whether the only problem is that lengths within their bounds cannot be what the model needs.
pub(super) fn contradicts(problems: &Diagnostics) -> bool {
    problems.0.iter().all(|problem| problem.code.id == codes::E0301.id)
}
