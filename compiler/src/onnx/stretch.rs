//! Broadcasts of which only the run knows whether they repeat.
//!
//! In: operands that are combined element by element. Out: the same, in which an axis whose extent data decides has the extent that another operand
//! says with a number. Always holds: the extent is 1 (then its element is repeated) or that number, or the run ends with a code.

use narae_isa::{BinaryFunction, Element};

use super::builder::{Builder, Built};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};

impl Builder {
    /// The operands with axes that may have to be repeated.
    pub(super) fn stretched<const N: usize>(&mut self, operands: [Value; N]) -> Built<[Value; N]> {
        let rank = operands.iter().map(|&value| self.rank(value)).max().unwrap_or(0);
        let mut stretched = operands;
        for (index, &value) in operands.iter().enumerate() {
            let dims = self.dims(value);
            for (axis, dim) in dims.iter().enumerate() {
                let Some(symbol) = dim.as_symbol().filter(|&symbol| self.may_be_one(symbol)) else { continue };
                let place = rank - dims.len() + axis;
                if let Some(wanted) = operands.iter().find_map(|&other| self.number_at(other, rank, place)) {
                    stretched[index] = self.repeated_if_one(stretched[index], axis, symbol, wanted)?;
                }
            }
        }
        Ok(stretched)
    }

    /// Whether data decides a length, and 1 is one of several that it may have.
    fn may_be_one(&self, symbol: Symbol) -> bool {
        let row = self.graph.symbols.data(symbol);
        let decided = matches!(row.definition, SymbolDefinition::Data { .. } | SymbolDefinition::Extent { .. });
        decided && row.lower.is_none_or(|least| least <= 1) && row.upper.is_none_or(|most| most > 1)
    }

    /// The extent of an axis, counted in the result, if it is a number beyond 1.
    fn number_at(&self, value: Value, rank: usize, place: usize) -> Option<i64> {
        let dims = self.dims(value);
        let axis = (place + dims.len()).checked_sub(rank)?;
        dims[axis].as_const().filter(|&extent| extent > 1)
    }

    fn repeated_if_one(&mut self, x: Value, axis: usize, symbol: Symbol, wanted: i64) -> Built {
        let (own, number) = (Dim::from(symbol), Dim::from(wanted));
        self.graph.symbols.assume(&(&(&own - &Dim::ONE) * &(&own - &number)), &Dim::ZERO);
        let last = self.dim_scalar(&own - &Dim::ONE)?;
        let places = self.iota(Element::I64, vec![number], 0)?;
        let places = self.op(crate::graph::Op::Binary { function: BinaryFunction::Min }, &[places, last])?;
        self.gather(x, places, axis)
    }
}
