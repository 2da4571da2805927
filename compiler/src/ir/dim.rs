//! A dim: an integer, or a normalised expression of symbols, such as `past + seq` or `(width + 15) // 16`.
//!
//! Two dims that are equal as polynomials over their atoms are equal in memory, so `==` and hashing decide equality in
//! time proportional to their (small) size. Cloning is a copy of 16 bytes. Arithmetic never fails and never wraps: an overflow,
//! a division by zero or an expression beyond the size limit yields [`Dim::invalid`], which every operation passes on
//! and which [`crate::graph::Graph::add`] refuses with a diagnostic.

use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use super::polynomial::{Atom, Polynomial};
use super::{Symbol, Symbols};

/// Expressions nested deeper than this become invalid: recursion over a dim stays shallow whatever a file says.
const MAXIMUM_DEPTH: u16 = 48;
/// Expressions with more terms and factors than this become invalid.
const MAXIMUM_SIZE: u32 = 400;

/// An integer, or an expression of symbols. See the module's description.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Form);

/// The forms never overlap: a polynomial that is a constant or one bare symbol is stored as such.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Constant(i64),
    Symbol(Symbol),
    Sum(Arc<Sum>),
    Invalid,
}

/// A polynomial with its measures.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Sum {
    polynomial: Polynomial,
    depth: u16,
    size: u32,
}

impl From<i32> for Dim {
    fn from(value: i32) -> Dim {
        i64::from(value).into()
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim(Form::Constant(value))
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim(i64::try_from(value).map_or(Form::Invalid, Form::Constant))
    }
}

impl From<Symbol> for Dim {
    fn from(symbol: Symbol) -> Dim {
        Dim(Form::Symbol(symbol))
    }
}

impl Dim {
    /// The integer zero.
    pub const ZERO: Dim = Dim(Form::Constant(0));
    /// The integer one.
    pub const ONE: Dim = Dim(Form::Constant(1));

    /// The result of arithmetic that has no value.
    pub fn invalid() -> Dim {
        Dim(Form::Invalid)
    }

    /// Whether arithmetic on the way here had no value.
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, Form::Invalid)
    }

    /// The integer, if it is known.
    pub fn as_const(&self) -> Option<i64> {
        match self.0 {
            Form::Constant(value) => Some(value),
            Form::Symbol(_) | Form::Sum(_) | Form::Invalid => None,
        }
    }

    /// The integer as a size, if it is known and not negative.
    pub fn as_size(&self) -> Option<usize> {
        self.as_const().and_then(|value| usize::try_from(value).ok())
    }

    /// The symbol, if the dim is just one.
    pub fn as_symbol(&self) -> Option<Symbol> {
        match self.0 {
            Form::Symbol(symbol) => Some(symbol),
            Form::Constant(_) | Form::Sum(_) | Form::Invalid => None,
        }
    }

    /// How long the expression is: its terms and their factors.
    pub fn size(&self) -> u32 {
        match &self.0 {
            Form::Sum(sum) => sum.size,
            Form::Constant(_) | Form::Symbol(_) | Form::Invalid => 1,
        }
    }

    /// Whether this is the integer `value`.
    pub fn is(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// The polynomial, whatever the form; `None` if invalid.
    pub(super) fn polynomial(&self) -> Option<std::borrow::Cow<'_, Polynomial>> {
        use std::borrow::Cow;
        match &self.0 {
            Form::Constant(value) => Some(Cow::Owned(Polynomial::constant(*value))),
            Form::Symbol(symbol) => Some(Cow::Owned(Polynomial::atom(Atom::Symbol(*symbol)))),
            Form::Sum(sum) => Some(Cow::Borrowed(&sum.polynomial)),
            Form::Invalid => None,
        }
    }

    /// The dim of a polynomial, in the smallest form.
    pub(super) fn from_polynomial(polynomial: Option<Polynomial>) -> Dim {
        let Some(polynomial) = polynomial else { return Dim::invalid() };
        if let Some(value) = polynomial.as_constant() {
            return value.into();
        }
        if let [(monomial, 1)] = polynomial.terms.as_slice()
            && let [(Atom::Symbol(symbol), 1)] = monomial.as_slice()
        {
            return (*symbol).into();
        }
        let (mut depth, mut size) = (0u16, 0u32);
        for (monomial, _) in &polynomial.terms {
            size = size.saturating_add(1);
            for (atom, _) in monomial {
                let (d, s) = measure(atom);
                depth = depth.max(d.saturating_add(1));
                size = size.saturating_add(s);
            }
        }
        if depth > MAXIMUM_DEPTH || size > MAXIMUM_SIZE {
            return Dim::invalid();
        }
        Dim(Form::Sum(Arc::new(Sum { polynomial, depth, size })))
    }

    fn from_atom(atom: Atom) -> Dim {
        Dim::from_polynomial(Some(Polynomial::atom(atom)))
    }

    /// `self / divisor` rounded towards minus infinity. Multiples and common factors are divided out, so that
    /// `batch * seq * 64 // (seq * 64)` is `batch`; a symbolic divisor is taken not to be zero.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if self.is_invalid() || divisor.is_invalid() || divisor.is(0) {
            return Dim::invalid();
        }
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const()) {
            return floor_div(a, b).map_or_else(Dim::invalid, Dim::from);
        }
        if divisor.is(1) {
            return self.clone();
        }
        if self.is(0) {
            return Dim::ZERO;
        }
        let (Some(a), Some(b)) = (self.polynomial(), divisor.polynomial()) else { return Dim::invalid() };
        if let Some(quotient) = a.divide_exact(&b) {
            return Dim::from_polynomial(Some(quotient));
        }
        match divisor.as_const() {
            Some(constant) if constant > 0 => {
                let (whole, rest) = a.split_multiples(constant);
                let common = greatest(&rest, constant);
                let rest = rest.split_multiples(common).0;
                let quotient = floor_div_atom(rest, constant / common);
                &Dim::from_polynomial(Some(whole)) + &quotient
            }
            _ => Dim::from_atom(Atom::FloorDiv(self.clone(), divisor.clone())),
        }
    }

    /// `self / divisor` rounded towards plus infinity.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        match divisor.as_const() {
            Some(constant) if constant > 0 => (self + &Dim::from(constant - 1)).floor_div(divisor),
            _ => {
                let negated = (&Dim::ZERO - self).floor_div(divisor);
                &Dim::ZERO - &negated
            }
        }
    }

    /// The remainder with the sign of the divisor: `self - divisor * floor(self / divisor)`.
    pub fn modulo(&self, divisor: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const()) {
            return floor_mod(a, b).map_or_else(Dim::invalid, Dim::from);
        }
        let (Some(a), Some(b)) = (self.polynomial(), divisor.polynomial()) else { return Dim::invalid() };
        if divisor.is(0) {
            return Dim::invalid();
        }
        if a.divide_exact(&b).is_some() {
            return Dim::ZERO;
        }
        match divisor.as_const() {
            Some(constant) if constant > 0 => {
                // One spelling for both: then `x + (-x mod n)`, a padded length, is seen to be a multiple of `n`.
                let rest = Dim::from_polynomial(Some(a.split_multiples(constant).1));
                &rest - &(divisor * &rest.floor_div(divisor))
            }
            _ => Dim::from_atom(Atom::Mod(self.clone(), divisor.clone())),
        }
    }

    /// The smaller one. Decided at once if the difference is known; [`Symbols::minimum`] also knows bounds.
    pub fn minimum(&self, other: &Dim) -> Dim {
        match (self - other).0 {
            Form::Constant(difference) => if difference <= 0 { self } else { other }.clone(),
            Form::Invalid => Dim::invalid(),
            Form::Symbol(_) | Form::Sum(_) => {
                let (a, b) = if self <= other { (self, other) } else { (other, self) };
                Dim::from_atom(Atom::Min(a.clone(), b.clone()))
            }
        }
    }

    /// The larger one. Decided at once if the difference is known; [`Symbols::maximum`] also knows bounds.
    pub fn maximum(&self, other: &Dim) -> Dim {
        match (self - other).0 {
            Form::Constant(difference) => if difference >= 0 { self } else { other }.clone(),
            Form::Invalid => Dim::invalid(),
            Form::Symbol(_) | Form::Sum(_) => {
                let (a, b) = if self <= other { (self, other) } else { (other, self) };
                Dim::from_atom(Atom::Max(a.clone(), b.clone()))
            }
        }
    }

    /// The value where `point` gives each symbol's; `None` if a symbol has none, or on overflow or division by zero.
    pub fn eval(&self, point: &impl Fn(Symbol) -> Option<i64>) -> Option<i64> {
        match &self.0 {
            Form::Constant(value) => Some(*value),
            Form::Symbol(symbol) => point(*symbol),
            Form::Invalid => None,
            Form::Sum(sum) => {
                let mut total = 0i64;
                for (monomial, coefficient) in &sum.polynomial.terms {
                    let mut product = *coefficient;
                    for (atom, power) in monomial {
                        product = product.checked_mul(eval_atom(atom, point)?.checked_pow(*power)?)?;
                    }
                    total = total.checked_add(product)?;
                }
                Some(total)
            }
        }
    }

    /// The dim with symbols replaced; symbols for which `replacement` has none stay.
    pub fn substitute(&self, replacement: &impl Fn(Symbol) -> Option<Dim>) -> Dim {
        self.substitute_with(replacement, &Extremes { minimum: &Dim::minimum, maximum: &Dim::maximum })
    }

    /// The same, where `extremes` says what the smaller and the larger of two dims is.
    pub(super) fn substitute_with(&self, replacement: &impl Fn(Symbol) -> Option<Dim>, extremes: &Extremes<'_>) -> Dim {
        match &self.0 {
            Form::Constant(_) | Form::Invalid => self.clone(),
            Form::Symbol(symbol) => replacement(*symbol).unwrap_or_else(|| self.clone()),
            Form::Sum(sum) => {
                if !self.any_symbol(&mut |symbol| replacement(symbol).is_some()) {
                    return self.clone();
                }
                let mut total = Dim::ZERO;
                for (monomial, coefficient) in &sum.polynomial.terms {
                    let mut product = Dim::from(*coefficient);
                    for (atom, power) in monomial {
                        let atom = substitute_atom(atom, replacement, extremes);
                        for _ in 0..*power {
                            product = &product * &atom;
                        }
                    }
                    total = &total + &product;
                }
                total
            }
        }
    }

    /// The same number with every extreme as the smaller of one difference and zero: `max(a, b) = a + b - min(a, b)` and
    /// `min(a, b) = b + min(a - b, 0)`, where the first term of the difference is positive. `minimum` decides what bounds decide.
    pub(super) fn spelled_alike(&self, minimum: &dyn Fn(&Dim, &Dim) -> Dim) -> Dim {
        let Form::Sum(sum) = &self.0 else { return self.clone() };
        let below_zero = |difference: Dim| {
            let turned = difference.polynomial().is_some_and(|p| p.terms.last().is_some_and(|term| term.1 < 0));
            match turned {
                true => &difference + &minimum(&(&Dim::ZERO - &difference), &Dim::ZERO),
                false => minimum(&difference, &Dim::ZERO),
            }
        };
        let smaller = |a: &Dim, b: &Dim| {
            let (a, b) = (a.spelled_alike(minimum), b.spelled_alike(minimum));
            &b + &below_zero(&a - &b)
        };
        let mut total = Dim::ZERO;
        for (monomial, coefficient) in &sum.polynomial.terms {
            let mut product = Dim::from(*coefficient);
            for (atom, power) in monomial {
                let spelled = match atom {
                    Atom::Min(a, b) => smaller(a, b),
                    Atom::Max(a, b) => {
                        let (x, y) = (a.spelled_alike(minimum), b.spelled_alike(minimum));
                        &(&x + &y) - &smaller(&x, &y)
                    }
                    other => Dim::from_atom(other.clone()),
                };
                for _ in 0..*power {
                    product = &product * &spelled;
                }
            }
            total = &total + &product;
        }
        total
    }

    /// Whether `predicate` holds for some symbol in the expression.
    pub fn any_symbol(&self, predicate: &mut impl FnMut(Symbol) -> bool) -> bool {
        fn visit(dim: &Dim, predicate: &mut dyn FnMut(Symbol) -> bool) -> bool {
            match &dim.0 {
                Form::Constant(_) | Form::Invalid => false,
                Form::Symbol(symbol) => predicate(*symbol),
                Form::Sum(sum) => sum.polynomial.terms.iter().flat_map(|term| &term.0).any(|(atom, _)| match atom {
                    Atom::Symbol(symbol) => predicate(*symbol),
                    Atom::FloorDiv(a, b) | Atom::Mod(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
                        visit(a, predicate) || visit(b, predicate)
                    }
                }),
            }
        }
        visit(self, predicate)
    }

    /// All symbols of the expression, ascending, each once.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut found = Vec::new();
        self.any_symbol(&mut |symbol| {
            found.push(symbol);
            false
        });
        found.sort();
        found.dedup();
        found
    }

    /// The least and the greatest value that the bounds of the symbols allow; `None` where there is no limit.
    pub fn bounds(&self, symbols: &Symbols) -> (Option<i64>, Option<i64>) {
        super::interval::of_dim(self, &|symbol| symbols.interval(symbol))
    }

    /// The one symbol of a dim `c * symbol + rest` with known `c` and `rest`, and its value where the dim is `target`.
    /// `None` if the dim is not of that form or the value would not be an integer.
    pub fn solve(&self, target: i64) -> Option<(Symbol, i64)> {
        let polynomial = self.polynomial()?;
        let rest = polynomial.constant_term();
        let others: Vec<_> = polynomial.terms.iter().filter(|(monomial, _)| !monomial.is_empty()).collect();
        let [(monomial, coefficient)] = others.as_slice() else { return None };
        let [(Atom::Symbol(symbol), 1)] = monomial.as_slice() else { return None };
        let difference = target.checked_sub(rest)?;
        (difference.checked_rem(*coefficient)? == 0).then(|| (*symbol, difference / coefficient))
    }

    /// The product of many dims.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::ONE, |product, dim| &product * dim)
    }
}

/// The nesting depth and the size of an atom.
fn measure(atom: &Atom) -> (u16, u32) {
    let of = |dim: &Dim| match &dim.0 {
        Form::Sum(sum) => (sum.depth, sum.size),
        Form::Constant(_) | Form::Symbol(_) | Form::Invalid => (0, 1),
    };
    match atom {
        Atom::Symbol(_) => (0, 1),
        Atom::FloorDiv(a, b) | Atom::Mod(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
            let ((da, sa), (db, sb)) = (of(a), of(b));
            (da.max(db).saturating_add(1), sa.saturating_add(sb).saturating_add(1))
        }
    }
}

/// The positive common divisor of all coefficients of `polynomial` and of `constant`.
fn greatest(polynomial: &Polynomial, constant: i64) -> i64 {
    let common = super::polynomial::greatest_common_divisor(polynomial.content(), constant.unsigned_abs());
    i64::try_from(common).unwrap_or(1).max(1)
}

/// `floor(rest / divisor)` for operands with nothing left to divide out; `floor(floor(x/a)/b) = floor(x/(a*b))`, and
/// `floor(-x/n) = -floor((x + n - 1)/n)`, so that rounding up has one spelling.
fn floor_div_atom(rest: Polynomial, divisor: i64) -> Dim {
    if rest.terms.last().is_some_and(|(monomial, coefficient)| !monomial.is_empty() && *coefficient < 0) {
        let turned = &Dim::from(divisor - 1) - &Dim::from_polynomial(Some(rest));
        return &Dim::ZERO - &turned.floor_div(&divisor.into());
    }
    let rest = Dim::from_polynomial(Some(rest));
    if divisor == 1 {
        return rest;
    }
    if let Some(value) = rest.as_const() {
        return floor_div(value, divisor).map_or_else(Dim::invalid, Dim::from);
    }
    if let Form::Sum(sum) = &rest.0
        && let [(monomial, 1)] = sum.polynomial.terms.as_slice()
        && let [(Atom::FloorDiv(inner, by), 1)] = monomial.as_slice()
        && by.as_const().is_some_and(|by| by > 0)
    {
        return inner.floor_div(&(by * &divisor.into()));
    }
    if rest.is_invalid() { rest } else { Dim::from_atom(Atom::FloorDiv(rest, divisor.into())) }
}

/// Integer quotient rounded towards minus infinity; `None` on overflow or division by zero.
pub fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// Integer remainder with the sign of the divisor; `None` on overflow or division by zero.
pub fn floor_mod(a: i64, b: i64) -> Option<i64> {
    a.checked_sub(floor_div(a, b)?.checked_mul(b)?)
}

fn eval_atom(atom: &Atom, point: &impl Fn(Symbol) -> Option<i64>) -> Option<i64> {
    match atom {
        Atom::Symbol(symbol) => point(*symbol),
        Atom::FloorDiv(a, b) => floor_div(a.eval(point)?, b.eval(point)?),
        Atom::Mod(a, b) => floor_mod(a.eval(point)?, b.eval(point)?),
        Atom::Min(a, b) => Some(a.eval(point)?.min(b.eval(point)?)),
        Atom::Max(a, b) => Some(a.eval(point)?.max(b.eval(point)?)),
    }
}

fn substitute_atom(atom: &Atom, replacement: &impl Fn(Symbol) -> Option<Dim>, extremes: &Extremes<'_>) -> Dim {
    let inner = |dim: &Dim| dim.substitute_with(replacement, extremes);
    match atom {
        Atom::Symbol(symbol) => replacement(*symbol).unwrap_or_else(|| (*symbol).into()),
        Atom::FloorDiv(a, b) => inner(a).floor_div(&inner(b)),
        Atom::Mod(a, b) => inner(a).modulo(&inner(b)),
        Atom::Min(a, b) => (extremes.minimum)(&inner(a), &inner(b)),
        Atom::Max(a, b) => (extremes.maximum)(&inner(a), &inner(b)),
    }
}

/// How the smaller and the larger of two dims are found.
pub(super) struct Extremes<'a> {
    pub(super) minimum: &'a dyn Fn(&Dim, &Dim) -> Dim,
    pub(super) maximum: &'a dyn Fn(&Dim, &Dim) -> Dim,
}

fn combine(a: &Dim, b: &Dim, sign: i64) -> Dim {
    if let (Form::Constant(a), Form::Constant(b)) = (&a.0, &b.0) {
        let sum = b.checked_mul(sign).and_then(|b| a.checked_add(b));
        return sum.map_or_else(Dim::invalid, Dim::from);
    }
    if b.is(0) {
        return a.clone();
    }
    if a == b && sign == -1 {
        return if a.is_invalid() { Dim::invalid() } else { Dim::ZERO };
    }
    match (a.polynomial(), b.polynomial()) {
        (Some(a), Some(b)) => Dim::from_polynomial(a.add_scaled(&b, sign)),
        _ => Dim::invalid(),
    }
}

impl Add for &Dim {
    type Output = Dim;
    fn add(self, other: &Dim) -> Dim {
        combine(self, other, 1)
    }
}

impl Sub for &Dim {
    type Output = Dim;
    fn sub(self, other: &Dim) -> Dim {
        combine(self, other, -1)
    }
}

impl Mul for &Dim {
    type Output = Dim;
    fn mul(self, other: &Dim) -> Dim {
        if let (Form::Constant(a), Form::Constant(b)) = (&self.0, &other.0) {
            return a.checked_mul(*b).map_or_else(Dim::invalid, Dim::from);
        }
        if self.is(1) {
            return other.clone();
        }
        if other.is(1) {
            return self.clone();
        }
        match (self.polynomial(), other.polynomial()) {
            // The guard keeps a product of two large sums from being computed just to be refused.
            (Some(a), Some(b)) if a.terms.len() * b.terms.len() <= MAXIMUM_SIZE as usize => {
                Dim::from_polynomial(a.mul(&b))
            }
            _ => Dim::invalid(),
        }
    }
}

impl Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        &self + &other
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        &self - &other
    }
}

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        &self * &other
    }
}
