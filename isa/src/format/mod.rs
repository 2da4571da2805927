//! Weight formats: how a matrix of N outputs × K inputs is packed in DRAM, and what the packed bits mean exactly.
//!
//! Work on a matrix is dealt out in *slices* of 32 outputs (the last one is filled up with outputs whose bits are all
//! zero); slices follow each other, each padded with zeros to a multiple of 64 bytes. All numbers are little-endian.
//!
//! - `f32 f16 bf16`: a slice is, for k = 0 … K − 1, the 32 values w\[n, k\] of its outputs.
//! - `u8 u4 u3 u2`: w\[n, k\] = s · (q − z) with an integer code q of 8, 4, 3 or 2 bits; scale s (f16, bf16 or f32) and zero
//!   point z (u8) are shared by a *group* of 16, 32, 64, 128 or 256 inputs (the last one may be shorter) or by a whole row.
//!   A slice is a sequence of *tiles* of max(group, 32) inputs (a row: K). A tile is: the scales, 32 per group; the zero
//!   points, 32 per group; then for each block of 32 inputs and each plane b = 0 … bits − 1 the 32 words of 32 bits in which
//!   bit i of word n is bit b of q\[n, k + i\] (0 beyond K).
//!
//! The exact meaning of a product with a packed weight stands in words at the instruction `linear` and as code in [`product`].
//! Always: sizes follow from format and dims alone; bits per weight count everything that is stored.

mod meaning;
mod pack;
#[cfg(test)]
mod pack_tests;

pub use meaning::{product, strided_dot};
pub use pack::{SliceLayout, UniformRows, Unpacked, element_of, pack_float_slice, pack_uniform_slice, unpack, values};

use std::fmt;

/// Codes of weight formats in descriptor rows begin here; lower codes are element types.
pub const FIRST_CODE: u8 = 64;
/// Outputs in one slice: the unit in which work on a matrix is dealt out.
pub const SLICE: u64 = 32;
/// Inputs in one block of bit planes.
pub const BLOCK: u64 = 32;
/// Every slice begins at a multiple of this many bytes from the start of the packed stream.
pub const SLICE_ALIGNMENT: u64 = 64;

/// A plain floating-point weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FloatKind {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    BF16,
}

/// The codes of a uniform format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UniformKind {
    /// 8 bits, 0 … 255.
    U8,
    /// 4 bits, 0 … 15.
    U4,
    /// 3 bits, 0 … 7.
    U3,
    /// 2 bits, 0 … 3.
    U2,
}

/// The type of the scales of a uniform format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleType {
    /// IEEE binary16.
    F16,
    /// bfloat16.
    BF16,
    /// IEEE binary32.
    F32,
}

/// How many inputs share one scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// 16 inputs.
    G16,
    /// 32 inputs.
    G32,
    /// 64 inputs.
    G64,
    /// 128 inputs.
    G128,
    /// 256 inputs.
    G256,
    /// A whole row.
    Row,
}

/// A weight format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightFormat {
    /// Plain floats.
    Float(FloatKind),
    /// Uniform codes with scales and zero points per group.
    Uniform {
        /// Which codes.
        kind: UniformKind,
        /// Inputs per scale.
        group: Group,
        /// Type of the scales.
        scale: ScaleType,
    },
}

impl FloatKind {
    /// All of them.
    pub const ALL: [FloatKind; 3] = [FloatKind::F32, FloatKind::F16, FloatKind::BF16];

    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            FloatKind::F32 => "f32",
            FloatKind::F16 => "f16",
            FloatKind::BF16 => "bf16",
        }
    }

    /// Bytes of one value.
    pub fn bytes(self) -> u64 {
        match self {
            FloatKind::F32 => 4,
            FloatKind::F16 | FloatKind::BF16 => 2,
        }
    }
}

impl UniformKind {
    /// All of them.
    pub const ALL: [UniformKind; 4] = [UniformKind::U8, UniformKind::U4, UniformKind::U3, UniformKind::U2];

    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            UniformKind::U8 => "u8",
            UniformKind::U4 => "u4",
            UniformKind::U3 => "u3",
            UniformKind::U2 => "u2",
        }
    }

    /// Bits of a code, which is also the number of planes.
    pub fn bits(self) -> u32 {
        match self {
            UniformKind::U8 => 8,
            UniformKind::U4 => 4,
            UniformKind::U3 => 3,
            UniformKind::U2 => 2,
        }
    }

    /// The greatest code.
    pub fn greatest(self) -> u8 {
        ((1u32 << self.bits()) - 1) as u8
    }
}

impl ScaleType {
    /// All of them.
    pub const ALL: [ScaleType; 3] = [ScaleType::F16, ScaleType::BF16, ScaleType::F32];

    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            ScaleType::F16 => "f16",
            ScaleType::BF16 => "bf16",
            ScaleType::F32 => "f32",
        }
    }

    /// The element type of the scales.
    pub fn element(self) -> crate::Element {
        match self {
            ScaleType::F16 => crate::Element::F16,
            ScaleType::BF16 => crate::Element::BF16,
            ScaleType::F32 => crate::Element::F32,
        }
    }

    /// Bytes of one scale.
    pub fn bytes(self) -> u64 {
        self.element().bytes() as u64
    }
}

impl Group {
    /// All of them.
    pub const ALL: [Group; 6] = [Group::G16, Group::G32, Group::G64, Group::G128, Group::G256, Group::Row];

    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            Group::G16 => "g16",
            Group::G32 => "g32",
            Group::G64 => "g64",
            Group::G128 => "g128",
            Group::G256 => "g256",
            Group::Row => "row",
        }
    }

    /// The number of inputs; `None` for a whole row.
    pub fn inputs(self) -> Option<u32> {
        match self {
            Group::G16 => Some(16),
            Group::G32 => Some(32),
            Group::G64 => Some(64),
            Group::G128 => Some(128),
            Group::G256 => Some(256),
            Group::Row => None,
        }
    }

    /// The group of this many inputs, if there is one.
    pub fn of_inputs(inputs: u32) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.inputs() == Some(inputs))
    }

    /// Inputs of one group of a row of `inputs` inputs.
    pub fn length(self, inputs: u64) -> u64 {
        self.inputs().map_or(inputs.max(1), u64::from)
    }

    /// Number of groups of a row.
    pub fn count(self, inputs: u64) -> u64 {
        inputs.div_ceil(self.length(inputs))
    }

    /// Inputs of one tile: a group, but at least one block of planes.
    pub fn tile(self, inputs: u64) -> u64 {
        self.length(inputs).max(BLOCK)
    }
}

impl WeightFormat {
    /// The code in byte 1 of a descriptor row.
    pub fn code(self) -> u8 {
        let (kind, scale) = match self {
            WeightFormat::Float(kind) => (kind as u8, 0),
            WeightFormat::Uniform { kind, scale, .. } => (3 + kind as u8, scale as u8),
        };
        FIRST_CODE + 4 * kind + scale
    }

    /// The number of inputs per group in a descriptor row; 0 for a whole row and for floats.
    pub fn group_code(self) -> u32 {
        match self {
            WeightFormat::Float(_) => 0,
            WeightFormat::Uniform { group, .. } => group.inputs().unwrap_or(0),
        }
    }

    /// The format with these codes, if there is one.
    pub fn from_codes(code: u8, group: u32) -> Option<WeightFormat> {
        let number = code.checked_sub(FIRST_CODE)?;
        let (kind, scale) = (usize::from(number / 4), usize::from(number % 4));
        if let Some(&float) = FloatKind::ALL.get(kind) {
            return (scale == 0 && group == 0).then_some(WeightFormat::Float(float));
        }
        let group = if group == 0 { Group::Row } else { Group::of_inputs(group)? };
        let (kind, scale) = (*UniformKind::ALL.get(kind - 3)?, *ScaleType::ALL.get(scale)?);
        Some(WeightFormat::Uniform { kind, group, scale })
    }

    /// Reads the printed form: `f16`, `u4:g64:f16`, `u3:row:f32`; group and scale may be left out (g128, f16).
    pub fn from_name(name: &str) -> Option<WeightFormat> {
        let mut parts = name.split(':');
        let first = parts.next()?;
        if let Some(kind) = FloatKind::ALL.into_iter().find(|kind| kind.name() == first) {
            return parts.next().is_none().then_some(WeightFormat::Float(kind));
        }
        let kind = UniformKind::ALL.into_iter().find(|kind| kind.name() == first)?;
        let (mut group, mut scale) = (Group::G128, ScaleType::F16);
        let mut rest = parts.peekable();
        if let Some(found) = rest.peek().and_then(|&part| Group::ALL.into_iter().find(|group| group.name() == part)) {
            group = found;
            rest.next();
        }
        if let Some(found) = rest.peek().and_then(|&part| ScaleType::ALL.into_iter().find(|scale| scale.name() == part))
        {
            scale = found;
            rest.next();
        }
        rest.next().is_none().then_some(WeightFormat::Uniform { kind, group, scale })
    }

    /// Bytes of one slice of 32 outputs with its padding.
    pub fn slice_bytes(self, inputs: u64) -> u64 {
        let bytes = match self {
            WeightFormat::Float(kind) => SLICE * inputs * kind.bytes(),
            WeightFormat::Uniform { kind, group, scale } => {
                let blocks = inputs.div_ceil(BLOCK);
                group.count(inputs) * SLICE * (scale.bytes() + 1) + blocks * u64::from(kind.bits()) * SLICE * 4
            }
        };
        bytes.next_multiple_of(SLICE_ALIGNMENT)
    }

    /// Bytes of a packed weight; saturates at dims that no memory holds.
    pub fn packed_bytes(self, outputs: u64, inputs: u64) -> u64 {
        outputs.div_ceil(SLICE).saturating_mul(self.slice_bytes(inputs))
    }

    /// Bits per weight, everything that is stored included.
    pub fn bits_per_weight(self, outputs: u64, inputs: u64) -> f64 {
        8.0 * self.packed_bytes(outputs, inputs) as f64 / (outputs as f64 * inputs as f64)
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightFormat::Float(kind) => f.write_str(kind.name()),
            WeightFormat::Uniform { kind, group, scale } => {
                write!(f, "{}:{}:{}", kind.name(), group.name(), scale.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every format that there is.
    fn all() -> Vec<WeightFormat> {
        let mut formats: Vec<_> = FloatKind::ALL.into_iter().map(WeightFormat::Float).collect();
        for kind in UniformKind::ALL {
            for group in Group::ALL {
                formats.extend(ScaleType::ALL.map(|scale| WeightFormat::Uniform { kind, group, scale }));
            }
        }
        formats
    }

    #[test]
    fn codes_and_names_are_bijections() {
        for format in all() {
            assert_eq!(WeightFormat::from_codes(format.code(), format.group_code()), Some(format));
            assert_eq!(WeightFormat::from_name(&format.to_string()), Some(format));
        }
        assert_eq!(WeightFormat::from_name("u4").unwrap().to_string(), "u4:g128:f16");
        for name in ["u4:g65", "f16:g64", "f32:f16", "u4:g64:f16:f16", "u4:f16:g64", "u4:", ""] {
            assert_eq!(WeightFormat::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn bits_per_weight_count_everything() {
        let bits = |name: &str| WeightFormat::from_name(name).unwrap().bits_per_weight(4096, 4096);
        assert_eq!(bits("u4:g128:f16"), 4.1875);
        assert_eq!(bits("u3:g128:f16"), 3.1875);
        assert_eq!(bits("u8:g32:f32"), 8.0 + 40.0 / 32.0);
        assert_eq!(bits("f16"), 16.0);
    }
}
