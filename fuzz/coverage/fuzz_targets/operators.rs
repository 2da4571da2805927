//! The door `operators` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("operators");
