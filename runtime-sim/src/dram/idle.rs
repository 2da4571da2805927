//! Skipping idle time: a channel that waits for its next request does nothing but refresh, round after round.
//!
//! In: a clock, the clock before which no request enters. Out: a later clock to go on with, counts as if every clock had been visited. Always:
//! a round is run before others like it are counted, and one is run again before the next request, so that what that meets is the same.

use super::channel::Channel;
use super::refresh::Phase;

/// An idle stretch shorter than this many rounds is not worth the comparison.
const WORTH_SKIPPING: u64 = 4;

/// What must be equal at both ends of a round.
#[derive(PartialEq, Eq)]
struct Rest {
    phase: Phase,
    asleep: bool,
}

impl Channel {
    fn rest_at(&self, clock: u64) -> Rest {
        let asleep = self.is_empty() && self.synchronising.is_none() && !self.device.is_active();
        Rest { phase: self.refresher.phase(clock), asleep }
    }

    /// Goes on from `clock` to a clock at most `until`, before which no request enters; returns the next clock to visit.
    pub(crate) fn skip_idle(&mut self, clock: u64, until: u64) -> u64 {
        let Some(round) = self.refresher.round() else { return clock };
        let before = self.rest_at(clock);
        if !before.asleep || self.log.is_some() || until.saturating_sub(clock) / round < WORTH_SKIPPING {
            return clock;
        }
        let (counts, mut next) = (self.counts.clone(), clock);
        while next < clock + round {
            next = self.tick(next).next;
        }
        if self.rest_at(clock + round) != before {
            return next;
        }
        let rounds = (until - clock) / round - 2;
        let after = self.counts.clone();
        self.counts.add_difference(&after, &counts, rounds);
        self.refresher.skip(rounds * round);
        next + rounds * round
    }
}

#[cfg(test)]
mod tests {
    use super::super::sheet::Sheet;
    use super::super::trace::Trace;
    use super::super::{Mode, run_trace};
    use super::*;

    /// The same run with every clock of the idle stretch visited: a request that changes nothing else keeps it from being skipped.
    fn watched(sheet: &Sheet, until: u64) -> super::super::counts::Counts {
        let mut channel = Channel::new(sheet);
        channel.log = Some(Vec::new());
        let mut clock = 1;
        while clock <= until {
            clock = channel.tick(clock).next;
        }
        channel.counts
    }

    #[test]
    fn counts_are_those_of_a_run_that_visits_every_clock() {
        for name in Sheet::built_in_names() {
            let sheet = Sheet::built_in(name).unwrap();
            let until = 1_000_000;
            let mut channel = Channel::new(&sheet);
            if channel.refresher.round().is_none() {
                // Nothing ever happens by itself.
                assert_eq!(channel.tick(1).next, u64::MAX, "{name}");
                continue;
            }
            let (mut clock, mut skipped) = (1, 0);
            while clock <= until {
                let next = channel.tick(clock).next;
                clock = channel.skip_idle(next, until);
                skipped += clock - next;
            }
            assert!(skipped > until / 2, "{name}: {skipped} clocks were skipped");
            assert_eq!(channel.counts, watched(&sheet, until), "{name}");
        }
    }

    #[test]
    fn a_request_in_a_minute_takes_no_longer_than_one_now() {
        let sheet = Sheet::built_in("lpddr5x-8533").unwrap();
        let trace = Trace::parse("t", "0,R,0,64\n68719476736,R,40,64\n").unwrap();
        for mode in [Mode::Exact, Mode::Fast] {
            let report = run_trace(&sheet, "t", &trace, mode).unwrap();
            assert!(report.clocks > 1 << 36 && report.counts.reads_done == 4, "{mode}: {:?}", report.counts);
            let due = (1u64 << 36) / sheet.timing.refi;
            assert!(report.counts.refreshed_banks >= due, "{mode}: all of {due} refreshes");
        }
    }
}
