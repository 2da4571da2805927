//! Where the shared models are, and what is among them.

use std::path::{Path, PathBuf};

/// A folder of the shared data (`$NARAE_SHARED`, else `shared` beside the workspace or above it); says so where it is not there.
pub fn folder(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let candidates = [
        std::env::var_os("NARAE_SHARED").map(PathBuf::from),
        Some(workspace.join("../shared")),
        Some(workspace.join("../../shared")),
    ];
    let found = candidates.into_iter().flatten().map(|shared| shared.join(name)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: there is no shared/{name}; set NARAE_SHARED to the folder that holds it");
    }
    found
}

/// The manifest of the zoo.
pub fn manifest(zoo: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(zoo.join("manifest.json")).expect("the zoo has a manifest");
    serde_json::from_str(&text).expect("the manifest is a list")
}

/// The model files of the zoo, in the order of the manifest.
pub fn zoo_files(zoo: &Path) -> Vec<String> {
    manifest(zoo).iter().map(|entry| entry["file"].as_str().expect("a file name").to_string()).collect()
}
