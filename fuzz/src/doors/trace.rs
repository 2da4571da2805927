//! Traces of requests to LPDDR.

use narae::sim::dram::sheet::Sheet;
use narae::sim::dram::trace::Trace;
use narae::sim::dram::{Mode, run_trace};

use super::running::number;
use crate::Outcome;

/// Bytes of a trace beyond which it is not run: every burst costs time, which is no news.
const MOST_BYTES: u64 = 1 << 20;

/// Reads, writes, runs both ways.
pub fn run(bytes: &[u8]) -> Outcome {
    let trace = Trace::parse("fuzz.csv", &String::from_utf8_lossy(bytes))?;
    let again = Trace::parse("again.csv", &trace.to_text("again"));
    assert!(again.is_ok(), "a trace that was read does not survive writing");
    let names = ["lpddr5x-8533", "lpddr5-6400", "compat-q8", "compat-rank2"];
    let name = names[(number(bytes) % 4) as usize];
    let sheet = Sheet::built_in(name).unwrap_or_else(|| unreachable!("{name} is built in"));
    trace.check("fuzz.csv", &sheet)?;
    if trace.requests.iter().fold(0, |sum: u64, request| sum.saturating_add(request.bytes)) > MOST_BYTES {
        return Ok(());
    }
    for mode in [Mode::Exact, Mode::Fast] {
        let report = run_trace(&sheet, "fuzz.csv", &trace, mode)?;
        assert!(report.bytes == trace.bytes(), "bytes in are not bytes out");
        let _ = (report.to_json(), report.to_string());
    }
    Ok(())
}
