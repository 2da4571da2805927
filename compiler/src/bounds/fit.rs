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

/// Builds with the first bound that fits; `build` gives a program and the bytes of its buffers. Says which bound was chosen for what.
pub(crate) fn fit<T>(
    graph: &Graph,
    mut build: impl FnMut(Rest) -> Result<(T, u64), Diagnostics>,
) -> Result<(T, Option<String>), Diagnostics> {
    let open = derive::open_names(graph);
    if open.is_empty() {
        return Ok((build(Rest::Fitting)?.0, None));
    }
    let mut last = None;
    for &most in TRIED {
        let note = || {
            Some(format!(
                "what the program computes and nothing bounds is taken to be at most {most} (--max NAME=N): {}",
                open.join(", ")
            ))
        };
        match build(Rest::AtMost(most)) {
            Ok((program, bytes)) if bytes <= SMALL => return Ok((program, note())),
            // Nothing smaller is tried than the smallest bound.
            Ok((program, _)) => last = Some(Ok((program, note()))),
            Err(problems) if exceeds(&problems) => last = Some(Err(problems)),
            Err(problems) => return Err(problems),
        }
    }
    last.unwrap_or_else(|| unreachable!("some bound was tried"))
}

/// Whether the only problem is that something is too large.
fn exceeds(problems: &Diagnostics) -> bool {
    problems.0.iter().all(|problem| [codes::E0402.id, codes::E0403.id].contains(&problem.code.id))
}
