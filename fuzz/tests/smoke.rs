//! The short pass over every door: a fixed seed, the stored seeds (inputs of mended bugs among them) first, then a few hundred mutated ones.
//!
//! In: nothing. Out: a failure that names cause and input. Always holds: the same bytes in every run of the test.
#![allow(clippy::print_stdout, reason = "tests talk to whoever runs them")]

use std::process::Command;

/// A number of a run behind all seeds.
const MUTATED: u32 = 100_000;

/// Opens a door with so many of its seeds as they are (stored inputs of mended bugs come first), and so many times with mutated ones.
fn pass(door: &str, seeds: u32, mutated: u32) {
    for (first, runs) in [(0, seeds), (MUTATED, mutated)] {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("findings");
        let mut command = Command::new(env!("CARGO_BIN_EXE_narae-fuzz"));
        let (first, runs) = (first.to_string(), runs.to_string());
        // Code that is not optimised is some twenty times slower; the bar of 2 s is that of optimised code.
        command.args([door, "--seed", "8", "--longest", "40", "--first", &first, "--runs", &runs, "--findings"]);
        let output = command.arg(&folder).output().expect("the runner starts");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        assert!(output.status.success(), "{said}\nthe inputs are in {}", folder.display());
    }
}

macro_rules! doors {
    ($($(#[$mark:meta])* $test:ident $door:literal $seeds:literal $mutated:literal;)*) => {
        $(
            #[test]
            $(#[$mark])*
            fn $test() {
                pass($door, $seeds, $mutated);
            }
        )*

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
    wire "wire" 300 1200;
    compile "compile" 20 20;
    operators "operators" 1 120;
    external "external" 1 800;
    npz "npz" 20 2000;
    image "image" 60 600;
    execute "execute" 40 150;
    asm "asm" 20 800;
    graph_text "graph-text" 60 500;
    graph "graph" 20 60;
    tile_text "tile-text" 60 500;
    tile "tile" 60 200;
    chip "chip" 5 800;
    dram "dram" 50 2000;
    trace "trace" 10 200;
    tokenizer "tokenizer" 20 800;
    cli "cli" 40 200;
}
