//! Known tensors as expressions of their indices.

use super::*;
use crate::ir::{Symbol, Symbols};
use crate::passes::state::elements::Element;
use crate::passes::state::grid::Grid;

use Element::{All, Choice, Integer, Never, Number, Unknown};

/// Indices along axes: symbols, or numbers where given.
fn indices(extents: &[usize], fixed: &[Option<i64>]) -> Vec<Dim> {
    let mut symbols = Symbols::default();
    (0..extents.len())
        .map(|axis| match fixed.get(axis).copied().flatten() {
            Some(at) => at.into(),
            None => symbols.add("index", SymbolDefinition::Undefined).into(),
        })
        .collect()
}

/// What the elements at all positions are, by a function of the position.
fn tensor(extents: &[usize], element: impl Fn(&[i64]) -> Element) -> Vec<Element> {
    let strides = narae_isa::tensor::dense_strides(extents);
    (0..extents.iter().product())
        .map(|flat| {
            let at: Vec<i64> =
                extents.iter().zip(&strides).map(|(&extent, &stride)| (flat / stride % extent) as i64).collect();
            element(&at)
        })
        .collect()
}

fn said(extents: &[usize], fixed: &[Option<i64>], elements: &[Element]) -> Element {
    let indices = indices(extents, fixed);
    let found = Grid { extents, indices: &indices }.element(elements);
    if found != Unknown {
        check(extents, &indices, elements, &found);
    }
    found
}

/// What is said holds at every position that is asked for.
fn check(extents: &[usize], indices: &[Dim], elements: &[Element], found: &Element) {
    let strides = narae_isa::tensor::dense_strides(extents);
    for (flat, element) in elements.iter().enumerate() {
        let at = |axis: usize| (flat / strides[axis] % extents[axis]) as i64;
        if indices.iter().enumerate().any(|(axis, index)| index.as_const().is_some_and(|index| index != at(axis))) {
            continue;
        }
        let point = |symbol: Symbol| indices.iter().position(|index| index.as_symbol() == Some(symbol)).map(at);
        let here = match found {
            Integer(dim) => Integer(dim.eval(&point).expect("known").into()),
            All(parts) if parts.iter().any(|part| part.eval(&point).expect("known") < 0) => Never,
            All(_) => All(vec![]),
            Choice(parts, a, b) => {
                let holds = parts.iter().all(|part| part.eval(&point).expect("known") >= 0);
                if holds { (**a).clone() } else { (**b).clone() }
            }
            other => other.clone(),
        };
        assert_eq!(here, *element, "{found:?} at {flat}");
    }
}

fn truth(holds: bool) -> Element {
    if holds { All(vec![]) } else { Never }
}

#[test]
fn sums_of_indices() {
    let linear = tensor(&[3, 4], |at| Integer((7 + 5 * at[0] - 2 * at[1]).into()));
    assert!(matches!(said(&[3, 4], &[], &linear), Integer(_)));
    let product = tensor(&[3, 4], |at| Integer((at[0] * at[1]).into()));
    assert_eq!(said(&[3, 4], &[], &product), Unknown);
    assert!(matches!(said(&[3, 4], &[Some(2), None], &product), Integer(_)));
    assert!(matches!(said(&[3, 4], &[None, Some(3)], &product), Integer(_)));
    assert_eq!(said(&[3, 4], &[Some(2), Some(3)], &product), Integer(6.into()));
    let square = tensor(&[4], |at| Integer((at[0] * at[0]).into()));
    assert_eq!(said(&[4], &[], &square), Unknown);
    let late = tensor(&[5], |at| Integer((at[0].max(3)).into()));
    assert_eq!(said(&[5], &[], &late), Unknown);
    let same = tensor(&[2, 1, 3], |_| Integer(9.into()));
    assert_eq!(said(&[2, 1, 3], &[], &same), Integer(9.into()));
    assert_eq!(said(&[0], &[], &[]), Unknown);
    assert_eq!(said(&[], &[], &[Integer(4.into())]), Integer(4.into()));
}

#[test]
fn triangles_and_bands() {
    for (rows, columns) in [(1, 1), (4, 4), (3, 6), (6, 3), (1, 5)] {
        for shift in -3..4 {
            let extents = [rows, columns];
            for sign in [1, -1] {
                let triangle = tensor(&extents, |at| truth(sign * (at[1] - at[0]) <= shift));
                assert_ne!(said(&extents, &[], &triangle), Unknown, "{extents:?} {shift}");
            }
            let band = tensor(&extents, |at| truth(at[1] <= at[0] + shift && at[1] > at[0] - 2));
            assert_ne!(said(&extents, &[], &band), Unknown, "{extents:?} {shift}");
            let mask = tensor(&extents, |at| Number(if at[1] <= at[0] + shift { 0.0 } else { -1e9 }));
            assert_ne!(said(&extents, &[], &mask), Unknown, "{extents:?} {shift}");
        }
    }
}

#[test]
fn a_triangle_is_one_condition() {
    let extents = [4, 4];
    let triangle = tensor(&extents, |at| truth(at[1] <= at[0]));
    let All(parts) = said(&extents, &[], &triangle) else { panic!("a triangle is followed") };
    let at = indices(&extents, &[]);
    assert_eq!(parts, [&at[0] - &at[1]]);
    let mask = tensor(&extents, |at| Number(if at[1] <= at[0] { 0.0 } else { -1e9 }));
    let Choice(parts, shown, hidden) = said(&extents, &[], &mask) else { panic!("a mask is followed") };
    assert_eq!((parts, *shown, *hidden), (vec![&at[0] - &at[1]], Number(0.0), Number(-1e9)));
    let later = tensor(&extents, |at| truth(at[1] > at[0]));
    let All(parts) = said(&extents, &[], &later) else { panic!("the other triangle is followed") };
    assert_eq!(parts, [&(&at[1] - &at[0]) - &Dim::ONE]);
}

#[test]
fn ends_of_axes() {
    for from in 0..5 {
        let tail = tensor(&[2, 4], |at| truth(at[1] >= from));
        assert_ne!(said(&[2, 4], &[], &tail), Unknown);
        let head = tensor(&[2, 4], |at| truth(at[1] < from));
        assert_ne!(said(&[2, 4], &[], &head), Unknown);
    }
    // All but the middle is no conjunction, but its opposite is not one either when it has two ends.
    let hole = tensor(&[5], |at| truth(at[0] != 2));
    assert_eq!(said(&[5], &[], &hole), Unknown);
    let middle = tensor(&[5], |at| truth(at[0] == 2));
    assert!(matches!(said(&[5], &[], &middle), All(parts) if parts.len() == 2));
    let corner = tensor(&[3, 3], |at| truth(at[0] >= 1 && at[1] >= 2));
    assert!(matches!(said(&[3, 3], &[], &corner), All(parts) if parts.len() == 2));
    let hidden = tensor(&[5], |at| Number(if at[0] == 2 { -1e9 } else { 0.0 }));
    let Choice(parts, shown, _) = said(&[5], &[], &hidden) else { panic!("a hole in numbers is a choice") };
    assert_eq!((parts.len(), *shown), (2, Number(-1e9)));
}

#[test]
fn what_is_no_band_is_not_followed() {
    let even = tensor(&[6], |at| truth(at[0] % 2 == 0));
    assert_eq!(said(&[6], &[], &even), Unknown);
    let scattered = tensor(&[4, 4], |at| truth(at[1] <= at[0] || (at[0], at[1]) == (0, 3)));
    assert_eq!(said(&[4, 4], &[], &scattered), Unknown);
    let three = tensor(&[3], |at| Number(at[0] as f64));
    assert_eq!(said(&[3], &[], &three), Unknown);
    let sums = tensor(&[4, 4], |at| truth(at[0] + at[1] <= 3));
    assert_eq!(said(&[4, 4], &[], &sums), Unknown);
    let nan = tensor(&[3], |_| Number(f64::NAN));
    assert_eq!(said(&[3], &[], &nan), Unknown);
}

#[test]
fn only_the_places_that_are_asked_for_count() {
    let odd = tensor(&[3, 4], |at| truth(if at[0] == 1 { at[1] == 2 || at[1] == 0 } else { at[1] >= 2 }));
    assert_eq!(said(&[3, 4], &[], &odd), Unknown);
    assert_ne!(said(&[3, 4], &[Some(0), None], &odd), Unknown);
    assert_eq!(said(&[3, 4], &[Some(1), None], &odd), Unknown);
    assert_ne!(said(&[3, 4], &[None, Some(2)], &odd), Unknown);
}
