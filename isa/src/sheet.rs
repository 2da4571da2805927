//! Strict reading of TOML sheets (chips, memories): every key is asked for once; whatever is missing, unknown, of the wrong type or out of
//! range becomes a diagnostic with file, line and key.
//!
//! In: text, and the error codes of this kind of sheet. Out: values, and all problems at once. Always: a value after a problem is the least
//! one that is accepted, so that reading goes on and finds the other problems.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};

/// A kind of sheet: what it is called, and its error codes.
#[derive(Clone, Copy, Debug)]
pub struct SheetKind {
    /// As in "is not a key of …".
    pub what: &'static str,
    /// The file is not TOML.
    pub syntax: &'static Code,
    /// A key does not exist.
    pub unknown: &'static Code,
    /// A key is not there.
    pub missing: &'static Code,
    /// A value has the wrong type or is out of its range.
    pub value: &'static Code,
    /// Values contradict each other.
    pub inconsistent: &'static Code,
}

/// The keys of a sheet as `section.key`, and the problems found so far.
#[derive(Clone, Debug)]
pub struct Reader {
    kind: &'static SheetKind,
    file: String,
    entries: BTreeMap<String, Entry>,
    /// Where each key that was read stands, for later messages.
    read: BTreeMap<String, (String, usize)>,
    problems: Vec<Diagnostic>,
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
    Text(String),
    Other(&'static str),
}

impl Scalar {
    fn kind(&self) -> &'static str {
        match self {
            Scalar::Integer(_) => "an integer",
            Scalar::Float(_) => "a float",
            Scalar::Text(_) => "a string",
            Scalar::Other(kind) => kind,
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

impl Reader {
    /// Parses TOML text; `file` is used in messages.
    pub fn new(kind: &'static SheetKind, file: &str, text: &str) -> Result<Reader, Diagnostic> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            Diagnostic::new(kind.syntax, format!("not valid TOML: {}", error.message())).at_line(file, line, None)
        })?;
        let (entries, read, problems) = Default::default();
        let mut reader = Reader { kind, file: file.to_string(), entries, read, problems };
        reader.flatten(text, "", table.get_ref());
        Ok(reader)
    }

    fn flatten(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let value = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.flatten(text, &format!("{name}."), inner);
                    continue;
                }
                DeValue::String(string) => Scalar::Text(string.to_string()),
                DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                    .map_or(Scalar::Other("an integer beyond 64 bits"), Scalar::Integer),
                DeValue::Float(float) => float.as_str().parse().map_or(Scalar::Other("not a number"), Scalar::Float),
                DeValue::Boolean(_) => Scalar::Other("a boolean"),
                DeValue::Datetime(_) => Scalar::Other("a date"),
                DeValue::Array(_) => Scalar::Other("an array"),
            };
            let line = line_of(text, key.span().start);
            self.entries.insert(name, Entry { value, file: self.file.clone(), line });
        }
    }

    /// Takes from `base` every key that this sheet does not set itself.
    pub fn inherit(&mut self, base: Reader) {
        for (key, entry) in base.entries {
            self.entries.entry(key).or_insert(entry);
        }
    }

    /// Takes a string that need not be there.
    pub fn optional_text(&mut self, key: &str) -> Option<String> {
        self.entries.contains_key(key).then(|| self.text(key))
    }

    /// Records that values contradict each other; the key is the one that has to give way.
    pub fn contradiction(&mut self, key: &str, message: String) {
        self.complain(self.kind.inconsistent, key, message);
    }

    /// Records that a value is not accepted.
    pub fn refuse(&mut self, key: &str, message: String) {
        self.complain(self.kind.value, key, message);
    }

    fn complain(&mut self, code: &'static Code, key: &str, message: String) {
        let diagnostic = Diagnostic::new(code, message);
        self.problems.push(match self.read.get(key) {
            Some((file, line)) => diagnostic.at_line(file, *line, Some(key)),
            None => diagnostic.at_file(&self.file).note(format!("the key is `{key}`")),
        });
    }

    fn take(&mut self, key: &str, expected: &str) -> Option<Scalar> {
        let Some(Entry { value, file, line }) = self.entries.remove(key) else {
            self.complain(self.kind.missing, key, format!("key `{key}` is missing; expected {expected}"));
            return None;
        };
        self.read.insert(key.to_string(), (file, line));
        Some(value)
    }

    fn wrong_kind(&mut self, key: &str, expected: &str, found: &Scalar) {
        self.refuse(key, format!("`{key}` is {}; expected {expected}", found.kind()));
    }

    /// A string; missing ones are a problem and become empty.
    pub fn text(&mut self, key: &str) -> String {
        match self.take(key, "a string") {
            Some(Scalar::Text(text)) => return text,
            Some(other) => self.wrong_kind(key, "a string", &other),
            None => {}
        }
        String::new()
    }

    /// One of a set of words; the first one after a problem.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        match self.take(key, &expected) {
            Some(Scalar::Text(text)) => match choices.iter().find(|(name, _)| *name == text) {
                Some((_, value)) => return *value,
                None => self.refuse(key, format!("`{key}` is `{text}`; expected {expected}")),
            },
            Some(other) => self.wrong_kind(key, &expected, &other),
            None => {}
        }
        choices[0].1
    }

    /// An integer in a range; the least one after a problem.
    pub fn integer(&mut self, key: &str, low: u64, high: u64) -> u64 {
        let expected = format!("an integer from {low} to {high}");
        match self.take(key, &expected) {
            Some(Scalar::Integer(value)) => match u64::try_from(value) {
                Ok(value) if (low..=high).contains(&value) => return value,
                _ => self.refuse(key, format!("`{key}` is {value}; expected {expected}")),
            },
            Some(other) => self.wrong_kind(key, &expected, &other),
            None => {}
        }
        low
    }

    /// A number in a range, integers included; the least one after a problem.
    pub fn number(&mut self, key: &str, low: f64, high: f64) -> f64 {
        let expected = format!("a number from {low} to {high}");
        let value = match self.take(key, &expected) {
            Some(Scalar::Float(value)) => value,
            Some(Scalar::Integer(value)) => value as f64,
            Some(other) => {
                self.wrong_kind(key, &expected, &other);
                return low;
            }
            None => return low,
        };
        if (low..=high).contains(&value) {
            return value;
        }
        self.refuse(key, format!("`{key}` is {value}; expected {expected}"));
        low
    }

    /// Whether nothing was wrong so far; unknown keys show in [`Reader::finish`] only.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problems found so far, when nothing more can be read.
    pub fn problems(self) -> Diagnostics {
        Diagnostics(self.problems)
    }

    /// `value`, or all problems; keys that nobody asked for are unknown.
    pub fn finish<T>(mut self, value: T) -> Result<T, Diagnostics> {
        for (key, entry) in std::mem::take(&mut self.entries) {
            let diagnostic = Diagnostic::new(self.kind.unknown, format!("`{key}` is not a key of {}", self.kind.what));
            self.problems.push(diagnostic.at_line(&entry.file, entry.line, Some(&key)));
        }
        Diagnostics::check(self.problems, value)
    }
}
