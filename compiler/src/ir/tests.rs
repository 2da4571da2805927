//! Tests of dims and symbols: the algebra against evaluation at points, text round trips, unification.

use proptest::prelude::*;

use super::{Dim, Symbol, SymbolDefinition, Symbols};

fn table(names: &[&str]) -> (Symbols, Vec<Dim>) {
    let mut symbols = Symbols::default();
    let dims = names.iter().map(|name| symbols.add(name, SymbolDefinition::Undefined).into()).collect();
    (symbols, dims)
}

fn number(value: i64) -> Dim {
    value.into()
}

#[test]
fn equal_polynomials_are_equal_in_memory() {
    let (_, dims) = table(&["batch", "seq", "past"]);
    let [b, s, p] = [&dims[0], &dims[1], &dims[2]];
    assert_eq!(&(b + s) * &(b - s), &(b * b) - &(s * s));
    assert_eq!((&(b * s) * &number(64)).floor_div(&(s * &number(64))), *b);
    assert_eq!((&(b * p) + &(b * s)).floor_div(&(p + s)), *b);
    assert_eq!((&(s * &number(8)) + &number(13)).floor_div(&number(4)), &(s * &number(2)) + &number(3));
    assert_eq!((&(s * &number(8)) + &number(3)).modulo(&number(4)), number(3));
    assert_eq!(s.floor_div(&number(3)).floor_div(&number(5)), s.floor_div(&number(15)));
    assert_eq!((p + s).maximum(&(p + &(s + &number(1)))), p + &(s + &number(1)));
    assert!((&number(i64::MAX) + &number(1)).is_invalid());
    assert!(s.floor_div(&number(0)).is_invalid());
}

#[test]
fn bounds_decide_extremes() {
    let (symbols, dims) = table(&["seq", "past"]);
    let [s, p] = [&dims[0], &dims[1]];
    assert_eq!(symbols.maximum(&(p + s), p), p + s);
    assert_eq!(symbols.minimum(s, &number(-1)), number(-1));
    assert_eq!(symbols.minimum(s, p).bounds(&symbols), (Some(0), None));
    assert!(symbols.never_equal(s, &number(-1)));
    // A cache that grows or has room: between the past and the past with the new rows.
    let present = p.maximum(&s.minimum(&(p + &number(7))));
    assert_eq!((&present - p).bounds(&symbols), (Some(0), Some(7)));
}

#[test]
fn a_padded_length_is_a_multiple() {
    let (symbols, dims) = table(&["width", "batch"]);
    let [w, b] = [&dims[0], &dims[1]];
    let four = number(4);
    let padded = w + &(&number(0) - w).modulo(&four);
    assert_eq!(padded, &w.ceil_div(&four) * &four);
    let windows = padded.floor_div(&four);
    assert_eq!((&(b * &windows) * &windows).floor_div(&(&windows * &windows)), *b);
    assert_eq!(w.modulo(&four).bounds(&symbols), (Some(0), Some(3)));
    assert_eq!((&padded - w).bounds(&symbols), (Some(0), Some(3)));
}

#[test]
fn unification_is_lenient_and_finds_contradictions() {
    let (mut symbols, dims) = table(&["batch", "seq", "past", "total", "other"]);
    let [b, s, p, t, o] = [&dims[0], &dims[1], &dims[2], &dims[3], &dims[4]];
    symbols.unify(t, &(p + s)).expect("a bare symbol can be anything");
    assert_eq!(symbols.resolve(t), p + s);
    symbols.unify(&(t - p), o).expect("two names of one length");
    assert_eq!(symbols.resolve(o), symbols.resolve(s));
    symbols.unify(&(b * &number(4)), &number(8)).expect("has a solution");
    assert_eq!(symbols.resolve(b), number(2));
    assert!(symbols.unify(b, &number(3)).is_err());
    assert!(symbols.unify(&(&(s * &number(2)) + &number(1)), &(p * &number(2))).is_err());
    assert!(symbols.unify(s, &number(-1)).is_err());
    assert!(symbols.unify(&(s + &number(1)), &number(0)).is_err());
}

/// A random expression over three symbols, with its value by plain arithmetic as the judge.
#[derive(Clone, Debug)]
enum Expression {
    Number(i64),
    Symbol(usize),
    Operation(u8, Box<Expression>, Box<Expression>),
}

fn expressions() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![(-9i64..40).prop_map(Expression::Number), (0usize..3).prop_map(Expression::Symbol)];
    leaf.prop_recursive(4, 24, 2, |inner| {
        (0u8..7, inner.clone(), inner).prop_map(|(op, a, b)| Expression::Operation(op, Box::new(a), Box::new(b)))
    })
}

fn build(expression: &Expression, dims: &[Dim]) -> Dim {
    match expression {
        Expression::Number(value) => number(*value),
        Expression::Symbol(index) => dims[*index].clone(),
        Expression::Operation(op, a, b) => {
            let (a, b) = (build(a, dims), build(b, dims));
            match op {
                0 => &a + &b,
                1 => &a - &b,
                2 => &a * &b,
                3 => a.floor_div(&b),
                4 => a.modulo(&b),
                5 => a.minimum(&b),
                _ => a.maximum(&b),
            }
        }
    }
}

fn judge(expression: &Expression, point: &[i64]) -> Option<i64> {
    match expression {
        Expression::Number(value) => Some(*value),
        Expression::Symbol(index) => Some(point[*index]),
        Expression::Operation(op, a, b) => {
            let (a, b) = (judge(a, point)?, judge(b, point)?);
            match op {
                0 => a.checked_add(b),
                1 => a.checked_sub(b),
                2 => a.checked_mul(b),
                3 => super::dim::floor_div(a, b),
                4 => super::dim::floor_mod(a, b),
                5 => Some(a.min(b)),
                _ => Some(a.max(b)),
            }
        }
    }
}

proptest! {
    #[test]
    fn normal_form_keeps_the_value(expression in expressions(), point in prop::array::uniform3(0i64..12)) {
        let (symbols, dims) = table(&["a", "b", "c"]);
        let dim = build(&expression, &dims);
        let value = |symbol: Symbol| Some(point[symbol.as_u32() as usize]);
        if let (Some(expected), false) = (judge(&expression, &point), dim.is_invalid()) {
            prop_assert_eq!(dim.eval(&value), Some(expected), "{}", dim.display(&symbols));
            let (lower, upper) = dim.bounds(&symbols);
            prop_assert!(lower.is_none_or(|l| l <= expected) && upper.is_none_or(|u| expected <= u));
            let mut limited = symbols.clone();
            dims.iter().filter_map(Dim::as_symbol).for_each(|symbol| limited.bound(symbol, None, Some(11)));
            let (lower, upper) = dim.bounds(&limited);
            prop_assert!(lower.is_none_or(|l| l <= expected) && upper.is_none_or(|u| expected <= u));
        }
    }

    #[test]
    fn text_parses_back(expression in expressions()) {
        let (symbols, dims) = table(&["a", "b", "c"]);
        let dim = build(&expression, &dims);
        if !dim.is_invalid() {
            let text = dim.display(&symbols).to_string();
            let parsed = Dim::parse(&text, &mut |name| symbols.find(name).map(Dim::from));
            prop_assert_eq!(parsed, Ok(dim));
        }
    }

    #[test]
    fn substitution_is_evaluation(expression in expressions(), point in prop::array::uniform3(0i64..12)) {
        let (_, dims) = table(&["a", "b", "c"]);
        let dim = build(&expression, &dims);
        let value = |symbol: Symbol| Some(point[symbol.as_u32() as usize]);
        let constant = dim.substitute(&|symbol| value(symbol).map(Dim::from));
        if let (Some(expected), false) = (dim.eval(&value), constant.is_invalid()) {
            prop_assert_eq!(constant, number(expected));
        }
    }
}

#[test]
fn extremes_that_are_one_number_are_seen_to_be() {
    let mut symbols = Symbols::default();
    let n = symbols.add("n", SymbolDefinition::Undefined);
    let m = symbols.add("m", SymbolDefinition::Undefined);
    let (n, m, one) = (Dim::from(n), Dim::from(m), Dim::ONE);
    let shorter = (&n - &one).maximum(&Dim::ZERO);
    let without = &n - &n.minimum(&one);
    assert_ne!(shorter, without, "two spellings");
    symbols.unify(&shorter, &without).expect("they are equal");
    symbols.unify(&(&n.maximum(&m) + &n.minimum(&m)), &(&n + &m)).expect("they are equal");
    assert_eq!(symbols.assumptions().count(), 0, "nothing is left to be checked");
    symbols.unify(&shorter, &n.minimum(&m)).expect("they may be equal");
    assert_eq!(symbols.assumptions().count(), 1, "what may differ is checked");
}
