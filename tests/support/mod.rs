//! What the judge's tests share: finding the data, running the built binary, reading answers, comparing numbers, writing small
//! ONNX files by hand. Always holds: a test that cannot find `../shared` says SKIPPED, loudly, and passes.
#![allow(dead_code, unused_imports, reason = "every test binary uses another part of this module")]

pub mod compare;
pub mod narrow;
pub mod wire;
pub mod zoo;

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

pub use narae_testing::{shared, skip};

/// The shared path, or a return from the test.
#[macro_export]
macro_rules! shared_or_skip {
    ($path:expr) => {
        match narae_testing::shared_or_skip($path) {
            Some(path) => path,
            None => return,
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

/// A failed test that shows the text if a stock mlir-opt refuses it.
#[track_caller]
pub fn mlir_opt(text: &str) {
    narae_testing::mlir_opt(text).unwrap_or_else(|message| panic!("{message}\n{text}"));
}
