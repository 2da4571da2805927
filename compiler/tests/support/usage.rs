//! What a piece of work uses: time of its own thread, and memory of the process. In: a closure. Out: nanoseconds and bytes.
//! Other programs do not count; other threads do not count as time, but they do as memory: measure memory with `alone`.
#![allow(dead_code, reason = "every test file takes what it needs")]

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Nanoseconds that this thread has computed; where the kernel does not count them, nanoseconds of the clock.
pub fn computed() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let counted = text.split(' ').next().and_then(|field| field.parse().ok());
    counted.unwrap_or_else(|| START.elapsed().as_nanos() as u64)
}

/// Keeps the other tests of this program waiting, so that memory is that of one of them.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes by which the resident memory of this process grew at the peak of the work.
pub fn peak_growth<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // Writing 5 sets the high-water mark to what is resident now (proc(5)); where that is forbidden, only growth beyond the old mark shows.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = status(if reset { "VmRSS:" } else { "VmHWM:" });
    let result = work();
    (result, status("VmHWM:").saturating_sub(before))
}

/// Bytes of anonymous memory of this process.
pub fn anonymous() -> u64 {
    status("RssAnon:")
}

fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux says what a process has");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field exists");
    line.trim().split(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("kilobytes") * 1024
}
