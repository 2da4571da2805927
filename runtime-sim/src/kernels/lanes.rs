//! Sixteen f32 lanes on whatever the host has: AVX-512, AVX2 with FMA, or plain Rust.
//!
//! In: a [`Kernel`], written once over [`Lanes`]. Out: its result, computed by code that was compiled for the given instruction set.
//! Always: each operation is one IEEE operation per lane, so every instruction set gives the same bits.

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{Arch, NullaryFnOnce};

/// A computation over [`Lanes`]. `run` must be `inline(always)`, so that it is compiled for each instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Runs a kernel with the instructions of `arch`.
#[inline]
pub fn dispatch<K: Kernel>(arch: Arch, kernel: K) -> K::Output {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(lanes) => pulp::Simd::vectorize(lanes, Body { kernel, lanes }),
        #[cfg(target_arch = "x86_64")]
        Arch::V3(lanes) => pulp::Simd::vectorize(lanes, Body { kernel, lanes }),
        _ => kernel.run(Portable),
    }
}

/// Every instruction set of this host, for tests.
pub fn all_archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    archs.extend(V3::try_new().map(Arch::V3));
    archs
}

struct Body<K, L> {
    kernel: K,
    lanes: L,
}

impl<K: Kernel, L: Lanes> NullaryFnOnce for Body<K, L> {
    type Output = K::Output;
    #[inline(always)]
    fn call(self) -> K::Output {
        self.kernel.run(self.lanes)
    }
}

/// Sixteen f32 numbers in vector registers.
pub trait Lanes: Copy {
    /// The registers.
    type V: Copy;
    /// All lanes equal.
    fn splat(self, x: f32) -> Self::V;
    /// Lanes from an array.
    fn load(self, from: &[f32; 16]) -> Self::V;
    /// Lanes to an array.
    fn array(self, v: Self::V) -> [f32; 16];
    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, both operations rounded.
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        self.add(self.mul(a, b), c)
    }
    /// Sixteen 32-bit words in vector registers.
    type Words: Copy;
    /// Words from little-endian bytes.
    fn words(self, from: &[u8; 64]) -> Self::Words;
    /// Each word shifted right by four bits.
    fn next_nibble(self, words: Self::Words) -> Self::Words;
    /// Lane i = table[low four bits of words\[i\]]; the other bits of a word are ignored.
    fn lookup(self, table: Self::V, words: Self::Words) -> Self::V;
}

/// The binary tree over sixteen partial sums: lane i + lane i+8, then +4, +2, +1.
#[inline(always)]
pub fn tree(mut lanes: [f32; 16]) -> f32 {
    for i in 0..8 {
        lanes[i] += lanes[i + 8];
    }
    for i in 0..4 {
        lanes[i] += lanes[i + 4];
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}

/// Plain Rust arrays.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Lanes for Portable {
    type V = [f32; 16];
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; 16]
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Self::V {
        *from
    }
    #[inline(always)]
    fn array(self, v: Self::V) -> [f32; 16] {
        v
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    type Words = [u32; 16];
    #[inline(always)]
    fn words(self, from: &[u8; 64]) -> [u32; 16] {
        let chunks = from.as_chunks::<4>().0;
        std::array::from_fn(|i| u32::from_le_bytes(chunks[i]))
    }
    #[inline(always)]
    fn next_nibble(self, words: [u32; 16]) -> [u32; 16] {
        words.map(|word| word >> 4)
    }
    #[inline(always)]
    fn lookup(self, table: Self::V, words: [u32; 16]) -> Self::V {
        words.map(|word| table[(word & 15) as usize])
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for V4 {
    type V = pulp::f32x16;
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        self.splat_f32x16(x)
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Self::V {
        pulp::cast(*from)
    }
    #[inline(always)]
    fn array(self, v: Self::V) -> [f32; 16] {
        pulp::cast(v)
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.add_f32x16(a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        self.mul_f32x16(a, b)
    }
    type Words = pulp::u32x16;
    #[inline(always)]
    fn words(self, from: &[u8; 64]) -> pulp::u32x16 {
        pulp::cast(*from)
    }
    #[inline(always)]
    fn next_nibble(self, words: pulp::u32x16) -> pulp::u32x16 {
        pulp::cast(self.avx512f._mm512_srli_epi32::<4>(pulp::cast(words)))
    }
    #[inline(always)]
    fn lookup(self, table: Self::V, words: pulp::u32x16) -> Self::V {
        pulp::cast(self.avx512f._mm512_permutexvar_ps(pulp::cast(words), pulp::cast(table)))
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for V3 {
    type V = [pulp::f32x8; 2];
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [self.splat_f32x8(x); 2]
    }
    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> Self::V {
        pulp::cast(*from)
    }
    #[inline(always)]
    fn array(self, v: Self::V) -> [f32; 16] {
        pulp::cast(v)
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        [self.add_f32x8(a[0], b[0]), self.add_f32x8(a[1], b[1])]
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        [self.mul_f32x8(a[0], b[0]), self.mul_f32x8(a[1], b[1])]
    }
    type Words = [pulp::u32x8; 2];
    #[inline(always)]
    fn words(self, from: &[u8; 64]) -> [pulp::u32x8; 2] {
        pulp::cast(*from)
    }
    #[inline(always)]
    fn next_nibble(self, words: [pulp::u32x8; 2]) -> [pulp::u32x8; 2] {
        words.map(
            #[inline(always)]
            |half| pulp::cast(self.avx2._mm256_srli_epi32::<4>(pulp::cast(half))),
        )
    }
    #[inline(always)]
    fn lookup(self, table: Self::V, words: [pulp::u32x8; 2]) -> Self::V {
        words.map(
            #[inline(always)]
            |half| {
                let low = self.avx2._mm256_permutevar8x32_ps(pulp::cast(table[0]), pulp::cast(half));
                let high = self.avx2._mm256_permutevar8x32_ps(pulp::cast(table[1]), pulp::cast(half));
                // Bit 3 of the key, moved into the sign bit, selects the upper half of the table.
                let select = self.avx2._mm256_slli_epi32::<28>(pulp::cast(half));
                pulp::cast(self.avx._mm256_blendv_ps(low, high, pulp::cast(select)))
            },
        )
    }
}
