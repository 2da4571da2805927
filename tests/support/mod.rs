//! What the judge's tests share: finding the data, running the built binary, reading answers, comparing numbers, writing small
//! ONNX files by hand. Always holds: a test that cannot find `../shared` says SKIPPED, loudly, and passes.
#![allow(dead_code, reason = "every test binary uses another part of this module")]

pub mod compare;
pub mod wire;
pub mod zoo;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The small models and answers that belong to the repository.
pub fn data(name: &str) -> PathBuf {
    root().join("tests/data").join(name)
}

/// A file or folder of the models that are shared between checkouts: `$NARAE_SHARED`, `../shared`, `/work/shared`.
pub fn shared(path: &str) -> Option<PathBuf> {
    let candidates = [
        std::env::var_os("NARAE_SHARED").map(PathBuf::from),
        Some(root().join("../shared")),
        Some("/work/shared".into()),
    ];
    candidates.into_iter().flatten().map(|base| base.join(path)).find(|found| found.exists())
}

/// Says that a test is skipped because `what` was not found.
pub fn skip(what: &str) {
    eprintln!("\nSKIPPED: {what} not found; set NARAE_SHARED to the folder that holds models/\n");
}

/// The shared path, or a return from the test.
#[macro_export]
macro_rules! shared_or_skip {
    ($path:expr) => {
        match support::shared($path) {
            Some(path) => path,
            None => return support::skip($path),
        }
    };
}

/// A run of the built binary that has ended.
pub struct Run {
    /// The exit code; a signal counts as 255.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// The run, if it succeeded; otherwise a failed test that shows what it said.
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, 0, "narae failed\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs `narae` with these arguments in a folder.
pub fn narae_in<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: &[S]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narae"));
    let Output { status, stdout, stderr } = command
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run { code: status.code().unwrap_or(255), stdout: text(stdout), stderr: text(stderr) }
}

/// Runs `narae` with these arguments.
pub fn narae<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Run {
    narae_in(&root(), arguments)
}

/// What a stock mlir-opt says of a text. Where it is not installed (`.ci/run` installs it) the check is skipped, loudly, unless
/// `NARAE_REQUIRE_MLIR` is set.
pub fn mlir_opt(text: &str) {
    let child = Command::new("mlir-opt-19")
        .args(["--allow-unregistered-dialect", "--verify-roundtrip", "--split-input-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("NARAE_REQUIRE_MLIR").is_none(), "mlir-opt-19 is not installed");
        return eprintln!("\nSKIPPED: mlir-opt-19 is not installed (apt-get install mlir-19-tools)\n");
    };
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("mlir-opt reads");
    let output = child.wait_with_output().expect("mlir-opt ends");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}
