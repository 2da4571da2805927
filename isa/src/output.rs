//! Writing files: a file appears under its name complete, or not at all.
//!
//! In: a path, bytes. Out: the file. How: a temporary beside it, written, synced, renamed. Always: symbolic links stay links (what they lead
//! to is replaced), permissions of a file that was there stay; a device or pipe is written into, never replaced; a temporary goes away when
//! its writer fails, panics, or ends by a signal after [`abandon_all`]; what a killed process left behind is removed by the next one that
//! writes into the same folder, and never while its writer lives (the writer holds a lock on it).

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

/// How names of temporaries begin and end; between stand 16 hexadecimal digits.
const PREFIX: &str = ".narae-";
const SUFFIX: &str = ".tmp";
const DIGITS: usize = 16;

/// Links that are followed at most, as the operating system does.
const MOST_LINKS: usize = 40;

/// The temporaries of this process.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Numbers the temporaries of this process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Removes all temporaries of this process, for a process that is about to end. As long as the guard is held no file of this process
/// appears under its name any more.
pub fn abandon_all() -> impl Sized {
    let mut live = live();
    while let Some(path) = live.pop_first() {
        // There is nobody left to tell.
        let _ = std::fs::remove_file(path);
    }
    live
}

/// A place for a file: found out before the work whose result goes there.
#[derive(Debug)]
pub struct Output {
    /// Where the bytes go until they are complete.
    file: Option<File>,
    to: Target,
}

#[derive(Debug)]
enum Target {
    /// The temporary, the file that it becomes, and the permissions that this has.
    Replace { temporary: PathBuf, path: PathBuf, permissions: Option<Permissions> },
    /// A device or pipe is written into; renaming a file over it would replace it.
    Into(File),
}

impl Output {
    /// Reserves a path. Dropped without [`Output::commit`] it leaves nothing behind.
    pub fn reserve(path: &Path) -> io::Result<Output> {
        let path = follow(path)?;
        let permissions = match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                let to = Target::Into(File::options().write(true).open(path)?);
                return Ok(Output { file: Some(tempfile::tempfile()?), to });
            }
            Ok(found) => {
                // Who may not write the file may not replace it either.
                File::options().write(true).open(&path)?;
                Some(found.permissions())
            }
            Err(_) => None,
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sweep(folder);
        let (file, temporary) = create(folder)?;
        Ok(Output { file: Some(file), to: Target::Replace { temporary, path, permissions } })
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        match &mut self.file {
            Some(file) => file,
            None => unreachable!("the file is taken by `commit` only"),
        }
    }

    /// The file appears under its name.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(mut file) = self.file.take() else { unreachable!("an output is committed once") };
        match &mut self.to {
            Target::Into(device) => {
                file.seek(SeekFrom::Start(0))?;
                io::copy(&mut file, device).map(|_| ())
            }
            Target::Replace { temporary, path, permissions } => {
                if let Some(permissions) = permissions.take() {
                    file.set_permissions(permissions)?;
                }
                file.sync_all()?;
                let mut live = live();
                // A signal that came before has removed it, and the process ends.
                std::fs::rename(&*temporary, path)?;
                live.remove(temporary);
                Ok(())
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Target::Replace { temporary, .. } = &self.to
            && live().remove(temporary)
        {
            // Best effort: an error that led here is reported already.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Where a path leads when it is a symbolic link, which may lead to a file that does not exist yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match std::fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// A new locked temporary in a folder.
fn create(folder: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{PREFIX}{:08x}{number:08x}{SUFFIX}", std::process::id()));
        let mut live = live();
        let file = match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        // Another process may have taken it for a dead one's between these two lines: then it is gone, and the next name is tried.
        if is_kept(&file) {
            live.insert(path.clone());
            return Ok((file, path));
        }
    }
}

/// Locks a temporary; false if somebody else removes it.
fn is_kept(file: &File) -> bool {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // Where files cannot be locked nobody removes them.
        Err(TryLockError::Error(_)) => true,
        Ok(()) => links(file) > 0,
    }
}

#[cfg(unix)]
fn links(file: &File) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().map_or(0, |metadata| metadata.nlink())
}

#[cfg(not(unix))]
fn links(_: &File) -> u64 {
    1
}

/// Removes the temporaries of processes that are dead: those that nobody holds a lock on. Whatever cannot be removed stays.
fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let stale = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_temporary));
    for entry in stale.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // Best effort: the folder may belong to somebody else.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is one that [`create`] gives.
fn is_temporary(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut output = Output::reserve(path)?;
        output.file().write_all(text.as_bytes())?;
        output.commit()
    }

    #[test]
    fn files_appear_complete_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut output = Output::reserve(&path).unwrap();
        output.file().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(output);
        assert!(names(folder.path()).is_empty());
        write(&path, "whole").unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(write(folder.path(), "").unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(write(&folder.path().join("none/out"), "").is_err());
    }

    #[test]
    fn what_the_dead_left_is_removed_and_what_the_living_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let stale = folder.path().join(".narae-00000001000000ff.tmp");
        let alive = folder.path().join(".narae-0000000200000000.tmp");
        let foreign = [".narae-config", ".narae-00000001000000fg.tmp", ".narae-00000001.tmp", "x.tmp"];
        foreign.iter().for_each(|name| std::fs::write(folder.path().join(name), "mine").unwrap());
        std::fs::write(&stale, "half").unwrap();
        std::fs::write(&alive, "half").unwrap();
        let held = File::open(&alive).unwrap();
        held.try_lock().unwrap();
        write(&folder.path().join("out"), "whole").unwrap();
        assert!(!stale.exists() && alive.exists());
        drop(held);
        write(&folder.path().join("out"), "whole").unwrap();
        let mut left = names(folder.path());
        left.retain(|name| name != "out");
        let mut want = foreign.map(str::to_string).to_vec();
        want.sort();
        assert_eq!(left, want);
    }

    #[test]
    fn two_outputs_of_one_process_live_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Output::reserve(&folder.path().join("a")).unwrap();
        first.file().write_all(b"a").unwrap();
        write(&folder.path().join("b"), "b").unwrap();
        first.commit().unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        symlink("real", &link).unwrap();
        write(&link, "new").unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        write(&link, "newer").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "newer");
        assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        symlink("circle", folder.path().join("circle")).unwrap();
        assert!(write(&folder.path().join("circle"), "").is_err());
        write(Path::new("/dev/null"), "gone").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file(), "a device is written into, not replaced");
    }
}
