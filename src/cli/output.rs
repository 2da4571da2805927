//! Where results go: a path, or `-` for standard output. Always holds: a file either appears complete or not at all (temporary
//! file in the same folder, written, synced, renamed).

use std::io::{self, Write};
use std::path::Path;

use narae_isa::{Diagnostic, Diagnostics, codes};

/// Whether the path means standard input or output.
pub fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Writes `bytes` to `path` at once, or to standard output for `-`.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Diagnostics> {
    if is_stream(path) {
        return to_stdout(bytes);
    }
    write_atomic(path, bytes).map_err(|error| cannot_write(path, &error))
}

/// Writes to standard output; a reader that went away (`narae … | head`) is not an error.
pub fn to_stdout(bytes: &[u8]) -> Result<(), Diagnostics> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(cannot_write(Path::new("-"), &error)),
        _ => Ok(()),
    }
}

fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A device or pipe is written into; renaming a file over it would replace it.
    if std::fs::metadata(path).is_ok_and(|target| !target.is_file() && !target.is_dir()) {
        return std::fs::File::options().write(true).open(path)?.write_all(bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What a plain new file would get; temporary files are private otherwise.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(".narae-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The error for a result that could not be written.
pub fn cannot_write(path: &Path, error: &io::Error) -> Diagnostics {
    Diagnostic::new(&codes::E0803, format!("cannot write `{}`: {error}", path.display()))
        .at_file(path.display().to_string())
        .help("choose a folder that exists and that you may write to; nothing was left behind")
        .into()
}

/// A size with a unit that a person can read.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{:.1} KiB", count as f64 / 1024.0),
        10_485_760..10_737_418_240 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
    }
}
