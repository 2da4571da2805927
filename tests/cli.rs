//! The command line as users see it: help, version, error texts, exit codes, `-` and quiet, as snapshots.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use support::{narae, narae_in};

#[test]
fn help() {
    insta::assert_snapshot!("help", narae(&["--help"]).ok().stdout);
}

#[test]
fn help_of_every_subcommand() {
    let help = narae(&["--help"]).ok().stdout;
    let commands = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "));
    for line in commands {
        let Some(name) = line.split_whitespace().next().filter(|name| *name != "help" && !line.starts_with("   "))
        else {
            continue;
        };
        insta::assert_snapshot!(format!("help_{name}"), narae(&[name, "--help"]).ok().stdout);
    }
}

#[test]
fn version() {
    assert_eq!(narae(&["--version"]).ok().stdout, concat!("narae ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["frobnicate"][..], &["explain"], &["explain", "E0101", "--colour"], &[]] {
        assert_eq!(narae(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn explanations() {
    let all = narae(&["explain", "all"]).ok().stdout;
    for line in all.lines() {
        let code = line.split_whitespace().next().expect("a code");
        assert!(narae(&["explain", code]).ok().stdout.starts_with(code));
    }
    insta::assert_snapshot!("explain_E0302", narae(&["explain", "e0302"]).ok().stdout);
    assert_eq!(narae(&["explain", "E7777"]).code, 2);
}

#[test]
fn the_instruction_manual() {
    insta::assert_snapshot!("isa", narae(&["isa"]).ok().stdout);
    insta::assert_snapshot!("isa_linear", narae(&["isa", "linear", "ldw", "attend"]).ok().stdout);
    assert!(narae(&["isa", "--all"]).ok().stdout.contains("sts "));
    let table: serde_json::Value = serde_json::from_str(&narae(&["isa", "--json"]).ok().stdout).expect("JSON");
    assert!(table["instructions"].as_array().is_some_and(|rows| rows.len() > 40));
    assert_eq!(narae(&["isa", "frobnicate"]).code, 2);
}

#[test]
fn chips() {
    insta::assert_snapshot!("chips", narae(&["chips"]).ok().stdout);
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["narae-1", "narae-edge", "narae-fpga"] {
        let sheet = narae(&["chips", name]).ok().stdout;
        std::fs::write(folder.path().join("own.toml"), &sheet).expect("a sheet");
        assert!(
            narae_in(folder.path(), &["chips", "own.toml"]).ok().stdout.contains(name),
            "a sheet is its own source"
        );
        std::fs::write(folder.path().join("own.toml"), sheet.replace("count = ", "cuont = ")).expect("a sheet");
        let run = narae_in(folder.path(), &["chips", "own.toml"]);
        assert!(run.code == 1 && run.stderr.contains("own.toml:") && run.stderr.contains("cuont"), "{}", run.stderr);
    }
    assert!(narae(&["chips", "narae-9"]).stderr.contains("error[E0701]"));
}

#[test]
fn the_memory_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines: String = (0..256).map(|i| format!("0,R,{:#x},2048\n", i * 2048)).collect();
    std::fs::write(folder.path().join("trace.csv"), format!("# clock,operation,address,bytes\n{lines}"))
        .expect("a trace");
    let run = narae_in(folder.path(), &["dram", "trace.csv", "--json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["bytes"], 256 * 2048);
    std::fs::write(folder.path().join("trace.csv"), "0,R,0x7,32\n").expect("a trace");
    let run = narae_in(folder.path(), &["dram", "trace.csv"]);
    assert!(run.code == 1 && run.stderr.contains("trace.csv:1"), "{}", run.stderr);
}

#[test]
fn completions_and_manual_page() {
    for reader in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(narae(&["completions", reader]).ok().stdout.contains("narae"), "{reader}");
    }
    assert!(narae(&["completions", "man"]).ok().stdout.contains(".TH"));
}

#[test]
fn color_is_asked_for_or_absent() {
    let plain = narae(&["explain", "E7777"]).stderr;
    let coloured = narae(&["--color", "always", "explain", "E7777"]).stderr;
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
    insta::assert_snapshot!("error_text", plain);
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(narae_in(folder.path(), &["explain", "E0101"]).code, 0);
}
