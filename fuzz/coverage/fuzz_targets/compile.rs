//! The door `compile` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("compile");
