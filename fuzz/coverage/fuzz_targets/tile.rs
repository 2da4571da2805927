//! The door `tile` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("tile");
