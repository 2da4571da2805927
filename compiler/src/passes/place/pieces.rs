//! The ways to cut an instruction into pieces that give bit for bit the same result one after the other, and the pieces.
//!
//! In: an instruction on views. Out: ways, the best first; for a way, how long what is cut is, and the piece from a start on. Axes
//! that are independent (`chunk.rs`) are sliced alike; heads of attention in groups that share keys; queries with the keys that they
//! can see; windows with the part of the input that they reach, padded as far as it lies outside.

use narae_isa::instructions::{Attend, Inst};

use super::chunk::{self, Group};
use crate::ir::{Dim, Symbols};
use crate::tile::{Compute, Parameters, View};

/// See the module's description.
pub(super) enum Way {
    /// All these axes are sliced alike.
    Axes(Group),
    /// Heads of keys, and with each so many heads of queries.
    Heads(i64),
    /// Queries of attention.
    Queries,
    /// A spatial axis of windows, by its number.
    Windows(usize),
}

/// The ways to cut an instruction.
pub(super) fn ways(compute: &Compute) -> Vec<Way> {
    let mut ways: Vec<Way> =
        chunk::independent_axes(&compute.inst, &compute.views).into_iter().map(Way::Axes).collect();
    match &compute.inst {
        Inst::Attend(row) => {
            let heads = |view: usize| compute.views[view].dims[1].as_const();
            let shared = heads(0).zip(heads(2)).and_then(|(wide, narrow)| wide.checked_div(narrow));
            ways.extend(shared.map(Way::Heads));
            ways.extend(queries_are_independent(row).then_some(Way::Queries));
        }
        Inst::Convolution(row) if row.x_zero.is_none() => {
            ways.extend((0..compute.views[0].rank() - 3).map(Way::Windows));
        }
        Inst::Pool(row) if row.indices.is_none() => {
            ways.extend((0..compute.views[0].rank() - 2).map(Way::Windows));
        }
        _ => {}
    }
    ways
}

/// Where each sequence has a past of its own in memory, a later query cannot be told where it stands.
fn queries_are_independent(row: &Attend) -> bool {
    row.past.is_none() && row.keys.is_none() && (row.causal || row.sliding.is_none())
}

impl Way {
    /// What is cut: an axis of a view.
    fn axis(&self, compute: &Compute) -> (usize, usize) {
        match self {
            Way::Axes(group) => group[0],
            Way::Heads(_) => (2, 1),
            Way::Queries => (0, 2),
            Way::Windows(axis) => (0, spatial(compute, *axis)),
        }
    }

    /// How long it is.
    pub(super) fn extent(&self, compute: &Compute) -> Dim {
        let (view, axis) = self.axis(compute);
        compute.views[view].dims[axis].clone()
    }

    /// Whether neighbouring pieces read the same elements of a view that is cut.
    pub(super) fn overlaps(&self) -> bool {
        matches!(self, Way::Windows(_))
    }

    /// Whether pieces hold less of a view than the whole.
    pub(super) fn cuts(&self, compute: &Compute, view: usize) -> bool {
        match self {
            Way::Axes(group) => group.iter().any(|&(other, _)| other == view),
            Way::Heads(_) => view < 4,
            Way::Queries => view < 2,
            Way::Windows(_) => view < 2 && !matches!(compute.inst, Inst::Attend(_)),
        }
    }

    /// The piece of `length` from `start` on; `step` is the greatest length.
    pub(super) fn piece(
        &self,
        compute: &Compute,
        (start, length): (&Dim, &Dim),
        step: &Dim,
        symbols: &Symbols,
    ) -> Compute {
        let mut piece = compute.clone();
        let mut slice = |view: usize, axis: usize, start: &Dim, length: &Dim| {
            piece.views[view] = piece.views[view].slice(axis, start, length, 1);
        };
        match self {
            Way::Axes(group) => group.iter().for_each(|&(view, axis)| slice(view, axis, start, length)),
            Way::Heads(shared) => {
                let (first, count) = (start * &Dim::from(*shared), length * &Dim::from(*shared));
                [2, 3].into_iter().for_each(|view| slice(view, 1, start, length));
                [0, 1].into_iter().for_each(|view| slice(view, 1, &first, &count));
                let Inst::Attend(row) = &compute.inst else { unreachable!("only attention has heads") };
                row.bias.into_iter().for_each(|bias| slice(bias.index(), 1, &first, &count));
                row.sinks.into_iter().for_each(|sinks| slice(sinks.index(), 0, &first, &count));
            }
            Way::Queries => queries(compute, &mut piece, start, length),
            Way::Windows(axis) => windows(compute, &mut piece, *axis, (start, length), step, symbols),
        }
        piece
    }
}

/// Where the spatial axes of the result start.
fn spatial(compute: &Compute, axis: usize) -> usize {
    axis + if matches!(compute.inst, Inst::Convolution(_)) { 3 } else { 2 }
}

/// Queries with all keys, or, where they are causal, with the keys up to the last of them: then they are the last ones again.
fn queries(compute: &Compute, piece: &mut Compute, start: &Dim, length: &Dim) {
    let Inst::Attend(row) = &compute.inst else { unreachable!("only attention has queries") };
    let (all, keys) = (&compute.views[0].dims[2], &compute.views[2].dims[2]);
    for view in [0, 1].into_iter().chain(row.bias.map(|bias| bias.index())) {
        piece.views[view] = piece.views[view].slice(2, start, length, 1);
    }
    if row.causal {
        let seen = &(&(keys - all) + start) + length;
        let keep = |view: &View, axis: usize| view.slice(axis, &Dim::ZERO, &seen, 1);
        piece.views[2] = keep(&piece.views[2], 2);
        piece.views[3] = keep(&piece.views[3], 2);
        row.bias.into_iter().for_each(|bias| piece.views[bias.index()] = keep(&piece.views[bias.index()], 3));
    }
}

/// Windows `start ..` and the input that they reach. With an input that is spread by `u`, only every `u`-th place holds an element.
fn windows(
    compute: &Compute,
    piece: &mut Compute,
    axis: usize,
    (start, length): (&Dim, &Dim),
    step: &Dim,
    symbols: &Symbols,
) {
    let Some(Parameters::Window(window)) = &compute.parameters else { unreachable!("windows have parameters") };
    let at = spatial(compute, axis);
    let (stride, spread) = (&window.stride[axis], &window.input_dilation[axis]);
    let reach = &(&(&window.kernel[axis] - &Dim::ONE) * &window.dilation[axis]) + &Dim::ONE;
    let span = |windows: &Dim| &(&(windows - &Dim::ONE) * stride) + &reach;
    // Places count from the first element of the input; the padding lies below zero.
    let first = &(start * stride) - &window.pad_before[axis];
    let from = symbols.maximum(&first.ceil_div(spread), &Dim::ZERO);
    let end = &(&(&first + &span(length)) - &Dim::ONE).floor_div(spread) + &Dim::ONE;
    let end = symbols.minimum(&end, &compute.views[1].dims[at]);
    // Said once more by numbers, because bounds do not see that the ends move together.
    let most = &(&span(step) - &Dim::ONE).floor_div(spread) + &Dim::ONE;
    let count = symbols.minimum(&symbols.maximum(&(&end - &from), &Dim::ZERO), &most);
    piece.views[0] = piece.views[0].slice(at, start, length, 1);
    piece.views[1] = piece.views[1].slice(at, &from, &count, 1);
    let mut moved = window.clone();
    moved.pad_before[axis] = &(&from * spread) - &first;
    piece.parameters = Some(Parameters::Window(moved));
}
