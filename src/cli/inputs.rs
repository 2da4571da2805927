//! Which files a command reads, so that none of its results replaces one. In: the parsed command line, the files that a model brings along.
//! Out: a refusal. Always holds: files are told apart by device and inode, so links of both kinds are seen through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::ArgMatches;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::output;

/// The options whose files are written: the name that clap knows them by, and how they are spelled.
const OUTPUTS: [(&str, &str); 5] = [
    ("output", "-o"),
    ("report", "--report"),
    ("trace", "--trace"),
    ("dram_trace", "--dram-trace"),
    ("record", "--record"),
];

/// What a model folder may bring along.
const IN_FOLDERS: [&str; 4] = ["onnx", "onnx_data", "json", "safetensors"];

/// The files that this process reads, by device and inode.
static READ: Mutex<BTreeMap<(u64, u64), PathBuf>> = Mutex::new(BTreeMap::new());

/// Notes the files that a command line names; two results may not have one name.
pub fn note_all(matches: &ArgMatches) -> Result<(), Diagnostics> {
    // One process may run several command lines, one after the other.
    lock().clear();
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let mut written: Vec<(&str, PathBuf)> = Vec::new();
    for id in matches.ids() {
        let paths = matches.try_get_many::<PathBuf>(id.as_str()).ok().flatten().into_iter().flatten();
        match OUTPUTS.iter().find(|(output, _)| *output == id.as_str()) {
            Some((_, option)) => {
                written.extend(paths.filter(|path| path.as_os_str() != "-").map(|path| (*option, path.clone())));
            }
            None => paths.for_each(|path| note(path)),
        }
        if id.as_str() == "chip"
            && let Ok(Some(chip)) = matches.try_get_one::<String>("chip")
        {
            note(Path::new(chip));
        }
    }
    output::apart(written.iter().map(|(option, path)| (*option, path.as_path())))
}

/// Notes a file that is read; of a folder, what a model may bring along.
pub fn note(path: &Path) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let kind = |path: &PathBuf| {
            path.extension().and_then(|kind| kind.to_str()).is_some_and(|kind| IN_FOLDERS.contains(&kind))
        };
        entries.filter(|path| path.is_file() && kind(path)).for_each(|path| note(&path));
    } else if let Some(key) = key(path) {
        lock().entry(key).or_insert_with(|| path.to_path_buf());
    }
}

/// An error if the path is a file that is read.
pub fn refuse_as_output(path: &Path) -> Result<(), Diagnostics> {
    let Some(input) = key(path).and_then(|key| lock().get(&key).cloned()) else { return Ok(()) };
    let what = match input == path {
        true => format!("the result would replace `{}`, which is read", path.display()),
        false => format!(
            "the result `{}` would replace `{}`, which is read: they are one file",
            path.display(),
            input.display()
        ),
    };
    Err(Diagnostic::new(&codes::E0801, what)
        .at_file(path.display().to_string())
        .help("choose another name for the result")
        .into())
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<(u64, u64), PathBuf>> {
    READ.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What tells a regular file from all others.
#[cfg(unix)]
fn key(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn key(_: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_an_input_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [input, hard, soft, other] = ["in.onnx", "hard", "soft", "other"].map(|name| folder.path().join(name));
        std::fs::write(&input, "model").unwrap();
        std::fs::write(&other, "model").unwrap();
        std::fs::hard_link(&input, &hard).unwrap();
        std::os::unix::fs::symlink("in.onnx", &soft).unwrap();
        note(folder.path());
        for path in [&input, &hard, &soft] {
            assert!(refuse_as_output(path).unwrap_err().to_string().contains("E0801"), "{}", path.display());
        }
        refuse_as_output(&other).unwrap();
        refuse_as_output(&folder.path().join("new")).unwrap();
    }
}
