//! The door `tokenizer` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("tokenizer");
