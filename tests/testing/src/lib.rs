//! What the tests of all crates share, and nothing of ours is imported here: where the shared models and answers are, how a test that
//! cannot find them is skipped, what a stock mlir-opt says of a text,
//! how a small ONNX file is written by hand (`onnx`).
//!
//! Always holds: a test that does not test says so past the capture of the test harness, as one line `SKIPPED: …` that `.ci/run` counts;
//! there is one place to look for the data, and it does not depend on the machine.

pub mod onnx;

use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file or folder of the data that checkouts share (`models/`, `dram/`, `conformance/`, `reports/`): below `$NARAE_SHARED` if it is
/// set, else below `../shared` beside the workspace. `None` if it is not there.
#[must_use]
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("NARAE_SHARED").map_or_else(beside, PathBuf::from);
    Some(folder.join(path)).filter(|found| found.exists())
}

/// As [`shared`], and says that a test is skipped where there is nothing.
#[must_use]
pub fn shared_or_skip(path: &str) -> Option<PathBuf> {
    let found = shared(path);
    if found.is_none() {
        skip(path);
    }
    found
}

/// Says that a test is skipped because `what` of the shared data was not found.
pub fn skip(what: impl Display) {
    say_skipped(format_args!(
        "{what} not found; set NARAE_SHARED to the folder that holds models/, dram/ and reports/"
    ));
}

/// A line on standard error itself: the macros of `std` would hand it to the test harness, which keeps it from whoever reads the run.
fn say_skipped(why: impl Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    // One write, so that lines of tests that run side by side do not mix. If nobody listens, there is nobody to tell.
    let _ = std::io::stderr().write_all(format!("\nSKIPPED: {test}: {why}\n").as_bytes());
}

/// What a stock mlir-opt says of a text that may hold several modules. Where it is not installed (`.ci/run` installs it) the check is
/// skipped, unless `NARAE_REQUIRE_MLIR` is set: then that is an error.
///
/// # Errors
/// What mlir-opt wrote when it refused the text, or that it is missing though it is required.
pub fn mlir_opt(text: &str) -> Result<(), String> {
    let child = Command::new("mlir-opt-19")
        .args(["--allow-unregistered-dialect", "--verify-roundtrip", "--split-input-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        if std::env::var_os("NARAE_REQUIRE_MLIR").is_some() {
            return Err("mlir-opt-19 is not installed, but NARAE_REQUIRE_MLIR demands it".into());
        }
        say_skipped("mlir-opt-19 is not installed (apt-get install mlir-19-tools)");
        return Ok(());
    };
    let written = child.stdin.take().map(|mut pipe| pipe.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match (output.status.success(), written) {
        (true, Some(Ok(()))) => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
