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
