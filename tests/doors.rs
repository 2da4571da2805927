//! Doors that hold, from outside: signals, killed processes, sources that change while they are read, outputs that are inputs, limits of the
//! system, devices, and the memory map in assembly.
//!
//! Small samples run with `cargo test`; the campaigns with `cargo test --release --test doors -- --ignored --nocapture`.
#![cfg(unix)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::wire::{self, Dim, Graph};
use support::{data, narae, narae_in};

const SIDE: usize = 512;

/// A product with a square weight in another file, of which each row is one number and `shift`.
fn weights(shift: f32) -> Vec<u8> {
    (0..SIDE * SIDE).flat_map(|at| ((at / SIDE) as f32 + shift).to_le_bytes()).collect()
}

fn product() -> Vec<u8> {
    let side = SIDE as i64;
    Graph {
        nodes: vec![wire::node("product", "MatMul", &["x", "w"], &["y"])],
        inputs: vec![wire::value("x", 1, &[Dim::Is(2), Dim::Is(side)])],
        outputs: vec![wire::value("y", 1, &[Dim::Is(2), Dim::Is(side)])],
        initializers: vec![wire::external("w", &[side, side], "w.bin")],
    }
    .model()
}

/// A folder with the model and its data.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("m.onnx"), product()).expect("a file");
    std::fs::write(folder.path().join("w.bin"), weights(0.0)).expect("a file");
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn temporaries(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name.starts_with(".narae-")).collect()
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narae"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the binary starts")
}

const COMPILE: [&str; 4] = ["compile", "m.onnx", "-o", "m.narae"];

/// How long one compilation takes here.
fn duration(folder: &Path) -> Duration {
    let begin = Instant::now();
    assert!(start(folder, &COMPILE).wait().expect("it ends").success());
    begin.elapsed()
}

/// Moments spread over a run, in another order each time.
fn moments(count: u32, whole: Duration) -> impl Iterator<Item = Duration> {
    (0..count).map(move |number| whole * (number * 37 % count) / count)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).stderr(Stdio::null()).status();
    // It may have ended before.
    let _ = sent.expect("kill is there");
}

/// Every run that a signal ends leaves its folder as it was, or has finished.
fn end_by_signals(count: u32) {
    let folder = folder();
    let whole = duration(folder.path());
    let (mut ended, mut finished) = (0, 0);
    for (number, after) in moments(count, whole).enumerate() {
        let _ = std::fs::remove_file(folder.path().join("m.narae"));
        let mut child = start(folder.path(), &COMPILE);
        std::thread::sleep(after);
        signal(&child, ["INT", "TERM", "HUP"][number % 3]);
        let status = child.wait().expect("it ends");
        let left = names(folder.path());
        match status.success() {
            true => finished += 1,
            false => ended += 1,
        }
        assert!(left == ["m.onnx", "w.bin"] || left == ["m.narae", "m.onnx", "w.bin"], "after {after:?}: {left:?}");
        if left.len() == 3 {
            assert_eq!(narae_in(folder.path(), &["verify", "m.narae"]).code, 0, "a file is complete or absent");
        }
    }
    println!(
        "{count} signals within {whole:?}: {ended} runs ended by them, {finished} had finished, nothing left behind"
    );
    assert!(ended > 0, "no run was ended by its signal");
}

/// What killed runs leave behind is gone after the next run; what a living process writes stays.
fn kill_and_clean(count: u32) {
    let folder = folder();
    let whole = duration(folder.path());
    let alive = folder.path().join(".narae-00000000ffffffff.tmp");
    std::fs::write(&alive, "somebody writes here").expect("a file");
    let held = std::fs::File::open(&alive).expect("a file");
    held.try_lock().expect("a lock");
    let mut most = 0;
    for after in moments(count, whole) {
        let mut child = start(folder.path(), &COMPILE);
        std::thread::sleep(after);
        signal(&child, "KILL");
        child.wait().expect("it ends");
        most = most.max(temporaries(folder.path()).len());
    }
    assert!(start(folder.path(), &COMPILE).wait().expect("it ends").success());
    assert_eq!(temporaries(folder.path()), [".narae-00000000ffffffff.tmp"], "the temporary of the living stays");
    drop(held);
    assert!(start(folder.path(), &COMPILE).wait().expect("it ends").success());
    assert_eq!(names(folder.path()), ["m.narae", "m.onnx", "w.bin"]);
    println!("{count} runs killed within {whole:?}; up to {most} temporaries lay there, none is left");
}

/// A source is rewritten while it is compiled: the image is one of the two, or there is none.
fn race_with_a_changing_source(count: u32) {
    let folder = folder();
    let path = folder.path().join("w.bin");
    let image = |shift: f32| {
        std::fs::write(&path, weights(shift)).expect("a file");
        assert!(start(folder.path(), &COMPILE).wait().expect("it ends").success());
        std::fs::read(folder.path().join("m.narae")).expect("an image")
    };
    let (first, second) = (image(0.0), image(0.5));
    let whole = duration(folder.path());
    let (mut whole_images, mut noticed) = (0, 0);
    for (number, after) in moments(count, whole).enumerate() {
        std::fs::write(&path, weights(0.0)).expect("a file");
        let _ = std::fs::remove_file(folder.path().join("m.narae"));
        let child = start(folder.path(), &COMPILE);
        std::thread::sleep(after);
        match number % 2 {
            0 => std::fs::write(&path, weights(0.5)).expect("rewritten in place"),
            _ => {
                let other = folder.path().join("other");
                std::fs::write(&other, weights(0.5)).expect("a file");
                std::fs::rename(&other, &path).expect("replaced");
            }
        }
        let output = child.wait_with_output().expect("it ends");
        match std::fs::read(folder.path().join("m.narae")) {
            Ok(found) => {
                assert!(output.status.success() && (found == first || found == second), "a mixture after {after:?}");
                whole_images += 1;
            }
            Err(_) => {
                assert_eq!(output.status.code(), Some(1), "refused after {after:?}");
                noticed += 1;
            }
        }
    }
    println!(
        "{count} races within {whole:?}: {whole_images} images of one version, {noticed} changes noticed, 0 mixtures"
    );
}

#[test]
fn a_signal_leaves_nothing_behind() {
    end_by_signals(6);
}

#[test]
fn the_next_run_removes_what_the_dead_left() {
    kill_and_clean(5);
}

#[test]
fn a_source_that_changes_is_noticed() {
    race_with_a_changing_source(6);
}

#[test]
#[ignore = "minutes; run with --release"]
fn a_hundred_signals() {
    end_by_signals(100);
}

#[test]
#[ignore = "minutes; run with --release"]
fn a_hundred_killed_runs() {
    kill_and_clean(100);
}

#[test]
#[ignore = "minutes; run with --release"]
fn two_hundred_races() {
    race_with_a_changing_source(200);
}

#[test]
fn no_result_replaces_what_is_read() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::hard_link(at("w.bin"), at("hard")).expect("a link");
    symlink("w.bin", at("soft")).expect("a link");
    symlink("m.onnx", at("model")).expect("a link");
    let before = std::fs::read(at("w.bin")).expect("a file");
    for output in ["m.onnx", "w.bin", "hard", "soft", "model"] {
        let run = narae_in(folder.path(), &["compile", "m.onnx", "--hard-links", "-o", output]);
        assert!(run.code == 2 && run.stderr.contains("which is read"), "{output}: {}", run.stderr);
    }
    assert_eq!(std::fs::read(at("w.bin")).expect("a file"), before);
    let run = narae_in(folder.path(), &["compile", "m.onnx", "--hard-links", "-o", "r.json", "--report", "r.json"]);
    assert!(run.code == 2 && run.stderr.contains("-o and --report both go to `r.json`"), "{}", run.stderr);
    assert_eq!(temporaries(folder.path()), [""; 0]);
}

#[test]
fn links_and_permissions_of_results_stay() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("deep")).expect("a folder");
    std::fs::write(at("deep/real"), "old").expect("a file");
    std::fs::set_permissions(at("deep/real"), std::fs::Permissions::from_mode(0o604)).expect("a mode");
    symlink("deep/real", at("m.narae")).expect("a link");
    narae_in(folder.path(), &COMPILE).ok();
    assert!(std::fs::symlink_metadata(at("m.narae")).expect("a link").is_symlink());
    assert_eq!(std::fs::metadata(at("deep/real")).expect("a file").permissions().mode() & 0o777, 0o604);
    narae_in(folder.path(), &["verify", "m.narae"]).ok();
}

/// Runs `narae` under a limit of the shell.
fn limited(folder: &Path, limit: &str, arguments: &str) -> (i32, String) {
    let script = format!("ulimit {limit}; exec \"$NARAE\" {arguments}");
    let output =
        Command::new("sh").args(["-c", &script]).current_dir(folder).env("NARAE", env!("CARGO_BIN_EXE_narae")).output();
    let output = output.expect("a shell");
    (output.status.code().unwrap_or(255), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_file_that_may_not_grow_is_an_error_that_says_how_much_it_needs() {
    let folder = folder();
    let (code, text) = limited(folder.path(), "-f 64", "compile m.onnx -o m.narae");
    assert!(code == 1 && text.contains("E0510") && text.contains("the image needs"), "{code}: {text}");
    assert_eq!(names(folder.path()), ["m.onnx", "w.bin"]);
}

#[test]
fn devices_pipes_and_endless_files_are_refused_at_every_door() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for path in ["/dev/zero", "pipe"] {
        let doors: [&[&str]; 12] = [
            &["asm", path, "-o", "x"],
            &["opt", path],
            &["compile", path, "-o", "x"],
            &["compile", "m.onnx", "-o", "x", "--chip", path],
            &["chips", path],
            &["dram", path],
            &["dram", "m.onnx", "--config", path],
            &["run", "m.onnx", "--inputs", path],
            &["run", path],
            &["eval", "m.onnx", "--ids", path],
            &["generate", "m.onnx", "--prompt", "x", "--tokenizer", path],
            &["run", "m.onnx", "--mode", "timing", "--recorded", path],
        ];
        for arguments in doors {
            let begin = Instant::now();
            let run = narae_in(folder.path(), arguments);
            assert!([1, 2].contains(&run.code) && run.stderr.contains("error[E"), "{arguments:?}: {}", run.stderr);
            assert!(begin.elapsed() < Duration::from_secs(20), "{arguments:?}");
        }
    }
}

#[test]
fn a_program_that_does_not_end_is_given_up_and_its_loop_is_named() {
    let folder = folder();
    let text = ".entry main\n    li r0, value=0\nagain:\n    alui add, r0, r0, value=1\n    jump again\n    halt\n";
    std::fs::write(folder.path().join("loop.s"), text).expect("a file");
    narae_in(folder.path(), &["asm", "loop.s", "-o", "loop.narae"]).ok();
    let run = narae_in(folder.path(), &["run", "loop.narae", "--max-instructions", "5000"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let says = "5000 instructions without `halt`; the loop from instruction 1 `alui add, r0, r0, value=1` to instruction 2 `jump 1`";
    assert!(run.stderr.contains("E0609") && run.stderr.contains(says), "{}", run.stderr);
}

#[test]
fn what_is_disassembled_assembles() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (number, model) in ["llama2_primitive.onnx", "operators/fused_conv_clip.onnx"].into_iter().enumerate() {
        let model = data(model).display().to_string();
        let cache = if number == 0 { "state" } else { "io" };
        let compile = |emit: &str, output: &str| {
            let common = ["compile", &model, "--max", "*=8", "--kv-cache", cache, "--emit", emit, "-o", output];
            narae(&common).ok()
        };
        compile("asm", &at("a.s"));
        compile("image", &at("b.narae"));
        narae(&["disasm", &at("b.narae"), "-o", &at("b.s")]).ok();
        for text in ["a.s", "b.s"] {
            let run = narae(&["asm", &at(text), "-o", &at("c.narae")]).ok();
            assert!(run.stderr.contains("weights"), "weights that are not there are said: {}", run.stderr);
            let map = |image: &str| {
                let text = narae(&["inspect", &at(image)]).ok().stdout;
                // What is indented further sums up the tensors in the weights, which are not in assembly.
                let own = |line: &&str| {
                    ["entry", "state", "  "].iter().any(|start| line.starts_with(start)) && !line.starts_with("    ")
                };
                text.lines().filter(own).map(str::to_string).collect::<Vec<_>>()
            };
            assert_eq!(map("c.narae"), map("b.narae"));
        }
    }
}

/// The reproductions that were found by fuzzing, where they are there.
#[test]
fn what_fuzzing_found_is_refused_with_a_code() {
    let found = shared_or_skip!("reports/panics");
    let at = |name: &str| found.join(name).display().to_string();
    let out = tempfile::tempdir().expect("a folder");
    let image = out.path().join("x").display().to_string();
    let mut cases: Vec<Vec<String>> = Vec::new();
    for text in ["panic_opt_3496", "panic_opt_6665", "panic_opt_7", "panic_opt_996", "trunc70.mlir"] {
        cases.push(vec!["opt".into(), at(text)]);
    }
    for model in ["instnorm_scalar_scale.onnx", "onehot_scalar_values.onnx"] {
        cases.push(vec!["compile".into(), at(model), "-o".into(), image.clone()]);
    }
    cases.push(vec!["run".into(), at("panic_rehash_6975"), "--inputs".into(), at("mm.npz")]);
    for tokenizer in ["panic_tok_1114", "panic_tok_22", "panic_tok_3576"] {
        let model = data("llama2_primitive.onnx").display().to_string();
        let rest = [
            "--tokenizer".into(),
            at(tokenizer),
            "--prompt".into(),
            "hello wide world".into(),
            "-n".into(),
            "1".into(),
        ];
        cases.push(["generate".into(), model].into_iter().chain(rest).collect());
    }
    for case in cases {
        let run = narae(&case);
        assert!([0, 1, 2, 3, 5].contains(&run.code) && !run.stderr.contains("E0999"), "{case:?}: {}", run.stderr);
    }
    let begin = Instant::now();
    narae(&["dram", &at("hang_trace_14")]).ok();
    assert!(begin.elapsed() < Duration::from_secs(10), "a trace of twenty requests took {:?}", begin.elapsed());
}
