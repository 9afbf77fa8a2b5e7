//! What this kernel lets the ring do, found out once at start, with reasons that an operator can act on.

use std::fmt;
use std::io;

use effect::Pool;
use io_uring::{IoUring, opcode};

use crate::uring::{RecvBuffers, builder};

/// The outcome of the questions asked at start.
#[derive(Clone, Debug)]
pub struct Probe {
    kernel: String,
    refusal: Option<String>,
    ftruncate: bool,
}

impl Probe {
    /// Asks the kernel. Makes a small ring and drops it.
    pub fn run() -> Probe {
        let kernel = kernel_release();
        match ask() {
            Ok(ftruncate) => Probe { kernel, refusal: None, ftruncate },
            Err(reason) => Probe { kernel, refusal: Some(reason), ftruncate: false },
        }
    }

    /// Whether a [`crate::Ring`] can be opened here.
    pub fn fits_ring(&self) -> bool {
        self.refusal.is_none()
    }

    /// Why no [`crate::Ring`] can be opened here, if so.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// The kernel's release, as it names itself.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Whether a file's length can be set through the ring (from 6.9).
    pub(crate) fn has_ftruncate(&self) -> bool {
        self.ftruncate
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}: ", self.kernel)?;
        match &self.refusal {
            None => {
                let set_len = if self.ftruncate { "by ring" } else { "by thread" };
                write!(f, "io_uring usable (single issuer, deferred task run, provided buffers; set length {set_len})")
            }
            Some(reason) => write!(f, "io_uring not usable: {reason}; using epoll and disk threads"),
        }
    }
}

/// Answers whether the optional operation is there, or what is missing.
fn ask() -> Result<bool, String> {
    let ring = builder().build(8).map_err(|error| setup_refusal(&error))?;
    let params = ring.params();
    let features = [
        ("timed waits", params.is_feature_ext_arg()),
        ("completions that are never dropped", params.is_feature_nodrop()),
        ("readiness without threads", params.is_feature_fast_poll()),
    ];
    if let Some((name, _)) = features.iter().find(|(_, there)| !there) {
        return Err(format!("the kernel lacks {name}"));
    }
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| format!("its probe fails: {error}"))?;
    if let Some((name, _)) = OPCODES.iter().find(|(_, code)| !probe.is_supported(*code)) {
        return Err(format!("the kernel lacks the operation {name}"));
    }
    provided_buffers(&ring).map_err(|error| format!("the kernel lacks provided-buffer rings: {error}"))?;
    Ok(probe.is_supported(opcode::Ftruncate::CODE))
}

fn provided_buffers(ring: &IoUring) -> io::Result<()> {
    let buffers = RecvBuffers::new(Pool::new(0), 1, 8)?;
    buffers.register(&ring.submitter())?;
    RecvBuffers::unregister(&ring.submitter())
}

fn setup_refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "it is forbidden here (a container's seccomp profile, or the sysctl kernel.io_uring_disabled)".into()
        }
        Some(libc::ENOSYS) => "the kernel has none, or a seccomp profile hides it".into(),
        Some(libc::EINVAL) => "the kernel is older than 6.1".into(),
        Some(libc::ENOMEM) => "no memory may be locked for it (ulimit -l)".into(),
        _ => format!("setup fails: {error}"),
    }
}

fn kernel_release() -> String {
    // SAFETY: a `utsname` is bytes only; zero is a value of it.
    let mut names: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `names` lives through the call, which fills it.
    unsafe { libc::uname(&raw mut names) };
    names.release.iter().take_while(|byte| **byte != 0).map(|byte| char::from(byte.to_ne_bytes()[0])).collect()
}

const OPCODES: [(&str, u8); 13] = [
    ("accept", opcode::Accept::CODE),
    ("recv", opcode::Recv::CODE),
    ("send", opcode::Send::CODE),
    ("sendmsg", opcode::SendMsg::CODE),
    ("poll", opcode::PollAdd::CODE),
    ("splice", opcode::Splice::CODE),
    ("read", opcode::Read::CODE),
    ("writev", opcode::Writev::CODE),
    ("fsync", opcode::Fsync::CODE),
    ("fallocate", opcode::Fallocate::CODE),
    ("openat", opcode::OpenAt::CODE),
    ("close", opcode::Close::CODE),
    ("cancel", opcode::AsyncCancel::CODE),
];
