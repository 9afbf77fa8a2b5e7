//! A histogram of durations with buckets at powers of two of a microsecond: cheap enough to be always on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts durations by bucket: bucket `i` holds those below `2^i` us that no lower bucket holds. One thread writes it.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKET_COUNT],
    sum_ns: AtomicU64,
}

/// A histogram's content at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistogramSnapshot {
    /// For each bucket its upper bound (exclusive; `None`: unbounded) and its count, not cumulated.
    pub buckets: Vec<(Option<Duration>, u64)>,
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        bump(&self.buckets[bucket.min(BUCKET_COUNT - 1)], 1);
        bump(&self.sum_ns, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it holds now.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let bound = |bucket| (bucket < BUCKET_COUNT - 1).then(|| Duration::from_micros(1u64 << bucket));
        let buckets = self.buckets.iter().enumerate();
        HistogramSnapshot {
            buckets: buckets.map(|(bucket, count)| (bound(bucket), count.load(Ordering::Relaxed))).collect(),
            sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)),
        }
    }
}

fn bump(value: &AtomicU64, more: u64) {
    value.store(value.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// 1 us to 8 s, and beyond.
const BUCKET_COUNT: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_below_their_buckets_bound() {
        let histogram = Histogram::default();
        for micros in [0, 1, 2, 3, 1000, 10_000_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let snapshot = histogram.snapshot();
        let filled: Vec<_> = snapshot.buckets.iter().filter(|(_, count)| *count > 0).cloned().collect();
        assert_eq!(
            filled,
            [
                (Some(Duration::from_micros(1)), 1),
                (Some(Duration::from_micros(2)), 1),
                (Some(Duration::from_micros(4)), 2),
                (Some(Duration::from_micros(1024)), 1),
                (None, 1),
            ]
        );
    }
}
