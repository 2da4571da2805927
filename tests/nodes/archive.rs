//! The cases of ONNX's backend suite as files: where they are, and what one holds.
//!
//! In: the suite as a `tar.gz` (the whole one of `../shared`, or the sample in `tests/data`). Out: [`Case`]s, sorted by name. Always holds: an
//! archive is unpacked once into the target folder and never changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use narae::compiler::onnx::tensor::read_tensor;
use narae::isa::HostTensor;

/// A case of the suite.
pub struct Case {
    /// Its name, unique in the suite.
    pub name: String,
    folder: PathBuf,
}

/// What the suite's runner compares by.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative to the wanted value.
    pub relative: f64,
    /// On top of it.
    pub absolute: f64,
}

/// One call of a case's model, by position.
pub struct Call {
    /// The inputs that are given.
    pub inputs: Vec<HostTensor>,
    /// The outputs that are wanted.
    pub outputs: Vec<HostTensor>,
}

/// All cases of an archive.
pub fn cases(archive: &Path) -> Vec<Case> {
    let folder = unpack(archive);
    let mut found = Vec::new();
    for kind in ["node", "simple"] {
        let Ok(entries) = std::fs::read_dir(folder.join(kind)) else { continue };
        for entry in entries {
            let folder = entry.expect("the folder is readable").path();
            let name = folder.file_name().expect("a case has a name").to_string_lossy().into_owned();
            found.push(Case { name, folder });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn unpack(archive: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let name = archive.file_name().expect("an archive has a name").to_string_lossy();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.trim_end_matches(".tar.gz"));
    if !target.join("done").exists() {
        std::fs::create_dir_all(&target).expect("the target folder is writable");
        let status = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&target).status().expect("tar runs");
        assert!(status.success(), "tar unpacks the archive");
        std::fs::write(target.join("done"), "").expect("the target folder is writable");
    }
    target
}

impl Case {
    /// The ONNX file.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model.onnx")
    }

    /// The suite's own tolerance.
    pub fn tolerance(&self) -> Result<Tolerance, String> {
        let text = std::fs::read_to_string(self.folder.join("tolerance.json")).unwrap_or_else(|_| String::from("{}"));
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let number = |name: &str, usual| value[name].as_f64().unwrap_or(usual);
        Ok(Tolerance { relative: number("rtol", 1e-3), absolute: number("atol", 1e-7) })
    }

    /// The stored calls.
    pub fn calls(&self) -> Result<Vec<Call>, String> {
        let folders = (0..).map(|number| self.folder.join(format!("test_data_set_{number}")));
        let found = folders.take_while(|folder| folder.exists());
        found
            .map(|folder| Ok(Call { inputs: tensors(&folder, "input")?, outputs: tensors(&folder, "output")? }))
            .collect()
    }
}

fn tensors(folder: &Path, kind: &str) -> Result<Vec<HostTensor>, String> {
    let mut found = Vec::new();
    for number in 0.. {
        let Ok(bytes) = std::fs::read(folder.join(format!("{kind}_{number}.pb"))) else { break };
        found.push(read_tensor(&bytes).map_err(|error| format!("{kind} {number}: {error}"))?);
    }
    Ok(found)
}
