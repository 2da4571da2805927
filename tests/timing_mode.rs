//! `run --mode timing` through the built binary: lengths alone give the times that a run with tensors gives; no weight is read; records of
//! scalars and traces of requests come back.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::fs;
use std::path::PathBuf;

use narae::npz::{self, Arrays};
use narae_isa::HostTensor;
use serde_json::Value;
use support::{narae_in, root};
use tempfile::TempDir;

const STATE: [&str; 8] = ["--kv-cache", "state", "--max-batch", "1", "--max-seq", "4", "--max-past", "64"];

/// A folder with the small model as an image, and a call of `decode` after seven tokens.
struct Case {
    folder: TempDir,
    model: String,
}

impl Case {
    fn new() -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        let model = root().join("examples/tinylm/model.onnx").display().to_string();
        let case = Case { folder, model };
        case.run(&[&["compile", &case.model, "-o", "m.narae"], &STATE[..]].concat());
        let ids = |values: &[i64], dims: &[usize]| HostTensor::from_i64(dims, values);
        let inputs: Arrays =
            [("input_ids".to_string(), ids(&[5], &[1, 1])), ("past_len".to_string(), ids(&[7], &[1]))].into();
        fs::write(case.path("in.npz"), npz::to_bytes(&inputs).expect("an archive")).expect("a file");
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> support::Run {
        narae_in(self.folder.path(), arguments).ok()
    }

    /// The report of a run of `decode`.
    #[track_caller]
    fn report(&self, arguments: &[&str]) -> Value {
        let fixed = ["run", "m.narae", "--entry", "decode", "--report", "r.json"];
        self.run(&[&fixed, arguments].concat());
        serde_json::from_str(&fs::read_to_string(self.path("r.json")).expect("a report")).expect("JSON")
    }
}

#[test]
fn lengths_alone_give_the_same_times() {
    let case = Case::new();
    let with_tensors = case.report(&["--inputs", "in.npz", "--mode", "both"]);
    let of_inputs = case.report(&["--inputs", "in.npz", "--mode", "timing"]);
    let batch = with_tensors["lengths"][0]["name"].as_str().unwrap_or("batch_size").to_string();
    let named = case.report(&["--mode", "timing", "--dim", &format!("{batch}=1"), "--past", "7"]);
    for other in [&of_inputs, &named] {
        assert_eq!(other["event_hash"], with_tensors["event_hash"]);
        assert_eq!((&other["cycles"], &other["tokens"]), (&with_tensors["cycles"], &with_tensors["tokens"]));
    }
    let later = case.report(&["--mode", "timing", "--dim", &format!("{batch}=1"), "--past", "60"]);
    assert!(later["dram_bytes_read"].as_u64() > named["dram_bytes_read"].as_u64(), "a longer past reads more");
    // Bad lengths are errors that say what there is.
    let wrong = |arguments: &[&str]| {
        narae_in(case.folder.path(), &[&["run", "m.narae", "--entry", "decode"], arguments].concat())
    };
    let unknown = wrong(&["--mode", "timing", "--dim", "speed=3"]);
    assert!(
        unknown.code == 1 && unknown.stderr.contains("E0601") && unknown.stderr.contains(&batch),
        "{}",
        unknown.stderr
    );
    assert_eq!(wrong(&["--past", "3", "--inputs", "in.npz"]).code, 2, "--past belongs to --mode timing");
}

#[test]
fn models_are_timed_without_their_weights() {
    let case = Case::new();
    let report = |more: &[&str]| {
        let fixed = ["run", &case.model, "--entry", "decode", "--mode", "timing", "--past", "7", "--report", "r.json"];
        case.run(&[&fixed[..], &STATE, more].concat());
        let text = fs::read_to_string(case.path("r.json")).expect("a report");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let (fast, exact) = (report(&["--dim", "batch_size=1"]), report(&["--dim", "batch_size=1", "--dram", "exact"]));
    let cycles = |report: &Value| report["cycles"].as_f64().expect("cycles");
    assert!((cycles(&exact) / cycles(&fast) - 1.0).abs() < 0.05, "{} and {}", cycles(&exact), cycles(&fast));
    // Damaged weights do not matter to a timing of the image.
    let mut image = fs::read(case.path("m.narae")).expect("the image");
    let middle = image.len() - (3 << 20); // the page table of the cache is at the end
    image[middle] ^= 1;
    fs::write(case.path("damaged.narae"), image).expect("a file");
    let damaged = ["run", "damaged.narae", "--entry", "decode", "--inputs", "in.npz", "--mode"];
    case.run(&[&damaged[..], &["timing"]].concat());
    assert_eq!(narae_in(case.folder.path(), &[&damaged[..], &["both"]].concat()).code, 1);
}

#[test]
fn records_of_scalars_can_be_replayed() {
    let case = Case::new();
    case.run(&["run", "m.narae", "--entry", "decode", "--inputs", "in.npz", "--record", "scalars.json"]);
    let assumed = case.report(&["--inputs", "in.npz", "--mode", "timing"]);
    let recorded = case.report(&["--inputs", "in.npz", "--mode", "timing", "--recorded", "scalars.json"]);
    assert_eq!(assumed["event_hash"], recorded["event_hash"]);
    let wrong = [
        "run",
        "m.narae",
        "--entry",
        "prefill",
        "--inputs",
        "in.npz",
        "--mode",
        "timing",
        "--recorded",
        "scalars.json",
    ];
    assert!(narae_in(case.folder.path(), &wrong).stderr.contains("entry `decode`, not `prefill`"));
}

#[test]
fn requests_can_be_replayed() {
    let case = Case::new();
    let report = case.report(&["--inputs", "in.npz", "--mode", "timing", "--dram-trace", "t.csv"]);
    let replay = case.run(&["dram", "t.csv", "--config", "narae-1", "--json"]);
    let replayed: Value = serde_json::from_str(&replay.stdout).expect("JSON");
    let bytes = |key: &str| report[key].as_u64().expect("bytes");
    let (there, here) =
        (replayed["bytes"].as_u64().expect("bytes"), bytes("dram_bytes_read") + bytes("dram_bytes_written"));
    // A trace knows whole bursts only: a scalar in the middle of one begins at its start there.
    assert!((here..here + 32 * 100).contains(&there), "{there} bytes are replayed, {here} were moved");
    let ratio = replayed["seconds"].as_f64().expect("seconds") / report["seconds"].as_f64().expect("seconds");
    assert!((0.9..1.1).contains(&ratio), "the replay takes {ratio} × the run");
}
