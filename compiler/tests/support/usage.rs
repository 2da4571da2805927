//! What a piece of work uses: time of its own thread, and memory of the process. In: a closure. Out: nanoseconds and bytes.
//! Other programs do not count; other threads do not count as time, but they do as memory: measure memory with `alone`.
#![allow(dead_code, reason = "every test file takes what it needs")]

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nanoseconds that this thread has computed.
pub fn computed() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says what a thread used");
    text.split(' ').next().and_then(|field| field.parse().ok()).expect("nanoseconds")
}

/// Keeps the other tests of this program waiting, so that memory is that of one of them.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes by which the resident memory of this process grew at the peak of the work.
pub fn peak_growth<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // Writing 5 sets the high-water mark to what is resident now (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux resets the mark of this process");
    let before = status("VmRSS:");
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
