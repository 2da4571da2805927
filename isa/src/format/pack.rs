//! Packing of weights slice by slice, and unpacking.
//!
//! In: up to 32 rows (outputs) of values or codes. Out: the bytes of one slice, so that a weight of any size is packed in a
//! stream. And back. Always: `unpack(pack(rows)) == rows`, with floats rounded to the stored type.

use super::{BLOCK, FloatKind, Group, SLICE, ScaleType, UniformKind, WeightFormat};
use crate::element::{Element, Overflow, canonical_f32};

/// Rows of a uniform weight: codes with a scale and a zero point per group; row after row.
#[derive(Clone, Copy, Debug)]
pub struct UniformRows<'a> {
    /// Codes, rows × K.
    pub codes: &'a [u8],
    /// Scales, rows × groups; rounded to the stored type.
    pub scales: &'a [f32],
    /// Zero points, rows × groups.
    pub zeros: &'a [u8],
}

/// An unpacked weight.
#[derive(Clone, Debug, PartialEq)]
pub enum Unpacked {
    /// Values, N × K.
    Float(Vec<f32>),
    /// Codes, scales and zero points.
    Uniform {
        /// N × K.
        codes: Vec<u8>,
        /// N × groups.
        scales: Vec<f32>,
        /// N × groups.
        zeros: Vec<u8>,
    },
}

/// Appends one slice of a float weight: `values` holds up to 32 rows of `inputs`.
pub fn pack_float_slice(kind: FloatKind, inputs: usize, values: &[f32], out: &mut Vec<u8>) {
    let rows = row_count(values.len(), inputs);
    let start = out.len();
    out.resize(start + WeightFormat::Float(kind).slice_bytes(inputs as u64) as usize, 0);
    let slice = &mut out[start..];
    match kind {
        FloatKind::F32 => interleave(values, rows, slice, f32::to_le_bytes),
        FloatKind::F16 => interleave(values, rows, slice, |value| half::f16::from_f32(value).to_le_bytes()),
        FloatKind::BF16 => interleave(values, rows, slice, |value| half::bf16::from_f32(value).to_le_bytes()),
    }
}

/// Puts row-major values where outputs are innermost, a block of inputs at a time so that the target stays in the cache.
fn interleave<const B: usize>(values: &[f32], rows: usize, slice: &mut [u8], encode: impl Fn(f32) -> [u8; B]) {
    let inputs = values.len().checked_div(rows).unwrap_or(0);
    for first in (0..inputs).step_by(BLOCK as usize) {
        let last = inputs.min(first + BLOCK as usize);
        let target = &mut slice[first * SLICE as usize * B..last * SLICE as usize * B];
        for (row, values) in values.chunks_exact(inputs).enumerate() {
            let places = target.as_chunks_mut::<B>().0.iter_mut().skip(row).step_by(SLICE as usize);
            for (place, &value) in places.zip(&values[first..last]) {
                *place = encode(canonical_f32(value));
            }
        }
    }
}

/// Appends one slice of a uniform weight: up to 32 rows of `inputs` codes.
pub fn pack_uniform_slice(
    kind: UniformKind,
    group: Group,
    scale: ScaleType,
    inputs: usize,
    rows: UniformRows<'_>,
    out: &mut Vec<u8>,
) {
    let count = row_count(rows.codes.len(), inputs);
    let groups = group.count(inputs as u64) as usize;
    assert_eq!(rows.scales.len(), count * groups, "there is one scale per row and group");
    assert_eq!(rows.zeros.len(), count * groups, "there is one zero point per row and group");
    assert!(rows.codes.iter().all(|&code| code <= kind.greatest()), "a code needs more bits than the format has");
    let start = out.len();
    out.resize(start + WeightFormat::Uniform { kind, group, scale }.slice_bytes(inputs as u64) as usize, 0);
    let layout = SliceLayout { kind, group, scale, inputs };
    for row in 0..count {
        for g in 0..groups {
            let at = start + layout.scale(g, row);
            let element = scale.element();
            element.store_f32(rows.scales[row * groups + g], Overflow::Wrap, &mut out[at..at + element.bytes()]);
            out[start + layout.zero(g, row)] = rows.zeros[row * groups + g];
        }
        let codes = &rows.codes[row * inputs..(row + 1) * inputs];
        for (block, codes) in codes.chunks(BLOCK as usize).enumerate() {
            let (first, _) = layout.bit(block * BLOCK as usize, 0, row);
            for (plane, word) in plane_words(codes, kind).into_iter().enumerate().take(kind.bits() as usize) {
                let at = start + first + plane * SLICE as usize * 4;
                out[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

/// The words of the planes of up to 32 codes; bit i belongs to code i.
fn plane_words(codes: &[u8], kind: UniformKind) -> [u32; 8] {
    let mut words = [0u32; 8];
    for (eight, codes) in codes.chunks(8).enumerate() {
        let mut bytes = [0u8; 8];
        bytes[..codes.len()].copy_from_slice(codes);
        let bytes = u64::from_le_bytes(bytes);
        for (plane, word) in words.iter_mut().enumerate().take(kind.bits() as usize) {
            *word |= low_bits(bytes >> plane) << (8 * eight);
        }
    }
    words
}

/// The lowest bits of eight bytes, side by side: the multiplication moves bit 8·i to bit 56 + i, and nothing else reaches the top byte.
fn low_bits(bytes: u64) -> u32 {
    ((bytes & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// Reads a packed weight back; `None` when there are too few bytes.
pub fn unpack(format: WeightFormat, outputs: usize, inputs: usize, bytes: &[u8]) -> Option<Unpacked> {
    let slice_bytes = format.slice_bytes(inputs as u64) as usize;
    let bytes = bytes.get(..format.packed_bytes(outputs as u64, inputs as u64) as usize)?;
    let slice_of = |n: usize| (&bytes[n / SLICE as usize * slice_bytes..], n % SLICE as usize);
    match format {
        WeightFormat::Float(kind) => {
            let element = element_of(kind);
            let value = |n: usize, k: usize| {
                let (slice, lane) = slice_of(n);
                element.load_f32(&slice[(k * SLICE as usize + lane) * element.bytes()..])
            };
            Some(Unpacked::Float((0..outputs).flat_map(|n| (0..inputs).map(move |k| value(n, k))).collect()))
        }
        WeightFormat::Uniform { kind, group, scale } => {
            let layout = SliceLayout { kind, group, scale, inputs };
            let groups = group.count(inputs as u64) as usize;
            let (mut codes, mut scales, mut zeros) = (Vec::new(), Vec::new(), Vec::new());
            for n in 0..outputs {
                let (slice, lane) = slice_of(n);
                codes.extend((0..inputs).map(|k| layout.code(slice, k, lane)));
                scales.extend((0..groups).map(|g| scale.element().load_f32(&slice[layout.scale(g, lane)..])));
                zeros.extend((0..groups).map(|g| slice[layout.zero(g, lane)]));
            }
            Some(Unpacked::Uniform { codes, scales, zeros })
        }
    }
}

/// The exact values of a packed weight, N × K; `None` when there are too few bytes.
pub fn values(format: WeightFormat, outputs: usize, inputs: usize, bytes: &[u8]) -> Option<Vec<f64>> {
    Some(match (unpack(format, outputs, inputs, bytes)?, format) {
        (Unpacked::Float(values), _) => values.into_iter().map(f64::from).collect(),
        (Unpacked::Uniform { codes, scales, zeros }, WeightFormat::Uniform { group, .. }) => {
            let (length, groups) = (group.length(inputs as u64) as usize, group.count(inputs as u64) as usize);
            let value = |(index, &code): (usize, &u8)| {
                let at = index / inputs * groups + index % inputs / length;
                f64::from(scales[at]) * (f64::from(code) - f64::from(zeros[at]))
            };
            codes.iter().enumerate().map(value).collect()
        }
        (Unpacked::Uniform { .. }, WeightFormat::Float(_)) => unreachable!("codes come from uniform formats only"),
    })
}

/// The element type of plain weights.
pub fn element_of(kind: FloatKind) -> Element {
    match kind {
        FloatKind::F32 => Element::F32,
        FloatKind::F16 => Element::F16,
        FloatKind::BF16 => Element::BF16,
    }
}

fn row_count(elements: usize, inputs: usize) -> usize {
    let rows = elements.checked_div(inputs).unwrap_or(0);
    assert!(rows <= SLICE as usize && rows * inputs == elements, "a slice holds up to 32 whole rows");
    rows
}

/// Where things are inside one slice of a uniform weight.
#[derive(Clone, Copy, Debug)]
pub struct SliceLayout {
    /// Codes.
    pub kind: UniformKind,
    /// Inputs per scale.
    pub group: Group,
    /// Type of the scales.
    pub scale: ScaleType,
    /// K.
    pub inputs: usize,
}

impl SliceLayout {
    fn planes(&self) -> usize {
        self.kind.bits() as usize
    }

    /// First byte of the tile that holds an input, first input of that tile, and the number of its groups.
    fn tile(&self, k: usize) -> (usize, usize, usize) {
        let inputs = self.inputs as u64;
        let (tile, length) = (self.group.tile(inputs) as usize, self.group.length(inputs) as usize);
        let start = k / tile * tile;
        let groups_before = start / length;
        let bytes = groups_before * SLICE as usize * (self.scale.bytes() as usize + 1)
            + start / BLOCK as usize * self.planes() * SLICE as usize * 4;
        (bytes, start, tile.min(self.inputs - start).div_ceil(length))
    }

    /// Byte of the scale of a group and output.
    pub fn scale(&self, group: usize, lane: usize) -> usize {
        let length = self.group.length(self.inputs as u64) as usize;
        let (tile, start, _) = self.tile(group * length);
        tile + ((group - start / length) * SLICE as usize + lane) * self.scale.bytes() as usize
    }

    /// Byte of the zero point of a group and output.
    pub fn zero(&self, group: usize, lane: usize) -> usize {
        let length = self.group.length(self.inputs as u64) as usize;
        let (tile, start, groups) = self.tile(group * length);
        let scales = groups * SLICE as usize * self.scale.bytes() as usize;
        tile + scales + (group - start / length) * SLICE as usize + lane
    }

    /// Byte and bit of one plane of the code of an input and output.
    pub fn bit(&self, k: usize, plane: usize, lane: usize) -> (usize, usize) {
        let (tile, start, groups) = self.tile(k);
        let head = groups * SLICE as usize * (self.scale.bytes() as usize + 1);
        let (block, bit) = ((k - start) / BLOCK as usize, (k - start) % BLOCK as usize);
        let word = tile + head + ((block * self.planes() + plane) * SLICE as usize + lane) * 4;
        (word + bit / 8, bit % 8)
    }

    fn code(&self, slice: &[u8], k: usize, lane: usize) -> u8 {
        let plane = |plane: usize| {
            let (byte, bit) = self.bit(k, plane, lane);
            (slice[byte] >> bit & 1) << plane
        };
        (0..self.planes()).fold(0, |code, index| code | plane(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uniform() -> impl Strategy<Value = (UniformKind, Group, ScaleType)> {
        (
            prop::sample::select(UniformKind::ALL.to_vec()),
            prop::sample::select(Group::ALL.to_vec()),
            prop::sample::select(ScaleType::ALL.to_vec()),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn uniform_weights_survive((kind, group, scale) in uniform(), n in 1usize..70, k in 1usize..300, seed in any::<u64>()) {
            let groups = group.count(k as u64) as usize;
            let mut state = seed;
            let mut next = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (state >> 33) as u32 };
            let codes: Vec<u8> = (0..n * k).map(|_| next() as u8 & kind.greatest()).collect();
            let scales: Vec<f32> = (0..n * groups).map(|_| (next() % 255) as f32 / 128.0).collect();
            let zeros: Vec<u8> = (0..n * groups).map(|_| next() as u8).collect();
            let mut bytes = Vec::new();
            for first in (0..n).step_by(32) {
                let last = n.min(first + 32);
                let rows = UniformRows {
                    codes: &codes[first * k..last * k],
                    scales: &scales[first * groups..last * groups],
                    zeros: &zeros[first * groups..last * groups],
                };
                pack_uniform_slice(kind, group, scale, k, rows, &mut bytes);
            }
            let format = WeightFormat::Uniform { kind, group, scale };
            prop_assert_eq!(bytes.len() as u64, format.packed_bytes(n as u64, k as u64));
            prop_assert_eq!(unpack(format, n, k, &bytes), Some(Unpacked::Uniform { codes, scales, zeros }));
            prop_assert_eq!(unpack(format, n, k, &bytes[1..]), None);
        }

        #[test]
        fn every_byte_has_one_place((kind, group, scale) in uniform(), k in 1usize..300) {
            // Scales, zero points and code bits of a slice never overlap.
            let layout = SliceLayout { kind, group, scale, inputs: k };
            let size = WeightFormat::Uniform { kind, group, scale }.slice_bytes(k as u64) as usize;
            let mut used = vec![0u8; size];
            for lane in 0..32 {
                for g in 0..group.count(k as u64) as usize {
                    let at = layout.scale(g, lane);
                    for byte in &mut used[at..at + scale.bytes() as usize] {
                        prop_assert_eq!(std::mem::replace(byte, 255), 0);
                    }
                    prop_assert_eq!(std::mem::replace(&mut used[layout.zero(g, lane)], 255), 0);
                }
                for input in 0..k {
                    for plane in 0..kind.bits() as usize {
                        let (byte, bit) = layout.bit(input, plane, lane);
                        prop_assert_eq!(used[byte] >> bit & 1, 0);
                        used[byte] |= 1 << bit;
                    }
                }
            }
        }
    }

    #[test]
    fn float_weights_survive() {
        for kind in FloatKind::ALL {
            let values: Vec<f32> = (0..5 * 7).map(|i| i as f32 * 0.25 - 3.0).collect();
            let mut bytes = Vec::new();
            pack_float_slice(kind, 7, &values, &mut bytes);
            assert_eq!(unpack(WeightFormat::Float(kind), 5, 7, &bytes), Some(Unpacked::Float(values)));
        }
    }
}
