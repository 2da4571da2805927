//! The door `graph-text` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("graph-text");
