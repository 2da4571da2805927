//! The arithmetic of the engines on the host: [`plain`] says what is computed, [`fast`] computes the same bits quickly.
//!
//! In: dense slices that `execute/` prepared. Out: dense slices. Always: `fast` equals `plain` bit for bit for every vector width, thread
//! count and number of tokens, because the order of every sum is part of the meaning: a dot product is 16 strided partial sums (lane =
//! k mod 16, rounded products added from +0) and one binary tree (lane i + lane i+8, then +4, +2, +1). Nothing is fused.

pub mod attention;
pub mod fast;
pub mod lanes;
pub mod linear;
pub mod lut;
pub mod plain;

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
pub(crate) mod tests;
