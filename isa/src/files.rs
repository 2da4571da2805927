//! Reading files that a user names: the doors for text and for whole files in memory.
//!
//! In: a path and the most bytes that such a file may have. Out: its content, or why it was refused. Always: only regular files are read
//! (a device may be endless, a pipe may never come to an end), and nothing is reserved for bytes that are not there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The most bytes of a chip sheet, a DRAM sheet or another table of settings.
pub const MOST_SHEET_BYTES: u64 = 1 << 20;
/// The most bytes of a text that describes a program or a long run: assembly, IR, a DRAM trace, a record of scalars, a tokenizer.
pub const MOST_TEXT_BYTES: u64 = 1 << 28;

/// `O_NONBLOCK`: opening a pipe returns at once, so that it can be refused.
#[cfg(target_os = "linux")]
const NONBLOCK: i32 = 0o4000;

/// Opens a regular file; anything else would block, or never end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, NONBLOCK);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// The bytes of a regular file of at most `most` bytes.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_all(open_regular(path)?, most)
}

/// The text of a regular file of at most `most` bytes.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    to_text(read_bytes(path, most)?)
}

/// All text of a stream (standard input) that ends within `most` bytes.
pub fn read_text_from(stream: impl Read, most: u64) -> io::Result<String> {
    to_text(read_all(stream, most)?)
}

/// All bytes up to the end; more than `most` are an error, and are not kept.
fn read_all(stream: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes, the limit here")))
        }
        false => Ok(bytes),
    }
}

fn to_text(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes);
    text.map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("byte {at} is not text (UTF-8)"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_up_to_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "eight...").unwrap();
        assert_eq!(read_text(&path, 8).unwrap(), "eight...");
        let message = |result: io::Result<String>| result.unwrap_err().to_string();
        assert_eq!(message(read_text(&path, 7)), "it has more than 7 bytes, the limit here");
        assert_eq!(message(read_text(folder.path(), 100)), "it is not a regular file");
        std::fs::write(&path, b"ab\xff").unwrap();
        assert_eq!(message(read_text(&path, 100)), "byte 2 is not text (UTF-8)");
        assert_eq!(message(read_text_from(io::repeat(b'x'), 1000)), "it has more than 1000 bytes, the limit here");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_and_pipes_are_refused_at_once() {
        for path in ["/dev/zero", "/dev/stdin", "/dev/null"] {
            let refused = open_regular(Path::new(path));
            // Standard input of a test may be a file.
            assert!(path == "/dev/stdin" || refused.is_err(), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(read_bytes(&pipe, 10).unwrap_err().to_string(), "it is not a regular file");
    }
}
