//! Tensor and weight rows: fields, encoding, decoding, resolving.
//!
//! Always: `decode` accepts exactly what `encode` produces (unused bytes zero, dense rows without strides).

use super::view::{Paging, ResolveError, View, WeightView};
use super::{MAX_RANK, Memory, Number, ROW_BYTES};
use crate::element::Element;
use crate::format::WeightFormat;
use crate::operand::ScalarRegister;

const FLAG_DENSE: u8 = 1;
const FLAG_PAGED: u8 = 2;
const FLAG_SCALED: u8 = 4;
const NO_REGISTER: u8 = 255;

/// Why 128 bytes are not a descriptor row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of the descriptor row is wrong: {reason}")]
pub struct RowError {
    /// Offset inside the row.
    pub offset: usize,
    /// What is wrong.
    pub reason: &'static str,
}

fn wrong<T>(offset: usize, reason: &'static str) -> Result<T, RowError> {
    Err(RowError { offset, reason })
}

/// A view of elements in memory, possibly with registers in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorRow {
    /// Which memory.
    pub memory: Memory,
    /// Type of the elements.
    pub element: Element,
    /// Dims, outermost first.
    pub dims: Vec<Number<u32>>,
    /// Strides in elements; `None` for row-major without gaps.
    pub strides: Option<Vec<Number<i64>>>,
    /// Byte address of element 0 (of the pool of pages when paged).
    pub base: u64,
    /// Added to the base, in bytes.
    pub base_register: Option<ScalarRegister>,
    /// Present for a paged KV cache.
    pub paging: Option<Paging>,
    /// Every innermost row of D elements is followed by one f16 scale; strides count it in.
    pub scaled_rows: bool,
}

/// A packed weight in DRAM, \[N outputs, K inputs\].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightRow {
    /// How it is packed.
    pub format: WeightFormat,
    /// N.
    pub outputs: u32,
    /// K.
    pub inputs: u32,
    /// Byte address of the packed stream.
    pub base: u64,
    /// Added to the base, in bytes (expert weights).
    pub base_register: Option<ScalarRegister>,
}

impl TensorRow {
    /// A dense view with fixed dims.
    pub fn dense(memory: Memory, element: Element, dims: &[u32], base: u64) -> TensorRow {
        let dims = dims.iter().map(|&dim| Number::Fixed(dim)).collect();
        TensorRow { memory, element, dims, strides: None, base, base_register: None, paging: None, scaled_rows: false }
    }

    /// The 128 bytes. Panics on a rank above 8 or on strides of another rank: a bug of the caller.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        assert!(self.dims.len() <= MAX_RANK, "a descriptor has at most {MAX_RANK} dims");
        let mut bytes = [0u8; ROW_BYTES];
        bytes[0] = self.memory as u8;
        bytes[1] = self.element.code();
        bytes[2] = self.dims.len() as u8;
        bytes[6] = self.base_register.map_or(NO_REGISTER, ScalarRegister::number);
        bytes[8..16].copy_from_slice(&self.base.to_le_bytes());
        for (axis, dim) in self.dims.iter().enumerate() {
            bytes[4] |= u8::from(dim.register().is_some()) << axis;
            let value = match dim {
                Number::Fixed(value) => *value,
                Number::Register(register) => u32::from(register.number()),
            };
            bytes[16 + 4 * axis..20 + 4 * axis].copy_from_slice(&value.to_le_bytes());
        }
        match &self.strides {
            None => bytes[3] |= FLAG_DENSE,
            Some(strides) => self.encode_strides(strides, &mut bytes),
        }
        if let Some(paging) = &self.paging {
            bytes[3] |= FLAG_PAGED;
            bytes[112..120].copy_from_slice(&paging.table.to_le_bytes());
            bytes[120..124].copy_from_slice(&paging.tokens_per_page.to_le_bytes());
            bytes[124..128].copy_from_slice(&paging.pages_per_sequence.to_le_bytes());
        }
        bytes[3] |= if self.scaled_rows { FLAG_SCALED } else { 0 };
        bytes
    }

    fn encode_strides(&self, strides: &[Number<i64>], bytes: &mut [u8; ROW_BYTES]) {
        assert_eq!(strides.len(), self.dims.len(), "a view has one stride per dim");
        for (axis, stride) in strides.iter().enumerate() {
            bytes[5] |= u8::from(stride.register().is_some()) << axis;
            let value = match stride {
                Number::Fixed(value) => *value,
                Number::Register(register) => i64::from(register.number()),
            };
            bytes[48 + 8 * axis..56 + 8 * axis].copy_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8; ROW_BYTES]) -> Result<TensorRow, RowError> {
        let common = Common::decode(bytes)?;
        let Some(element) = Element::from_code(bytes[1]) else { return wrong(1, "no such element type") };
        let flags = bytes[3];
        let dims = common.numbers(bytes, 4, |axis| read_u32(bytes, 16 + 4 * axis), u32::try_into, 16, 4)?;
        let strides = common.numbers(bytes, 5, |axis| read_i64(bytes, 48 + 8 * axis), i64::try_into, 48, 8)?;
        let dense = flags & FLAG_DENSE != 0;
        if dense && bytes[48..112].iter().any(|&byte| byte != 0) {
            return wrong(48, "a dense row has no strides");
        }
        if dense && bytes[5] != 0 {
            return wrong(5, "a dense row has no strides");
        }
        let paging = Paging {
            table: read_u64(bytes, 112),
            tokens_per_page: read_u32(bytes, 120),
            pages_per_sequence: read_u32(bytes, 124),
        };
        let paged = flags & FLAG_PAGED != 0;
        if !paged && bytes[112..128].iter().any(|&byte| byte != 0) {
            return wrong(112, "only paged rows have a page table");
        }
        if paged && (dense || common.rank != 4 || paging.tokens_per_page == 0) {
            return wrong(3, "a paged row has rank 4, strides, and tokens in a page");
        }
        Ok(TensorRow {
            memory: common.memory,
            element,
            dims,
            strides: (!dense).then_some(strides),
            base: common.base,
            base_register: common.base_register,
            paging: paged.then_some(paging),
            scaled_rows: flags & FLAG_SCALED != 0,
        })
    }

    pub(super) fn resolve(&self, registers: &[i64; ScalarRegister::COUNT]) -> Result<View, ResolveError> {
        let mut dims = [0u32; MAX_RANK];
        for (axis, dim) in self.dims.iter().enumerate() {
            dims[axis] = dim.resolve(registers).ok_or(ResolveError::Dim(axis))?;
        }
        let base = effective_base(self.base, self.base_register, registers)?;
        let mut view = View::dense(self.memory, self.element, &dims[..self.dims.len()], base);
        if let Some(strides) = &self.strides {
            for (axis, stride) in strides.iter().enumerate() {
                view.set_stride(axis, stride.resolve(registers).ok_or(ResolveError::Stride(axis))?);
            }
        }
        view.paging = self.paging;
        view.scaled_rows = self.scaled_rows;
        view.check_extent()?;
        Ok(view)
    }

    pub(super) fn registers(&self) -> Vec<ScalarRegister> {
        let dims = self.dims.iter().filter_map(Number::register);
        let strides = self.strides.iter().flatten().filter_map(Number::register);
        self.base_register.into_iter().chain(dims).chain(strides).collect()
    }
}

impl WeightRow {
    /// The 128 bytes.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0u8; ROW_BYTES];
        bytes[0] = Memory::Dram as u8;
        bytes[1] = self.format.code();
        bytes[2] = 2;
        bytes[3] = FLAG_DENSE;
        bytes[6] = self.base_register.map_or(NO_REGISTER, ScalarRegister::number);
        bytes[8..16].copy_from_slice(&self.base.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.outputs.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.inputs.to_le_bytes());
        bytes[120..124].copy_from_slice(&self.format.group_code().to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; ROW_BYTES]) -> Result<WeightRow, RowError> {
        let common = Common::decode(bytes)?;
        let Some(format) = WeightFormat::from_codes(bytes[1], read_u32(bytes, 120)) else {
            return wrong(1, "no such weight format or group");
        };
        if common.memory != Memory::Dram || common.rank != 2 || bytes[3] != FLAG_DENSE || bytes[4] != 0 || bytes[5] != 0
        {
            return wrong(0, "a weight row has memory dram, rank 2, fixed dims and no strides");
        }
        if bytes[24..120].iter().chain(&bytes[124..]).any(|&byte| byte != 0) {
            return wrong(24, "unused bytes are not zero");
        }
        Ok(WeightRow {
            format,
            outputs: read_u32(bytes, 16),
            inputs: read_u32(bytes, 20),
            base: common.base,
            base_register: common.base_register,
        })
    }

    pub(super) fn resolve(&self, registers: &[i64; ScalarRegister::COUNT]) -> Result<WeightView, ResolveError> {
        let base = effective_base(self.base, self.base_register, registers)?;
        let view = WeightView { format: self.format, outputs: self.outputs, inputs: self.inputs, base };
        base.checked_add(view.packed_bytes()).ok_or(ResolveError::Extent)?;
        Ok(view)
    }
}

fn effective_base(
    base: u64,
    register: Option<ScalarRegister>,
    registers: &[i64; ScalarRegister::COUNT],
) -> Result<u64, ResolveError> {
    let offset = register.map_or(0, |register| registers[register.index()]);
    base.checked_add_signed(offset).ok_or(ResolveError::Base)
}

/// The bytes that tensor and weight rows share.
struct Common {
    memory: Memory,
    rank: usize,
    base: u64,
    base_register: Option<ScalarRegister>,
}

impl Common {
    fn decode(bytes: &[u8; ROW_BYTES]) -> Result<Common, RowError> {
        let memory = match bytes[0] {
            0 => Memory::Dram,
            1 => Memory::Sram,
            _ => return wrong(0, "no such memory"),
        };
        let rank = usize::from(bytes[2]);
        if rank > MAX_RANK {
            return wrong(2, "the rank is above 8");
        }
        if bytes[3] & !(FLAG_DENSE | FLAG_PAGED | FLAG_SCALED) != 0 {
            return wrong(3, "an unknown flag is set");
        }
        if bytes[7] != 0 {
            return wrong(7, "unused bytes are not zero");
        }
        let base_register = match bytes[6] {
            NO_REGISTER => None,
            number => match ScalarRegister::new(number) {
                Some(register) => Some(register),
                None => return wrong(6, "no such register"),
            },
        };
        Ok(Common { memory, rank, base: read_u64(bytes, 8), base_register })
    }

    /// The dims or strides; entries beyond the rank must be zero.
    fn numbers<T: Copy + Default + PartialEq>(
        &self,
        bytes: &[u8; ROW_BYTES],
        mask_offset: usize,
        read: impl Fn(usize) -> T,
        to_register: impl Fn(T) -> Result<u8, std::num::TryFromIntError>,
        offset: usize,
        size: usize,
    ) -> Result<Vec<Number<T>>, RowError> {
        let mask = bytes[mask_offset];
        if (self.rank..MAX_RANK).any(|axis| mask >> axis & 1 == 1 || read(axis) != T::default()) {
            return wrong(offset + self.rank * size, "entries beyond the rank are not zero");
        }
        let number = |axis: usize| {
            if mask >> axis & 1 == 0 {
                return Ok(Number::Fixed(read(axis)));
            }
            let register = to_register(read(axis)).ok().and_then(ScalarRegister::new);
            register.map(Number::Register).ok_or(RowError { offset: offset + axis * size, reason: "no such register" })
        };
        (0..self.rank).map(number).collect()
    }
}

fn read_u32(bytes: &[u8; ROW_BYTES], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn read_u64(bytes: &[u8; ROW_BYTES], offset: usize) -> u64 {
    u64::from(read_u32(bytes, offset)) | u64::from(read_u32(bytes, offset + 4)) << 32
}

fn read_i64(bytes: &[u8; ROW_BYTES], offset: usize) -> i64 {
    read_u64(bytes, offset) as i64
}
