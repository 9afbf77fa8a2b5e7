//! Makes new inputs from seeds: flips, cuts, splices, and numbers put where lengths tend to be.
//! Owns its randomness: equal seeds give equal inputs.

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// Any seed will do.
    pub(crate) fn new(seed: u64) -> Random {
        // The state must not be 0; neighbouring seeds must not begin alike.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`; 0 for a bound of 0.
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

/// Mutates seeds without end.
pub(crate) struct Mutator<'s> {
    random: Random,
    seeds: &'s [Vec<u8>],
    input: Vec<u8>,
}

impl<'s> Mutator<'s> {
    /// There must be at least one seed.
    pub(crate) fn new(random: Random, seeds: &'s [Vec<u8>]) -> Mutator<'s> {
        assert!(!seeds.is_empty());
        Mutator { random, seeds, input: Vec::new() }
    }

    /// The next input, in a buffer that is used again.
    pub(crate) fn next_input(&mut self) -> &[u8] {
        let seed = &self.seeds[self.random.below(self.seeds.len())];
        self.input.clear();
        self.input.extend_from_slice(seed);
        // Mostly one change, so that what is behind it is still reached.
        let changes = 1 + self.random.below(2) * self.random.below(6);
        for _ in 0..changes {
            self.change();
        }
        self.input.truncate(INPUT_BYTES_MAX);
        &self.input
    }

    fn change(&mut self) {
        let random = &mut self.random;
        let input = &mut self.input;
        let at = random.below(input.len());
        match random.below(9) {
            0 => overwrite(input, at, &[1 << random.below(8)], |old, new| old ^ new),
            1 => overwrite(input, at, &[random.next() as u8], |_, new| new),
            2 => input.truncate(at),
            // A number of 2, 4 or 8 bytes: a length or a count, at its edges.
            3 | 4 => {
                let number = INTERESTING[random.below(INTERESTING.len())].to_be_bytes();
                let width = [2, 4, 8][random.below(3)];
                overwrite(input, at, &number[8 - width..], |_, new| new);
            }
            // A small step: lengths that are off by one, in any byte of them.
            5 => {
                let step = [1, 255, 2, 254][random.below(4)];
                overwrite(input, at, &[step], |old, new| old.wrapping_add(new));
            }
            // A varint that goes on and on, or is huge.
            6 => {
                let len = 1 + random.below(5);
                overwrite(input, at, &[0xff; 5][..len], |_, new| new);
            }
            // A piece out, or a piece of a seed in.
            7 => {
                let to = at + random.below(input.len() - at + 1).min(PIECE_BYTES_MAX);
                input.drain(at..to);
            }
            _ => {
                let other = &self.seeds[random.below(self.seeds.len())];
                let from = random.below(other.len());
                let to = from + random.below(other.len() - from + 1).min(PIECE_BYTES_MAX);
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

/// Combines `with` into the input from `at` on, as far as there is input.
fn overwrite(input: &mut [u8], at: usize, with: &[u8], combine: impl Fn(u8, u8) -> u8) {
    for (old, new) in input.iter_mut().skip(at).zip(with) {
        *old = combine(*old, *new);
    }
}

/// Where lengths, counts and offsets have their edges.
const INTERESTING: &[i64] = &[
    0,
    1,
    2,
    -1,
    -2,
    127,
    128,
    255,
    256,
    32_767,
    32_768,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX,
    i64::MIN,
    61,
    49,
];

const INPUT_BYTES_MAX: usize = 64 * 1024;
const PIECE_BYTES_MAX: usize = 256;
