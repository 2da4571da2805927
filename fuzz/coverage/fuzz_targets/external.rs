//! The door `external` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("external");
