//! Products with packed float weights (`f32 f16 bf16`): slices of 32 outputs, the outputs in lanes.
//!
//! In: the packed stream of [`narae_isa::format`] and rows of f32 activations. Out: rows of f32. Always: every output is the strided sum over
//! its inputs, so the result does not depend on how slices and tokens are dealt out.

use super::lanes::{Kernel, Lanes, dispatch};
use super::{bf16_to_f32, f16_to_f32};
use narae_isa::format::{FloatKind, SLICE, WeightFormat};
use narae_isa::numerics::canonical_f32;
use pulp::Arch;

/// Outputs in a slice.
pub(super) const WIDTH: usize = SLICE as usize;

/// A packed weight.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// How it is packed.
    pub format: WeightFormat,
    /// N.
    pub outputs: usize,
    /// K.
    pub inputs: usize,
    /// The packed stream, at least `format.packed_bytes(outputs, inputs)` bytes.
    pub bytes: &'a [u8],
}

/// The definition: out[t, n] = strided sum over k of x[t, k]·w[n, k].
pub fn plain(kind: FloatKind, weight: Packed<'_>, x: &[f32], out: &mut [f32]) {
    let (n, k) = (weight.outputs, weight.inputs);
    let slice_bytes = weight.format.slice_bytes(k as u64) as usize;
    for (t, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
        for (i, o) in row.iter_mut().enumerate() {
            let slice = &weight.bytes[i / WIDTH * slice_bytes..];
            let w: Vec<f32> = (0..k).map(|j| element(kind, slice, j * WIDTH + i % WIDTH)).collect();
            *o = canonical_f32(super::plain::dot(&x[t * k..(t + 1) * k], &w));
        }
    }
}

fn element(kind: FloatKind, bytes: &[u8], index: usize) -> f32 {
    let half = |i: usize| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]);
    match kind {
        FloatKind::F32 => f32::from_bits(u32::from(half(2 * index)) | u32::from(half(2 * index + 1)) << 16),
        FloatKind::F16 => f16_to_f32(half(index)),
        FloatKind::BF16 => bf16_to_f32(half(index)),
    }
}

/// The same on lanes and threads.
pub fn fast(arch: Arch, kind: FloatKind, weight: Packed<'_>, x: &[f32], out: &mut [f32]) {
    over_slices(weight, out, |slice, tokens, part| {
        dispatch(arch, Slice { kind, bytes: slice, k: weight.inputs, x, tokens, out: part })
    });
}

/// Calls `body` with the bytes of each slice and a buffer \[token\]\[32\] for its outputs, on several threads, and puts the outputs in place.
pub(super) fn over_slices(weight: Packed<'_>, out: &mut [f32], body: impl Fn(&[u8], usize, &mut [f32]) + Sync) {
    let n = weight.outputs;
    let tokens = out.len().checked_div(n).unwrap_or(0);
    if tokens == 0 {
        return;
    }
    let slice_bytes = weight.format.slice_bytes(weight.inputs as u64) as usize;
    let one_slice = |index: usize, part: &mut [f32]| {
        body(&weight.bytes[index * slice_bytes..(index + 1) * slice_bytes], tokens, part)
    };
    if tokens == 1 {
        let full = n / WIDTH * WIDTH;
        let (head, tail) = out.split_at_mut(full);
        super::fast::over_rows(head, WIDTH, WIDTH * weight.inputs, |first, part| {
            part.chunks_exact_mut(WIDTH).enumerate().for_each(|(i, part)| one_slice(first + i, part));
        });
        if !tail.is_empty() {
            let mut part = [0f32; WIDTH];
            one_slice(full / WIDTH, &mut part);
            tail.copy_from_slice(&part[..tail.len()]);
        }
        return;
    }
    let width = WIDTH * tokens;
    let mut parts = vec![0f32; n.div_ceil(WIDTH) * width];
    super::fast::over_rows(&mut parts, width, width * weight.inputs, |first, part| {
        part.chunks_exact_mut(width).enumerate().for_each(|(i, part)| one_slice(first + i, part));
    });
    for (t, row) in out.chunks_exact_mut(n).enumerate() {
        for (slice, chunk) in row.chunks_mut(WIDTH).enumerate() {
            let from = slice * width + t * WIDTH;
            chunk.copy_from_slice(&parts[from..from + chunk.len()]);
        }
    }
}

struct Slice<'a> {
    kind: FloatKind,
    bytes: &'a [u8],
    k: usize,
    x: &'a [f32],
    tokens: usize,
    out: &'a mut [f32],
}

impl Kernel for Slice<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        match self.kind {
            FloatKind::F32 => self.tokens::<L, 64>(lanes, |b| {
                let chunks = b.as_chunks::<4>().0;
                std::array::from_fn(|i| f32::from_le_bytes(chunks[i]))
            }),
            FloatKind::F16 => self.tokens::<L, 32>(lanes, |b| {
                let chunks = b.as_chunks::<2>().0;
                std::array::from_fn(|i| f16_to_f32(u16::from_le_bytes(chunks[i])))
            }),
            FloatKind::BF16 => self.tokens::<L, 32>(lanes, |b| {
                let chunks = b.as_chunks::<2>().0;
                std::array::from_fn(|i| bf16_to_f32(u16::from_le_bytes(chunks[i])))
            }),
        }
    }
}

impl Slice<'_> {
    /// `B` is the size in bytes of sixteen weights.
    #[inline(always)]
    fn tokens<L: Lanes, const B: usize>(self, lanes: L, widen: impl Fn(&[u8; B]) -> [f32; 16] + Copy) {
        let weights = self.bytes.as_chunks::<B>().0;
        let mut token = 0;
        while token < self.tokens {
            let x = &self.x[token * self.k..];
            let out = &mut self.out[token * WIDTH..];
            match self.tokens - token {
                4.. => {
                    many::<L, B, 4>(lanes, weights, self.k, x, out, widen);
                    token += 4;
                }
                2.. => {
                    many::<L, B, 2>(lanes, weights, self.k, x, out, widen);
                    token += 2;
                }
                _ => {
                    one::<L, B>(lanes, weights, &x[..self.k], out, widen);
                    token += 1;
                }
            }
        }
    }
}

/// One token: for each half of the slice the sixteen partial sums are sixteen registers, and the weights are read once.
#[inline(always)]
fn one<L: Lanes, const B: usize>(
    lanes: L,
    weights: &[[u8; B]],
    x: &[f32],
    out: &mut [f32],
    widen: impl Fn(&[u8; B]) -> [f32; 16] + Copy,
) {
    for half in 0..2 {
        let mut partial = [lanes.splat(0.0); 16];
        let (chunks, tail) = x.as_chunks::<16>();
        let (rows, tail_rows) = weights[..2 * x.len()].split_at(32 * chunks.len());
        for (x, rows) in chunks.iter().zip(rows.as_chunks::<32>().0) {
            for l in 0..16 {
                partial[l] = lanes.mul_add(lanes.splat(x[l]), lanes.load(&widen(&rows[2 * l + half])), partial[l]);
            }
        }
        for (l, x) in tail.iter().enumerate() {
            partial[l] = lanes.mul_add(lanes.splat(*x), lanes.load(&widen(&tail_rows[2 * l + half])), partial[l]);
        }
        store(lanes, tree(lanes, partial), &mut out[16 * half..16 * half + 16]);
    }
}

/// `T` tokens: one partial sum after the other, so that each weight that is read serves all tokens.
#[inline(always)]
fn many<L: Lanes, const B: usize, const T: usize>(
    lanes: L,
    weights: &[[u8; B]],
    k: usize,
    x: &[f32],
    out: &mut [f32],
    widen: impl Fn(&[u8; B]) -> [f32; 16] + Copy,
) {
    let mut partial = [[[lanes.splat(0.0); 16]; 2]; T];
    for l in 0..16.min(k) {
        let mut sums = [[lanes.splat(0.0); 2]; T];
        for j in (l..k).step_by(16) {
            let w = [lanes.load(&widen(&weights[2 * j])), lanes.load(&widen(&weights[2 * j + 1]))];
            for (t, sums) in sums.iter_mut().enumerate() {
                let x = lanes.splat(x[t * k + j]);
                *sums = [lanes.mul_add(x, w[0], sums[0]), lanes.mul_add(x, w[1], sums[1])];
            }
        }
        for t in 0..T {
            (partial[t][0][l], partial[t][1][l]) = (sums[t][0], sums[t][1]);
        }
    }
    for (t, halves) in partial.into_iter().enumerate() {
        for (half, partial) in halves.into_iter().enumerate() {
            let from = t * WIDTH + 16 * half;
            store(lanes, tree(lanes, partial), &mut out[from..from + 16]);
        }
    }
}

/// The binary tree over the sixteen partial sums of sixteen outputs.
#[inline(always)]
fn tree<L: Lanes>(lanes: L, mut p: [L::V; 16]) -> L::V {
    for i in 0..8 {
        p[i] = lanes.add(p[i], p[i + 8]);
    }
    for i in 0..4 {
        p[i] = lanes.add(p[i], p[i + 4]);
    }
    lanes.add(lanes.add(p[0], p[2]), lanes.add(p[1], p[3]))
}

#[inline(always)]
pub(super) fn store<L: Lanes>(lanes: L, v: L::V, out: &mut [f32]) {
    out.copy_from_slice(&lanes.array(v).map(canonical_f32));
}
