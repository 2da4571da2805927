//! Pseudo-random numbers (SplitMix64). In: a seed. Out: the same numbers on any machine.

/// A small generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator from a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The generator of one run of a campaign: neighbouring numbers share nothing.
    pub fn of_run(seed: u64, run: u64) -> Random {
        let mut random = Random(seed ^ run.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        Random(random.next())
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "an endless generator is no iterator that may end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True once in `one_in` times.
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// One of the items, of which there must be some.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One of the words, of which there must be some.
    pub fn word<'b>(&mut self, words: &[&'b str]) -> &'b str {
        words[self.below(words.len())]
    }

    /// A number that programs like to get wrong: small, around powers of two, the ends of the types.
    pub fn odd_number(&mut self) -> i64 {
        let near = self.below(3) as i64 - 1;
        match self.below(6) {
            0 | 1 => self.below(10) as i64 - 2,
            2 => (1i64 << self.below(63)).wrapping_add(near),
            3 => (1i64 << self.below(63)).wrapping_neg().wrapping_add(near),
            4 => *self.pick(&[i64::MAX, i64::MIN, i32::MAX.into(), i32::MIN.into(), u32::MAX.into(), -1, 0]),
            _ => self.next() as i64,
        }
    }

    /// Random bytes, fewer than `limit` of them.
    pub fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let count = self.below(limit);
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Choices read from bytes, so that a stream of bytes means the same structure every time; zeros when they are used up.
#[derive(Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Choices that these bytes spell.
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices { bytes }
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `limit` (at most 65,536).
    pub fn below(&mut self, limit: usize) -> usize {
        let high = if limit > 256 { usize::from(self.byte()) << 8 } else { 0 };
        (high | usize::from(self.byte())) % limit.max(1)
    }

    /// True once in `one_in` times; false when the bytes are used up.
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == one_in - 1
    }

    /// One of the items, of which there must be some.
    pub fn pick<'b, T>(&mut self, items: &'b [T]) -> &'b T {
        &items[self.below(items.len())]
    }

    /// One of the words, of which there must be some.
    pub fn word<'b>(&mut self, words: &[&'b str]) -> &'b str {
        words[self.below(words.len())]
    }

    /// A seed for what needs many numbers, such as the elements of a tensor.
    pub fn seed(&mut self) -> u64 {
        u64::from(self.byte()) << 8 | u64::from(self.byte())
    }
}
