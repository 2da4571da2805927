//! The command line `narae`; everything is in [`narae::cli`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    narae::cli::main()
}
