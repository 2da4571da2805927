//! Polynomials with integer coefficients over atoms, always in normal form, so that equal polynomials are equal in memory.
//!
//! Normal form: terms sorted by monomial, no zero coefficient, no monomial twice; factors of a monomial sorted by atom, powers
//! at least one; the constant term is the one with no factors (it sorts first). Arithmetic is checked: `None` is an overflow.

use std::cmp::Ordering;

use super::{Dim, Symbol};

/// What a polynomial is made of: a symbol, or an operation that is not polynomial on two dims.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Atom {
    /// A named unknown.
    Symbol(Symbol),
    /// Quotient rounded towards minus infinity.
    FloorDiv(Dim, Dim),
    /// Remainder with the sign of the divisor: `a - b * floor(a / b)`.
    Mod(Dim, Dim),
    /// The smaller one.
    Min(Dim, Dim),
    /// The larger one.
    Max(Dim, Dim),
}

/// A product of atoms; empty for the constant term.
pub(super) type Monomial = Vec<(Atom, u32)>;

/// A sum of monomials with coefficients, in normal form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Polynomial {
    pub(super) terms: Vec<(Monomial, i64)>,
}

impl Polynomial {
    /// The polynomial that is one integer.
    pub(super) fn constant(value: i64) -> Polynomial {
        Polynomial { terms: if value == 0 { vec![] } else { vec![(vec![], value)] } }
    }

    /// The polynomial that is one atom.
    pub(super) fn atom(atom: Atom) -> Polynomial {
        Polynomial { terms: vec![(vec![(atom, 1)], 1)] }
    }

    /// The integer that this polynomial is, if it has no other term.
    pub(super) fn as_constant(&self) -> Option<i64> {
        match self.terms.as_slice() {
            [] => Some(0),
            [(monomial, value)] if monomial.is_empty() => Some(*value),
            _ => None,
        }
    }

    /// The constant term.
    pub(super) fn constant_term(&self) -> i64 {
        self.terms.first().filter(|(monomial, _)| monomial.is_empty()).map_or(0, |term| term.1)
    }

    /// Sum of `self` and `factor * other`.
    pub(super) fn add_scaled(&self, other: &Polynomial, factor: i64) -> Option<Polynomial> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Some(Polynomial { terms }),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => lexicographic(&a.0, &b.0),
            };
            let mut sum = 0;
            let mut monomial = None;
            if order.is_le()
                && let Some((factors, coefficient)) = left.next()
            {
                sum = *coefficient;
                monomial = Some(factors);
            }
            if order.is_ge()
                && let Some((factors, coefficient)) = right.next()
            {
                sum = coefficient.checked_mul(factor)?.checked_add(sum)?;
                monomial = Some(factors);
            }
            if let (Some(factors), true) = (monomial, sum != 0) {
                terms.push((factors.clone(), sum));
            }
        }
    }

    /// Product of two polynomials.
    pub(super) fn mul(&self, other: &Polynomial) -> Option<Polynomial> {
        let mut terms = Vec::with_capacity(self.terms.len() * other.terms.len());
        for (left, a) in &self.terms {
            for (right, b) in &other.terms {
                terms.push((mul_monomials(left, right), a.checked_mul(*b)?));
            }
        }
        Polynomial::from_terms(terms)
    }

    /// Brings terms into normal form.
    fn from_terms(mut terms: Vec<(Monomial, i64)>) -> Option<Polynomial> {
        terms.sort_by(|a, b| lexicographic(&a.0, &b.0));
        let mut normal: Vec<(Monomial, i64)> = Vec::with_capacity(terms.len());
        for (monomial, coefficient) in terms {
            match normal.last_mut() {
                Some(last) if last.0 == monomial => last.1 = last.1.checked_add(coefficient)?,
                _ => normal.push((monomial, coefficient)),
            }
        }
        normal.retain(|term| term.1 != 0);
        Some(Polynomial { terms: normal })
    }

    /// Splits into (the terms whose coefficient `divisor` divides, divided; the others).
    pub(super) fn split_multiples(&self, divisor: i64) -> (Polynomial, Polynomial) {
        let (whole, rest): (Vec<_>, Vec<_>) = self.terms.iter().cloned().partition(|term| term.1 % divisor == 0);
        let whole = whole.into_iter().map(|(monomial, c)| (monomial, c / divisor)).collect();
        (Polynomial { terms: whole }, Polynomial { terms: rest })
    }

    /// The greatest common divisor of all coefficients (0 for the zero polynomial).
    pub(super) fn content(&self) -> u64 {
        self.terms.iter().fold(0, |gcd, term| greatest_common_divisor(gcd, term.1.unsigned_abs()))
    }

    /// The quotient if `divisor` divides `self` exactly as a polynomial.
    pub(super) fn divide_exact(&self, divisor: &Polynomial) -> Option<Polynomial> {
        let (lead, lead_coefficient) = divisor.terms.last()?;
        let mut rest = self.clone();
        let mut quotient = Vec::new();
        // Each step removes the largest monomial of the rest, because the order is a monomial order. A quotient of more
        // terms than this would be an invalid dim anyway.
        for _ in 0..128 {
            let Some((monomial, coefficient)) = rest.terms.last() else { return Polynomial::from_terms(quotient) };
            if coefficient % lead_coefficient != 0 {
                return None;
            }
            let term = (divide_monomials(monomial, lead)?, coefficient / lead_coefficient);
            let product = divisor.mul(&Polynomial { terms: vec![term.clone()] })?;
            rest = rest.add_scaled(&product, -1)?;
            quotient.push(term);
        }
        None
    }
}

/// The lexicographic monomial order: the first atom whose powers differ decides. Multiplication keeps it.
fn lexicographic(a: &Monomial, b: &Monomial) -> Ordering {
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        let (left, right) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(_), None) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (Some(left), Some(right)) => (left, right),
        };
        let order = right.0.cmp(&left.0).then(left.1.cmp(&right.1));
        if order.is_ne() {
            return order;
        }
    }
}

fn mul_monomials(left: &Monomial, right: &Monomial) -> Monomial {
    let mut product = left.clone();
    for (atom, power) in right {
        match product.binary_search_by(|factor| factor.0.cmp(atom)) {
            Ok(at) => product[at].1 += power,
            Err(at) => product.insert(at, (atom.clone(), *power)),
        }
    }
    product
}

fn divide_monomials(monomial: &Monomial, divisor: &Monomial) -> Option<Monomial> {
    let mut quotient = monomial.clone();
    for (atom, power) in divisor {
        let at = quotient.binary_search_by(|factor| factor.0.cmp(atom)).ok()?;
        quotient[at].1 = quotient[at].1.checked_sub(*power)?;
    }
    quotient.retain(|factor| factor.1 > 0);
    Some(quotient)
}

/// Greatest common divisor; `gcd(0, n) = n`.
pub(super) fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
