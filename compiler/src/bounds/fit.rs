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
    let mut small = SMALL;
    let mut last = None;
    for (at, &most) in TRIED.iter().enumerate() {
        let fitted = || Some(Fitted { most, names: names.clone() });
        match build(Rest::AtMost(most)) {
            Ok((program, bytes)) if bytes <= small => return Ok((program, fitted())),
            // Nothing smaller is tried than the smallest bound.
            Ok((program, _)) => last = Some(Ok((program, fitted()))),
            // What is smaller contradicts the model; what was larger does not.
            Err(problems) if contradicts(&problems) && matches!(last, Some(Ok(_))) => break,
            Err(problems) if exceeds(&problems) => last = Some(last.filter(Result::is_ok).unwrap_or(Err(problems))),
            Err(problems) => return Err(problems),
        }
        // Caches and other buffers whose lengths were given are no smaller with any of these bounds.
        if at == 0
            && let Some(least) = TRIED.last().and_then(|&least| build(Rest::AtMost(least)).ok())
        {
            small = SMALL + least.1;
        }
    }
    last.unwrap_or_else(|| unreachable!("some bound was tried"))
}

/// Whether the only problem is that something is too large.
pub(super) fn exceeds(problems: &Diagnostics) -> bool {
    problems.0.iter().all(|problem| [codes::E0402.id, codes::E0403.id].contains(&problem.code.id))
}

/// Whether the only problem is that lengths within their bounds cannot be what the model needs.
pub(super) fn contradicts(problems: &Diagnostics) -> bool {
    problems.0.iter().all(|problem| problem.code.id == codes::E0301.id)
}
