//! Interval arithmetic: what is known of integers from what is known of their parts.
//!
//! In: the least and the greatest values of operands, `None` where there is no limit. Out: limits of the result. Always holds: the result is
//! within the limits whatever the operands are within theirs; an overflow is no limit.

use super::Dim;
use super::Symbol;
use super::polynomial::{Atom, Polynomial};

/// The least and the greatest value; `None` where there is no limit.
pub type Interval = (Option<i64>, Option<i64>);

/// A product of atoms with their powers, and its coefficient.
type Term = (Vec<(Atom, u32)>, i64);

/// No limit at all.
pub const ANY: Interval = (None, None);

/// Exactly this number.
pub fn point(value: i64) -> Interval {
    (Some(value), Some(value))
}

/// Of a sum.
pub fn add(a: Interval, b: Interval) -> Interval {
    (a.0.zip(b.0).and_then(|(a, b)| a.checked_add(b)), a.1.zip(b.1).and_then(|(a, b)| a.checked_add(b)))
}

/// Of a number with the other sign.
pub fn negate(a: Interval) -> Interval {
    (a.1.and_then(i64::checked_neg), a.0.and_then(i64::checked_neg))
}

/// Of a product.
pub fn multiply(a: Interval, b: Interval) -> Interval {
    if let ((Some(a0), Some(a1)), (Some(b0), Some(b1))) = (a, b) {
        let products = [a0.checked_mul(b0), a0.checked_mul(b1), a1.checked_mul(b0), a1.checked_mul(b1)];
        if products.iter().any(Option::is_none) {
            return ANY;
        }
        let found = products.into_iter().flatten();
        return (found.clone().min(), found.max());
    }
    let times = |x: Option<i64>, y: Option<i64>| x.zip(y).and_then(|(x, y)| x.checked_mul(y));
    match (sign(a), sign(b)) {
        (Some(true), Some(true)) => (times(a.0, b.0), times(a.1, b.1)),
        (Some(false), Some(true)) => (None, times(a.1, b.0)),
        (Some(true), Some(false)) => (None, times(a.0, b.1)),
        _ => ANY,
    }
}

/// Of a quotient rounded down; the divisor is not zero.
pub fn divide_down(a: Interval, b: Interval) -> Interval {
    match b {
        (Some(low), Some(high)) if low == high && low > 0 => {
            (a.0.map(|least| least.div_euclid(low)), a.1.map(|most| most.div_euclid(low)))
        }
        // A positive divisor brings the quotient of a non-negative number towards zero.
        (Some(low), _) if low >= 0 && a.0.is_some_and(|least| least >= 0) => (Some(0), a.1),
        // Any divisor leaves the size at most as it was.
        _ => {
            let size =
                a.0.and_then(i64::checked_abs).zip(a.1.and_then(i64::checked_abs)).map(|(low, high)| low.max(high));
            (size.map(|size| -size), size)
        }
    }
}

/// Of a quotient rounded towards zero: down, or up, which is down on the other side.
pub fn divide_to_zero(a: Interval, b: Interval) -> Interval {
    either(divide_down(a, b), negate(divide_down(negate(a), b)))
}

/// Of a remainder with the sign of the divisor.
pub fn remainder(b: Interval) -> Interval {
    match b {
        (Some(low), high) if low >= 0 => (Some(0), high.map(|most| most.saturating_sub(1))),
        _ => ANY,
    }
}

/// Of the smaller one.
pub fn minimum(a: Interval, b: Interval) -> Interval {
    (a.0.zip(b.0).map(|(a, b)| a.min(b)), [a.1, b.1].into_iter().flatten().min())
}

/// Of the larger one.
pub fn maximum(a: Interval, b: Interval) -> Interval {
    ([a.0, b.0].into_iter().flatten().max(), a.1.zip(b.1).map(|(a, b)| a.max(b)))
}

/// Of a number that is one or the other.
pub fn either(a: Interval, b: Interval) -> Interval {
    (a.0.zip(b.0).map(|(a, b)| a.min(b)), a.1.zip(b.1).map(|(a, b)| a.max(b)))
}

/// Of a number that is in both; empty where they contradict.
pub fn both(a: Interval, b: Interval) -> Interval {
    ([a.0, b.0].into_iter().flatten().max(), [a.1, b.1].into_iter().flatten().min())
}

/// `Some(true)` if never negative, `Some(false)` if never positive.
fn sign(interval: Interval) -> Option<bool> {
    if interval.0.is_some_and(|l| l >= 0) {
        Some(true)
    } else if interval.1.is_some_and(|u| u <= 0) {
        Some(false)
    } else {
        None
    }
}

/// Extremes inside of extremes are looked into so deep.
const MAXIMUM_EXTREMES: usize = 3;

/// Of a dim, from those of its symbols.
pub fn of_dim(dim: &Dim, symbols: &dyn Fn(Symbol) -> Interval) -> Interval {
    of_dim_within(dim, symbols, MAXIMUM_EXTREMES)
}

/// Of the terms, and then, for a term that is an extreme, of both that it may be: `max(a, b) - a` is never negative.
fn of_dim_within(dim: &Dim, symbols: &dyn Fn(Symbol) -> Interval, depth: usize) -> Interval {
    if let Some(value) = dim.as_const() {
        return point(value);
    }
    let Some(polynomial) = dim.polynomial() else { return ANY };
    let total = of_terms(&polynomial.terms, symbols);
    if depth == 0 || polynomial.terms.len() < 2 {
        return total;
    }
    let total = both(total, of_rounded(dim, &polynomial.terms, symbols, depth - 1));
    both(total, of_extreme(dim, &polynomial.terms, symbols, depth - 1))
}

fn of_terms(terms: &[Term], symbols: &dyn Fn(Symbol) -> Interval) -> Interval {
    let mut total = point(0);
    for (monomial, coefficient) in terms {
        let mut product = point(*coefficient);
        for (atom, power) in monomial {
            let interval = of_atom(atom, symbols);
            for _ in 0..*power {
                product = multiply(product, interval);
            }
        }
        total = add(total, product);
    }
    total
}

/// By the first term that is an extreme: the dim is the greater of two (else the lesser), one for each of what the extreme may be.
fn of_extreme(dim: &Dim, terms: &[Term], symbols: &dyn Fn(Symbol) -> Interval, depth: usize) -> Interval {
    let extreme = terms.iter().find_map(|(monomial, coefficient)| match monomial.as_slice() {
        [(atom @ Atom::Min(a, b), 1)] => Some((atom, a, b, *coefficient, *coefficient < 0)),
        [(atom @ Atom::Max(a, b), 1)] => Some((atom, a, b, *coefficient, *coefficient > 0)),
        _ => None,
    });
    let Some((atom, a, b, coefficient, greater)) = extreme else { return ANY };
    let whole = Dim::from_polynomial(Some(Polynomial::atom(atom.clone())));
    let with = |part: &Dim| of_dim_within(&(dim + &(&(part - &whole) * &coefficient.into())), symbols, depth);
    let choose = if greater { maximum } else { minimum };
    choose(with(a), with(b))
}

/// By the first term `c · (a // n)` whose `c` is a multiple of `n`: that is `c / n · (a - r)` with a rest `r` below `n`, which may go up
/// in the other terms.
fn of_rounded(dim: &Dim, terms: &[Term], symbols: &dyn Fn(Symbol) -> Interval, depth: usize) -> Interval {
    let rounded = terms.iter().find_map(|(monomial, coefficient)| match monomial.as_slice() {
        [(atom @ Atom::FloorDiv(a, n), 1)] => {
            let n = n.as_const().filter(|&n| n > 0 && coefficient % n == 0)?;
            Some((atom, a, n, *coefficient))
        }
        _ => None,
    });
    let Some((atom, a, n, coefficient)) = rounded else { return ANY };
    let (whole, factor) = (Dim::from_polynomial(Some(Polynomial::atom(atom.clone()))), coefficient / n);
    let exact = &(dim - &(&whole * &coefficient.into())) + &(a * &factor.into());
    let rest = multiply(point(-factor), (Some(0), Some(n - 1)));
    add(of_dim_within(&exact, symbols, depth), rest)
}

fn of_atom(atom: &Atom, symbols: &dyn Fn(Symbol) -> Interval) -> Interval {
    let of = |dim: &Dim| of_dim(dim, symbols);
    match atom {
        Atom::Symbol(symbol) => symbols(*symbol),
        Atom::FloorDiv(a, b) => divide_down(of(a), of(b)),
        Atom::Mod(_, b) => remainder(of(b)),
        Atom::Min(a, b) => minimum(of(a), of(b)),
        Atom::Max(a, b) => maximum(of(a), of(b)),
    }
}
