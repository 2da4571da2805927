//! The short pass over every door: a fixed seed, the stored seeds (inputs of mended bugs among them) first, then a few hundred mutated ones.
//!
//! In: nothing. Out: a failure that names cause and input. Always holds: the same bytes in every run of the test.
#![allow(clippy::print_stdout, reason = "tests talk to whoever runs them")]

use std::process::Command;

/// Opens a door this many times with mutated bytes.
fn pass(door: &str, runs: u32) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("findings");
    let mut command = Command::new(env!("CARGO_BIN_EXE_narae-fuzz"));
    // Code that is not optimised is some twenty times slower; the bar of 2 s is that of optimised code.
    command.args([door, "--seed", "8", "--longest", "40", "--runs", &runs.to_string(), "--findings"]).arg(&folder);
    let output = command.output().expect("the runner starts");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\nthe inputs are in {}", folder.display());
}

macro_rules! doors {
    ($($test:ident $door:literal $runs:literal;)*) => {
        $(#[test] fn $test() { pass($door, $runs); })*

        /// A door without a pass would not be noticed.
        #[test]
        fn every_door_has_a_pass() {
            let passes = [$($door),*];
            let doors: Vec<&str> = narae_fuzz::doors::DOORS.iter().map(|door| door.name).collect();
            assert_eq!(passes.as_slice(), doors);
        }
    };
}

doors! {
    wire "wire" 1500;
    compile "compile" 350;
    operators "operators" 400;
    external "external" 2000;
    npz "npz" 3000;
    image "image" 800;
    execute "execute" 300;
    asm "asm" 2000;
    graph_text "graph-text" 500;
    graph "graph" 150;
    tile_text "tile-text" 500;
    tile "tile" 200;
    chip "chip" 500;
    dram "dram" 1000;
    trace "trace" 300;
    tokenizer "tokenizer" 500;
    cli "cli" 250;
}
