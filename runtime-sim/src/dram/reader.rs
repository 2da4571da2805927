//! Strict reading of a TOML sheet: every key is asked for once, and whatever is missing, unknown, of the wrong type or
//! out of its range becomes a [`Problem`] with file, line and key. In: text. Out: values, and all problems at once.

use std::collections::BTreeMap;

use narae_isa::{Diagnostic, Diagnostics, codes};
use toml::de::{DeTable, DeValue};

/// Something wrong in a sheet or trace that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing is wrong.
    pub kind: ProblemKind,
    /// The file, or the name of a built-in sheet.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// The key (`timing.rc`) or column that is wrong; empty when the whole line is meant.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// The kinds of problems, one per error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The file cannot be read.
    Unreadable,
    /// The file is not TOML, or a line is not a trace line.
    Syntax,
    /// A key is not there.
    Missing,
    /// A key does not exist.
    Unknown,
    /// A value has the wrong type or is out of its range.
    Value,
    /// Two values contradict each other.
    Inconsistent,
    /// A trace address is unaligned or outside the memory.
    Address,
}

impl From<Problem> for Diagnostic {
    fn from(problem: Problem) -> Diagnostic {
        let code = match problem.kind {
            ProblemKind::Unreadable => &codes::E0711,
            ProblemKind::Syntax => &codes::E0712,
            ProblemKind::Unknown => &codes::E0713,
            ProblemKind::Missing => &codes::E0714,
            ProblemKind::Value => &codes::E0715,
            ProblemKind::Inconsistent => &codes::E0716,
            ProblemKind::Address => &codes::E0717,
        };
        let diagnostic = Diagnostic::new(code, problem.message);
        if problem.line == 0 {
            return diagnostic.at_file(problem.file);
        }
        let key = (!problem.key.is_empty()).then_some(problem.key.as_str());
        diagnostic.at_line(problem.file, problem.line, key)
    }
}

/// All problems as diagnostics.
pub(crate) fn diagnostics(problems: Vec<Problem>) -> Diagnostics {
    Diagnostics(problems.into_iter().map(Diagnostic::from).collect())
}

/// A scalar of a sheet and where it stands.
#[derive(Clone, Debug)]
struct Entry {
    value: Scalar,
    file: String,
    line: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Text(String),
    Other(&'static str),
}

impl Scalar {
    fn kind(&self) -> &'static str {
        match self {
            Scalar::Integer(_) => "an integer",
            Scalar::Float(_) => "a float",
            Scalar::Boolean(_) => "a boolean",
            Scalar::Text(_) => "a string",
            Scalar::Other(kind) => kind,
        }
    }
}

/// The flattened keys of one sheet (`timing.rc`), and the problems found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    file: String,
    entries: BTreeMap<String, Entry>,
    /// Where each key that was read stands, for later messages.
    read: BTreeMap<String, (String, usize)>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Parses TOML text. `file` is used in messages.
    pub(crate) fn new(file: &str, text: &str) -> Result<Reader, Problem> {
        let mut reader = Reader { file: file.to_owned(), ..Reader::default() };
        let table = DeTable::parse(text).map_err(|error| Problem {
            kind: ProblemKind::Syntax,
            file: file.to_owned(),
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            key: String::new(),
            message: format!("not valid TOML: {}", error.message()),
        })?;
        reader.flatten(text, "", table.get_ref());
        Ok(reader)
    }

    fn flatten(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let scalar = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.flatten(text, &format!("{name}."), inner);
                    continue;
                }
                DeValue::String(s) => Scalar::Text(s.to_string()),
                DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
                    .map_or(Scalar::Other("an integer outside 64 bits"), Scalar::Integer),
                DeValue::Float(f) => f.as_str().parse().map_or(Scalar::Other("a malformed float"), Scalar::Float),
                DeValue::Boolean(b) => Scalar::Boolean(*b),
                DeValue::Datetime(_) => Scalar::Other("a date"),
                DeValue::Array(_) => Scalar::Other("an array"),
            };
            let line = line_of(text, key.span().start);
            self.entries.insert(name, Entry { value: scalar, file: self.file.clone(), line });
        }
    }

    /// Takes from `base` every key that this sheet does not set itself.
    pub(crate) fn inherit(&mut self, base: Reader) {
        for (key, entry) in base.entries {
            self.entries.entry(key).or_insert(entry);
        }
    }

    /// Looks at an optional string without consuming it.
    pub(crate) fn peek_text(&self, key: &str) -> Option<&str> {
        match &self.entries.get(key)?.value {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Drops a key that has been dealt with.
    pub(crate) fn forget(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.read.insert(key.to_owned(), (entry.file, entry.line));
        }
    }

    /// A string; missing ones are a problem and become empty.
    pub(crate) fn text(&mut self, key: &str) -> String {
        self.take(key, "a string", |value| match value {
            Scalar::Text(text) => Some(text.clone()),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// One of a set of words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let text = self.text(key);
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return *value;
        }
        if self.read.contains_key(key) {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.complain(ProblemKind::Value, key, format!("`{text}` is none of {}", names.join(", ")));
        }
        choices[0].1
    }

    /// An integer in a range.
    pub(crate) fn integer(&mut self, key: &str, low: u64, high: u64) -> u64 {
        let value = self.take(key, "an integer", |value| match value {
            Scalar::Integer(i) => Some(*i),
            _ => None,
        });
        let Some(value) = value else { return low };
        match u64::try_from(value) {
            Ok(v) if v >= low && v <= high => v,
            _ => {
                self.complain(ProblemKind::Value, key, format!("{value} is outside {low} to {high}"));
                low
            }
        }
    }

    /// A number in a range; integers are accepted as floats.
    pub(crate) fn number(&mut self, key: &str, low: f64, high: f64) -> f64 {
        let value = self.take(key, "a number", |value| match value {
            Scalar::Float(f) => Some(*f),
            Scalar::Integer(i) => Some(*i as f64),
            _ => None,
        });
        let Some(value) = value else { return low };
        if value >= low && value <= high {
            return value;
        }
        self.complain(ProblemKind::Value, key, format!("{value} is outside {low} to {high}"));
        low
    }

    fn take<T>(&mut self, key: &str, wanted: &str, read: impl Fn(&Scalar) -> Option<T>) -> Option<T> {
        let Some(entry) = self.entries.remove(key) else {
            self.problems.push(Problem {
                kind: ProblemKind::Missing,
                file: self.file.clone(),
                line: 0,
                key: key.to_owned(),
                message: format!("`{key}` is missing; expected {wanted}"),
            });
            return None;
        };
        self.read.insert(key.to_owned(), (entry.file.clone(), entry.line));
        let value = read(&entry.value);
        if value.is_none() {
            self.complain(ProblemKind::Value, key, format!("expected {wanted}, found {}", entry.value.kind()));
        }
        value
    }

    /// Records a problem at a key that was read.
    pub(crate) fn complain(&mut self, kind: ProblemKind, key: &str, message: String) {
        let problem = self.problem(kind, key, message);
        self.problems.push(problem);
    }

    /// A problem at a key that was read.
    pub(crate) fn problem(&self, kind: ProblemKind, key: &str, message: String) -> Problem {
        let (file, line) = self.read.get(key).cloned().unwrap_or((self.file.clone(), 0));
        Problem { kind, file, line, key: key.to_owned(), message }
    }

    /// True when nothing was wrong so far (unknown keys are only known at [`Reader::finish`]).
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems; keys that nobody asked for are unknown.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        for (key, entry) in &self.entries {
            self.problems.push(Problem {
                kind: ProblemKind::Unknown,
                file: entry.file.clone(),
                line: entry.line,
                key: key.clone(),
                message: format!("`{key}` is not a key of a DRAM sheet"),
            });
        }
        self.problems
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count()
}
