//! Text to [`Program`]: two passes, the first finds names, the second reads instructions.
//!
//! Always: all errors of a text are reported together, each with its line.

use std::collections::BTreeMap;

use super::Program;
use super::map::unquote;
use crate::codes;
use crate::descriptor::Row;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::operand::Symbols;
use crate::table::Word;

/// One line of assembly without comment and label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Line number, from 1.
    pub number: u32,
    /// The label before it, if any.
    pub label: Option<&'a str>,
    /// What remains; may be empty.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// The directive and its argument, when the line is one (`.name argument`).
    pub fn directive(&self) -> Option<(&'a str, &'a str)> {
        let rest = self.text.strip_prefix('.')?;
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some((name, argument.trim()))
    }

    /// Whether the line is an instruction.
    pub fn is_instruction(&self) -> bool {
        !self.text.is_empty() && !self.text.starts_with('.')
    }
}

/// Whether a word may name something: a letter or `_`, then letters, digits, `_`, `.` or `-`.
pub(crate) fn is_name(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|character| character.is_alphanumeric() || "_.-/".contains(character))
}

/// Lines with something on them.
pub fn split_lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let code = raw.split("//").next().unwrap_or("").trim();
        let (label, rest) = match code.split_once(':') {
            Some((label, rest)) if is_name(label) => (Some(label), rest.trim()),
            _ => (None, code),
        };
        if label.is_some() || !rest.is_empty() {
            lines.push(Line { number: index as u32 + 1, label, text: rest });
        }
    }
    lines
}

/// Names of labels and rows.
#[derive(Default)]
struct Names {
    labels: BTreeMap<String, u32>,
    rows: BTreeMap<String, u32>,
}

impl Symbols for Names {
    fn label(&self, name: &str) -> Option<u32> {
        self.labels.get(name).copied()
    }
    fn row(&self, name: &str) -> Option<u32> {
        self.rows.get(name).copied()
    }
}

/// Assembles the directives `.row` and `.entry` and all instructions.
///
/// `other` handles every other directive: it gets the line, the directive's name and its argument. `row` may rewrite the
/// text of a row before it is read (to replace names by addresses).
pub fn assemble_program(
    file: &str,
    lines: &[Line<'_>],
    row: &dyn Fn(&str) -> Result<String, String>,
    other: &mut dyn FnMut(&Line<'_>, &str, &str) -> Result<(), String>,
) -> Result<Program, Diagnostics> {
    let mut assembler = Assembler { file, problems: Vec::new(), names: Names::default(), program: Program::default() };
    assembler.find_names(lines);
    for line in lines {
        assembler.line(line, row, other);
    }
    Diagnostics::check(assembler.problems, assembler.program)
}

struct Assembler<'a> {
    file: &'a str,
    problems: Vec<Diagnostic>,
    names: Names,
    program: Program,
}

impl Assembler<'_> {
    fn problem(&mut self, line: &Line<'_>, message: String) {
        self.problems.push(Diagnostic::new(&codes::E0521, message).at_line(self.file, line.number as usize, None));
    }

    fn find_names(&mut self, lines: &[Line<'_>]) {
        let (mut pc, mut rows) = (0, 0);
        for line in lines {
            if let Some(label) = line.label
                && self.names.labels.insert(label.to_string(), pc).is_some()
            {
                self.problem(line, format!("the label `{label}` is defined twice"));
            }
            if line.is_instruction() {
                pc += 1;
            }
            if let Some(("row", argument)) = line.directive() {
                let name = argument.split_whitespace().next().unwrap_or("");
                if self.names.rows.insert(name.to_string(), rows).is_some() {
                    self.problem(line, format!("the row `{name}` is defined twice"));
                }
                rows += 1;
            }
        }
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        row: &dyn Fn(&str) -> Result<String, String>,
        other: &mut dyn FnMut(&Line<'_>, &str, &str) -> Result<(), String>,
    ) {
        let done = match line.directive() {
            Some(("row", argument)) => self.row(argument, row),
            Some(("entry", name)) => self.entry(name).and_then(|()| other(line, "entry", name)),
            Some((directive, argument)) => other(line, directive, argument),
            None if line.text.is_empty() => Ok(()),
            None => self.instruction(line),
        };
        if let Err(message) = done {
            self.problem(line, message);
        }
    }

    fn row(&mut self, argument: &str, rewrite: &dyn Fn(&str) -> Result<String, String>) -> Result<(), String> {
        let (name, text) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
        if !is_name(name) {
            return Err(format!("expected `.row NAME …`, found `{name}`"));
        }
        let row = Row::parse(&rewrite(text)?)?;
        self.program.rows.push((name.to_string(), row));
        Ok(())
    }

    fn entry(&mut self, word: &str) -> Result<(), String> {
        let name = &unquote(word)?;
        if !word.starts_with('"') && !is_name(name) {
            return Err(format!("`{name}` cannot name an entry"));
        }
        if self.program.entries.iter().any(|(other, _)| other == name) {
            return Err(format!("the entry `{name}` is defined twice"));
        }
        self.program.entries.push((name.clone(), self.program.words.len() as u32));
        Ok(())
    }

    fn instruction(&mut self, line: &Line<'_>) -> Result<(), String> {
        let word = Word::parse_with(line.text, &self.names);
        // A line with an error still counts, so that labels keep their numbers.
        let kept = word.clone().unwrap_or_else(|_| Word::new(crate::instructions::Halt {}));
        self.program.words.push(kept);
        self.program.lines.push(line.number);
        word.map(|_| ())
    }
}
