//! The door `tile-text` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("tile-text");
