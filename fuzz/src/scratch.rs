//! A folder for doors that read files. In: names and bytes. Out: paths. Always holds: one folder a process, in memory where the system
//! has such a place, removed when the process ends in order.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let made = tempfile::Builder::new().prefix("narae-fuzz-").tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.unwrap_or_else(|error| panic!("no scratch folder can be made: {error}"))
});

/// The folder.
pub fn folder() -> &'static Path {
    FOLDER.path()
}

/// Writes a file of this name.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("the scratch folder takes no file: {error}"));
    path
}

/// Removes all that runs left in it, but for the names in `keep`.
pub fn tidy(keep: &[&str]) {
    let Ok(entries) = std::fs::read_dir(folder()) else { return };
    for entry in entries.flatten().filter(|entry| !keep.iter().any(|name| entry.file_name() == *name)) {
        let path = entry.path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}
