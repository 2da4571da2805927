//! Views in descriptor registers.

use narae_isa::Diagnostic;
use narae_isa::descriptor::{Memory, Number, Paging, ROW_BYTES, TensorRow, WeightRow, WindowParameters};
use narae_isa::instructions as isa;
use narae_isa::operand::{DescriptorRegister, RowIndex, ScalarRegister};

use super::{Emitter, Key, limit};
use crate::ir::{Dim, Symbol};
use crate::tile::{Buffer, Home, PAGE_TOKENS, Parameters, Program, View};

impl Emitter<'_> {
    /// A descriptor register that holds a view.
    pub(super) fn view(&mut self, view: &View) -> Result<DescriptorRegister, Diagnostic> {
        let key = Key::View(view.clone());
        if let Some(index) = self.state.descriptors.find(&key) {
            return Ok(descriptor_register(index));
        }
        let element_bytes = Dim::from(view.element.bytes());
        let (fixed, moving) = split_constant(&(&view.offset * &element_bytes));
        let mut locked = Vec::new();
        let base_register = if moving.is(0) { None } else { Some(self.lock(&moving, &mut locked)?) };
        let mut dims = Vec::with_capacity(view.rank());
        for dim in &view.dims {
            dims.push(match dim.as_const() {
                Some(value) => Number::Fixed(u32::try_from(value).map_err(|_| too_large(value))?),
                None => Number::Register(self.lock(dim, &mut locked)?),
            });
        }
        let paging = self.paging(view);
        let strides = if view.is_dense() && paging.is_none() {
            None
        } else {
            let mut strides = Vec::with_capacity(view.rank());
            for stride in &view.strides {
                strides.push(match stride.as_const() {
                    Some(value) => Number::Fixed(value),
                    None => Number::Register(self.lock(stride, &mut locked)?),
                });
            }
            Some(strides)
        };
        let memory = self.memory(view.buffer);
        let rows = self.program.members(view.buffer).into_iter().map(|buffer| {
            let base = self.address(buffer).checked_add_signed(fixed);
            let row = TensorRow {
                memory,
                element: view.element,
                dims: dims.clone(),
                strides: strides.clone(),
                base: base.unwrap_or_else(|| unreachable!("views stay inside of their buffers")),
                base_register,
                paging,
                scaled_rows: false,
            };
            row.encode()
        });
        let rows: Vec<[u8; ROW_BYTES]> = rows.collect();
        let register = self.load(key, rows, view.buffer);
        locked.into_iter().for_each(|scalar: ScalarRegister| self.state.scalars.unlock(scalar.index()));
        register
    }

    /// The paging of a view on a KV cache.
    pub(super) fn paging(&self, view: &View) -> Option<Paging> {
        let first = *self.program.members(view.buffer).first()?;
        let data = &self.program.buffers[first];
        if !matches!(data.home, Home::State(_)) {
            return None;
        }
        let (_, most) = data.dims[2].bounds(&self.program.symbols);
        let tokens = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
        Some(Paging {
            table: self.addresses.page_table,
            tokens_per_page: u32::try_from(PAGE_TOKENS).unwrap_or(u32::MAX),
            pages_per_sequence: u32::try_from(tokens.div_ceil(PAGE_TOKENS)).unwrap_or(u32::MAX),
        })
    }

    /// A descriptor register that holds a packed weight.
    pub(super) fn weight(&mut self, view: &View) -> Result<DescriptorRegister, Diagnostic> {
        let key = Key::Weight(view.buffer);
        if let Some(index) = self.state.descriptors.find(&key) {
            return Ok(descriptor_register(index));
        }
        let mut rows = Vec::new();
        for buffer in self.program.members(view.buffer) {
            let Home::Weight(weight) = &self.program.buffers[buffer].home else {
                unreachable!("a streamed operand is a weight")
            };
            let size = |axis: usize| {
                let extent = weight.recipe.dims()[axis];
                u32::try_from(extent).map_err(|_| too_large(extent as i64))
            };
            let row = WeightRow {
                format: weight.format,
                outputs: size(0)?,
                inputs: size(1)?,
                base: self.address(buffer),
                base_register: None,
            };
            rows.push(row.encode());
        }
        self.load(key, rows, view.buffer)
    }

    /// A descriptor register that holds parameters.
    pub(super) fn parameters(&mut self, parameters: &Parameters) -> Result<DescriptorRegister, Diagnostic> {
        let key = Key::Parameters(parameters.clone());
        if let Some(index) = self.state.descriptors.find(&key) {
            return Ok(descriptor_register(index));
        }
        let mut locked: Vec<ScalarRegister> = Vec::new();
        let row = match parameters {
            Parameters::Resize(resize) => resize.encode(),
            Parameters::Window(window) => {
                let mut row = WindowParameters::neutral();
                let groups = [
                    (&mut row.kernel, &window.kernel),
                    (&mut row.stride, &window.stride),
                    (&mut row.dilation, &window.dilation),
                    (&mut row.pad_before, &window.pad_before),
                    (&mut row.pad_after, &window.pad_after),
                    (&mut row.input_dilation, &window.input_dilation),
                ];
                for (to, from) in groups {
                    for (number, dim) in to.iter_mut().zip(from) {
                        *number = match dim.as_const() {
                            Some(value) => Number::Fixed(i32::try_from(value).map_err(|_| too_large(value))?),
                            None => Number::Register(self.lock(dim, &mut locked)?),
                        };
                    }
                }
                row.encode()
            }
        };
        let row = self.rows.insert(vec![row]);
        let dd = self.claim_descriptor(key)?;
        self.inst(isa::LoadDescriptor { dd, row: RowIndex(row), ri: None }, vec![]);
        locked.into_iter().for_each(|scalar| self.state.scalars.unlock(scalar.index()));
        Ok(dd)
    }

    /// A descriptor register that holds the block of slots.
    pub(super) fn slots(&mut self) -> Result<DescriptorRegister, Diagnostic> {
        if let Some(index) = self.state.descriptors.find(&Key::Slots) {
            return Ok(descriptor_register(index));
        }
        let count = self.addresses.slot_of.len();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let row = TensorRow::dense(Memory::Dram, narae_isa::Element::I64, &[count], self.addresses.slots);
        let row = self.rows.insert(vec![row.encode()]);
        let dd = self.claim_descriptor(Key::Slots)?;
        self.inst(isa::LoadDescriptor { dd, row: RowIndex(row), ri: None }, vec![]);
        Ok(dd)
    }

    /// Emits the load of a row, or of the row of a table that the loop's index selects.
    fn load(&mut self, key: Key, rows: Vec<[u8; ROW_BYTES]>, buffer: Buffer) -> Result<DescriptorRegister, Diagnostic> {
        let row = RowIndex(self.rows.insert(rows));
        let mut locked = Vec::new();
        let ri = match &self.program.buffers[buffer].home {
            Home::Table { index, .. } => Some(self.lock(&Dim::from(*index), &mut locked)?),
            _ => None,
        };
        let dd = self.claim_descriptor(key)?;
        self.inst(isa::LoadDescriptor { dd, row, ri }, vec![]);
        locked.into_iter().for_each(|scalar: ScalarRegister| self.state.scalars.unlock(scalar.index()));
        Ok(dd)
    }

    fn claim_descriptor(&mut self, key: Key) -> Result<DescriptorRegister, Diagnostic> {
        let index = self.state.descriptors.claim(key);
        index
            .map(descriptor_register)
            .ok_or_else(|| limit("an instruction needs more descriptor registers than there are".to_string()))
    }

    fn lock(&mut self, dim: &Dim, locked: &mut Vec<ScalarRegister>) -> Result<ScalarRegister, Diagnostic> {
        let register = self.locked_scalar(dim)?;
        locked.push(register);
        Ok(register)
    }
}

/// The constant term of a dim and the rest.
fn split_constant(dim: &Dim) -> (i64, Dim) {
    let constant = dim.substitute(&|_| Some(Dim::ZERO)).as_const().unwrap_or(0);
    if constant < 0 {
        // A base below the buffer's start would be an address that the rest has to bring back.
        return (0, dim.clone());
    }
    (constant, dim - &Dim::from(constant))
}

/// Whether what a descriptor register holds depends on a symbol.
pub(super) fn depends(program: &Program, key: &Key, symbol: Symbol) -> bool {
    let on = |dim: &Dim| dim.any_symbol(&mut |other| other == symbol);
    let selected =
        |buffer: Buffer| matches!(&program.buffers[buffer].home, Home::Table { index, .. } if *index == symbol);
    match key {
        Key::View(view) => {
            on(&view.offset) || view.dims.iter().any(on) || view.strides.iter().any(on) || selected(view.buffer)
        }
        Key::Weight(buffer) => selected(*buffer),
        Key::Parameters(Parameters::Window(window)) => window.numbers().any(on),
        Key::Parameters(Parameters::Resize(_)) | Key::Slots => false,
    }
}

/// Descriptor register number `index`.
fn descriptor_register(index: usize) -> DescriptorRegister {
    let number = u8::try_from(index).ok().and_then(DescriptorRegister::new);
    number.expect("the register file has as many registers as the machine")
}

fn too_large(value: i64) -> Diagnostic {
    limit(format!("{value} is beyond what a descriptor can say"))
}
