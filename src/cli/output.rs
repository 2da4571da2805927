//! Where results go: a path, or `-` for standard output. Always holds: a file either appears complete or not at all (temporary
//! file in the same folder, written, synced, renamed).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use narae_isa::{Diagnostic, Diagnostics, codes};
use tempfile::NamedTempFile;

/// Whether the path means standard input or output.
pub fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// No two results go to one place.
pub fn apart<'a>(places: impl Iterator<Item = (&'a str, &'a Path)>) -> Result<(), Diagnostics> {
    let mut taken: Vec<(&str, &Path)> = Vec::new();
    for (option, path) in places {
        if let Some((other, _)) = taken.iter().find(|(_, other)| *other == path) {
            let what = format!("{other} and {option} both go to `{}`", path.display());
            return Err(Diagnostic::new(&codes::E0801, what).help("give each a file of its own").into());
        }
        taken.push((option, path));
    }
    Ok(())
}

/// Writes `bytes` to `path` at once, or to standard output for `-`.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Diagnostics> {
    Place::reserve(path)?.write(bytes)
}

/// A place that can be written, found out before the work whose result goes there.
pub struct Place {
    path: PathBuf,
    target: Target,
}

enum Target {
    Stream,
    /// A device or pipe is written into; renaming a file over it would replace it.
    Device(File),
    Temporary(NamedTempFile),
}

impl Place {
    /// Reserves a path (`-`: standard output). Dropped without a write it leaves nothing behind.
    pub fn reserve(path: &Path) -> Result<Place, Diagnostics> {
        let target = reserve(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Place { path: path.to_path_buf(), target })
    }

    /// Writes the result: the file appears complete, or not at all.
    pub fn write(self, bytes: &[u8]) -> Result<(), Diagnostics> {
        let written = match self.target {
            Target::Stream => return to_stdout(bytes),
            Target::Device(mut file) => file.write_all(bytes),
            Target::Temporary(file) => replace(file, &self.path, bytes),
        };
        written.map_err(|error| cannot_write(&self.path, &error))
    }
}

/// Writes to standard output; a reader that went away (`narae … | head`) is not an error.
pub fn to_stdout(bytes: &[u8]) -> Result<(), Diagnostics> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(cannot_write(Path::new("-"), &error)),
        _ => Ok(()),
    }
}

fn reserve(path: &Path) -> io::Result<Target> {
    if is_stream(path) {
        return Ok(Target::Stream);
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => return Ok(Target::Device(File::options().write(true).open(path)?)),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What a plain new file would get; temporary files are private otherwise.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    Ok(Target::Temporary(builder.prefix(".narae-").tempfile_in(folder)?))
}

fn replace(mut file: NamedTempFile, path: &Path, bytes: &[u8]) -> io::Result<()> {
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
