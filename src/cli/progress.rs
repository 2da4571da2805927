//! Progress on a terminal, for what takes a while. In: what is being done, and how much of it there is. Out: a line on standard error.
//!
//! Always holds: nothing is drawn where standard error is not a terminal, with `-q`, or with JSON messages; results never depend on it;
//! work that is done within a moment shows nothing, work that is not shows itself within a second, whether it reports steps or not.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Voice;

/// What is done sooner needs no line.
const PATIENCE: Duration = Duration::from_millis(600);
/// How often the line is drawn anew.
const TICK: Duration = Duration::from_millis(120);

const STEPS: &str = "{msg} [{bar:32}] {pos}/{len}, {eta} left";
const BYTES: &str = "{msg} [{bar:32}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
const PHASE: &str = "{spinner} {msg} {elapsed}";

/// A line that appears when its task takes longer than a moment.
pub struct Progress {
    bar: ProgressBar,
    shower: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// A bar for `total` steps of `what`.
    pub fn new(voice: Voice, what: &'static str, total: u64) -> Progress {
        Progress::with(voice, Some(total), what, STEPS, Instant::now())
    }

    /// A line that says what is being done and for how long.
    pub fn phase(voice: Voice, what: &str) -> Progress {
        Progress::phase_of(voice, what, Instant::now())
    }

    /// The same for a part of work that goes on since `start`.
    pub fn phase_of(voice: Voice, what: &str, start: Instant) -> Progress {
        Progress::with(voice, None, what, PHASE, start)
    }

    /// A bar for so many bytes, likewise.
    pub fn bytes_of(voice: Voice, what: &str, total: u64, start: Instant) -> Progress {
        Progress::with(voice, Some(total), what, BYTES, start)
    }

    fn with(voice: Voice, total: Option<u64>, what: &str, template: &str, start: Instant) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_message(what.to_string());
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        let shower = voice.shows_progress().then(|| show_later(bar.clone(), PATIENCE.saturating_sub(start.elapsed())));
        Progress { bar, shower }
    }

    /// Some steps are done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// So many steps are done by now.
    pub fn reach(&self, steps: u64) {
        self.bar.set_position(steps);
    }

    /// Does something that writes to the terminal without disturbing the line.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }
}

/// Shows a bar after a while, unless it is gone by then.
fn show_later(bar: ProgressBar, patience: Duration) -> (Sender<()>, JoinHandle<()>) {
    let (gone, wait) = channel();
    let thread = std::thread::spawn(move || {
        if wait.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
    });
    (gone, thread)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((gone, thread)) = self.shower.take() {
            drop(gone);
            let _ = thread.join(); // it only waits and draws
        }
        self.bar.finish_and_clear();
    }
}
