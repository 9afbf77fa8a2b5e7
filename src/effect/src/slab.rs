//! Memory in large pieces straight from the kernel, on huge pages where it gives them: chunks that live long and are
//! touched once cost far fewer page faults and translations this way.

use std::ptr::NonNull;

/// A piece of zeroed memory, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Slab {
    memory: NonNull<u8>,
}

// SAFETY: a mapping is plain memory; nothing about it is tied to a thread.
unsafe impl Send for Slab {}
// SAFETY: a shared slab gives out nothing but its address; who may touch which bytes is the pool's to say.
unsafe impl Sync for Slab {}

impl Slab {
    /// Maps a slab; nothing of it is touched yet.
    pub(crate) fn map() -> Slab {
        let length = SLAB_BYTES + HUGE_PAGE_BYTES;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nobody else's memory.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert!(base != libc::MAP_FAILED, "no address space for a slab: {}", std::io::Error::last_os_error());
        let base = base.cast::<u8>();
        let head = base.align_offset(HUGE_PAGE_BYTES);
        let tail = HUGE_PAGE_BYTES - head;
        // SAFETY: `head` is at most a huge page, which the mapping is longer by than the slab.
        let memory = unsafe { base.add(head) };
        if head > 0 {
            // SAFETY: the pages before the slab are ours and unused.
            unsafe { libc::munmap(base.cast(), head) };
        }
        if tail > 0 {
            // SAFETY: the pages behind the slab are ours and unused.
            unsafe { libc::munmap(memory.add(SLAB_BYTES).cast(), tail) };
        }
        // Advice only: where huge pages are switched off, small ones serve.
        // SAFETY: the range is exactly our mapping.
        unsafe { libc::madvise(memory.cast(), SLAB_BYTES, libc::MADV_HUGEPAGE) };
        Slab { memory: NonNull::new(memory).expect("a mapping is not at address zero") }
    }

    /// Where the slab begins; aligned to a huge page.
    pub(crate) fn memory(&self) -> NonNull<u8> {
        self.memory
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: exactly our mapping, and its pool drops it after the last block that lies in it.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), SLAB_BYTES) };
    }
}

/// How much one slab holds.
pub(crate) const SLAB_BYTES: usize = 32 << 20;
const HUGE_PAGE_BYTES: usize = 2 << 20;
