//! The arithmetic of the engines on the host: [`plain`] says what is computed, [`fast`] computes the same bits quickly.
//!
//! In: dense slices that `execute/` prepared. Out: dense slices. Always: `fast` equals `plain` bit for bit for every vector width, thread
//! count and number of tokens, because the order of every sum is part of the meaning: a dot product is 16 strided partial sums (lane =
//! k mod 16, rounded products added from +0) and one binary tree (lane i + lane i+8, then +4, +2, +1). Nothing is fused.

pub mod attention;
pub mod fast;
pub mod lanes;
pub mod plain;

/// Rows of f32, f16 or bf16 numbers, as stored (little-endian bits).
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// IEEE binary32.
    F32(&'a [f32]),
    /// IEEE binary16, as bits.
    F16(&'a [u16]),
    /// The upper half of binary32, as bits.
    BF16(&'a [u16]),
}

impl<'a> Rows<'a> {
    /// The rows `from .. to` of rows of `k` elements.
    #[inline(always)]
    pub fn slice(self, from: usize, to: usize, k: usize) -> Rows<'a> {
        match self {
            Rows::F32(rows) => Rows::F32(&rows[from * k..to * k]),
            Rows::F16(rows) => Rows::F16(&rows[from * k..to * k]),
            Rows::BF16(rows) => Rows::BF16(&rows[from * k..to * k]),
        }
    }

    /// One element as f32, exactly.
    #[inline(always)]
    pub fn get(self, index: usize) -> f32 {
        match self {
            Rows::F32(rows) => rows[index],
            Rows::F16(rows) => f16_to_f32(rows[index]),
            Rows::BF16(rows) => bf16_to_f32(rows[index]),
        }
    }
}

/// binary16 to binary32, exactly: the exponent is moved by a multiplication, which also normalises subnormals.
#[inline(always)]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = f32::from_bits(u32::from(bits & 0x7FFF) << 13) * f32::from_bits((254 - 15) << 23);
    let infinite_or_nan = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | infinite_or_nan | sign)
}

/// bf16 to binary32, exactly.
#[inline(always)]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests;
