//! The door `dram` under libFuzzer.
#![no_main]

narae_fuzz_coverage::target!("dram");
