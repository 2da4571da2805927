//! The door `trace` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("trace");
