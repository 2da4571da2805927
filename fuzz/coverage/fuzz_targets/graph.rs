//! The door `graph` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("graph");
