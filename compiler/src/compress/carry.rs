//! Weights that a file already holds as integers in; the same codes, scales and zero points out, nothing requantised.
//!
//! Two spellings exist: com.microsoft::MatMulNBits (codes packed along K, low bits first, one blob row per output) and
//! DequantizeLinear over integer initialisers (per tensor, per channel or blocked). Both mean `scale · (code − zero)`, which
//! is the meaning of the `u2 … u8` formats, so that the numbers that the chip multiplies are the file's own.
//! Always holds: signed codes are shifted by half the code range together with their zero points.

use super::quantize::Codes;

/// Why integer weights of a file cannot be carried over as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// A buffer is shorter or longer than the shape says.
    #[error("{what} has {found} elements where the shape asks for {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Elements found.
        found: usize,
        /// Elements that the shape asks for.
        expected: usize,
    },
    /// A zero point or code outside the range of the bits.
    #[error("{value} is no {bits}-bit code")]
    OutOfRange {
        /// The value found, as text because zero points may be floats.
        value: String,
        /// Bits of a code.
        bits: u32,
    },
}

/// Zero points of one row, as the file stores them.
#[derive(Clone, Copy, Debug)]
pub enum Zeros<'a> {
    /// Absent: the middle of the unsigned code range.
    Middle,
    /// Packed like the codes, low bits first.
    Packed(&'a [u8]),
    /// One float per group, which must be an integer in the code range.
    Float(&'a [f32]),
}

fn length(what: &'static str, found: usize, expected: usize) -> Result<(), CarryError> {
    if found == expected { Ok(()) } else { Err(CarryError::Length { what, found, expected }) }
}

/// The `index`-th field of `bits` bits, low bits first; fields of 3 bits may cross a byte.
fn field(bytes: &[u8], index: usize, bits: u32) -> u8 {
    let first = index * bits as usize;
    let low = bytes.get(first / 8).copied().unwrap_or(0);
    let high = bytes.get(first / 8 + 1).copied().unwrap_or(0);
    let window = u16::from_le_bytes([low, high]) >> (first % 8);
    (window & ((1 << bits) - 1)) as u8
}

/// One output row of MatMulNBits: `blob` holds its blocks, each padded to `block` codes.
pub fn packed_row(blob: &[u8], scales: &[f32], zeros: Zeros<'_>, bits: u32, to: &mut Codes) -> Result<(), CarryError> {
    let block_bytes = (to.group * bits as usize).div_ceil(8);
    length("the packed row", blob.len(), to.groups() * block_bytes)?;
    length("the row of scales", scales.len(), to.groups())?;
    let zeros = zero_points(zeros, to.groups(), bits)?;
    for column in 0..to.columns {
        let block = &blob[column / to.group * block_bytes..];
        to.codes.push(field(block, column % to.group, bits));
    }
    to.scales.extend_from_slice(scales);
    to.zeros.extend(zeros);
    Ok(())
}

fn zero_points(zeros: Zeros<'_>, groups: usize, bits: u32) -> Result<Vec<u8>, CarryError> {
    match zeros {
        Zeros::Middle => Ok(vec![1 << (bits - 1); groups]),
        Zeros::Packed(bytes) => {
            length("the row of zero points", bytes.len(), (groups * bits as usize).div_ceil(8))?;
            Ok((0..groups).map(|group| field(bytes, group, bits)).collect())
        }
        Zeros::Float(floats) => {
            length("the row of zero points", floats.len(), groups)?;
            floats.iter().map(|zero| float_code(*zero, bits)).collect()
        }
    }
}

fn float_code(zero: f32, bits: u32) -> Result<u8, CarryError> {
    let top = ((1_u32 << bits) - 1) as f32;
    if zero.fract() == 0.0 && (0.0..=top).contains(&zero) {
        Ok(zero as u8)
    } else {
        Err(CarryError::OutOfRange { value: zero.to_string(), bits })
    }
}

/// One output row of integers along K, with one scale and zero point per group. `signed` tells how the file counts;
/// zero points of no entries mean zero in the file's own counting.
pub fn integer_row(
    codes: &[i64],
    scales: &[f32],
    zeros: &[i64],
    bits: u32,
    signed: bool,
    to: &mut Codes,
) -> Result<(), CarryError> {
    length("the row of codes", codes.len(), to.columns)?;
    length("the row of scales", scales.len(), to.groups())?;
    let shift = if signed { 1_i64 << (bits - 1) } else { 0 };
    let code = |value: i64| match u8::try_from(value + shift) {
        Ok(code) if u32::from(code) < 1 << bits => Ok(code),
        _ => Err(CarryError::OutOfRange { value: value.to_string(), bits }),
    };
    let zeros = match zeros.len() {
        0 => vec![code(0)?; to.groups()],
        found => {
            length("the row of zero points", found, to.groups())?;
            zeros.iter().map(|zero| code(*zero)).collect::<Result<_, _>>()?
        }
    };
    let codes: Vec<u8> = codes.iter().map(|value| code(*value)).collect::<Result<_, _>>()?;
    to.codes.extend(codes);
    to.scales.extend_from_slice(scales);
    to.zeros.extend(zeros);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_nibbles_come_low_first_and_blocks_are_padded() {
        let mut codes = Codes::with_length(6, 4);
        // Two blocks of four codes, the second half padding.
        packed_row(&[0x21, 0x43, 0x65, 0x00], &[0.5, 2.0], Zeros::Packed(&[0x31]), 4, &mut codes).unwrap();
        assert_eq!(codes.codes, [1, 2, 3, 4, 5, 6]);
        assert_eq!(codes.zeros, [1, 3]);
        assert_eq!(codes.weights(), [0.0, 0.5, 1.0, 1.5, 4.0, 6.0]);
    }

    #[test]
    fn an_absent_zero_point_is_the_middle() {
        let mut codes = Codes::with_length(2, 2);
        packed_row(&[0x80], &[1.0], Zeros::Middle, 4, &mut codes).unwrap();
        assert_eq!(codes.weights(), [-8.0, 0.0]);
    }

    #[test]
    fn signed_codes_and_zero_points_shift_together() {
        let mut codes = Codes::with_length(3, 3);
        integer_row(&[-8, 0, 7], &[0.25], &[-1], 4, true, &mut codes).unwrap();
        assert_eq!(codes.weights(), [-1.75, 0.25, 2.0]);
        assert_eq!(codes.codes, [0, 8, 15]);
    }

    #[test]
    fn a_fractional_zero_point_is_refused() {
        let mut codes = Codes::with_length(2, 2);
        let found = packed_row(&[0x80], &[1.0], Zeros::Float(&[7.5]), 4, &mut codes);
        assert_eq!(found, Err(CarryError::OutOfRange { value: "7.5".into(), bits: 4 }));
    }

    #[test]
    fn three_bit_fields_cross_bytes() {
        // 0b101_110_111 packed low first: 7, 6, 5.
        assert_eq!([0, 1, 2].map(|i| field(&[0b0111_0111, 0b1], i, 3)), [7, 6, 5]);
    }
}
