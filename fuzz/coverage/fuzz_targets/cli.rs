//! The door `cli` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("cli");
