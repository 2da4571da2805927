//! Request traces: `t_ck,op,addr_hex,bytes`, one request a line, `#` comments, in order of entry.
//!
//! `t_ck` is the earliest memory clock at which the request may enter, `op` is R or W, the address is a physical byte
//! address in hexadecimal. In: text. Out: [`Trace`], or every wrong line (at most [`MOST_PROBLEMS`]). [`Trace::to_text`]
//! writes the same format, so that a run can dump its requests for others to replay.
//! Always holds after [`Trace::check`]: every address is a multiple of the burst and inside the memory.

use std::fmt::Write as _;

use super::reader::{Problem, ProblemKind};
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
    pub fn parse(file: &str, text: &str) -> Result<Trace, Vec<Problem>> {
        let (mut requests, mut problems) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line, number + 1) {
                Ok(request) => requests.push(request),
                Err((kind, column, message)) => problems.push(Problem {
                    kind,
                    file: file.to_owned(),
                    line: number + 1,
                    key: column.to_owned(),
                    message,
                }),
            }
            if problems.len() == MOST_PROBLEMS {
                break;
            }
        }
        if problems.is_empty() { Ok(Trace { requests }) } else { Err(problems) }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or its wrong lines.
    pub fn load(path: &str) -> Result<Trace, Vec<Problem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![Problem {
                kind: ProblemKind::Unreadable,
                file: path.to_owned(),
                line: 0,
                key: String::new(),
                message: format!("cannot read the trace: {error}"),
            }]
        })?;
        Trace::parse(path, &text)
    }

    /// Checks every address against a sheet.
    ///
    /// # Errors
    /// The requests that are unaligned or reach outside the memory.
    pub fn check(&self, file: &str, sheet: &Sheet) -> Result<(), Vec<Problem>> {
        let burst = u64::from(sheet.organization.burst_bytes);
        let problem = |request: &TraceRequest, message: String| Problem {
            kind: ProblemKind::Address,
            file: file.to_owned(),
            line: request.line,
            key: "addr_hex".to_owned(),
            message,
        };
        let problems: Vec<Problem> = self
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
        if problems.is_empty() { Ok(()) } else { Err(problems) }
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

type LineProblem = (ProblemKind, &'static str, String);

fn parse_line(line: &str, number: usize) -> Result<TraceRequest, LineProblem> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[clock, op, address, bytes] = columns.as_slice() else {
        let message = format!("{} columns; expected t_ck,op,addr_hex,bytes", columns.len());
        return Err((ProblemKind::Syntax, "", message));
    };
    let clock = clock.parse().ok().filter(|c| *c <= LATEST_CLOCK).ok_or_else(|| {
        (ProblemKind::Value, "t_ck", format!("`{clock}` is not a clock number; expected 0 to {LATEST_CLOCK}"))
    })?;
    let write = match op {
        "R" => false,
        "W" => true,
        other => return Err((ProblemKind::Value, "op", format!("`{other}` is neither R nor W"))),
    };
    let digits = address.strip_prefix("0x").unwrap_or(address);
    let address = u64::from_str_radix(digits, 16)
        .map_err(|_| (ProblemKind::Value, "addr_hex", format!("`{address}` is not a hexadecimal address")))?;
    let bytes = bytes.parse().ok().filter(|b| *b > 0).ok_or_else(|| {
        (ProblemKind::Value, "bytes", format!("`{bytes}` is not a number of bytes; expected 1 or more"))
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
        let places: Vec<(usize, &str)> = problems.iter().map(|p| (p.line, p.key.as_str())).collect();
        assert_eq!(places, [(2, "op"), (3, "t_ck"), (4, "addr_hex"), (5, "bytes"), (6, "")]);
    }

    #[test]
    fn refuses_addresses_outside_the_memory() {
        let sheet = Sheet::built_in("lpddr5-6400").unwrap();
        let trace =
            Trace::parse("t.csv", "0,R,81,32\n0,R,7fffffe0,33\n0,R,ffffffffffffffe0,64\n0,R,7fffffe0,32\n").unwrap();
        let problems = trace.check("t.csv", &sheet).unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }
}
