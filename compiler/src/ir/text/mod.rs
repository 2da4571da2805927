//! What the text forms of all dialects share: MLIR's generic form, without knowing any operation.
//!
//! In: text, or attributes and types. Out: operations as written (`syntax`), or pieces of text (`write`). Types are
//! `tensor<4x?xf32, "4, seq">`: the encoding spells the dims where they are not all known. The table of symbols is an attribute of the
//! operation that encloses a graph or program (`symbols`). What is printed parses back to the same.

mod lexer;
pub(crate) mod symbols;
pub(crate) mod syntax;
pub(crate) mod write;

/// What a stock mlir-opt says of a text. Where it is not installed (`.ci/run` installs it) the check is skipped, loudly.
#[cfg(test)]
pub(crate) fn mlir_opt(text: &str) -> Result<(), String> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let child = Command::new("mlir-opt-19")
        .args(["--allow-unregistered-dialect", "--verify-roundtrip", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        if std::env::var_os("NARAE_REQUIRE_MLIR").is_some() {
            return Err("mlir-opt-19 is not installed, but NARAE_REQUIRE_MLIR demands it".into());
        }
        // Not through the capture of the test harness: a skipped check must be seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED: mlir-opt-19 is not installed (apt-get install mlir-19-tools)");
        return Ok(());
    };
    let write = child.stdin.take().map(|mut pipe| pipe.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match (output.status.success(), write) {
        (true, Some(Ok(()))) => Ok(()),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
