//! What the elements of a known tensor are, as expressions of their indices.
//!
//! In: elements that are all known, row-major, and the index along each axis. Out: an [`Element`] that says the same: integers as one sum of
//! multiples of the indices, truth values and numbers of two kinds as a choice by a conjunction of bands, `index − other index ≤ bound`.
//! Folding leaves such tensors behind where lengths are known: positions, triangular masks. Always holds: what is said is checked
//! against every element; what is not of that form is unknown.

use super::elements::Element;
use crate::ir::Dim;

use Element::{All, Choice, Integer, Never, Number, Unknown};

/// A known tensor and the place that is asked for: per axis its extent and the index.
pub(super) struct Grid<'a> {
    pub(super) extents: &'a [usize],
    pub(super) indices: &'a [Dim],
}

impl Grid<'_> {
    fn count(&self) -> usize {
        self.extents.iter().product()
    }

    /// The position along each axis of a row-major number.
    fn position(&self, mut flat: usize) -> Vec<i64> {
        let mut at = vec![0; self.extents.len()];
        for (place, &extent) in at.iter_mut().zip(self.extents).rev() {
            *place = i64::try_from(flat % extent).unwrap_or(i64::MAX);
            flat /= extent;
        }
        at
    }

    /// Whether the element at this position may be the one that is asked for.
    fn asked(&self, at: &[i64]) -> bool {
        at.iter().zip(self.indices).all(|(&at, index)| index.as_const().is_none_or(|index| index == at))
    }

    /// The axes along which the index is not a number.
    fn open(&self) -> Vec<usize> {
        (0..self.indices.len()).filter(|&axis| self.indices[axis].as_const().is_none()).collect()
    }

    /// The element that these elements are.
    pub(super) fn element(&self, elements: &[Element]) -> Element {
        let known: Vec<(Vec<i64>, &Element)> = (0..self.count().min(elements.len()))
            .map(|flat| (self.position(flat), &elements[flat]))
            .filter(|(at, _)| self.asked(at))
            .collect();
        let Some((_, first)) = known.first() else { return Unknown };
        match first {
            Integer(_) => self.sum(&known),
            All(_) | Never | Number(_) => self.bands(&known),
            Choice(..) | Unknown => Unknown,
        }
    }

    /// Integers that grow by the same along each axis.
    fn sum(&self, known: &[(Vec<i64>, &Element)]) -> Element {
        let integer = |element: &Element| match element {
            Integer(dim) => Some(dim.clone()),
            _ => None,
        };
        let (start, first) = &known[0];
        let Some(first) = integer(first) else { return Unknown };
        let mut slopes = vec![Dim::ZERO; self.extents.len()];
        for (at, element) in known {
            // Neighbours of the first along one axis.
            let steps: Vec<usize> = (0..at.len()).filter(|&axis| at[axis] != start[axis]).collect();
            if let ([axis], Some(value)) = (&steps[..], integer(element))
                && at[*axis] == start[*axis] + 1
            {
                slopes[*axis] = &value - &first;
            }
        }
        let along = |at: &mut dyn Iterator<Item = Dim>| {
            let from_start = at.zip(start).map(|(at, &start)| &at - &Dim::from(start));
            from_start.zip(&slopes).fold(first.clone(), |sum, (steps, slope)| &sum + &(&steps * slope))
        };
        let fits =
            |(at, element): &(Vec<i64>, &Element)| integer(element) == Some(along(&mut at.iter().map(|&at| at.into())));
        if known.iter().all(fits) { Integer(along(&mut self.indices.iter().cloned())) } else { Unknown }
    }

    /// Elements of two kinds: one of them where every band holds.
    fn bands(&self, known: &[(Vec<i64>, &Element)]) -> Element {
        let first = known[0].1;
        let Some((_, other)) = known.iter().find(|(_, element)| *element != first) else { return first.clone() };
        if known.iter().any(|(_, element)| *element != first && element != other) {
            return Unknown;
        }
        let either = [(first, *other), (*other, first)].map(|(shown, hidden)| match self.conjunction(known, shown) {
            Some(parts) => choice(parts, shown, hidden),
            None => Unknown,
        });
        either.into_iter().find(|element| *element != Unknown).unwrap_or(Unknown)
    }

    /// The bands that hold exactly where elements are `shown`.
    fn conjunction(&self, known: &[(Vec<i64>, &Element)], shown: &Element) -> Option<Vec<Dim>> {
        let mut bands: Vec<(Vec<i64>, i64)> = vec![];
        for direction in directions(self.extents.len(), &self.open()) {
            let along = |at: &[i64]| -> i64 { at.iter().zip(&direction).map(|(at, sign)| at * sign).sum() };
            let inside = known.iter().filter(|(_, element)| *element == shown);
            let least = inside.map(|(at, _)| along(at)).min()?;
            bands.push((direction, least));
        }
        let holds = |bands: &[(Vec<i64>, i64)], at: &[i64]| {
            bands
                .iter()
                .all(|(direction, least)| at.iter().zip(direction).map(|(at, sign)| at * sign).sum::<i64>() >= *least)
        };
        let exact =
            |bands: &[(Vec<i64>, i64)]| known.iter().all(|(at, element)| holds(bands, at) == (*element == shown));
        if !exact(&bands) {
            return None;
        }
        // What follows from the others goes, single axes first: they are the ones that corners touch.
        let mut number = 0;
        while number < bands.len() {
            let mut fewer = bands.clone();
            fewer.remove(number);
            if exact(&fewer) { bands = fewer } else { number += 1 }
        }
        let part = |(direction, least): &(Vec<i64>, i64)| {
            let terms = self.indices.iter().zip(direction).map(|(index, sign)| index * &Dim::from(*sign));
            terms.fold(Dim::from(-least), |sum, term| &sum + &term)
        };
        Some(bands.iter().map(part).collect())
    }
}

/// Plus and minus one axis, and one axis minus another.
fn directions(rank: usize, open: &[usize]) -> Vec<Vec<i64>> {
    let mut found = vec![];
    let mut add = |signs: &[(usize, i64)]| {
        let mut direction = vec![0; rank];
        signs.iter().for_each(|&(axis, sign)| direction[axis] = sign);
        found.push(direction);
    };
    for &axis in open {
        add(&[(axis, 1)]);
        add(&[(axis, -1)]);
    }
    for &axis in open {
        open.iter().filter(|&&other| other != axis).for_each(|&other| add(&[(axis, 1), (other, -1)]));
    }
    found
}

fn choice(parts: Vec<Dim>, shown: &Element, hidden: &Element) -> Element {
    match (shown, hidden) {
        (All(_), _) => All(parts),
        // True where the bands do not hold: only one band has an opposite that is a band.
        (Never, _) => match &parts[..] {
            [part] => All(vec![&Dim::from(-1_i64) - part]),
            _ => Unknown,
        },
        _ => Choice(parts, Box::new(shown.clone()), Box::new(hidden.clone())),
    }
}
