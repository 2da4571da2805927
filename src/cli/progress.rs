//! Progress bars: on a terminal only, and only for what takes a while. In: how much there is to do. Out: a bar on standard error.
//!
//! Always holds: nothing is drawn where standard error is not a terminal, with `-q`, or with JSON messages; results never depend on it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Voice;

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears when its task takes longer than a moment.
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    waiting: Cell<bool>,
}

impl Progress {
    /// A bar for `total` steps of `what`.
    pub fn new(voice: Voice, what: &'static str, total: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()).with_message(what);
        let style = ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len}, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        Progress { bar, start: Instant::now(), waiting: Cell::new(voice.shows_progress()) }
    }

    /// Some steps are done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        if self.waiting.get() && self.start.elapsed() > PATIENCE {
            self.waiting.set(false);
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
