//! The log directories as a whole: whose they are, in which format, which runs of the broker wrote to them, and what
//! deleted topics left in them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use log::Run;

/// The log directories that this process holds.
#[derive(Debug)]
pub struct DataDirs {
    /// Directories of deleted topics that a stop left behind.
    pub leftovers: Vec<PathBuf>,
    /// Log directories that cannot be used now, though others can.
    pub lost: Vec<PathBuf>,
    /// The latest runs on these directories, this one last.
    pub runs: Vec<Run>,
    /// Held until the process ends.
    _locks: Vec<File>,
}

impl DataDirs {
    /// Makes them if need be and locks them, and begins a new run. One clear line where none can be had. One that fails,
    /// or that is empty though its neighbours know it, is lost; the others are served.
    pub fn open(paths: &[PathBuf]) -> Result<DataDirs, String> {
        let mut dirs = DataDirs { leftovers: Vec::new(), lost: Vec::new(), runs: Vec::new(), _locks: Vec::new() };
        let known: Vec<String> = paths.iter().flat_map(|path| neighbours(path)).collect();
        for path in paths {
            let is_empty = !path.join(FORMAT_FILE).exists();
            let opened = if is_empty && known.contains(&path.display().to_string()) {
                let path = path.display();
                Err(format!(
                    "data directory {path}: empty, but there was data; take it out of log.dirs to go without it"
                ))
            } else {
                dirs.open_one(path)
            };
            match opened {
                Err(why) if paths.len() > 1 && !why.ends_with(IN_USE) => {
                    tracing::error!("{why}");
                    dirs.lost.push(path.clone());
                }
                opened => opened?,
            }
        }
        if dirs.lost.len() == paths.len() {
            return Err("no log directory can be used".to_owned());
        }
        dirs.begin_run(paths)?;
        Ok(dirs)
    }

    fn open_one(&mut self, path: &Path) -> Result<(), String> {
        let failed = |what: &str, error: std::io::Error| format!("data directory {}: {what}: {error}", path.display());
        let existed = path.is_dir();
        std::fs::create_dir_all(path).map_err(|error| failed("cannot be made", error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE));
        let lock = lock.map_err(|error| failed("not writable", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(format!("data directory {}: {IN_USE}", path.display())),
            Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
        }
        check_format(path, existed).map_err(|error| match error {
            FormatError::Io(error) => failed("format file", error),
            FormatError::Unknown(found) => format!(
                "data directory {}: written in format \"{found}\", this release reads \"{FORMAT}\"",
                path.display()
            ),
        })?;
        self.leftovers.extend(leftovers(path).map_err(|error| failed("cannot be read", error))?);
        self.runs.extend(runs(path).map_err(|error| failed("run file", error))?);
        self._locks.push(lock);
        Ok(())
    }

    /// Gives this run a number above all others and a salt of its own, durable before anything is written under it.
    fn begin_run(&mut self, paths: &[PathBuf]) -> Result<(), String> {
        self.runs.sort_unstable();
        self.runs.dedup();
        let number = self.runs.last().map_or(0, |run| run.number) + 1;
        let salt = random().map_err(|error| format!("no random numbers: {error}"))?;
        self.runs.push(Run { number, salt });
        let surplus = self.runs.len().saturating_sub(RUNS_MAX);
        self.runs.drain(..surplus);
        let mut text = String::new();
        self.runs.iter().for_each(|run| text.push_str(&format!("run {} {:016x}\n", run.number, run.salt)));
        paths.iter().for_each(|path| text.push_str(&format!("directory {}\n", path.display())));
        for path in paths.iter().filter(|path| !self.lost.contains(path)) {
            let written = write_durably(path, RUNS_FILE, text.as_bytes());
            written.map_err(|error| format!("data directory {}: run file: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// The log directories that the run knew which wrote here last.
fn neighbours(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path.join(RUNS_FILE)).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("directory ")).map(str::to_owned).collect()
}

fn runs(path: &Path) -> std::io::Result<Vec<Run>> {
    let text = match std::fs::read_to_string(path.join(RUNS_FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let run = |line: &str| {
        let (number, salt) = line.strip_prefix("run ")?.split_once(' ')?;
        Some(Run { number: number.parse().ok()?, salt: u64::from_str_radix(salt, 16).ok()? })
    };
    let lines = text.lines().filter(|line| line.starts_with("run "));
    lines.map(|line| run(line).ok_or_else(|| std::io::Error::new(ErrorKind::InvalidData, "not a run"))).collect()
}

fn random() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
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
            match found.trim_end() {
                FORMAT => Ok(()),
                // It had segments and no journal: they are read, and a journal begins.
                FORMAT_1 => write_format(path, existed).map_err(FormatError::Io),
                other => Err(FormatError::Unknown(other.to_owned())),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => write_format(path, existed).map_err(FormatError::Io),
        Err(error) => Err(FormatError::Io(error)),
    }
}

/// Durable before any data is: the next release must not have to guess.
fn write_format(path: &Path, existed: bool) -> std::io::Result<()> {
    write_durably(path, FORMAT_FILE, format!("{FORMAT}\n").as_bytes())?;
    match path.canonicalize()?.parent() {
        Some(parent) if !existed => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Replaces a small file as a whole.
fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let mut written = File::create(&temporary)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
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
const FORMAT: &str = "corelog journal 2";
const FORMAT_1: &str = "corelog segments 1";
const RUNS_FILE: &str = "corelog.runs";
/// Frames of older runs are not needed: each run's second checkpoint replaces them.
const RUNS_MAX: usize = 16_384;
const IN_USE: &str = "another broker is using it";
const FORMAT_BYTES_MAX: u64 = 256;
