//! How every part of the repository reports a problem: a code, a sentence, a place, and what to do.
//!
//! In: a [`Code`] from the table in [`crate::codes`] and a message. Out: text for people ([`std::fmt::Display`]) or JSON.
//! Always: every diagnostic has a code; the exit status of the process follows from the code alone.

use std::fmt;

/// One row of the table of error codes.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `E0123`.
    pub id: &'static str,
    /// The exit status of a process that ends with it.
    pub exit: u8,
    /// What is wrong, in one short line.
    pub title: &'static str,
    /// What `narae explain E0123` prints: why it is an error and what to do.
    pub explanation: &'static str,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Place {
    /// An ONNX node.
    Node {
        /// The name of the node (or of its first output when it has none).
        name: String,
        /// The operator, with its domain where that is not ai.onnx.
        op: String,
    },
    /// A byte of a file.
    Byte {
        /// The path as the user wrote it.
        file: String,
        /// Offset from the start of the file.
        offset: u64,
    },
    /// A file or folder as a whole.
    File {
        /// The path as the user wrote it.
        path: String,
    },
    /// A line of a text file (chip sheet, assembly, IR text).
    Line {
        /// The path as the user wrote it.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// The key or column, when there is one.
        key: Option<String>,
    },
    /// A machine instruction.
    Instruction {
        /// The entry that was running, or a section name.
        entry: String,
        /// Index of the instruction in the code section.
        pc: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Node { name, op } => write!(f, "node `{name}` ({op})"),
            Place::Byte { file, offset } => write!(f, "{file}, byte {offset}"),
            Place::File { path } => write!(f, "{path}"),
            Place::Line { file, line, key: Some(key) } => write!(f, "{file}:{line}, key `{key}`"),
            Place::Line { file, line, key: None } => write!(f, "{file}:{line}"),
            Place::Instruction { entry, pc } => write!(f, "entry `{entry}`, instruction {pc}"),
        }
    }
}

/// What a problem is about, for programs that read it; people find the same in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Subject {
    /// The tensor, input or output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<String>,
    /// The length by its name in the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dim: Option<String>,
    /// The axis of the tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
    /// How many bytes were needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind of problem.
    pub code: &'static Code,
    /// This instance of it, as one sentence without a full stop: what was found and what was expected.
    pub message: String,
    /// Where, when that is known.
    pub place: Option<Place>,
    /// Further facts, one sentence each.
    pub notes: Vec<String>,
    /// What the user can do in this instance; the explanation of the code says it for all.
    pub help: Option<String>,
    /// What it is about, as far as that is known.
    pub subject: Option<Box<Subject>>,
}

impl Diagnostic {
    /// A problem without a place.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic { code, message: message.into(), place: None, notes: Vec::new(), help: None, subject: None }
    }

    /// The same at a place.
    pub fn at(mut self, place: Place) -> Diagnostic {
        self.place = Some(place);
        self
    }

    /// The same at an ONNX node.
    pub fn at_node(self, name: impl Into<String>, op: impl Into<String>) -> Diagnostic {
        self.at(Place::Node { name: name.into(), op: op.into() })
    }

    /// The same at a byte of a file.
    pub fn at_byte(self, file: impl Into<String>, offset: u64) -> Diagnostic {
        self.at(Place::Byte { file: file.into(), offset })
    }

    /// The same at a file or folder.
    pub fn at_file(self, path: impl Into<String>) -> Diagnostic {
        self.at(Place::File { path: path.into() })
    }

    /// The same at a line of a text file.
    pub fn at_line(self, file: impl Into<String>, line: usize, key: Option<&str>) -> Diagnostic {
        self.at(Place::Line { file: file.into(), line, key: key.map(str::to_string) })
    }

    /// The same at an instruction.
    pub fn at_instruction(self, entry: impl Into<String>, pc: u32) -> Diagnostic {
        self.at(Place::Instruction { entry: entry.into(), pc })
    }

    /// The same with one more fact.
    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    fn subject_mut(&mut self) -> &mut Subject {
        self.subject.get_or_insert_default()
    }

    /// The same about a tensor.
    pub fn tensor(mut self, name: impl Into<String>) -> Diagnostic {
        self.subject_mut().tensor = Some(name.into());
        self
    }

    /// The same about a length.
    pub fn dim(mut self, name: impl Into<String>) -> Diagnostic {
        self.subject_mut().dim = Some(name.into());
        self
    }

    /// The same about an axis.
    pub fn axis(mut self, axis: usize) -> Diagnostic {
        self.subject_mut().axis = Some(axis);
        self
    }

    /// The same about so many bytes.
    pub fn bytes(mut self, bytes: u64) -> Diagnostic {
        self.subject_mut().bytes = Some(bytes);
        self
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// What the user can do: the advice given, or what the code says.
    pub fn advice(&self) -> &str {
        self.help.as_deref().unwrap_or(self.code.explanation)
    }

    /// The exit status of a process that ends with this problem.
    pub fn exit(&self) -> u8 {
        self.code.exit
    }

    /// The form of `--message-format json`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::json!({
            "level": "error",
            "code": self.code.id,
            "title": self.code.title,
            "message": self.message,
            "place": self.place,
            "notes": self.notes,
            "help": self.advice(),
        });
        if let Some(Place::Node { name, .. }) = &self.place {
            value["node"] = name.clone().into();
        }
        let serde_json::Value::Object(subject) = serde_json::json!(self.subject) else { return value };
        subject.into_iter().for_each(|(key, fact)| value[key] = fact);
        value
    }
}

/// A size as bytes, and where that is hard to read in a greater unit as well.
pub fn sized(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >= 10 << shift || (*shift == 30 && bytes >= 1 << 30)) {
        Some((shift, unit)) => format!("{bytes} bytes ({:.1} {unit})", bytes as f64 / f64::from(1u32 << shift)),
        None => format!("{bytes} bytes"),
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code.id, self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {place}")?;
        }
        for note in &self.notes {
            write!(f, "\n  = note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// One or more problems found together. Made from at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// The exit status: that of the first bug of ours, else that of the first problem.
    pub fn exit(&self) -> u8 {
        let bug = self.0.iter().find(|diagnostic| diagnostic.exit() == 70);
        bug.or(self.0.first()).map_or(70, Diagnostic::exit)
    }

    /// `Ok(value)` when nothing was found.
    pub fn check<T>(found: Vec<Diagnostic>, value: T) -> Result<T, Diagnostics> {
        if found.is_empty() { Ok(value) } else { Err(Diagnostics(found)) }
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics(vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    #[test]
    fn sizes_are_readable() {
        let texts = [900, 20_480, 20_971_520, 1_610_612_736].map(sized);
        let wanted = ["900 bytes", "20480 bytes (20.0 KiB)", "20971520 bytes (20.0 MiB)", "1610612736 bytes (1.5 GiB)"];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn text_and_exit() {
        let found = Diagnostic::new(&codes::E0502, "the hash of section `.text` differs")
            .at_file("m.narae")
            .note("the file was changed after it was written")
            .help("compile the model again");
        assert_eq!(
            found.to_string(),
            "error[E0502]: the hash of section `.text` differs\n  --> m.narae\n  = note: the file was changed after it \
             was written\n  = help: compile the model again"
        );
        assert_eq!(found.to_json()["place"]["path"], "m.narae");
        let about = Diagnostic::new(&codes::E0302, "x").at_node("n", "Add").tensor("t").dim("d").axis(2).bytes(7);
        let json = about.to_json();
        let fields = ["node", "tensor", "dim", "axis", "bytes"].map(|key| json[key].clone());
        assert_eq!(fields, ["n".into(), "t".into(), "d".into(), 2.into(), serde_json::Value::from(7)]);
        assert!(found.to_json().get("tensor").is_none(), "what is not known is not there");
        let bug = Diagnostic::new(&codes::E0999, "x");
        assert_eq!(Diagnostics(vec![found.clone(), bug]).exit(), 70);
        assert_eq!(Diagnostics::from(found).exit(), 1);
    }
}
