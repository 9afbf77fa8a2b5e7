//! The clocks, and bytes that nobody can foresee.

use effect::Instant;
use model::Timestamp;

/// Monotonic time now.
pub(crate) fn now() -> Instant {
    let (seconds, nanos) = read(libc::CLOCK_MONOTONIC);
    Instant(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Wall-clock time now, in milliseconds.
pub(crate) fn wall() -> Timestamp {
    let (seconds, nanos) = read(libc::CLOCK_REALTIME);
    Timestamp(i64::try_from(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)).unwrap_or(i64::MAX))
}

fn read(clock: libc::clockid_t) -> (u64, u64) {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a `timespec` that lives through the call. Both clocks always exist, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Random bytes of the kernel's, fetched many at a time.
#[derive(Debug)]
pub(crate) struct Entropy {
    words: [u64; WORDS],
    left: usize,
}

impl Entropy {
    pub(crate) fn new() -> Entropy {
        Entropy { words: [0; WORDS], left: 0 }
    }

    /// 64 fresh bits.
    pub(crate) fn next(&mut self) -> u64 {
        if self.left == 0 {
            self.refill();
        }
        self.left -= 1;
        // What was given out is not kept.
        std::mem::take(&mut self.words[self.left])
    }

    fn refill(&mut self) {
        loop {
            let bytes = size_of_val(&self.words);
            // SAFETY: the kernel writes at most `bytes` bytes into `words`, which is that long.
            let got = unsafe { libc::getrandom(self.words.as_mut_ptr().cast(), bytes, 0) };
            // Up to 256 bytes come whole once the kernel's generator is seeded; before that the call may be interrupted.
            if usize::try_from(got) == Ok(bytes) {
                break;
            }
        }
        self.left = WORDS;
    }
}

const WORDS: usize = 32; // 256 bytes, which a read never splits.

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_goes_on_after_a_refill() {
        let mut entropy = Entropy::new();
        let words: std::collections::BTreeSet<u64> = (0..3 * WORDS).map(|_| entropy.next()).collect();
        assert_eq!(words.len(), 3 * WORDS);
    }
}
