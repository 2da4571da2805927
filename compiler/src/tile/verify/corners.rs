//! Points at which dims are looked at: every symbol at its least or greatest value.
//!
//! In: dims, the bounds of their symbols, the loops around. Out: points that the program can be at, as far as bounds, trips and
//! assumptions tell. Always: few points, the same ones in every run.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{Dim, Symbol, Symbols};
use crate::tile::View;

/// The values of symbols.
pub(super) type Point = BTreeMap<Symbol, i64>;

/// With at most so many symbols, all combinations are looked at.
const ALL_COMBINATIONS: usize = 5;
/// Above the least value of a symbol that has no greatest one.
const UNBOUNDED: i64 = 5;

/// What limits the symbols at one op.
pub(super) struct Corners<'a> {
    /// The table with the bounds.
    pub symbols: &'a Symbols,
    /// The loops around the op, outermost first: index and trip.
    pub loops: &'a [(Symbol, Dim)],
}

/// The value of a dim; `None` if it has none there.
pub(super) fn eval(dim: &Dim, point: &Point) -> Option<i64> {
    dim.eval(&|symbol| point.get(&symbol).copied())
}

/// The first and last element that a view touches; `None` if it is empty.
pub(super) fn reach(view: &View, point: &Point) -> Option<(i128, i128)> {
    let offset = i128::from(eval(&view.offset, point)?);
    let (mut low, mut high) = (offset, offset);
    for (dim, stride) in view.dims.iter().zip(&view.strides) {
        let dim = eval(dim, point)?;
        if dim <= 0 {
            return None;
        }
        let step = i128::from(dim - 1) * i128::from(eval(stride, point)?);
        low += step.min(0);
        high += step.max(0);
    }
    Some((low, high))
}

impl Corners<'_> {
    /// The points for some dims.
    pub fn points(&self, dims: &[&Dim]) -> Vec<Point> {
        let mut wanted: BTreeSet<Symbol> = dims.iter().flat_map(|dim| dim.symbols()).collect();
        let mut loops = Vec::new();
        for (index, trip) in self.loops.iter().rev() {
            if wanted.remove(index) {
                wanted.extend(trip.symbols());
                loops.insert(0, (*index, trip));
            }
        }
        let assumed = self.assumed(&mut wanted);
        let defined = definitions(&assumed);
        wanted.retain(|symbol| !defined.contains_key(symbol));
        let mut points =
            combinations(&wanted.into_iter().map(|symbol| (symbol, self.extremes(symbol))).collect::<Vec<_>>());
        for point in &mut points {
            let values = defined.iter().filter_map(|(&symbol, dim)| Some((symbol, eval(dim, point)?)));
            let values: Vec<(Symbol, i64)> = values.collect();
            point.extend(values);
        }
        // A symbol that an equation defines has bounds of its own; a point beyond them does not exist.
        let inside = |(&symbol, &value): (&Symbol, &i64)| {
            let row = self.symbols.data(symbol);
            row.lower.is_none_or(|lower| lower <= value) && row.upper.is_none_or(|upper| value <= upper)
        };
        points.retain(|point| {
            point.iter().all(inside) && assumed.iter().all(|(left, right)| eval(left, point) == eval(right, point))
        });
        for (index, trip) in loops {
            points = points
                .into_iter()
                .flat_map(|point| {
                    let trip = eval(trip, &point).unwrap_or(0);
                    let ends = if trip > 1 { vec![0, trip - 1] } else { (0..trip).collect() };
                    ends.into_iter().map(move |value| {
                        let mut point = point.clone();
                        point.insert(index, value);
                        point
                    })
                })
                .collect();
        }
        points
    }

    /// The equations between the wanted symbols and those that they depend on, which are wanted as well from here on.
    fn assumed(&self, wanted: &mut BTreeSet<Symbol>) -> Vec<&(Dim, Dim)> {
        let mut rest: Vec<(&(Dim, Dim), Vec<Symbol>)> = self
            .symbols
            .assumptions()
            .map(|equation| (equation, [equation.0.symbols(), equation.1.symbols()].concat()))
            .collect();
        let mut found = Vec::new();
        while let Some(at) = rest.iter().position(|(_, symbols)| symbols.iter().any(|symbol| wanted.contains(symbol))) {
            let (equation, symbols) = rest.swap_remove(at);
            wanted.extend(symbols);
            found.push(equation);
        }
        found
    }

    fn extremes(&self, symbol: Symbol) -> Vec<i64> {
        let row = self.symbols.data(symbol);
        let lower = row.lower.unwrap_or(0);
        let upper = row.upper.unwrap_or_else(|| lower.saturating_add(UNBOUNDED));
        // A length of 0 makes most views empty, which says little.
        let least = if lower == 0 && upper > 0 { 1 } else { lower };
        if least == upper { vec![least] } else { vec![least, upper] }
    }

    /// Whether two dims are equal at every corner.
    pub fn may_equal(&self, a: &Dim, b: &Dim) -> bool {
        a == b || self.points(&[a, b]).iter().all(|point| eval(a, point) == eval(b, point))
    }

    /// A point in words.
    pub fn display(&self, point: &Point) -> String {
        let one = |(symbol, value): (&Symbol, &i64)| format!("{} = {value}", self.symbols.name(*symbol));
        let all: Vec<String> = point.iter().map(one).collect();
        if all.is_empty() { "every point".into() } else { all.join(", ") }
    }
}

/// Symbols that an equation says in others.
fn definitions<'a>(equations: &[&'a (Dim, Dim)]) -> BTreeMap<Symbol, &'a Dim> {
    let mut found: BTreeMap<Symbol, &Dim> = BTreeMap::new();
    for (left, right) in equations {
        let Some(symbol) = left.as_symbol() else { continue };
        let used = |dim: &Dim, symbol: Symbol| dim.any_symbol(&mut |other| other == symbol);
        let circular = used(right, symbol)
            || right.any_symbol(&mut |other| found.contains_key(&other))
            || found.values().any(|dim| used(dim, symbol));
        if !circular {
            found.insert(symbol, right);
        }
    }
    found
}

/// All combinations of few symbols; of many, those in which at most one differs from the others.
fn combinations(symbols: &[(Symbol, Vec<i64>)]) -> Vec<Point> {
    let end = |values: &Vec<i64>, last: bool| if last { values[values.len() - 1] } else { values[0] };
    let pick = |choose: &dyn Fn(usize) -> bool| -> Point {
        symbols.iter().enumerate().map(|(at, (symbol, values))| (*symbol, end(values, choose(at)))).collect()
    };
    let mut points: Vec<Point> = Vec::new();
    if symbols.len() <= ALL_COMBINATIONS {
        points.extend((0..1usize << symbols.len()).map(|bits| pick(&|at| bits >> at & 1 == 1)));
    } else {
        for last in [false, true] {
            points.push(pick(&|_| last));
            points.extend((0..symbols.len()).map(|other| pick(&|at| (at == other) != last)));
        }
    }
    points.sort();
    points.dedup();
    points
}
