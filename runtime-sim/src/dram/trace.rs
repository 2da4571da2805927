//! Request traces: `t_ck,op,addr_hex,bytes`, one request a line, `#` comments, in order of entry.
//!
//! `t_ck` is the earliest memory clock at which the request may enter, `op` is R or W, the address is a physical byte
//! address in hexadecimal. In: text. Out: [`Trace`], or every wrong line (at most [`MOST_PROBLEMS`]). [`Trace::to_text`]
//! writes the same format, so that a run can dump its requests for others to replay.
//! Always holds after [`Trace::check`]: every address is a multiple of the burst and inside the memory.

use std::fmt::Write as _;
use std::path::Path;

use narae_isa::{Code, Diagnostic, Diagnostics, codes, files};

use super::sheet::Sheet;

/// Reading stops after this many wrong lines.
pub const MOST_PROBLEMS: usize = 20;

/// Latest clock of entry: more than a minute of simulated time.
pub const LATEST_CLOCK: u64 = 1 << 36;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// Earliest clock of entry.
    pub clock: u64,
    /// True for a write.
    pub write: bool,
    /// Byte address.
    pub address: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Line of the file, from 1; 0 when it was not read from one.
    pub line: usize,
}

/// Requests in order of entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The requests.
    pub requests: Vec<TraceRequest>,
}

impl Trace {
    /// Reads the text of a trace; `file` is used in messages.
    ///
    /// # Errors
    /// The wrong lines.
    pub fn parse(file: &str, text: &str) -> Result<Trace, Diagnostics> {
        let (mut requests, mut problems) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line, number + 1) {
                Ok(request) => requests.push(request),
                Err((code, column, message)) => {
                    let column = (!column.is_empty()).then_some(column);
                    problems.push(Diagnostic::new(code, message).at_line(file, number + 1, column));
                }
            }
            if problems.len() == MOST_PROBLEMS {
                break;
            }
        }
        Diagnostics::check(problems, Trace { requests })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or its wrong lines.
    pub fn load(path: &str) -> Result<Trace, Diagnostics> {
        let text = files::read_text(Path::new(path), files::MOST_TEXT_BYTES)
            .map_err(|error| Diagnostic::new(&codes::E0711, format!("cannot read the trace: {error}")).at_file(path))?;
        Trace::parse(path, &text)
    }

    /// Checks every address against a sheet.
    ///
    /// # Errors
    /// The requests that are unaligned or reach outside the memory.
    pub fn check(&self, file: &str, sheet: &Sheet) -> Result<(), Diagnostics> {
        let burst = u64::from(sheet.organization.burst_bytes);
        let problem = |request: &TraceRequest, message: String| {
            let found = Diagnostic::new(&codes::E0717, message);
            // Requests that were not read from a file have no line.
            match request.line {
                0 => found.at_file(file),
                line => found.at_line(file, line, Some("addr_hex")),
            }
        };
        let problems: Vec<Diagnostic> = self
            .requests
            .iter()
            .filter_map(|r| {
                if r.address % burst != 0 {
                    return Some(problem(r, format!("address {:x} is not a multiple of {burst} bytes", r.address)));
                }
                let inside = r.address.checked_add(r.bytes).is_some_and(|end| end <= sheet.bytes());
                (!inside).then(|| {
                    let message = format!(
                        "address {:x} + {} bytes lies outside the {} bytes of {} with mapping `{}`",
                        r.address,
                        r.bytes,
                        sheet.bytes(),
                        sheet.name,
                        sheet.mapping
                    );
                    problem(r, message)
                })
            })
            .take(MOST_PROBLEMS)
            .collect();
        Diagnostics::check(problems, ())
    }

    /// The trace as text, with a comment on top.
    #[must_use]
    pub fn to_text(&self, comment: &str) -> String {
        let mut text = String::new();
        for line in comment.lines() {
            let _ = writeln!(text, "# {line}");
        }
        text.push_str("# t_ck,op,addr_hex,bytes\n");
        for r in &self.requests {
            let op = if r.write { 'W' } else { 'R' };
            let _ = writeln!(text, "{},{op},{:x},{}", r.clock, r.address, r.bytes);
        }
        text
    }

    /// Bytes read and written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.requests.iter().map(|r| r.bytes).sum()
    }
}

type LineProblem = (&'static Code, &'static str, String);

fn parse_line(line: &str, number: usize) -> Result<TraceRequest, LineProblem> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[clock, op, address, bytes] = columns.as_slice() else {
        let message = format!("{} columns; expected t_ck,op,addr_hex,bytes", columns.len());
        return Err((&codes::E0712, "", message));
    };
    let clock = clock.parse().ok().filter(|c| *c <= LATEST_CLOCK).ok_or_else(|| {
        (&codes::E0715, "t_ck", format!("`{clock}` is not a clock number; expected 0 to {LATEST_CLOCK}"))
    })?;
    let write = match op {
        "R" => false,
        "W" => true,
        other => return Err((&codes::E0715, "op", format!("`{other}` is neither R nor W"))),
    };
    let digits = address.strip_prefix("0x").unwrap_or(address);
    let address = u64::from_str_radix(digits, 16)
        .map_err(|_| (&codes::E0715, "addr_hex", format!("`{address}` is not a hexadecimal address")))?;
    let bytes =
        bytes.parse().ok().filter(|b| *b > 0).ok_or_else(|| {
            (&codes::E0715, "bytes", format!("`{bytes}` is not a number of bytes; expected 1 or more"))
        })?;
    Ok(TraceRequest { clock, write, address, bytes, line: number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        let text = "# hello\n# t_ck,op,addr_hex,bytes\n0,R,8000,32\n12,W,ff20,2048\n";
        let trace = Trace::parse("t.csv", text).unwrap();
        assert_eq!(trace.to_text("hello"), text);
    }

    #[test]
    fn names_line_and_column() {
        let problems =
            Trace::parse("t.csv", "0,R,80,32\n0,X,80,32\n-1,R,80,32\n0,R,zz,32\n0,R,80,0\n0,R,80\n").unwrap_err();
        let text = problems.to_string();
        for place in
            ["t.csv:2, key `op`", "t.csv:3, key `t_ck`", "t.csv:4, key `addr_hex`", "t.csv:5, key `bytes`", "t.csv:6"]
        {
            assert!(text.contains(place), "{text}");
        }
        assert_eq!(problems.0.len(), 5);
    }

    #[test]
    fn refuses_addresses_outside_the_memory() {
        let sheet = Sheet::built_in("lpddr5-6400").unwrap();
        let trace =
            Trace::parse("t.csv", "0,R,81,32\n0,R,7fffffe0,33\n0,R,ffffffffffffffe0,64\n0,R,7fffffe0,32\n").unwrap();
        let problems = trace.check("t.csv", &sheet).unwrap_err();
        let text = problems.to_string();
        assert!(problems.0.iter().all(|problem| problem.code.id == "E0717"), "{text}");
        for place in ["t.csv:1, key `addr_hex`", "t.csv:2, key `addr_hex`", "t.csv:3, key `addr_hex`"] {
            assert!(text.contains(place), "{text}");
        }
        assert_eq!(problems.0.len(), 3);
    }
}
