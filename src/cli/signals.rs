//! Signals that end a command: nothing is left behind. In: SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU. Out: the temporaries of this process
//! are removed, then the signal does what it does by default, so that whoever waits for the process sees it.
//!
//! Always holds: a signal that whoever started the process has it ignore (`nohup`, a background job) stays ignored; a file that grows
//! beyond `ulimit -f` is an error of the write instead of a signal.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use narae_isa::output;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Watches from here to the end of the process. Where the system gives no way to watch, signals end the process as ever, and the next
/// command that writes into the same folder removes what is left.
pub fn watch() {
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU].into_iter().filter(|signal| !is_in(ignored, *signal));
    if let Ok(mut signals) = Signals::new(wanted) {
        thread::spawn(move || {
            for signal in signals.forever() {
                // Held until the process is gone: no file may appear any more.
                let _nothing_appears = output::abandon_all();
                let _ = emulate_default_handler(signal);
            }
        });
    }
    // With a handler of any kind the write fails with EFBIG.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// The signals that this process ignores from its start, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(signals: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| signals.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_numbered_from_signal_1() {
        assert!(is_in(1 << (SIGINT - 1), SIGINT) && !is_in(1 << (SIGINT - 1), SIGTERM));
        assert!(!is_in(u64::MAX, 0) && !is_in(u64::MAX, 65));
    }
}
