//! The directory of the store: who may use it, and of which format it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint;
use super::files::{Disk, Files, Memory};
use super::log::{is_full, is_segment_name};

/// The format that this version writes, and the oldest that it reads. Segments
/// and the checkpoint tell their own, so that one store may hold two of them.
const VERSION: u32 = 1;
const VERSION_MIN: u32 = 1;

const LOCK: &str = "lock";
const FORMAT: &str = "format";
const FORMAT_NEW: &str = "format.new";
const FORMAT_WORDS: &str = "runtrail store ";
/// More than any version has.
const FORMAT_BYTES_MAX: u64 = 64;
const PROBE: &str = "probe";

/// Opens stores.
#[derive(Debug, Clone, Copy)]
pub struct StoreDir;

/// As long as it lives, nobody else opens the store.
#[derive(Debug)]
pub struct LockGuard {
    /// The system takes the lock back when it is closed, also by being killed.
    _file: File,
}

/// Why a directory cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or this one, uses it.
    #[error(
        "the store {} is in use{}: give each runtrail a store.dir of its own",
        path.display(), by(pid)
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who, as far as it is known.
        pid: Option<u32>,
    },
    /// Something else is there.
    #[error("store.dir is set to {}, which is not a directory: name one", path.display())]
    NotADirectory {
        /// What is there.
        path: PathBuf,
    },
    /// The user may not write there.
    #[error(
        "store.dir is set to {}, where runtrail may not write: give it the right to, or name another directory",
        path.display()
    )]
    NotAllowed {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody may write there.
    #[error(
        "store.dir is set to {}, which is on a read-only file system: name a directory that can be written",
        path.display()
    )]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// A later version has written it.
    #[error(
        "the store {} is of format {version}, and this version of runtrail knows none above {VERSION}: use the newer one again, or another store.dir",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// A version has written it that is too old.
    #[error(
        "the store {} is of format {version}, and this version of runtrail knows none below {VERSION_MIN}: let the version between them open it first, or name another store.dir",
        path.display()
    )]
    Older {
        /// The directory.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// It does not tell of which format it is.
    #[error(
        "the file `{FORMAT}` of the store {} does not say `{FORMAT_WORDS}{VERSION}`: put it back as it was, or name another store.dir",
        path.display()
    )]
    NoFormat {
        /// The directory.
        path: PathBuf,
    },
    /// Anything else that the disk refused.
    #[error("the store {} cannot be used (store.dir): {error}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

impl StoreDir {
    /// Opens the store at a directory, for this process alone. The directory is
    /// made if it is not there.
    pub fn open(path: &Path) -> Result<(Arc<dyn Files>, LockGuard), StoreError> {
        let failed = |error| StoreError::of(path, error);
        let disk = Disk::open(path).map_err(failed)?;
        let guard = lock(path)?;
        probe(&disk).map_err(failed)?;
        match read_format(&disk, path)? {
            None if has_data(&disk).map_err(failed)? => {
                return Err(StoreError::NoFormat { path: path.into() });
            }
            Some(VERSION) => {}
            // What comes into it from now on an older program does not know.
            None | Some(_) => write_format(&disk).map_err(failed)?,
        }
        Ok((Arc::new(disk), guard))
    }

    /// What takes the place of a store when no directory is given.
    pub fn memory() -> Arc<dyn Files> {
        Arc::new(Memory::new())
    }

    /// The store at a directory, to look into it: another process may use it
    /// meanwhile. There is none where none was opened before.
    pub fn look(path: &Path) -> Result<Option<Arc<dyn Files>>, StoreError> {
        let disk = match Disk::look(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            disk => disk.map_err(|error| StoreError::of(path, error))?,
        };
        let version = read_format(&disk, path)?;
        Ok(version.map(|_| Arc::new(disk) as Arc<dyn Files>))
    }
}

impl StoreError {
    fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                Self::NotADirectory { path }
            }
            io::ErrorKind::PermissionDenied => Self::NotAllowed { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { path, error },
        }
    }
}

fn lock(path: &Path) -> Result<LockGuard, StoreError> {
    let failed = |error| StoreError::of(path, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let opened = options.open(path.join(LOCK));
    let mut file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::InUse {
                path: path.to_owned(),
                pid: pid_in(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Only for the words of whoever comes second: a full disk is no reason to stop.
    tell_pid(&mut file).ok();
    Ok(LockGuard { _file: file })
}

fn tell_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    let read = file.take(FORMAT_BYTES_MAX).read_to_string(&mut text);
    read.ok().and_then(|_| text.trim().parse().ok())
}

/// Whether files can be made. That there is no room is for later: it may come.
fn probe(disk: &Disk) -> io::Result<()> {
    match disk.create(PROBE) {
        Err(error) if is_full(&error) => Ok(()),
        made => {
            made?;
            disk.remove(PROBE)
        }
    }
}

/// Whether there is anything that only a store has.
fn has_data(disk: &Disk) -> io::Result<bool> {
    let names = disk.list()?;
    let is_data = |name: &String| name == checkpoint::NAME || is_segment_name(name);
    Ok(names.iter().any(is_data))
}

fn read_format(disk: &Disk, path: &Path) -> Result<Option<u32>, StoreError> {
    let no_format = || StoreError::NoFormat { path: path.into() };
    let failed = |error| StoreError::of(path, error);
    let file = match disk.open(FORMAT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let len = file.len().map_err(failed)?;
    if len > FORMAT_BYTES_MAX {
        return Err(no_format());
    }
    let mut bytes = vec![0; len as usize];
    file.read_at(0, &mut bytes).map_err(failed)?;
    let version = parse_format(&bytes).ok_or_else(no_format)?;
    let path = path.to_owned();
    match version {
        VERSION_MIN..=VERSION => Ok(Some(version)),
        ..VERSION_MIN => Err(StoreError::Older { path, version }),
        _ => Err(StoreError::Newer { path, version }),
    }
}

fn parse_format(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.strip_prefix(FORMAT_WORDS)?.trim_end().parse().ok()
}

fn write_format(disk: &Disk) -> io::Result<()> {
    let mut file = disk.create(FORMAT_NEW)?;
    file.append(format!("{FORMAT_WORDS}{VERSION}\n").as_bytes())?;
    file.sync_data()?;
    disk.rename(FORMAT_NEW, FORMAT)?;
    disk.sync_dir()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use tempfile::tempdir;

    use super::*;

    fn said(path: &Path) -> String {
        StoreDir::open(path).unwrap_err().to_string()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_store_is_made_for_its_owner_alone_and_opened_again() {
        let place = tempdir().unwrap();
        let path = place.path().join("a/b");
        let (files, guard) = StoreDir::open(&path).unwrap();
        files.create("file").unwrap();
        assert_eq!(mode(&path), 0o700);
        for name in [LOCK, FORMAT, "file"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
        assert_eq!(
            fs::read_to_string(path.join(FORMAT)).unwrap(),
            "runtrail store 1\n"
        );
        drop(guard);
        let (files, _guard) = StoreDir::open(&path).unwrap();
        let mut names = files.list().unwrap();
        names.sort();
        assert_eq!(names, ["file", FORMAT, LOCK]);
    }

    #[test]
    fn a_second_one_is_refused_and_told_who_is_first() {
        let place = tempdir().unwrap();
        let (_, guard) = StoreDir::open(place.path()).unwrap();
        let pid = std::process::id();
        let path = place.path().display();
        assert_eq!(
            said(place.path()),
            format!(
                "the store {path} is in use by process {pid}: give each runtrail a store.dir of its own"
            )
        );
        fs::write(place.path().join(LOCK), "").unwrap();
        assert_eq!(
            said(place.path()),
            format!("the store {path} is in use: give each runtrail a store.dir of its own")
        );
        assert!(
            StoreDir::look(place.path()).unwrap().is_some(),
            "looking is no use"
        );
        drop(guard);
        StoreDir::open(place.path()).unwrap();
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let place = tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            assert_eq!(
                said(&path),
                format!(
                    "store.dir is set to {}, which is not a directory: name one",
                    path.display()
                )
            );
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused() {
        let place = tempdir().unwrap();
        drop(StoreDir::open(place.path()).unwrap());
        fs::set_permissions(place.path(), Permissions::from_mode(0o500)).unwrap();
        // Whoever may do anything may write there all the same.
        if File::create(place.path().join("x")).is_ok() {
            return;
        }
        assert_eq!(
            said(place.path()),
            format!(
                "store.dir is set to {}, where runtrail may not write: give it the right to, or name another directory",
                place.path().display()
            )
        );
    }

    #[test]
    fn each_refusal_of_the_system_has_its_sentence() {
        let said = |kind: io::ErrorKind| StoreError::of(Path::new("/s"), kind.into()).to_string();
        assert_eq!(
            said(io::ErrorKind::PermissionDenied),
            "store.dir is set to /s, where runtrail may not write: give it the right to, or name another directory"
        );
        assert_eq!(
            said(io::ErrorKind::ReadOnlyFilesystem),
            "store.dir is set to /s, which is on a read-only file system: name a directory that can be written"
        );
        assert_eq!(
            said(io::ErrorKind::StorageFull),
            "the store /s cannot be used (store.dir): no storage space"
        );
    }

    #[test]
    fn a_store_of_another_format_is_refused_and_left_as_it_is() {
        let place = tempdir().unwrap();
        let path = place.path().display();
        let cases = [
            (
                "runtrail store 2\n",
                format!(
                    "the store {path} is of format 2, and this version of runtrail knows none above 1: use the newer one again, or another store.dir"
                ),
            ),
            (
                "runtrail store 0\n",
                format!(
                    "the store {path} is of format 0, and this version of runtrail knows none below 1: let the version between them open it first, or name another store.dir"
                ),
            ),
        ];
        let unreadable = format!(
            "the file `format` of the store {path} does not say `runtrail store 1`: put it back as it was, or name another store.dir"
        );
        let long = "x".repeat(65);
        let unreadable = ["", "runtrail store", "runtrail store x\n", &long]
            .map(|format| (format, unreadable.clone()));
        for (format, expected) in cases.into_iter().chain(unreadable) {
            fs::write(place.path().join(FORMAT), format).unwrap();
            assert_eq!(said(place.path()), expected, "{format:?}");
            assert_eq!(
                StoreDir::look(place.path()).unwrap_err().to_string(),
                expected
            );
            assert_eq!(
                fs::read_to_string(place.path().join(FORMAT)).unwrap(),
                format
            );
        }
    }

    #[test]
    fn data_without_a_format_is_not_taken_for_a_new_store() {
        for name in ["checkpoint", "journal-00000000000000000001.log"] {
            let place = tempdir().unwrap();
            fs::write(place.path().join("lost+found"), "").unwrap();
            drop(StoreDir::open(place.path()).unwrap());
            fs::remove_file(place.path().join(FORMAT)).unwrap();
            fs::write(place.path().join(name), "").unwrap();
            let error = StoreDir::open(place.path()).unwrap_err();
            assert!(matches!(error, StoreError::NoFormat { .. }), "{name}");
        }
    }

    #[test]
    fn a_look_makes_nothing_and_changes_nothing() {
        let place = tempdir().unwrap();
        let path = place.path().join("store");
        assert!(StoreDir::look(&path).unwrap().is_none());
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        assert!(
            StoreDir::look(&path).unwrap().is_none(),
            "nobody made one there"
        );
        drop(StoreDir::open(&path).unwrap());
        let files = StoreDir::look(&path).unwrap().unwrap();
        assert!(files.create("x").is_err());
        assert!(files.remove(FORMAT).is_err());
        assert!(files.rename(FORMAT, "x").is_err());
        assert!(files.open(FORMAT).unwrap().append(b"x").is_err());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    }
}
