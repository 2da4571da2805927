//! The door `npz` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("npz");
