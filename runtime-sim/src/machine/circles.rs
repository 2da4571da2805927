//! Where a program circles: the loop that is named when a run is given up. In: every branch back. Out: the range of instructions between
//! which the last of them lie.

use super::Program;
use crate::state::Fault;
use narae_isa::codes;

/// Branches back after which older ones are forgotten: an outer loop that ends no more shows among them, one that only began long ago does not.
const WINDOW: u32 = 4096;

/// The last branches back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circles {
    /// Lowest target and highest branch of the window before this one, and of this one.
    before: Option<(u32, u32)>,
    now: Option<(u32, u32)>,
    seen: u32,
}

impl Circles {
    /// The program continues at `to` after the branch at `from`.
    #[inline]
    pub(super) fn see(&mut self, from: u32, to: u32) {
        if to > from {
            return;
        }
        self.now = Some(self.now.map_or((to, from), |(low, high)| (low.min(to), high.max(from))));
        self.seen += 1;
        if self.seen == WINDOW {
            *self = Circles { before: self.now, now: None, seen: 0 };
        }
    }

    /// A run that is given up.
    pub(super) fn describe(&self, executed: u64, program: &Program) -> Fault {
        let text = |pc: u32| program.words.get(pc as usize).map_or("?".to_string(), |word| format!("{pc} `{word}`"));
        let place = match self.before.or(self.now) {
            Some((low, high)) => {
                format!("; the loop from instruction {} to instruction {} does not end", text(low), text(high))
            }
            None => String::new(),
        };
        Fault { code: &codes::E0609, message: format!("{executed} instructions without `halt`{place}") }
    }
}
