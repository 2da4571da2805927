//! The command line; see `cli/`.
#![forbid(unsafe_code)]

fn main() {}
