//! The command line: one file per subcommand, each with its arguments and a `run`. In: `argv`. Out: results on standard output or
//! in files, talk on standard error, an exit code.
//!
//! Always holds: only this folder and `main.rs` touch the terminal; every failure is a [`Diagnostics`] and goes through
//! `render`; a panic is caught and reported as our bug (70); files appear complete or not at all.

mod decoder;
mod effect;
mod inputs;
mod lengths;
mod options;
mod output;
mod progress;
mod reading;
mod render;
mod report;
mod running;
mod signals;
mod timed;
mod watch;
mod weights;
mod written;

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use narae_isa::{Diagnostic, Diagnostics, codes};
use render::{ColorChoice, MessageFormat, Voice};

/// What every subcommand returns.
type Outcome = Result<(), Diagnostics>;

const FIRST_STEPS: &str = "First steps:
  narae compile MODEL.onnx -o m.narae             an image, with lengths that are chosen for you
  narae run MODEL.onnx --inputs in.npz -o out.npz one call, compiled on the fly
  narae generate FOLDER --prompt \"Once upon\"      a decoder and its tokenizer write on
  narae ops MODEL.onnx                            what a model needs, and what of it is missing
`narae COMMAND -h` shows the options that are used most, `narae COMMAND --help` all of them.

Exit codes: 0 ok, 1 model or input rejected, 2 usage, 3 unsupported operator, 4 numeric mismatch, \
                          5 limit exceeded, 70 a bug in Narae.\n`narae explain E0123` says what an error code means.";

/// From ONNX transformer graphs to the instructions of a single-chip LPDDR accelerator, and a simulator that executes them.
#[derive(Parser)]
#[command(name = "narae", version, after_help = FIRST_STEPS, max_term_width = 110)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand.
#[derive(Args)]
#[command(next_help_heading = "Common options")]
struct Global {
    /// How errors are written: human or json
    #[arg(long, value_enum, default_value_t, global = true, value_name = "FORMAT", hide_possible_values = true)]
    message_format: MessageFormat,
    /// When to colour: auto (NO_COLOR is respected), always or never
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN", hide_possible_values = true)]
    color: ColorChoice,
    /// Say more (twice: still more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $module:ident $variant:ident;)*) => {
        $(mod $module;)*

        #[derive(Subcommand)]
        enum Command { $($(#[$doc])* $variant($module::Arguments),)* }

        fn dispatch(command: Command, voice: Voice) -> Outcome {
            match command { $(Command::$variant(arguments) => $module::run(arguments, voice),)* }
        }
    };
}

commands! {
    /// Compile an ONNX file to an image
    compile Compile;
    /// Run one call of an image, or of an ONNX file that is compiled on the fly
    run Run;
    /// Run all stages of the compiler side by side and name the first that diverges
    compare Compare;
    /// Say why weights have their formats, or what an error code means
    explain Explain;
    /// Write on from a prompt
    generate Generate;
    /// Measure perplexity on token ids
    eval Eval;
    /// Read a graph, run passes, print it
    opt Opt;
    /// Assemble text to an image
    asm Asm;
    /// Print the code of an image as assembly
    disasm Disasm;
    /// Print what an image says about itself
    inspect Inspect;
    /// Verify every hash and every bound of an image
    verify Verify;
    /// Run a trace through the LPDDR model alone
    dram Dram;
    /// Print the instruction manual
    isa Isa;
    /// Print the ONNX operators that Narae knows
    ops Ops;
    /// Print the built-in data sheets, or one of them
    chips Chips;
    /// Print completions for a shell, or manual pages
    completions Completions;
}

/// The whole command line as data: subcommands, options, the values that they take.
pub fn command() -> clap::Command {
    CommandLine::command()
}

/// A command line that was understood.
struct Understood {
    line: CommandLine,
    command: clap::Command,
    matches: clap::ArgMatches,
}

impl Understood {
    /// Parses; the program's name comes first.
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Understood, clap::Error> {
        let command = CommandLine::command();
        let matches = command.clone().try_get_matches_from(arguments)?;
        Ok(Understood { line: CommandLine::from_arg_matches(&matches)?, command, matches })
    }

    fn voice(&self) -> Voice {
        let Global { message_format, color, verbose, quiet } = self.line.global;
        Voice::new(message_format, color, verbose, quiet)
    }

    /// Runs.
    fn run(self) -> Outcome {
        let voice = self.voice();
        effect::check(&self.command, &self.matches)?;
        inputs::note_all(&self.matches)?;
        dispatch(self.line.command, voice)
    }
}

/// Parses and runs a command line inside of this process: what it prints goes where it always goes, what it refuses is shown and comes
/// back. A panic is not caught.
pub fn call(arguments: &[String]) -> Result<(), Diagnostics> {
    let understood = match Understood::parse(arguments.iter().map(OsString::from)) {
        Ok(understood) => understood,
        Err(error) if !error.use_stderr() => return Ok(()),
        Err(error) => return Err(Diagnostic::new(&codes::E0801, error.render().to_string()).into()),
    };
    let voice = understood.voice();
    understood.run().inspect_err(|found| voice.errors(found))
}

/// Parses, runs, reports; the exit code follows from the first problem.
pub fn main() -> ExitCode {
    let understood = match Understood::parse(std::env::args_os()) {
        Ok(understood) => understood,
        Err(error) => return usage(&error),
    };
    let voice = understood.voice();
    catch_bugs();
    signals::watch();
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| understood.run()));
    match outcome.unwrap_or_else(|payload| Err(bug(payload.as_ref()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(found) => {
            voice.errors(&found);
            ExitCode::from(found.exit())
        }
    }
}

/// Help and version are answers; everything else is wrong usage (2).
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args().any(|a| a == "--message-format=json")
        || std::env::args().zip(std::env::args().skip(1)).any(|(a, b)| a == "--message-format" && b == "json");
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) || !json {
        let _ = error.print();
    } else {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string();
        Voice::new(MessageFormat::Json, ColorChoice::Never, 0, false)
            .errors(&Diagnostic::new(&codes::E0801, message).help("narae --help lists the subcommands").into());
    }
    ExitCode::from(error.exit_code().clamp(0, 255) as u8)
}

/// The error for an option whose value is not accepted.
fn wrong_option(option: &str, value: &str, reason: &dyn std::fmt::Display) -> Diagnostics {
    Diagnostic::new(&codes::E0401, format!("{option} `{value}`: {reason}")).into()
}

/// Where the last panic happened, on whatever thread; the payload does not say.
static PANIC_PLACE: Mutex<String> = Mutex::new(String::new());

/// Keeps Rust's own panic message off the terminal: [`bug`] reports it.
fn catch_bugs() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if let Ok(mut last) = PANIC_PLACE.lock() {
            *last = place;
        }
    }));
}

/// A panic as a diagnostic.
fn bug(payload: &(dyn std::any::Any + Send)) -> Diagnostics {
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    let place = PANIC_PLACE.lock().map(|last| last.clone()).unwrap_or_default();
    let command: Vec<String> = std::env::args().collect();
    Diagnostic::new(&codes::E0999, format!("Narae made a mistake: {text}"))
        .note(format!("at {place}, version {}", env!("CARGO_PKG_VERSION")))
        .note(format!("command line: {}", command.join(" ")))
        .help("please report this together with the input file; nothing was left behind")
        .into()
}
