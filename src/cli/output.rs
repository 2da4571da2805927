//! Where results go: a path, or `-` for standard output. Always holds: a file either appears complete or not at all (see
//! [`narae_isa::output`]), and no result replaces a file that the same command reads.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use narae_isa::output::Output;
use narae_isa::{Diagnostic, Diagnostics, codes};

use super::inputs;

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
    /// None: standard output.
    target: Option<Output>,
}

impl Place {
    /// Reserves a path (`-`: standard output). Dropped without a write it leaves nothing behind.
    pub fn reserve(path: &Path) -> Result<Place, Diagnostics> {
        let target = match is_stream(path) {
            true => None,
            false => {
                inputs::refuse_as_output(path)?;
                Some(Output::reserve(path).map_err(|error| cannot_write(path, &error))?)
            }
        };
        Ok(Place { path: path.to_path_buf(), target })
    }

    /// Writes the result: the file appears complete, or not at all.
    pub fn write(self, bytes: &[u8]) -> Result<(), Diagnostics> {
        let Some(mut output) = self.target else { return to_stdout(bytes) };
        inputs::refuse_as_output(&self.path)?;
        let written = output.file().write_all(bytes).and_then(|()| output.commit());
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
