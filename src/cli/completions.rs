//! `narae completions SHELL` and `narae completions man`: text that a shell or `man` reads.

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{CommandLine, Outcome, Voice, output};

/// For whom.
#[derive(Clone, Copy, ValueEnum)]
enum Reader {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// elvish
    Elvish,
    /// PowerShell
    Powershell,
    /// The manual page, in roff
    Man,
}

/// For whom the text is.
#[derive(clap::Args)]
pub struct Arguments {
    /// bash, zsh, fish, elvish, powershell, or man for the manual page
    #[arg(hide_possible_values = true)]
    reader: Reader,
}

/// Prints the completion script or the manual page.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let mut command = CommandLine::command();
    let mut text = Vec::new();
    let shell = match arguments.reader {
        Reader::Bash => Shell::Bash,
        Reader::Zsh => Shell::Zsh,
        Reader::Fish => Shell::Fish,
        Reader::Elvish => Shell::Elvish,
        Reader::Powershell => Shell::PowerShell,
        Reader::Man => {
            let page = clap_mangen::Man::new(command).render(&mut text);
            page.map_err(|error| output::cannot_write("-".as_ref(), &error))?;
            return output::to_stdout(&text);
        }
    };
    clap_complete::generate(shell, &mut command, "narae", &mut text);
    output::to_stdout(&text)
}
