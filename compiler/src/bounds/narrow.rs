//! What the bound of an expression says of its symbols.
//!
//! In: a dim and the greatest value that it may have. Out: bounds of its symbols that follow. Always holds: no value that a symbol can have
//! while the dim keeps its limits is cut off.

use crate::ir::interval;
use crate::ir::{Dim, Symbol, Symbols};

/// Lengths beyond this are not told apart.
const FAR: i64 = 1 << 40;

/// Bounds the symbols of a dim that is an extent and at most `most`.
pub(super) fn narrow(symbols: &mut Symbols, dim: &Dim, most: i64) {
    let dim = symbols.resolve(dim);
    for symbol in dim.symbols() {
        if let Some(bound) = greatest(symbols, &dim, symbol, most) {
            symbols.bound(symbol, None, Some(bound));
        }
    }
}

/// The greatest value of a symbol with which the dim can be within `0..=most`, if there is one.
fn greatest(symbols: &Symbols, dim: &Dim, symbol: Symbol, most: i64) -> Option<i64> {
    let possible = |least: i64| {
        let at = |other: Symbol| {
            let (low, high) = symbols.interval(other);
            if other == symbol { (Some(least), high) } else { (low, high) }
        };
        let (low, high) = interval::of_dim(dim, &at);
        low.is_none_or(|low| low <= most) && high.is_none_or(|high| high >= 0)
    };
    let (mut low, mut high) = (symbols.interval(symbol).0.unwrap_or(-FAR), FAR);
    if possible(high) || !possible(low) {
        return None;
    }
    // `low` is possible, `high` is not; more is possible with less.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if possible(middle) { low = middle } else { high = middle }
    }
    Some(low)
}
