//! The data directory as a whole: whose it is, in which format, and what deleted topics left in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    /// Directories of deleted topics that a stop left behind.
    pub leftovers: Vec<PathBuf>,
    /// Held until the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes it if need be and locks it. One clear line where it cannot be had.
    pub fn open(path: &Path) -> Result<DataDir, String> {
        let failed = |what: &str, error: std::io::Error| format!("data directory {}: {what}: {error}", path.display());
        let existed = path.is_dir();
        std::fs::create_dir_all(path).map_err(|error| failed("cannot be made", error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE));
        let lock = lock.map_err(|error| failed("not writable", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("data directory {}: another broker is using it", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
        }
        check_format(path, existed).map_err(|error| match error {
            FormatError::Io(error) => failed("format file", error),
            FormatError::Unknown(found) => format!(
                "data directory {}: written in format \"{found}\", this release reads \"{FORMAT}\"",
                path.display()
            ),
        })?;
        let leftovers = leftovers(path).map_err(|error| failed("cannot be read", error))?;
        Ok(DataDir { leftovers, _lock: lock })
    }
}

enum FormatError {
    Io(std::io::Error),
    Unknown(String),
}

fn check_format(path: &Path, existed: bool) -> Result<(), FormatError> {
    let file = path.join(FORMAT_FILE);
    match File::open(&file) {
        Ok(opened) => {
            let mut found = String::new();
            opened.take(FORMAT_BYTES_MAX).read_to_string(&mut found).map_err(FormatError::Io)?;
            if found.trim_end() == FORMAT { Ok(()) } else { Err(FormatError::Unknown(found.trim_end().to_owned())) }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_format(path, &file, existed).map_err(FormatError::Io)
        }
        Err(error) => Err(FormatError::Io(error)),
    }
}

/// Durable before any data is: the next release must not have to guess.
fn write_format(path: &Path, file: &Path, existed: bool) -> std::io::Result<()> {
    let temporary = path.join(format!("{FORMAT_FILE}.tmp"));
    let mut written = File::create(&temporary)?;
    writeln!(written, "{FORMAT}")?;
    written.sync_all()?;
    std::fs::rename(&temporary, file)?;
    File::open(path)?.sync_all()?;
    match path.canonicalize()?.parent() {
        Some(parent) if !existed => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn leftovers(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let deleted = entry.file_name().to_str().is_some_and(|name| name.ends_with("-delete"));
        if deleted && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

const LOCK_FILE: &str = ".lock";
const FORMAT_FILE: &str = "corelog.format";
const FORMAT: &str = "corelog segments 1";
const FORMAT_BYTES_MAX: u64 = 256;
