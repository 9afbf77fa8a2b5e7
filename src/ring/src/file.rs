//! Every file operation as a blocking call, for the disk threads; and what both worlds must agree on about files.
//! Invariant: `run` answers as the same operation does through a ring.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use effect::{BLOCK_BYTES, BufMut, Done, Fault, File, FileKind, Op, OpKind, OpenMode, WriteBuf};

use crate::sys::{check, check_len, errno};

/// Files opened without direct I/O because their filesystem refuses it, since the process began.
pub fn buffered_opens() -> u64 {
    BUFFERED_OPENS.load(Ordering::Relaxed)
}

/// The size of the filesystem that a directory is on, bytes; `None` where the kernel does not say.
pub fn filesystem_bytes(path: &Path) -> Option<u64> {
    match space(path) {
        Ok(Done::Space { total_bytes, .. }) => Some(total_bytes),
        _ => None,
    }
}

/// Counts an open without direct I/O, and says so the first time.
pub(crate) fn count_buffered_open(path: &Path) {
    if BUFFERED_OPENS.fetch_add(1, Ordering::Relaxed) == 0 {
        let path = path.display();
        tracing::warn!(%path, "the filesystem refuses direct I/O: files go through the page cache, synced as before");
    }
}

/// The flags of an open, with direct I/O where the mode asks for it and `direct` allows.
pub(crate) fn open_flags(mode: OpenMode, direct: bool) -> i32 {
    let direct_flag = if direct { libc::O_DIRECT } else { 0 };
    libc::O_CLOEXEC
        | match mode {
            OpenMode::Write => libc::O_RDWR | libc::O_CREAT | direct_flag,
            OpenMode::Read => libc::O_RDONLY | direct_flag,
            OpenMode::Splice => libc::O_RDONLY,
        }
}

/// What is left to do for a file that was just opened.
pub(crate) fn opened(fd: RawFd, mode: OpenMode) -> Done {
    if mode == OpenMode::Splice {
        // Advice only: a failure costs read-ahead that nobody needs.
        // SAFETY: no pointer is passed.
        unsafe { libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_RANDOM) };
    }
    Done::Opened(File(fd))
}

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> Result<CString, i32> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)
}

/// Does a file operation, blocking. Panics on an operation of a socket.
pub(crate) fn run(op: Op) -> Done {
    let kind = op.kind();
    let answer = match op {
        Op::Open { path, mode } => open(&path, mode),
        Op::Read { file, offset, buf } => read(file, offset, buf),
        Op::Write { file, offset, bufs, sync } => write(file, offset, &bufs, sync),
        // SAFETY: no pointer is passed.
        Op::Sync { file } => finished(unsafe { libc::fdatasync(file.0) }),
        Op::Allocate { file, offset, len } => allocate(file, offset, len),
        Op::SetLen { file, len } => set_len(file, len),
        Op::CloseFile { file } => crate::sys::close(file.0).map(|()| Done::Finished),
        Op::CreateDir { path } => plain(fs::create_dir_all(path)),
        Op::List { path } => list(&path).map(Done::Listed).map_err(|error| number(&error)),
        Op::Rename { from, to } => plain(fs::rename(from, to)),
        Op::Remove { path } => remove(&path),
        Op::SyncDir { path } => plain(fs::File::open(path).and_then(|dir| dir.sync_all())),
        Op::SyncTree { path } => sync_tree(&path),
        Op::Space { path } => space(&path),
        Op::Accept { .. }
        | Op::CloseListener { .. }
        | Op::Recv { .. }
        | Op::RecvExact { .. }
        | Op::Send { .. }
        | Op::SendFile { .. }
        | Op::Shutdown { .. }
        | Op::Close { .. }
        | Op::Wake { .. }
        | Op::Cancel { .. } => panic!("{kind:?} is no file operation"),
    };
    answer.unwrap_or_else(|errno| failed(kind, errno))
}

/// The answer of an operation that failed.
pub(crate) fn failed(op: OpKind, errno: i32) -> Done {
    Done::Failed(Fault { op, errno })
}

/// Reads until `buf` is full, the file ends, or a read fails.
fn read(file: File, offset: u64, mut buf: BufMut) -> Result<Done, i32> {
    while read_step(file, offset, &mut buf)? {}
    Ok(Done::Filled(buf))
}

/// One read behind what is filled; answers whether more may follow.
fn read_step(file: File, start: u64, buf: &mut BufMut) -> Result<bool, i32> {
    let place = file_offset(start, buf.filled() as u64)?;
    let target = buf.unfilled_mut();
    if target.is_empty() {
        return Ok(false);
    }
    // SAFETY: the kernel writes at most `len` bytes into `target`, which is that long and borrowed through the call.
    let answer = unsafe { libc::pread64(file.0, target.as_mut_ptr().cast(), target.len(), place) };
    let got = check_len(answer)?;
    buf.advance(got);
    // A direct read that is not whole blocks ended at the file's end, and could not be continued.
    Ok(got > 0 && got.is_multiple_of(BLOCK_BYTES))
}

fn write(file: File, offset: u64, bufs: &[WriteBuf], sync: bool) -> Result<Done, i32> {
    let flags = if sync { libc::RWF_DSYNC } else { 0 };
    let total = bufs.iter().map(|buf| buf.len() as u64).sum();
    let mut written = 0;
    while written < total {
        let slices = slices_from(bufs, written);
        let count = i32::try_from(slices.len()).map_err(|_| libc::EINVAL)?;
        let place = file_offset(offset, written)?;
        // SAFETY: every slice points into a `WriteBuf` that is borrowed through the call, and the kernel only reads.
        let answer = unsafe { libc::pwritev2(file.0, slices.as_ptr(), count, place, flags) };
        written += advance(check_len(answer)?)?;
    }
    Ok(Done::Finished)
}

/// How far a write came that answered `bytes`: a direct write can be continued only at a block.
pub(crate) fn advance(bytes: usize) -> Result<u64, i32> {
    if bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES) { Ok(bytes as u64) } else { Err(libc::EIO) }
}

/// What is left of `bufs` behind their first `skip` bytes, as many slices as one call takes.
pub(crate) fn slices_from(bufs: &[WriteBuf], mut skip: u64) -> Vec<libc::iovec> {
    let mut slices = Vec::with_capacity(bufs.len().min(IOV_COUNT_MAX));
    for buf in bufs {
        let len = buf.len() as u64;
        if skip >= len {
            skip -= len;
            continue;
        }
        let start = buf.as_ptr().wrapping_add(skip as usize);
        slices.push(libc::iovec { iov_base: start.cast_mut().cast(), iov_len: (len - skip) as usize });
        skip = 0;
        if slices.len() == IOV_COUNT_MAX {
            break;
        }
    }
    slices
}

fn open(path: &Path, mode: OpenMode) -> Result<Done, i32> {
    let name = c_path(path)?;
    // SAFETY: `name` is a terminated string that lives through the call.
    let open = |direct| check(unsafe { libc::open(name.as_ptr(), open_flags(mode, direct), FILE_MODE) });
    let fd = match open(true) {
        Err(libc::EINVAL) if mode != OpenMode::Splice => {
            let fd = open(false)?;
            count_buffered_open(path);
            fd
        }
        answer => answer?,
    };
    Ok(opened(fd, mode))
}

fn allocate(file: File, offset: u64, len: u64) -> Result<Done, i32> {
    // SAFETY: no pointer is passed.
    match finished(unsafe { libc::fallocate64(file.0, 0, file_offset(offset, 0)?, file_offset(len, 0)?) }) {
        Err(libc::EOPNOTSUPP) => write_zeros(file, offset, len),
        answer => answer,
    }
}

/// Makes room where the filesystem cannot be asked for it: zeros from the file's end on.
fn write_zeros(file: File, offset: u64, len: u64) -> Result<Done, i32> {
    let target = offset.checked_add(len).ok_or(libc::EFBIG)?;
    // SAFETY: no pointer is passed.
    let end = unsafe { libc::lseek64(file.0, 0, libc::SEEK_END) };
    let end = u64::try_from(end).map_err(|_| errno())?;
    // A block that the file ends in has its room already; whole ones are written.
    let mut from = end.max(offset).next_multiple_of(BLOCK_BYTES as u64);
    if end < from && from <= target {
        set_len(file, from)?;
    }
    while from < target {
        let count = usize::try_from(target - from).map_or(ZEROS.0.len(), |left| left.min(ZEROS.0.len()));
        // SAFETY: `ZEROS` is at least `count` bytes long, and the kernel only reads.
        let answer = unsafe { libc::pwrite64(file.0, ZEROS.0.as_ptr().cast(), count, file_offset(from, 0)?) };
        from += advance(check_len(answer)?)?;
    }
    Ok(Done::Finished)
}

/// Aligned for direct writes.
#[repr(align(4096))]
struct Zeros([u8; 64 << 10]);

static ZEROS: Zeros = Zeros([0; 64 << 10]);

fn set_len(file: File, len: u64) -> Result<Done, i32> {
    // SAFETY: no pointer is passed.
    finished(unsafe { libc::ftruncate64(file.0, file_offset(len, 0)?) })
}

/// A place in a file as the kernel counts it.
fn file_offset(start: u64, behind: u64) -> Result<i64, i32> {
    start.checked_add(behind).and_then(|place| i64::try_from(place).ok()).ok_or(libc::EFBIG)
}

fn list(path: &Path) -> io::Result<Vec<(String, FileKind)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => FileKind::File { len: metadata.len() },
            Ok(metadata) if metadata.is_dir() => FileKind::Directory,
            Ok(_) => FileKind::Other,
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        entries.push((entry.file_name().to_string_lossy().into_owned(), kind));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

fn remove(path: &Path) -> Result<Done, i32> {
    let answer = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Done::Finished),
        answer => plain(answer),
    }
}

fn sync_tree(path: &Path) -> Result<Done, i32> {
    let dir = fs::File::open(path).map_err(|error| number(&error))?;
    // SAFETY: no pointer is passed.
    finished(unsafe { libc::syncfs(dir.as_raw_fd()) })
}

fn space(path: &Path) -> Result<Done, i32> {
    let name = c_path(path)?;
    // SAFETY: all-zero bytes are a valid value of this structure of integers.
    let mut found: libc::statvfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is a terminated string and `found` a structure of the right type; both live through the call.
    finished(unsafe { libc::statvfs64(name.as_ptr(), &raw mut found) })?;
    let unit = found.f_frsize;
    Ok(Done::Space {
        free_bytes: found.f_bavail.saturating_mul(unit),
        total_bytes: found.f_blocks.saturating_mul(unit),
    })
}

fn plain(answer: io::Result<()>) -> Result<Done, i32> {
    answer.map(|()| Done::Finished).map_err(|error| number(&error))
}

fn finished(answer: i32) -> Result<Done, i32> {
    if answer < 0 { Err(errno()) } else { Ok(Done::Finished) }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

static BUFFERED_OPENS: AtomicU64 = AtomicU64::new(0);

/// Slices that one vectored call takes: the kernel's limit.
pub(crate) const IOV_COUNT_MAX: usize = 1024;
/// The owner writes, the group reads.
pub(crate) const FILE_MODE: libc::mode_t = 0o640;
