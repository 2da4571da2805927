//! The door `wire` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("wire");
