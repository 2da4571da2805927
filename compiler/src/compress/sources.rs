//! The registry of opened files that recipes read from, by positioned reads.
//!
//! In: paths or bytes. Out: exactly the bytes asked for, or a diagnostic: a file that shrank since it was opened is an error,
//! never a signal (nothing is mapped). Files are numbered in the order of opening; a path is opened once. The registry is
//! shared by all graphs of a model and only ever grows.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

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
    backing: Backing,
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
        let file = File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        if !metadata.is_file() {
            return Err(Diagnostic::new(&codes::E0101, "not a regular file").at_file(path.display().to_string()));
        }
        Ok(self.push(path, metadata.len(), Backing::File(file)))
    }

    /// Registers a file that the caller opened and checked.
    pub fn add_file(&self, path: &Path, file: File) -> Result<FileId, Diagnostic> {
        let metadata = file.metadata().map_err(|error| {
            Diagnostic::new(&codes::E0101, format!("cannot read: {error}")).at_file(path.display().to_string())
        })?;
        Ok(self.push(path, metadata.len(), Backing::File(file)))
    }

    /// Registers bytes in memory under a name.
    pub fn add_bytes(&self, name: &Path, bytes: Arc<[u8]>) -> FileId {
        self.push(name, bytes.len() as u64, Backing::Bytes(bytes))
    }

    fn push(&self, path: &Path, length: u64, backing: Backing) -> FileId {
        let mut entries = self.entries.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let id = FileId(u32::try_from(entries.len()).expect("fewer than 2^32 files are open"));
        entries.push(Arc::new(Entry { path: path.to_path_buf(), length, backing }));
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
