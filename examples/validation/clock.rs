//! CPU time. In: work. Out: seconds that the processor worked on it, other programs on the machine left out (but they slow it down a little).

/// CPU seconds of one run of all threads together, the mean over at least half a second.
pub fn cpu_seconds_of(mut run: impl FnMut() -> Result<u64, String>) -> Result<f64, String> {
    let start = process_seconds()?;
    let mut runs = 0;
    loop {
        run()?;
        runs += 1;
        let elapsed = process_seconds()? - start;
        if elapsed > 0.5 {
            return Ok(elapsed / f64::from(runs));
        }
    }
}

/// User and system time of this process with all its threads; it moves in steps of 10 ms.
fn process_seconds() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|error| format!("/proc/self/stat: {error}"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).ok_or("unexpected /proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Time of this thread alone, in nanoseconds as the kernel counts it.
pub fn thread_seconds() -> Result<f64, String> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    Ok(nanoseconds.ok_or_else(|| format!("{path}: no number"))? * 1e-9)
}
