//! The files that a model's tensors live in: the model itself and its external data.
//!
//! In: the path of the model and the `location` texts of its tensors. Out: opened regular files with a known size that are read
//! by position. Always holds: a location never leads out of the model's folder (nor, for a model that is a symbolic link as in
//! the Hugging Face cache, out of the folder that the link points into); a file is opened once, and what was checked is
//! what is read.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use narae_isa::files::open_regular;
use narae_isa::{Diagnostic, codes};
use sha1::{Digest, Sha1};

use super::wire::ReadAt;
use crate::compress::{FileId, Sources};

/// One registered file as the scan reads it.
pub struct Registered<'a> {
    /// The registry.
    pub sources: &'a Sources,
    /// The file.
    pub file: FileId,
}

impl ReadAt for Registered<'_> {
    fn size(&self) -> u64 {
        self.sources.length(self.file)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.sources.read_at(self.file, offset, buffer).map_err(|error| io::Error::other(error.message))
    }
}

/// The external files of one model, each opened at its first use.
#[derive(Debug)]
pub struct ExternalFiles {
    sources: Sources,
    /// The model's folder as given, and the folder in which its file really lies; none for a model from memory.
    folders: Vec<PathBuf>,
    /// The folder as given.
    folder: Option<PathBuf>,
    hard_links: bool,
    opened: BTreeMap<String, FileId>,
    /// Locations whose checksum was found right.
    verified: BTreeMap<String, String>,
}

impl ExternalFiles {
    /// For a model at `path`, or one from memory, which cannot have any.
    pub fn new(sources: &Sources, path: Option<&Path>, hard_links: bool) -> ExternalFiles {
        let folder = path.map(|path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        });
        let real = path.and_then(|path| path.canonicalize().ok()).and_then(|path| path.parent().map(Path::to_path_buf));
        let given = folder.as_ref().and_then(|folder| folder.canonicalize().ok());
        let folders = given.into_iter().chain(real).collect();
        ExternalFiles {
            sources: sources.clone(),
            folders,
            folder,
            hard_links,
            opened: BTreeMap::new(),
            verified: BTreeMap::new(),
        }
    }

    /// The file that `location` names, checked against `checksum` (SHA-1 in hexadecimal) if there is one.
    pub fn open(&mut self, location: &str, checksum: Option<&str>) -> Result<FileId, Diagnostic> {
        let file = match self.opened.get(location) {
            Some(&file) => file,
            None => {
                let file = self.resolve(location)?;
                self.opened.insert(location.to_string(), file);
                file
            }
        };
        if let Some(checksum) = checksum
            && self.verified.get(location).map(String::as_str) != Some(checksum)
        {
            verify(&self.sources, file, checksum)?;
            self.verified.insert(location.to_string(), checksum.to_string());
        }
        Ok(file)
    }

    fn resolve(&self, location: &str) -> Result<FileId, Diagnostic> {
        let Some(folder) = &self.folder else {
            let message = format!("external data `{location}` of a model that was given as bytes");
            return Err(Diagnostic::new(&codes::E0106, message).help("open the model by its path"));
        };
        let relative = Path::new(location);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain || location.is_empty() || location.contains('\0') {
            return Err(leaves(location, "it must name a file beneath the model's folder"));
        }
        let path = folder.join(relative);
        let at = |message: String| Diagnostic::new(&codes::E0106, message).at_file(path.display().to_string());
        let real = path.canonicalize().map_err(|error| at(format!("external data `{location}`: {error}")))?;
        if !self.folders.iter().any(|folder| real.starts_with(folder)) {
            return Err(leaves(location, &format!("it is a link to {}", real.display())));
        }
        let before = real.symlink_metadata().map_err(|error| at(format!("external data `{location}`: {error}")))?;
        if !before.is_file() {
            return Err(special(location, "it is not a regular file"));
        }
        let file = open_regular(&real).map_err(|error| at(format!("external data `{location}`: {error}")))?;
        let after = file.metadata().map_err(|error| at(format!("external data `{location}`: {error}")))?;
        if (before.dev(), before.ino()) != (after.dev(), after.ino()) {
            return Err(special(location, "it was replaced while it was being opened"));
        }
        if after.nlink() > 1 && !self.hard_links {
            return Err(special(location, "it is a hard link, which may lead to a file outside the folder")
                .help("copy the file, or allow hard links with --hard-links"));
        }
        self.sources.add_file(&path, file)
    }
}

fn leaves(location: &str, why: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0107, format!("external data `{location}` leaves the model's folder: {why}"))
        .help("external data must lie beneath the folder of the model")
}

fn special(location: &str, why: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0114, format!("external data `{location}` is refused: {why}"))
}

/// Reads the file once and compares its SHA-1.
fn verify(sources: &Sources, file: FileId, checksum: &str) -> Result<(), Diagnostic> {
    let mut hasher = Sha1::new();
    let mut buffer = vec![0; 1 << 20];
    let (mut at, size) = (0, sources.length(file));
    while at < size {
        let piece = (size - at).min(buffer.len() as u64) as usize;
        sources.read_at(file, at, &mut buffer[..piece])?;
        hasher.update(&buffer[..piece]);
        at += piece as u64;
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(checksum.trim()) {
        return Ok(());
    }
    Err(Diagnostic::new(&codes::E0112, format!("its SHA-1 is {found}, but the model says {checksum}"))
        .at_file(sources.path(file).display().to_string())
        .help("the file was changed or not completely downloaded: fetch it again"))
}
