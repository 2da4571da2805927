//! `narae completions SHELL` and `narae completions man`: text that a shell or `man` reads. In: for whom. Out: a script that knows the names
//! of chips, GPUs, passes, laws and error codes as well, or manual pages. Always holds: names come from the tables that they stand in.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use narae_compiler::pipeline::PASSES;
use narae_compiler::rewrite::rules;
use narae_isa::chip::BUILT_IN;
use narae_isa::{Diagnostic, Diagnostics, codes};
use narae_sim::report::baseline;

use super::{CommandLine, Outcome, Voice, output};

/// For whom.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    /// bash, zsh, fish, elvish, powershell, or man for a manual page
    #[arg(hide_possible_values = true)]
    reader: Reader,
    /// With man: the page of this subcommand
    subcommand: Option<String>,
    /// With man: write the pages of all subcommands into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "subcommand")]
    all: Option<PathBuf>,
}

/// Prints the completion script or a manual page, or writes all pages.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let shell = match arguments.reader {
        Reader::Bash => Shell::Bash,
        Reader::Zsh => Shell::Zsh,
        Reader::Fish => Shell::Fish,
        Reader::Elvish => Shell::Elvish,
        Reader::Powershell => Shell::PowerShell,
        Reader::Man => return manual(arguments.subcommand.as_deref(), arguments.all.as_deref()),
    };
    if arguments.subcommand.is_some() || arguments.all.is_some() {
        let what = "a subcommand and --all would change nothing here: they choose manual pages";
        return Err(Diagnostic::new(&codes::E0801, what).help("narae completions man [SUBCOMMAND]").into());
    }
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut with_names(CommandLine::command()), "narae", &mut text);
    if shell == Shell::Fish {
        text.extend_from_slice(for_fish().as_bytes());
    }
    output::to_stdout(&text)
}

/// What arguments without a flag accept; the generator for fish leaves them out.
fn for_fish() -> String {
    let codes: Vec<&str> = codes::ALL.iter().map(|code| code.id).chain(["all"]).collect();
    let chips: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    let line = |subcommand: &str, names: &[&str]| {
        format!("complete -c narae -n \"__fish_seen_subcommand_from {subcommand}\" -a \"{}\"\n", names.join(" "))
    };
    line("explain", &codes) + &line("chips", &chips)
}

/// Prints the page of the whole or of a subcommand, or writes all pages.
fn manual(subcommand: Option<&str>, all: Option<&Path>) -> Outcome {
    let mut command = CommandLine::command();
    command.build();
    let pages = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    if let Some(folder) = all {
        std::fs::create_dir_all(folder).map_err(|error| output::cannot_write(folder, &error))?;
        let write = |file: &str, page: &[u8]| output::write(&folder.join(file), page);
        write("narae.1", &page(&command)?)?;
        return pages.into_iter().try_for_each(|sub| write(&format!("narae-{}.1", sub.get_name()), &page(sub)?));
    }
    let Some(name) = subcommand else { return output::to_stdout(&page(&command)?) };
    let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let unknown = || {
        Diagnostic::new(&codes::E0801, format!("there is no subcommand `{name}`"))
            .help(format!("they are {}", names.join(", ")))
    };
    output::to_stdout(&page(command.find_subcommand(name).ok_or_else(unknown)?)?)
}

/// A manual page in roff.
fn page(command: &Command) -> Result<Vec<u8>, Diagnostics> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone()).source(concat!("narae ", env!("CARGO_PKG_VERSION"))).render(&mut text);
    page.map_err(|error| output::cannot_write("-".as_ref(), &error))?;
    Ok(text)
}

/// The command line, with the names that arguments accept beside paths.
fn with_names(command: Command) -> Command {
    let chips: Vec<&'static str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    let passes: Vec<&'static str> = PASSES.iter().map(|pass| pass.name).collect();
    let laws: Vec<&'static str> = rules::laws().iter().map(|law| law.name).collect();
    let codes: Vec<&'static str> = codes::ALL.iter().map(|code| code.id).chain(["all"]).collect();
    // The process ends with the script: names that are read from a table may stay for so long.
    let gpus: Vec<&'static str> = baseline::names().into_iter().map(|name| &*name.leak()).collect();
    let named: &[(&str, &[&'static str])] = &[
        ("chip", &chips),
        ("baseline", &gpus),
        ("passes", &passes),
        ("print_ir_before", &passes),
        ("print_ir_after", &passes),
        ("without_law", &laws),
        ("what", &codes),
    ];
    command.mut_subcommands(|mut sub| {
        for (id, names) in named {
            if sub.get_arguments().any(|argument| argument.get_id() == *id) {
                let names = PossibleValuesParser::new(names.iter().copied());
                sub = sub.mut_arg(*id, |argument| argument.value_parser(names));
            }
        }
        sub
    })
}
