//! The only source of chance in a run: xoshiro256++ seeded by splitmix64. A stream for each user, so that one more
//! draw in one place does not change every other place.

/// A seeded stream of numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Rng {
        let mut mixed = seed;
        Rng { state: std::array::from_fn(|_| splitmix(&mut mixed)) }
    }

    /// A stream of its own, that depends on this one's state now.
    pub fn fork(&mut self) -> Rng {
        Rng::new(self.bits())
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0);
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// As [`Rng::below`], for places in memory.
    pub fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high);
        low + self.below(high - low + 1)
    }

    /// A number from `low` to `high` whose size is as likely small as large: how latencies are spread.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        assert!(0 < low);
        assert!(low <= high);
        let doublings = u64::from((high / low).max(1).ilog2());
        let scale = low << self.range(0, doublings);
        self.range(scale.min(high), (scale.saturating_mul(2)).min(high))
    }

    /// True this often in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// True half the time.
    pub fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn equal_seeds_give_equal_streams_and_bounds_hold() {
        let (mut first, mut second) = (Rng::new(7), Rng::new(7));
        for _ in 0..1000 {
            assert_eq!(first.bits(), second.bits());
            assert!(first.spread(10, 1000) <= 1000);
            assert!(second.spread(10, 1000) >= 10);
            assert!(first.range(3, 5) <= 5);
            second.range(3, 5);
        }
    }
}
