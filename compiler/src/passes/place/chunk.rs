//! Which axes of an instruction are independent: cutting all named views along one of these groups and running the
//! pieces one after the other gives bit for bit the same result.

use narae_isa::instructions::{Attend, Convolution, Inst};
use narae_isa::operand::{AxisSet, DescriptorRegister};

use crate::tile::View;

/// Axes that are cut together: (view, axis) pairs. The first one is an axis of full extent, never a repeated one.
pub type Group = Vec<(usize, usize)>;

/// The groups, outermost axis of the result first.
pub fn independent_axes(inst: &Inst, views: &[View]) -> Vec<Group> {
    match inst {
        Inst::Unary(_)
        | Inst::Binary(_)
        | Inst::Compare(_)
        | Inst::Select(_)
        | Inst::Convert(_)
        | Inst::Fill(_)
        | Inst::FillInteger(_)
        | Inst::Copy(_)
        | Inst::Quantize(_)
        | Inst::Dequantize(_) => same_axes(views, AxisSet::default()),
        Inst::Reduce(row) => same_axes(views, row.axes),
        Inst::Softmax(row) => same_axes(views, row.axes),
        Inst::Norm(row) => same_axes(views, row.axes),
        Inst::ArgReduce(row) => same_axes(views, one(row.axis.index())),
        Inst::Cumulate(row) => same_axes(views, one(row.axis.index())),
        Inst::TopK(row) => same_axes(views, one(row.axis.index())),
        Inst::GatherElements(row) => same_axes(views, one(row.axis.index())),
        Inst::Rope(_) => same_axes(views, one(views[0].rank() - 1)),
        Inst::Iota(row) => same_axes(views, one(row.axis.index())),
        Inst::Linear(_) => (0..views[0].rank() - 1).map(|axis| vec![(0, axis), (1, axis)]).collect(),
        Inst::Matmul(row) => product(views, row.bias.is_some()),
        Inst::MatmulInteger(row) => product_with_zeros(views, row.a_zero.is_some(), row.b_zero.is_some()),
        Inst::Convolution(row) => convolution(row),
        Inst::Attend(row) => vec![sequences(row)],
        Inst::Gather(row) => gather(views, row.axis.index()),
        Inst::GatherNd(row) => gather_nd(views, row.batch.index()),
        Inst::Pool(row) if row.indices.is_none() => vec![vec![(0, 0), (1, 0)], vec![(0, 1), (1, 1)]],
        Inst::ScatterElements(row) => scatter_elements(views, row.axis.index()),
        Inst::ScatterNd(_) => scatter_nd(views),
        Inst::Pool(_)
        | Inst::Resize(_)
        | Inst::NonZero(_)
        | Inst::Halt(_)
        | Inst::Fence(_)
        | Inst::QueueSync(_)
        | Inst::LoadImmediate(_)
        | Inst::MoveScalar(_)
        | Inst::Alu(_)
        | Inst::AluImmediate(_)
        | Inst::Jump(_)
        | Inst::Branch(_)
        | Inst::BranchImmediate(_)
        | Inst::LoadScalar(_)
        | Inst::StoreScalar(_)
        | Inst::LoadDescriptor(_)
        | Inst::Mark(_)
        | Inst::LoadWeight(_)
        | Inst::Transfer(_)
        | Inst::GatherRows(_)
        | Inst::ScatterRows(_)
        | Inst::Append(_) => vec![],
    }
}

fn one(axis: usize) -> AxisSet {
    AxisSet::of(&[axis]).unwrap_or_default()
}

/// Every axis outside of `except`, in all views of that rank.
fn same_axes(views: &[View], except: AxisSet) -> Vec<Group> {
    let rank = views.iter().map(View::rank).max().unwrap_or(0);
    let free = (0..rank).filter(|&axis| !except.contains(axis));
    free.map(|axis| (0..views.len()).map(|view| (view, axis)).collect()).collect()
}

/// `out a b [bias]`: batch axes, rows, columns.
fn product(views: &[View], bias: bool) -> Vec<Group> {
    let rank = views[0].rank();
    let mut groups: Vec<Group> =
        (0..rank - 2).map(|axis| (0..views.len()).map(|view| (view, axis)).collect()).collect();
    let mut rows = vec![(0, rank - 2), (1, rank - 2)];
    let mut columns = vec![(0, rank - 1), (2, rank - 1)];
    if bias {
        rows.push((3, rank - 2));
        columns.push((3, rank - 1));
    }
    groups.push(rows);
    groups.push(columns);
    groups
}

/// `out a b [a_zero] [b_zero]`.
fn product_with_zeros(views: &[View], a_zero: bool, b_zero: bool) -> Vec<Group> {
    let rank = views[0].rank();
    let mut groups: Vec<Group> =
        (0..rank - 2).map(|axis| (0..views.len()).map(|view| (view, axis)).collect()).collect();
    let mut rows = vec![(0, rank - 2), (1, rank - 2)];
    let mut columns = vec![(0, rank - 1), (2, rank - 1)];
    if a_zero {
        rows.push((3, rank - 2));
    }
    if b_zero {
        columns.push((if a_zero { 4 } else { 3 }, rank - 1));
    }
    groups.push(rows);
    groups.push(columns);
    groups
}

/// `out a index`: axes of `a` before and behind the gathered one, and the axes of the index.
fn gather(views: &[View], axis: usize) -> Vec<Group> {
    let (a, index) = (views[1].rank(), views[2].rank());
    let before = (0..axis).map(|at| vec![(0, at), (1, at)]);
    let indices = (0..index).map(|at| vec![(0, axis + at), (2, at)]);
    let behind = (axis + 1..a).map(|at| vec![(0, at + index - 1), (1, at)]);
    before.chain(indices).chain(behind).collect()
}

/// `out a index`: shared axes, the axes of the index but for the last (the coordinates), and the axes of `a` that no coordinate
/// addresses.
fn gather_nd(views: &[View], batch: usize) -> Vec<Group> {
    let (out, a, index) = (views[0].rank(), views[1].rank(), views[2].rank());
    let shared = (0..batch).map(|axis| vec![(0, axis), (1, axis), (2, axis)]);
    let indices = (batch..index - 1).map(|axis| vec![(0, axis), (2, axis)]);
    let rest = out - (index - 1);
    let behind = (0..rest).map(|axis| vec![(0, index - 1 + axis), (1, a - rest + axis)]);
    shared.chain(indices).chain(behind).collect()
}

/// `out index updates`: the other axes; those of `out` may be longer, and what lies beyond stays as it is.
fn scatter_elements(views: &[View], axis: usize) -> Vec<Group> {
    let others = (0..views[1].rank()).filter(|&other| other != axis);
    others.map(|other| vec![(1, other), (2, other), (0, other)]).collect()
}

/// `out index updates`: the axes of `out` that no coordinate addresses.
fn scatter_nd(views: &[View]) -> Vec<Group> {
    let (out, index, updates) = (views[0].rank(), views[1].rank(), views[2].rank());
    let rest = updates - (index - 1);
    (0..rest).map(|axis| vec![(2, index - 1 + axis), (0, out - rest + axis)]).collect()
}

/// `out x w [bias] [x_zero] [w_zero]`: batch, groups, and output channels of a group.
fn convolution(row: &Convolution) -> Vec<Group> {
    let index = |operand: Option<DescriptorRegister>| operand.map(|register| register.index());
    let (bias, x_zero, w_zero) = (index(row.bias), index(row.x_zero), index(row.w_zero));
    let at = |operands: &[(Option<usize>, usize)]| -> Group {
        operands.iter().filter_map(|&(view, axis)| Some((view?, axis))).collect()
    };
    vec![
        at(&[(Some(0), 0), (Some(1), 0), (x_zero, 0)]),
        at(&[(Some(0), 1), (Some(1), 1), (Some(2), 0), (bias, 0), (x_zero, 1), (w_zero, 0)]),
        at(&[(Some(0), 2), (Some(2), 1), (bias, 1), (w_zero, 1)]),
    ]
}

/// The sequences of a batch; sinks are those of all.
fn sequences(row: &Attend) -> Group {
    let by_batch = [row.bias, row.past, row.keys].into_iter().flatten().map(|register| (register.index(), 0));
    (0..4).map(|view| (view, 0)).chain(by_batch).collect()
}
