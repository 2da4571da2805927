//! A dim as a tree of the operations that compute it: for image metadata and for scalar code.

use narae_isa::DimExpr;

use super::polynomial::Atom;
use super::{Dim, Symbol};

impl Dim {
    /// The dim as an expression in which `slot` numbers the symbols; `None` if it is invalid or a symbol has no number.
    pub fn to_expression(&self, slot: &dyn Fn(Symbol) -> Option<u16>) -> Option<DimExpr> {
        let polynomial = self.polynomial()?;
        let mut sum: Option<DimExpr> = None;
        // Positive terms first, so that a difference is one.
        let (plus, minus): (Vec<_>, Vec<_>) = polynomial.terms.iter().partition(|term| term.1 >= 0);
        for (monomial, coefficient) in plus.into_iter().chain(minus) {
            let negative = *coefficient < 0 && sum.is_some();
            let factor = if negative { coefficient.checked_neg()? } else { *coefficient };
            let mut product: Option<DimExpr> = None;
            for (atom, power) in monomial {
                for _ in 0..*power {
                    let atom = atom_expression(atom, slot)?;
                    product = Some(join(product, atom, DimExpr::Mul));
                }
            }
            let term = match product {
                None => DimExpr::Const(factor),
                Some(product) if factor == 1 => product,
                Some(product) => DimExpr::Mul(Box::new(product), Box::new(DimExpr::Const(factor))),
            };
            sum = Some(join(sum, term, if negative { DimExpr::Sub } else { DimExpr::Add }));
        }
        Some(sum.unwrap_or(DimExpr::Const(0)))
    }
}

fn join(left: Option<DimExpr>, right: DimExpr, op: fn(Box<DimExpr>, Box<DimExpr>) -> DimExpr) -> DimExpr {
    match left {
        None => right,
        Some(left) => op(Box::new(left), Box::new(right)),
    }
}

fn atom_expression(atom: &Atom, slot: &dyn Fn(Symbol) -> Option<u16>) -> Option<DimExpr> {
    let pair = |a: &Dim, b: &Dim, op: fn(Box<DimExpr>, Box<DimExpr>) -> DimExpr| {
        Some(op(Box::new(a.to_expression(slot)?), Box::new(b.to_expression(slot)?)))
    };
    match atom {
        Atom::Symbol(symbol) => slot(*symbol).map(DimExpr::Slot),
        Atom::FloorDiv(a, b) => pair(a, b, DimExpr::FloorDiv),
        Atom::Mod(a, b) => pair(a, b, DimExpr::Mod),
        Atom::Min(a, b) => pair(a, b, DimExpr::Min),
        Atom::Max(a, b) => pair(a, b, DimExpr::Max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{SymbolDefinition, Symbols};

    #[test]
    fn an_expression_has_the_value_of_its_dim() {
        let mut symbols = Symbols::default();
        let a = symbols.add("a", SymbolDefinition::Undefined);
        let b = symbols.add("b", SymbolDefinition::Undefined);
        let (x, y) = (Dim::from(a), Dim::from(b));
        let dim = &(&(&x * &y) - &Dim::from(7i64)) + &(&x + &Dim::from(15i64)).floor_div(&16i64.into()).maximum(&y);
        let slot = |symbol: Symbol| Some(u16::from(symbol == b));
        let expression = dim.to_expression(&slot).expect("both symbols have slots");
        for (p, q) in [(1, 1), (5, 9), (100, 3)] {
            let point = |symbol| Some(if symbol == a { p } else { q });
            assert_eq!(expression.eval(&[p, q]).ok(), dim.eval(&point), "{expression:?}");
        }
        assert_eq!((&Dim::ZERO - &x).to_expression(&slot).map(|e| e.eval(&[3, 0]).ok()), Some(Some(-3)));
    }
}
