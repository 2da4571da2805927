//! The door `asm` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("asm");
