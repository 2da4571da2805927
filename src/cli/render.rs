//! The one renderer of errors and talk. In: diagnostics. Out: text or JSON lines on standard error. Always holds: results never
//! pass through here, and every error shows its code.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use clap::ValueEnum;
use narae_isa::{Diagnostic, Diagnostics};

/// The form of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How this run talks to its user.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    format: MessageFormat,
    color: bool,
    /// −1 quiet, 0 normal, 1 and more verbose.
    level: i8,
}

impl Voice {
    /// A voice from the global options.
    pub fn new(format: MessageFormat, color: ColorChoice, verbose: u8, quiet: bool) -> Self {
        let color = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Voice { format, color, level: if quiet { -1 } else { verbose.min(9) as i8 } }
    }

    /// Whether the user asked for more words.
    pub fn is_verbose(self) -> bool {
        self.level >= 1
    }

    /// Whether progress bars have a place: a terminal, and somebody who reads.
    pub fn shows_progress(self) -> bool {
        self.level >= 0 && self.format == MessageFormat::Human && std::io::stderr().is_terminal()
    }

    /// A dump that the user asked for; quiet or not.
    pub fn dump(self, text: &str) {
        to_stderr(text);
    }

    /// A sentence for a person, left out with `-q` and in JSON.
    pub fn say(self, text: impl std::fmt::Display) {
        if self.level >= 0 && self.format == MessageFormat::Human {
            to_stderr(&format!("{text}\n"));
        }
    }

    /// What was chosen or found beside the result: for people and, in JSON, for programs; left out with `-q`.
    pub fn note(self, text: impl std::fmt::Display) {
        match (self.level >= 0, self.format) {
            (false, _) => {}
            (true, MessageFormat::Human) => to_stderr(&format!("note: {text}\n")),
            (true, MessageFormat::Json) => {
                to_stderr(&format!("{}\n", serde_json::json!({ "level": "note", "message": text.to_string() })));
            }
        }
    }

    /// A sentence that only `-v` shows.
    pub fn detail(self, text: impl std::fmt::Display) {
        if self.level >= 1 {
            self.say(text);
        }
    }

    /// Shows every problem.
    pub fn errors(self, found: &Diagnostics) {
        for (at, diagnostic) in found.0.iter().enumerate() {
            // Advice that follows from the code alone is given once, below the last problem of that code.
            let last = !found.0[at + 1..].iter().any(|later| later.code == diagnostic.code);
            match self.format {
                MessageFormat::Human => to_stderr(&self.human(diagnostic, last)),
                MessageFormat::Json => to_stderr(&format!("{}\n", diagnostic.to_json())),
            }
        }
        if self.format == MessageFormat::Human && found.0.len() > 1 {
            to_stderr(&format!("{} problems were found\n", found.0.len()));
        }
    }

    fn human(self, diagnostic: &Diagnostic, advise: bool) -> String {
        let paint = |style: &str, text: &str| match self.color {
            true => format!("\x1b[{style}m{text}\x1b[0m"),
            false => text.to_string(),
        };
        let mut out = String::new();
        let head = paint("1;31", &format!("error[{}]", diagnostic.code.id));
        let _ = writeln!(out, "{head}: {}", paint("1", &diagnostic.message));
        if let Some(place) = &diagnostic.place {
            let _ = writeln!(out, "  {} {place}", paint("1;34", "-->"));
        }
        for note in &diagnostic.notes {
            let _ = writeln!(out, "  {} note: {note}", paint("1;34", "="));
        }
        if diagnostic.help.is_some() || advise {
            let _ = writeln!(out, "  {} help: {}", paint("1;36", "="), diagnostic.advice());
        }
        out
    }
}

/// Standard error that went away is not a reason to fail.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Breaks a text into lines of at most `width` characters, at spaces.
pub fn wrap(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}
