//! The door `chip` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("chip");
