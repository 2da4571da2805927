//! Products with uniform weights (`u8 u4 u3 u2`) through look-up tables: planes of signs select sums of four activations.
//!
//! In: the packed stream of [`narae_isa::format`] and rows of f32 activations. Out: rows of f32. Always: the order of every addition is the
//! one that stands at `Linear` in `narae_isa::instructions`, nothing is fused; lanes are outputs.

use super::lanes::{Kernel, Lanes, dispatch};
use super::linear::{Packed, WIDTH, over_slices, store};
use super::{bf16_to_f32, f16_to_f32};
use narae_isa::format::{BLOCK, Group, ScaleType, UniformKind};
use narae_isa::numerics::canonical_f32;
use pulp::Arch;

/// Inputs that one block of planes covers.
const BLOCK_INPUTS: usize = BLOCK as usize;
/// Inputs of one table.
const QUAD: usize = 4;

/// How the codes of a uniform weight are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// Which codes.
    pub kind: UniformKind,
    /// Inputs per scale.
    pub group: Group,
    /// Type of the scales.
    pub scale: ScaleType,
}

/// Where the parts of a tile begin, relative to it.
#[derive(Clone, Copy)]
struct Tile {
    groups: usize,
    blocks: usize,
    scale_bytes: usize,
}

impl Tile {
    /// The tile that begins at input `from`.
    fn at(codes: Codes, inputs: usize, from: usize) -> Tile {
        let length = codes.group.length(inputs as u64) as usize;
        let covered = (inputs - from).min(codes.group.tile(inputs as u64) as usize);
        Tile {
            groups: covered.div_ceil(length),
            blocks: covered.div_ceil(BLOCK_INPUTS),
            scale_bytes: codes.scale.bytes() as usize,
        }
    }

    fn zeros(&self) -> usize {
        self.groups * WIDTH * self.scale_bytes
    }

    fn planes(&self) -> usize {
        self.zeros() + self.groups * WIDTH
    }

    fn bytes(&self, planes: usize) -> usize {
        self.planes() + self.blocks * planes * WIDTH * 4
    }
}

fn scale_at(scale: ScaleType, bytes: &[u8], index: usize) -> f32 {
    let half = |i: usize| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]);
    match scale {
        ScaleType::F16 => f16_to_f32(half(index)),
        ScaleType::BF16 => bf16_to_f32(half(index)),
        ScaleType::F32 => f32::from_bits(u32::from(half(2 * index)) | u32::from(half(2 * index + 1)) << 16),
    }
}

/// 2^(b − 1): the weight of plane b.
fn plane_factor(plane: usize) -> f32 {
    0.5 * (1u32 << plane) as f32
}

/// (2^bits − 1)/2 − z, exactly.
#[inline(always)]
fn centre(kind: UniformKind, zero: u8) -> f32 {
    0.5 * f32::from(kind.greatest()) - f32::from(zero)
}

/// The sum of four activations with the signs of a key: bit i set means +x\[i\].
fn signed_sum(x: [f32; QUAD], key: u32) -> f32 {
    let s = |i: usize| if key >> i & 1 == 1 { x[i] } else { -x[i] };
    (s(0) + s(1)) + (s(2) + s(3))
}

/// Four activations from input `k` on; +0 beyond the end.
#[inline(always)]
fn quad(x: &[f32], k: usize) -> [f32; QUAD] {
    std::array::from_fn(|i| x.get(k + i).copied().unwrap_or(0.0))
}

/// The definition, number by number.
pub fn plain(codes: Codes, weight: Packed<'_>, x: &[f32], out: &mut [f32]) {
    let (n, k) = (weight.outputs, weight.inputs);
    let slice_bytes = weight.format.slice_bytes(k as u64) as usize;
    for (t, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
        for (i, o) in row.iter_mut().enumerate() {
            let slice = &weight.bytes[i / WIDTH * slice_bytes..];
            *o = canonical_f32(plain_output(codes, slice, &x[t * k..(t + 1) * k], i % WIDTH));
        }
    }
}

fn plain_output(codes: Codes, slice: &[u8], x: &[f32], lane: usize) -> f32 {
    let (k, planes) = (x.len(), codes.kind.bits() as usize);
    let length = codes.group.length(k as u64) as usize;
    let mut acc = 0.0;
    let (mut tile_start, mut at) = (0, 0);
    while tile_start < k {
        let tile = Tile::at(codes, k, tile_start);
        let bytes = &slice[at..at + tile.bytes(planes)];
        for group in 0..tile.groups {
            let (from, to) = (tile_start + group * length, k.min(tile_start + (group + 1) * length));
            let plane_sum = |plane: usize| {
                let mut sum = 0.0;
                for q in (from..to).step_by(QUAD) {
                    let (block, bit) = ((q - tile_start) / BLOCK_INPUTS, (q - tile_start) % BLOCK_INPUTS);
                    let word = tile.planes() + ((block * planes + plane) * WIDTH + lane) * 4;
                    let word = u32::from_le_bytes([bytes[word], bytes[word + 1], bytes[word + 2], bytes[word + 3]]);
                    sum += signed_sum(quad(x, q), word >> bit & 15);
                }
                sum
            };
            let all: f32 = (from..to).step_by(QUAD).fold(0.0, |sum, q| sum + signed_sum(quad(x, q), 15));
            let mut t = plane_factor(0) * plane_sum(0);
            for plane in 1..planes {
                t += plane_factor(plane) * plane_sum(plane);
            }
            t += centre(codes.kind, bytes[tile.zeros() + group * WIDTH + lane]) * all;
            acc += scale_at(codes.scale, bytes, group * WIDTH + lane) * t;
        }
        tile_start += codes.group.tile(k as u64) as usize;
        at += tile.bytes(planes);
    }
    acc
}

/// The same on lanes and threads: the tables of all tokens are built once, slices are dealt out.
pub fn fast(arch: Arch, codes: Codes, weight: Packed<'_>, x: &[f32], out: &mut [f32]) {
    let k = weight.inputs;
    if k == 0 {
        return out.fill(0.0);
    }
    let mut tables = vec![[0f32; 16]; x.len() / k * k.div_ceil(QUAD)];
    dispatch(arch, Tables { x, k, tables: &mut tables });
    over_slices(weight, out, |bytes, _, part| match codes.kind {
        UniformKind::U8 => dispatch(arch, Slice::<8> { codes, bytes, k, tables: &tables, out: part }),
        UniformKind::U4 => dispatch(arch, Slice::<4> { codes, bytes, k, tables: &tables, out: part }),
        UniformKind::U3 => dispatch(arch, Slice::<3> { codes, bytes, k, tables: &tables, out: part }),
        UniformKind::U2 => dispatch(arch, Slice::<2> { codes, bytes, k, tables: &tables, out: part }),
    });
}

/// Builds the tables of sixteen signed sums, one for every four inputs of every token.
struct Tables<'a> {
    x: &'a [f32],
    k: usize,
    tables: &'a mut [[f32; 16]],
}

impl Kernel for Tables<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        // Multiplying by ±1 is exact, so each entry is the written sum.
        let signs: [L::V; QUAD] =
            std::array::from_fn(|i| lanes.load(&std::array::from_fn(|key| if key >> i & 1 == 1 { 1.0 } else { -1.0 })));
        let per_token = self.k.div_ceil(QUAD);
        for (x, tables) in self.x.chunks_exact(self.k).zip(self.tables.chunks_exact_mut(per_token)) {
            for (q, table) in tables.iter_mut().enumerate() {
                let x = quad(x, q * QUAD);
                let s: [L::V; QUAD] = std::array::from_fn(|i| lanes.mul(lanes.splat(x[i]), signs[i]));
                *table = lanes.array(lanes.add(lanes.add(s[0], s[1]), lanes.add(s[2], s[3])));
            }
        }
    }
}

/// One slice of 32 outputs for all tokens; `P` planes.
struct Slice<'a, const P: usize> {
    codes: Codes,
    bytes: &'a [u8],
    k: usize,
    tables: &'a [[f32; 16]],
    out: &'a mut [f32],
}

impl<const P: usize> Kernel for Slice<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Slice { codes, bytes, k, tables, out } = self;
        for (tables, out) in tables.chunks_exact(k.div_ceil(QUAD)).zip(out.chunks_exact_mut(WIDTH)) {
            token::<L, P>(lanes, codes, bytes, k, tables, out);
        }
    }
}

#[inline(always)]
fn token<L: Lanes, const P: usize>(
    lanes: L,
    codes: Codes,
    bytes: &[u8],
    k: usize,
    tables: &[[f32; 16]],
    out: &mut [f32],
) {
    let (length, tile_inputs) = (codes.group.length(k as u64) as usize, codes.group.tile(k as u64) as usize);
    let mut acc = [lanes.splat(0.0); 2];
    let (mut start, mut at) = (0, 0);
    while start < k {
        let tile = Tile::at(codes, k, start);
        let bytes = &bytes[at..at + tile.bytes(P)];
        let (blocks, _) = bytes[tile.planes()..].as_chunks::<64>();
        for group in 0..tile.groups {
            let (from, to) = (start + group * length, k.min(start + (group + 1) * length));
            let (sums, all) =
                planes::<L, P>(lanes, blocks, &tables[from / QUAD..to.div_ceil(QUAD)], (from - start) / QUAD);
            for half in 0..2 {
                let index = group * WIDTH + 16 * half;
                let mut t = lanes.mul(lanes.splat(plane_factor(0)), sums[0][half]);
                for (plane, sum) in sums.iter().enumerate().skip(1) {
                    t = lanes.mul_add(lanes.splat(plane_factor(plane)), sum[half], t);
                }
                let zeros = &bytes[tile.zeros() + index..tile.zeros() + index + 16];
                let centres: [f32; 16] = std::array::from_fn(|i| centre(codes.kind, zeros[i]));
                let scales: [f32; 16] = std::array::from_fn(|i| scale_at(codes.scale, bytes, index + i));
                t = lanes.mul_add(lanes.load(&centres), lanes.splat(all), t);
                acc[half] = lanes.mul_add(lanes.load(&scales), t, acc[half]);
            }
        }
        start += tile_inputs;
        at += tile.bytes(P);
    }
    store(lanes, acc[0], &mut out[..16]);
    store(lanes, acc[1], &mut out[16..32]);
}

/// The sums of all planes over the quads of one group, for both halves of the slice, and the sum with all signs plus.
/// `first` is the position of the first quad in the tile.
#[inline(always)]
fn planes<L: Lanes, const P: usize>(
    lanes: L,
    blocks: &[[u8; 64]],
    tables: &[[f32; 16]],
    first: usize,
) -> ([[L::V; 2]; P], f32) {
    const QUADS: usize = BLOCK_INPUTS / QUAD;
    let mut sums = [[lanes.splat(0.0); 2]; P];
    let mut all = 0.0;
    let mut done = 0;
    while done < tables.len() {
        let (block, skip) = ((first + done) / QUADS, (first + done) % QUADS);
        let count = (QUADS - skip).min(tables.len() - done);
        let mut words: [[L::Words; 2]; P] = std::array::from_fn(|plane| {
            std::array::from_fn(|half| lanes.words(&blocks[(block * P + plane) * 2 + half]))
        });
        for _ in 0..skip {
            words = words.map(|pair| pair.map(|word| lanes.next_nibble(word)));
        }
        for table in &tables[done..done + count] {
            let entry = lanes.load(table);
            all += table[15];
            for plane in 0..P {
                for half in 0..2 {
                    sums[plane][half] = lanes.add(sums[plane][half], lanes.lookup(entry, words[plane][half]));
                    words[plane][half] = lanes.next_nibble(words[plane][half]);
                }
            }
        }
        done += count;
    }
    (sums, all)
}
