//! The one place of this crate with `unsafe`: mapping a file into memory.
//!
//! In: a path. Out: its bytes, read on demand by the operating system. Always: the mapping is private and read-only.
//!
//! Why a map: a weight section of many gigabytes is then never read as a whole, and pages that were read are shared with the
//! page cache. The price: if another process truncates the file while it is mapped, reading the lost pages raises a signal.
//! Narae writes images atomically (a new file is renamed over the old one, which stays intact for its mappings), so only
//! deliberate truncation in place does that. Models, which other tools write, are never mapped.

use std::io;
use std::path::Path;

use crate::files::open_regular;

/// A file's bytes.
#[derive(Debug)]
pub struct MappedFile(Option<memmap2::Mmap>);

impl MappedFile {
    /// Maps the whole file; an empty file gives no bytes. Anything but a regular file is refused.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = open_regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(MappedFile(None));
        }
        #[allow(
            unsafe_code,
            reason = "mapping is unsafe by nature; the module's documentation says why it is sound here"
        )]
        // SAFETY: the mapping is read-only and private, and lives as long as the bytes are borrowed. Its content is only ever
        // read as `u8` and checked by hashes, so that a file which changes underneath gives an error and never undefined values
        // of a richer type. Truncation in place is excluded by the module's contract.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(MappedFile(Some(map)))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_what_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(MappedFile::open(&path).unwrap().as_ref(), b"abc");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(MappedFile::open(&path).unwrap().as_ref(), b"");
        assert!(MappedFile::open(folder.path()).is_err());
    }
}
