//! The registry of opened files that recipes read from, by positioned reads.
//!
//! In: paths or bytes. Out: exactly the bytes asked for, or a diagnostic: a file that shrank since it was opened is an error,
//! never a signal (nothing is mapped). Files are numbered in the order of opening; a path is opened once. The registry is
//! shared by all graphs of a model and only ever grows.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use narae_isa::files::open_regular;
use narae_isa::{Diagnostic, codes};

/// Number of a file in its registry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId(u32);

/// Where the bytes of a registered file are.
enum Backing {
    File(File),
    Bytes(Arc<[u8]>),
}

/// One registered file.
struct Entry {
    path: PathBuf,
    length: u64,
    /// What the file was when it was opened; none of bytes in memory.
    seen: Option<Seen>,
    backing: Backing,
}

/// What tells that a file is still the one that was opened, with the bytes that it had then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(metadata: &Metadata) -> Seen {
        Seen {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The registry. Cloning shares it.
#[derive(Clone, Default)]
pub struct Sources {
    entries: Arc<RwLock<Vec<Arc<Entry>>>>,
}

impl Sources {
    /// An empty registry.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Opens a file, or finds it if the same path was opened before.
    pub fn open(&self, path: &Path) -> Result<FileId, Diagnostic> {
        if let Some(found) = self.find(path) {
            return Ok(found);
        }
        let refused = |error: std::io::Error| {
            Diagnostic::new(&codes::E0101, format!("cannot open: {error}")).at_file(path.display().to_string())
        };
        let file = open_regular(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        Ok(self.push(path, metadata.len(), Some(Seen::of(&metadata)), Backing::File(file)))
    }

    /// Registers a file that the caller opened and checked.
    pub fn add_file(&self, path: &Path, file: File) -> Result<FileId, Diagnostic> {
        let metadata = file.metadata().map_err(|error| {
            Diagnostic::new(&codes::E0101, format!("cannot read: {error}")).at_file(path.display().to_string())
        })?;
        Ok(self.push(path, metadata.len(), Some(Seen::of(&metadata)), Backing::File(file)))
    }

    /// Registers bytes in memory under a name.
    pub fn add_bytes(&self, name: &Path, bytes: Arc<[u8]>) -> FileId {
        self.push(name, bytes.len() as u64, None, Backing::Bytes(bytes))
    }

    fn push(&self, path: &Path, length: u64, seen: Option<Seen>, backing: Backing) -> FileId {
        let mut entries = self.entries.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let id = FileId(u32::try_from(entries.len()).expect("fewer than 2^32 files are open"));
        entries.push(Arc::new(Entry { path: path.to_path_buf(), length, seen, backing }));
        id
    }

    fn entry(&self, file: FileId) -> Arc<Entry> {
        let entries = self.entries.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        entries[file.0 as usize].clone()
    }

    /// The number of a path that is registered.
    pub fn find(&self, path: &Path) -> Option<FileId> {
        let entries = self.entries.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let at = entries.iter().position(|entry| entry.path == path)?;
        u32::try_from(at).ok().map(FileId)
    }

    /// The path under which a file was registered.
    pub fn path(&self, file: FileId) -> PathBuf {
        self.entry(file).path.clone()
    }

    /// The paths of all registered files, in the order of opening.
    pub fn paths(&self) -> Vec<PathBuf> {
        let entries = self.entries.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        entries.iter().filter(|entry| entry.seen.is_some()).map(|entry| entry.path.clone()).collect()
    }

    /// An error if a file is not what it was when it was opened: rewritten in place, or another one under its name. What was read of it, and
    /// of the others, may then belong to two models. Asked once everything has been read.
    pub fn unchanged(&self) -> Result<(), Diagnostic> {
        let entries = self.entries.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        for entry in &entries {
            let Some(seen) = entry.seen else { continue };
            let same = |metadata: std::io::Result<Metadata>| metadata.is_ok_and(|found| Seen::of(&found) == seen);
            let open = match &entry.backing {
                Backing::File(file) => same(file.metadata()),
                Backing::Bytes(_) => true,
            };
            if !open || !same(std::fs::metadata(&entry.path)) {
                let what = "the file changed while it was read: what was read may be half of each version";
                return Err(Diagnostic::new(&codes::E0115, what).at_file(entry.path.display().to_string()));
            }
        }
        Ok(())
    }

    /// Length of a file, in bytes, when it was registered.
    pub fn length(&self, file: FileId) -> u64 {
        self.entry(file).length
    }

    /// Fills `buffer` from byte `offset` of the file.
    pub fn read_at(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        let entry = self.entry(file);
        let short =
            |reason: String| Diagnostic::new(&codes::E0106, reason).at_byte(entry.path.display().to_string(), offset);
        match &entry.backing {
            Backing::File(file) => file
                .read_exact_at(buffer, offset)
                .map_err(|error| short(format!("cannot read {} bytes: {error}", buffer.len()))),
            Backing::Bytes(bytes) => {
                let start = usize::try_from(offset).ok();
                let found = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
                match found {
                    Some(found) => {
                        buffer.copy_from_slice(found);
                        Ok(())
                    }
                    None => Err(short(format!("{} bytes were expected, the data ends before", buffer.len()))),
                }
            }
        }
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.entries.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        f.debug_list().entries(entries.iter().map(|entry| &entry.path)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_an_open_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        let other = folder.path().join("other");
        let opened = || {
            std::fs::write(&path, b"eight...").unwrap();
            let sources = Sources::new();
            let file = sources.open(&path).unwrap();
            sources.add_bytes(Path::new("bytes"), Arc::from([1u8, 2]));
            (sources, file)
        };
        let (sources, file) = opened();
        let mut bytes = [0; 8];
        sources.read_at(file, 0, &mut bytes).unwrap();
        sources.unchanged().unwrap();
        assert_eq!(sources.paths(), std::slice::from_ref(&path));
        // Another length; the same length with another time; another file under the name; no file.
        std::fs::write(&path, b"nine.....").unwrap();
        assert_eq!(sources.unchanged().unwrap_err().code.id, "E0115");
        let (sources, _) = opened();
        let writer = File::options().write(true).open(&path).unwrap();
        writer.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(sources.unchanged().unwrap_err().to_string().contains("changed while it was read"));
        let (sources, _) = opened();
        std::fs::write(&other, b"eight...").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(sources.unchanged().is_err());
        let (sources, _) = opened();
        std::fs::remove_file(&path).unwrap();
        assert!(sources.unchanged().is_err());
    }
}
