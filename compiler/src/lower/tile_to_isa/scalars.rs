//! Dims in scalar registers.
//!
//! A dim that is not a number is computed where it is first needed and stays in its register until that is needed for
//! something else. Symbols are loaded from their slots in LPDDR.

use narae_isa::instructions as isa;
use narae_isa::operand::{Condition, ScalarFunction, ScalarRegister, Target};
use narae_isa::{Diagnostic, DimExpr};

use super::{Draft, Emitted, Emitter, Line, STOP, limit};
use crate::ir::interval::Interval;
use crate::ir::{Dim, Symbol};
use crate::passes::hazards::Touch;
use crate::tile::View;

impl Emitter<'_> {
    /// A register that holds `dim`, locked once for the caller.
    pub(super) fn locked_scalar(&mut self, dim: &Dim) -> Result<ScalarRegister, Diagnostic> {
        let register = self.scalar(dim)?;
        self.state.scalars.lock(register.index());
        Ok(register)
    }

    /// A register that holds `dim`.
    fn scalar(&mut self, dim: &Dim) -> Result<ScalarRegister, Diagnostic> {
        if let Some(index) = self.state.scalars.find(dim) {
            return Ok(scalar_register(index));
        }
        let symbols: Vec<Symbol> = dim.symbols();
        let number = |symbol: Symbol| symbols.iter().position(|&s| s == symbol).and_then(|at| u16::try_from(at).ok());
        let Some(expression) = dim.to_expression(&number) else {
            return Err(limit("a dim of the program overflows".to_string()));
        };
        self.expression(&expression, &symbols)
    }

    /// A register with the value of an expression, not locked. Parts of expressions stay in their registers as well: batch ×
    /// sequence is a part of most extents.
    fn expression(&mut self, expression: &DimExpr, symbols: &[Symbol]) -> Result<ScalarRegister, Diagnostic> {
        let dim = value_of(expression, symbols);
        if let Some(index) = self.state.scalars.find(&dim) {
            return Ok(scalar_register(index));
        }
        let register = self.compute_expression(expression, symbols)?;
        // A symbol's own register already has its key; a computed value gets one now.
        if self.state.scalars.find(&dim).is_none() {
            self.state.scalars.set(register.index(), Some(dim));
        }
        Ok(register)
    }

    fn compute_expression(&mut self, expression: &DimExpr, symbols: &[Symbol]) -> Result<ScalarRegister, Diagnostic> {
        use ScalarFunction::{Add, Div, Max, Min, Mod, Mul, Sub};
        match expression {
            DimExpr::Const(value) => {
                let rd = self.claim()?;
                self.inst(isa::LoadImmediate { rd, value: *value }, vec![]);
                Ok(rd)
            }
            DimExpr::Slot(number) => self.symbol(symbols[usize::from(*number)]),
            DimExpr::Add(a, b) => self.binary(Add, a, b, symbols),
            DimExpr::Sub(a, b) => self.binary(Sub, a, b, symbols),
            DimExpr::Mul(a, b) => self.binary(Mul, a, b, symbols),
            DimExpr::FloorDiv(a, b) => self.binary(Div, a, b, symbols),
            DimExpr::Mod(a, b) => self.binary(Mod, a, b, symbols),
            DimExpr::Min(a, b) => self.binary(Min, a, b, symbols),
            DimExpr::Max(a, b) => self.binary(Max, a, b, symbols),
        }
    }

    fn binary(
        &mut self,
        function: ScalarFunction,
        a: &DimExpr,
        b: &DimExpr,
        symbols: &[Symbol],
    ) -> Result<ScalarRegister, Diagnostic> {
        let ra = self.expression(a, symbols)?;
        self.state.scalars.lock(ra.index());
        if let DimExpr::Const(value) = b {
            self.state.scalars.unlock(ra.index());
            let rd = self.claim()?;
            self.inst(isa::AluImmediate { function, rd, ra, value: *value }, vec![]);
            return Ok(rd);
        }
        let rb = self.expression(b, symbols)?;
        self.state.scalars.unlock(ra.index());
        let rd = self.claim()?;
        self.inst(isa::Alu { function, rd, ra, rb }, vec![]);
        Ok(rd)
    }

    /// A register for an intermediate value. It may be the register of an operand of the instruction that fills it:
    /// operands are read before the result is written.
    fn claim(&mut self) -> Result<ScalarRegister, Diagnostic> {
        let index = self.state.scalars.claim_temporary();
        index.map(scalar_register).ok_or_else(|| limit("a view needs more scalar registers than there are".to_string()))
    }

    /// A register with the value of a symbol.
    fn symbol(&mut self, symbol: Symbol) -> Result<ScalarRegister, Diagnostic> {
        let dim = Dim::from(symbol);
        if let Some(index) = self.state.scalars.find(&dim) {
            return Ok(scalar_register(index));
        }
        let slot = self.slot(symbol);
        let source = self.slots()?;
        let rd = self.claim()?;
        self.state.scalars.set(rd.index(), Some(dim));
        self.inst(isa::LoadScalar { rd, source, ri: None, index: slot }, vec![self.slot_touch(slot, false)]);
        Ok(rd)
    }

    fn slot(&self, symbol: Symbol) -> u32 {
        let slot = self.addresses.slot_of.get(&symbol);
        *slot.unwrap_or_else(|| panic!("symbol `{}` is used, so it has a slot", self.program.symbols.name(symbol)))
    }

    fn slot_touch(&self, slot: u32, write: bool) -> Touch {
        let start = self.addresses.slots + 8 * u64::from(slot);
        Touch { start, end: start + 8, write }
    }

    /// Sets a symbol from memory: what depended on its old value is forgotten. A program that reads a length beyond its bounds stops before
    /// it uses it; the host finds the length in its slot.
    pub(super) fn read(&mut self, symbol: Symbol, from: &View) -> Emitted {
        self.forget(symbol);
        let mut touches = Vec::new();
        self.touches(from.buffer, false, &mut touches);
        let source = self.view(from)?;
        self.state.descriptors.lock(source.index());
        let rd = self.claim()?;
        self.state.scalars.set(rd.index(), Some(symbol.into()));
        self.uses([from.buffer].into_iter());
        self.push(Line::Step(Draft::Load(self.planned(from))));
        self.inst(isa::LoadScalar { rd, source, ri: None, index: 0 }, touches);
        self.state.descriptors.unlock(source.index());
        self.state.scalars.lock(rd.index());
        let slot = self.slot(symbol);
        let to = self.slots()?;
        self.push(Line::Step(Draft::Set(symbol, None)));
        self.inst(isa::StoreScalar { to, ri: None, index: slot, rs: rd }, vec![self.slot_touch(slot, true)]);
        self.stop_beyond(symbol, rd, self.program.symbols.interval(symbol));
        self.state.scalars.unlock(rd.index());
        Ok(())
    }

    fn stop_beyond(&mut self, symbol: Symbol, ra: ScalarRegister, (low, high): Interval) {
        for (condition, limit) in [(Condition::Lt, low), (Condition::Gt, high)] {
            // What the instruction cannot hold is beyond any memory.
            if let Some(value) = limit.and_then(|limit| i32::try_from(limit).ok()) {
                self.push(Line::Step(Draft::Beyond(symbol)));
                self.inst(isa::BranchImmediate { condition, ra, value, target: Target(STOP) }, vec![]);
            }
        }
    }

    /// Sets a symbol to a number; the old value may be part of the new one.
    pub(super) fn set(&mut self, symbol: Symbol, value: &Dim) -> Emitted {
        let rs = self.locked_scalar(value)?;
        let slot = self.slot(symbol);
        let to = self.slots()?;
        self.push(Line::Step(Draft::Set(symbol, Some(value.clone()))));
        self.inst(isa::StoreScalar { to, ri: None, index: slot, rs }, vec![self.slot_touch(slot, true)]);
        let (low, high) = self.program.symbols.interval(symbol);
        let (least, most) = value.bounds(&self.program.symbols);
        // What the old bounds promise of the new value needs no check.
        let low = low.filter(|&low| least.is_none_or(|least| least < low));
        let high = high.filter(|&high| most.is_none_or(|most| most > high));
        self.stop_beyond(symbol, rs, (low, high));
        self.forget(symbol);
        self.state.scalars.unlock(rs.index());
        Ok(())
    }

    /// Writes numbers to the elements of a dense view.
    pub(super) fn write(&mut self, view: &View, values: &[Dim]) -> Emitted {
        let mut touches = Vec::new();
        self.touches(view.buffer, true, &mut touches);
        for (index, value) in (0u32..).zip(values) {
            let rs = self.locked_scalar(value)?;
            let to = self.view(view)?;
            self.uses([view.buffer].into_iter());
            self.push(Line::Step(Draft::Store(self.planned(view), value.clone())));
            self.inst(isa::StoreScalar { to, ri: None, index, rs }, touches.clone());
            self.state.scalars.unlock(rs.index());
        }
        Ok(())
    }

    /// Forgets every register whose contents depend on a symbol.
    pub(super) fn forget(&mut self, symbol: Symbol) {
        let depends = |dim: &Dim| dim.any_symbol(&mut |other| other == symbol);
        self.state.scalars.retain(|_, dim| !depends(dim));
        let program = self.program;
        self.state.descriptors.retain(|_, key| !super::descriptors::depends(program, key, symbol));
    }
}

/// The dim that an expression computes.
fn value_of(expression: &DimExpr, symbols: &[Symbol]) -> Dim {
    let of = |part: &DimExpr| value_of(part, symbols);
    match expression {
        DimExpr::Const(value) => Dim::from(*value),
        DimExpr::Slot(number) => Dim::from(symbols[usize::from(*number)]),
        DimExpr::Add(a, b) => &of(a) + &of(b),
        DimExpr::Sub(a, b) => &of(a) - &of(b),
        DimExpr::Mul(a, b) => &of(a) * &of(b),
        DimExpr::FloorDiv(a, b) => of(a).floor_div(&of(b)),
        DimExpr::Mod(a, b) => of(a).modulo(&of(b)),
        DimExpr::Min(a, b) => of(a).minimum(&of(b)),
        DimExpr::Max(a, b) => of(a).maximum(&of(b)),
    }
}

/// Scalar register number `index`.
pub(super) fn scalar_register(index: usize) -> ScalarRegister {
    let number = u8::try_from(index).ok().and_then(ScalarRegister::new);
    number.expect("the register file has as many registers as the machine")
}
