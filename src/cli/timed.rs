//! Which calls of a generation are timed, and what is kept of them. In: a plan, then the calls as they come. Out: a [`Generation`], and
//! the last timed call in full.
//!
//! Always holds: timing never changes what is written; the first and the last call of one token are timed whenever a whole generation is
//! asked for, so that interpolation never leaves the range that was measured.

use std::collections::BTreeMap;

use narae::language::LanguageModel;
use narae::session::{Session, Timed};
use narae_isa::Diagnostics;
use narae_sim::report::Generation;
use narae_sim::report::generation::{TimedCall, plan};

use super::progress::Progress;

/// See the module's description.
pub struct TimedCalls {
    /// Whether the prompt and the whole generation are of interest, not only the last token.
    whole: bool,
    /// The numbers of tokens before the calls to time; true for those that only check.
    plan: BTreeMap<u64, bool>,
    prompt: Vec<TimedCall>,
    calls: Vec<TimedCall>,
    decode_calls: u64,
    last: Option<(u64, Timed)>,
}

impl TimedCalls {
    /// Only the last of the calls that write `written` tokens after a prompt.
    pub fn last_only(prompt: usize, written: usize) -> TimedCalls {
        let (_, last) = range(prompt, written);
        TimedCalls::with(false, last.map(|last| (last, false)).into_iter().collect())
    }

    /// The whole generation: every call, or as many as interpolation through so many knots needs.
    pub fn whole(prompt: usize, written: usize, knots: Option<usize>) -> TimedCalls {
        let plan = match (range(prompt, written), knots) {
            ((_, None), _) => Vec::new(),
            ((first, Some(last)), Some(knots)) => plan(first, last, knots),
            ((first, Some(last)), None) => (first..=last).map(|past| (past, false)).collect(),
        };
        TimedCalls::with(true, plan.into_iter().collect())
    }

    fn with(whole: bool, plan: BTreeMap<u64, bool>) -> TimedCalls {
        TimedCalls { whole, plan, prompt: Vec::new(), calls: Vec::new(), decode_calls: 0, last: None }
    }

    /// Feeds the prompt.
    pub fn feed_prompt(
        &mut self,
        language: &mut LanguageModel,
        ids: &[i64],
        progress: &Progress,
    ) -> Result<Vec<f32>, Diagnostics> {
        let mut logits = Vec::new();
        for chunk in ids.chunks(language.chunk()) {
            logits = match self.whole {
                true => self.feed_timed(language, chunk, None)?,
                false => language.feed(chunk)?,
            };
            progress.advance(chunk.len() as u64);
        }
        Ok(logits)
    }

    /// Feeds a token that was written.
    pub fn feed(&mut self, language: &mut LanguageModel, id: i64) -> Result<Vec<f32>, Diagnostics> {
        self.decode_calls += 1;
        match self.plan.get(&(language.position() as u64)).copied() {
            Some(check) => self.feed_timed(language, &[id], Some(check)),
            None => language.feed(&[id]),
        }
    }

    /// The text has ended before the plan: the token that ends it stands for the last one, so that what was not timed lies between calls
    /// that were.
    pub fn end_early(&mut self, language: &mut LanguageModel, id: i64) -> Result<(), Diagnostics> {
        let reached = self.calls.last().is_some_and(|call| call.past + 1 == language.position() as u64);
        if !self.whole || reached || self.decode_calls == 0 {
            return Ok(());
        }
        self.decode_calls += 1;
        self.feed_timed(language, &[id], Some(false)).map(|_| ())
    }

    /// Feeds ids and keeps what the timing says; `check` is that of a planned call, none for the prompt.
    fn feed_timed(
        &mut self,
        language: &mut LanguageModel,
        ids: &[i64],
        check: Option<bool>,
    ) -> Result<Vec<f32>, Diagnostics> {
        language.feed_timed(ids, &mut |session: &Session, past, timed| {
            let (chip, timing) = (session.image().chip(), &timed.timed.timing);
            let call = TimedCall::new(chip, timing, past as u64, ids.len() as u64, check.unwrap_or(false));
            if check.is_some() { &mut self.calls } else { &mut self.prompt }.push(call);
            self.last = Some((past as u64, timed));
            Ok(())
        })
    }

    /// The generation of so many tokens, if all of it is of interest; and the last timed call with the number of tokens before it.
    pub fn finish(self, written: usize) -> (Option<Generation>, Option<(u64, Timed)>) {
        let generation = Generation::new(self.prompt, self.calls, self.decode_calls, written as u64);
        (self.whole.then_some(generation), self.last)
    }
}

/// The tokens before the first and the last call of one token; the last token that is written needs no call.
fn range(prompt: usize, written: usize) -> (u64, Option<u64>) {
    let first = prompt as u64;
    (first, (written as u64).checked_sub(2).map(|more| first + more))
}
