//! The door `execute` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("execute");
