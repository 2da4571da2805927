//! The door `image` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("image");
