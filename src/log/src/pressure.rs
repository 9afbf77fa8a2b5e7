//! What readers hold that others need: files that are being sent, memory that was lent and has left the cache since.
//! Owns the judgement when that is too much. Whoever serves the readers then ends those that take nothing.

use crate::Log;

impl Log {
    /// Whether, since the last call, a read found every file for sending in use, or readers hold so much memory that
    /// appends may soon find none.
    pub fn take_pressure(&mut self) -> bool {
        let used = self.pool.used_bytes();
        let limit = self.pool.limit_bytes();
        // What is neither in the cache nor read into just now was lent and is not back yet.
        let lent = used.saturating_sub(self.cache_bytes + self.cold_bytes);
        let scarce = lent > limit / 8 && limit.saturating_sub(used) < limit / 16;
        std::mem::take(&mut self.files_crowded) || scarce
    }
}
