//! Strict reading of a TOML sheet: every key is asked for once; whatever is missing, unknown, of the wrong type or out of
//! range becomes a diagnostic with file, line and key. In: text. Out: values, and all problems at once.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::codes;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};

/// The keys of a sheet as `section.key`, and the problems found so far.
#[derive(Debug, Default)]
pub struct Reader {
    file: String,
    entries: BTreeMap<String, (Scalar, usize)>,
    lines: BTreeMap<String, usize>,
    problems: Vec<Diagnostic>,
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
    pub fn new(file: &str, text: &str) -> Result<Reader, Diagnostic> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            Diagnostic::new(&codes::E0702, format!("not valid TOML: {}", error.message())).at_line(file, line, None)
        })?;
        let mut reader = Reader { file: file.to_string(), ..Reader::default() };
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
                DeValue::String(string) => Scalar::Text(string.to_string()),
                DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                    .map_or(Scalar::Other("an integer beyond 64 bits"), Scalar::Integer),
                DeValue::Float(float) => float.as_str().parse().map_or(Scalar::Other("not a number"), Scalar::Float),
                DeValue::Boolean(_) => Scalar::Other("a boolean"),
                DeValue::Datetime(_) => Scalar::Other("a date"),
                DeValue::Array(_) => Scalar::Other("an array"),
            };
            self.entries.insert(name, (scalar, line_of(text, key.span().start)));
        }
    }

    /// Records a problem with a key.
    pub fn complain(&mut self, code: &'static Code, key: &str, message: String) {
        let diagnostic = Diagnostic::new(code, message);
        let line = self.lines.get(key).copied();
        self.problems.push(match line {
            Some(line) => diagnostic.at_line(&self.file, line, Some(key)),
            None => diagnostic.at_file(&self.file).note(format!("the key is `{key}`")),
        });
    }

    fn take(&mut self, key: &str, expected: &str) -> Option<Scalar> {
        let Some((scalar, line)) = self.entries.remove(key) else {
            self.complain(&codes::E0704, key, format!("key `{key}` is missing; expected {expected}"));
            return None;
        };
        self.lines.insert(key.to_string(), line);
        Some(scalar)
    }

    fn wrong_kind(&mut self, key: &str, expected: &str, found: &Scalar) {
        self.complain(&codes::E0705, key, format!("`{key}` is {}; expected {expected}", found.kind()));
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> String {
        match self.take(key, "a string") {
            Some(Scalar::Text(text)) => return text,
            Some(other) => self.wrong_kind(key, "a string", &other),
            None => {}
        }
        String::new()
    }

    /// An integer in a range; the least one after a problem.
    pub fn integer(&mut self, key: &str, low: u64, high: u64) -> u64 {
        let expected = format!("an integer from {low} to {high}");
        match self.take(key, &expected) {
            Some(Scalar::Integer(value)) => match u64::try_from(value) {
                Ok(value) if (low..=high).contains(&value) => return value,
                _ => self.complain(&codes::E0705, key, format!("`{key}` is {value}; expected {expected}")),
            },
            Some(other) => self.wrong_kind(key, &expected, &other),
            None => {}
        }
        low
    }

    /// A number in a range; the least one after a problem.
    pub fn number(&mut self, key: &str, low: f64, high: f64) -> f64 {
        let expected = format!("a number from {low} to {high}");
        let value = match self.take(key, &expected) {
            Some(Scalar::Float(value)) => Some(value),
            Some(Scalar::Integer(value)) => Some(value as f64),
            Some(other) => {
                self.wrong_kind(key, &expected, &other);
                None
            }
            None => None,
        };
        match value {
            Some(value) if (low..=high).contains(&value) => value,
            Some(value) => {
                self.complain(&codes::E0705, key, format!("`{key}` is {value}; expected {expected}"));
                low
            }
            None => low,
        }
    }

    /// Whether nothing was wrong so far.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// `value`, or all problems; keys that nobody asked for are unknown.
    pub fn finish<T>(mut self, value: T) -> Result<T, Diagnostics> {
        for (key, (_, line)) in std::mem::take(&mut self.entries) {
            let diagnostic = Diagnostic::new(&codes::E0703, format!("`{key}` is not a key of a chip sheet"));
            self.problems.push(diagnostic.at_line(&self.file, line, Some(&key)));
        }
        Diagnostics::check(self.problems, value)
    }
}
