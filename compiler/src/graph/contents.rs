//! Symbolic contents of small integer tensors: how shape arithmetic is followed.
//!
//! In: a node that was just inferred and the contents of its operands. Out: for each result that is a small tensor of integers or
//! bools, its elements as dims, if they are known as expressions of symbols. Exact: what is said holds at every point that the
//! bounds of the symbols allow; where an op's result depends on more (a comparison that bounds do not decide), nothing is said.

use std::sync::Arc;

use narae_isa::tensor::{dense_strides, element_count};
use narae_isa::{BinaryFunction, CompareFunction, Element, ReduceFunction, UnaryFunction};

use super::{Graph, NodeData, Op};
use crate::compress::{Recipe, Step};
use crate::ir::{Dim, Symbols, Value};

/// Tensors with more elements are not followed.
pub const MAXIMUM_ELEMENTS: usize = 128;

/// The elements of a tensor, row-major.
pub type Contents = Arc<[Dim]>;

/// The contents of the results of a node, `None` for those that are not known.
pub(super) fn of_node(graph: &Graph, node: &NodeData) -> Vec<Option<Contents>> {
    node.results
        .iter()
        .enumerate()
        .map(|(index, &value)| if index == 0 { of_result(graph, node, value) } else { None })
        .collect()
}

fn followed(element: Element) -> bool {
    matches!(element, Element::I64 | Element::I32 | Element::Bool)
}

fn of_result(graph: &Graph, node: &NodeData, value: Value) -> Option<Contents> {
    if !followed(graph.element(value)) {
        return None;
    }
    let sizes = graph.ty(value).sizes()?;
    let count = element_count(&sizes).filter(|&count| count <= MAXIMUM_ELEMENTS)?;
    let contents = compute(graph, node, &sizes)?;
    assert!(contents.len() == count, "contents of `{}` have the size of its result", node.op.name());
    contents.iter().all(|dim| !dim.is_invalid()).then(|| contents.into())
}

/// What an op does to contents; `sizes` are the extents of the result.
fn compute(graph: &Graph, node: &NodeData, sizes: &[usize]) -> Option<Vec<Dim>> {
    let operand = |index: usize| graph.contents(node.operands[index]);
    let extents = |index: usize| graph.ty(node.operands[index]).sizes();
    let symbols = &graph.symbols;
    match &node.op {
        Op::Constant { recipe } => constant(graph, recipe),
        Op::Dims { dims, shape: _ } => Some(dims.clone()),
        Op::Iota { element: _, dims: _, axis } => {
            let stride = dense_strides(sizes)[*axis];
            let count = element_count(sizes)?;
            Some((0..count).map(|at| Dim::from(at / stride % sizes[*axis])).collect())
        }
        Op::Convert { to, .. } => convert(operand(0)?, *to, symbols),
        Op::Unary { function: UnaryFunction::Neg } => Some(operand(0)?.iter().map(|dim| &Dim::ZERO - dim).collect()),
        Op::Unary { function: UnaryFunction::Not } => {
            operand(0)?.iter().map(|dim| dim.as_const().map(|value| Dim::from(i64::from(value == 0)))).collect()
        }
        Op::Binary { function } => elementwise(graph, node, sizes, |at| binary(*function, at(0), at(1), symbols)),
        Op::Compare { function } => elementwise(graph, node, sizes, |at| {
            compare(*function, at(0), at(1), symbols).map(|holds| Dim::from(i64::from(holds)))
        }),
        Op::Select {} => elementwise(graph, node, sizes, |at| {
            let condition = at(0).as_const();
            match condition {
                Some(0) => Some(at(2).clone()),
                Some(_) => Some(at(1).clone()),
                None if at(1) == at(2) => Some(at(1).clone()),
                None => None,
            }
        }),
        Op::Reduce { function, axes } => reduce(*function, axes, operand(0)?, &extents(0)?, sizes, symbols),
        Op::Reshape { .. } => Some(operand(0)?.to_vec()),
        Op::Broadcast { .. } => elementwise(graph, node, sizes, |at| Some(at(0).clone())),
        Op::Transpose { permutation } => {
            let strides = dense_strides(&extents(0)?);
            let strides: Vec<i64> = permutation.iter().map(|&axis| strides[axis] as i64).collect();
            pick(operand(0)?, sizes, &strides, 0)
        }
        Op::Slice { starts, steps, dims: _ } => {
            let strides = dense_strides(&extents(0)?);
            let starts: Option<Vec<i64>> = starts.iter().map(Dim::as_const).collect();
            let start = starts?.iter().zip(&strides).map(|(start, &stride)| start * stride as i64).sum();
            let strides: Vec<i64> = steps.iter().zip(&strides).map(|(step, &stride)| step * stride as i64).collect();
            pick(operand(0)?, sizes, &strides, start)
        }
        Op::Concat { axis } => concat(graph, node, *axis, sizes),
        Op::Gather { axis } => gather(operand(0)?, operand(1)?, &extents(0)?, *axis),
        Op::Unary { .. }
        | Op::Bits { .. }
        | Op::ArgReduce { .. }
        | Op::Cumulate { .. }
        | Op::Softmax { .. }
        | Op::Pad { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. }
        | Op::ScatterElements { .. }
        | Op::ScatterNd { .. }
        | Op::TopK { .. }
        | Op::NonZero {}
        | Op::MatMul {}
        | Op::MatMulInteger {}
        | Op::Conv { .. }
        | Op::Pool { .. }
        | Op::Window { .. }
        | Op::Quantize { .. }
        | Op::Dequantize { .. }
        | Op::Linear {}
        | Op::RmsNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Rope { .. }
        | Op::Attention { .. }
        | Op::KvAppend {}
        | Op::Loop { .. }
        | Op::While { .. }
        | Op::If { .. } => None,
    }
}

/// A constant that is in memory, or in a file and small: shapes are read, weights never.
fn constant(graph: &Graph, recipe: &Recipe) -> Option<Vec<Dim>> {
    let element = recipe.element();
    let bytes = match recipe.step() {
        Step::Inline(bytes) => bytes.to_vec(),
        Step::File { file, offset } => {
            let mut bytes = vec![0; recipe.bytes()];
            // A file that cannot be read is reported when the constant is used.
            graph.sources.read_at(*file, *offset, &mut bytes).ok()?;
            bytes
        }
        _ => return None,
    };
    Some(bytes.chunks_exact(element.bytes()).map(|bytes| Dim::from(element.load_i64(bytes))).collect())
}

fn convert(contents: &Contents, to: Element, symbols: &Symbols) -> Option<Vec<Dim>> {
    let one = |dim: &Dim| match to {
        Element::Bool => {
            compare(CompareFunction::Ne, dim, &Dim::ZERO, symbols).map(|holds| Dim::from(i64::from(holds)))
        }
        Element::I32 => match dim.as_const() {
            Some(value) => i32::try_from(value).ok().map(|_| dim.clone()),
            None => Some(dim.clone()),
        },
        _ => Some(dim.clone()),
    };
    contents.iter().map(one).collect()
}

/// Applies a function at every position of the result, operands broadcast.
fn elementwise<'a>(
    graph: &'a Graph,
    node: &NodeData,
    sizes: &[usize],
    function: impl Fn(&dyn Fn(usize) -> &'a Dim) -> Option<Dim>,
) -> Option<Vec<Dim>> {
    let count = element_count(sizes)?;
    let mut operands = Vec::with_capacity(node.operands.len());
    for &value in &node.operands {
        let extents = graph.ty(value).sizes()?;
        operands.push((graph.contents(value)?, broadcast_strides(&extents, sizes)));
    }
    let strides = dense_strides(sizes);
    let position = |at: usize, own: &[usize]| -> usize {
        (0..sizes.len()).map(|axis| at / strides[axis] % sizes[axis].max(1) * own[axis]).sum()
    };
    (0..count).map(|at| function(&|index| &operands[index].0[position(at, &operands[index].1)])).collect()
}

/// Strides that repeat axes of extent 1, aligned to the last axis of `sizes`.
fn broadcast_strides(extents: &[usize], sizes: &[usize]) -> Vec<usize> {
    let own = dense_strides(extents);
    let new = sizes.len() - extents.len();
    (0..sizes.len()).map(|axis| if axis < new || extents[axis - new] == 1 { 0 } else { own[axis - new] }).collect()
}

fn binary(function: BinaryFunction, a: &Dim, b: &Dim, symbols: &Symbols) -> Option<Dim> {
    let not_negative = |dim: &Dim| dim.bounds(symbols).0.is_some_and(|least| least >= 0);
    match function {
        BinaryFunction::Add => Some(a + b),
        BinaryFunction::Sub => Some(a - b),
        BinaryFunction::Mul => Some(a * b),
        // Truncation and flooring agree where nothing is negative; a division by zero is left to the run.
        BinaryFunction::Div if b.is(0) => None,
        BinaryFunction::Div if not_negative(a) && not_negative(b) => Some(a.floor_div(b)),
        BinaryFunction::Div => Some(Dim::from(a.as_const()?.checked_div(b.as_const()?)?)),
        BinaryFunction::FloorDiv if !b.is(0) => Some(a.floor_div(b)),
        BinaryFunction::Mod if !b.is(0) => Some(a.modulo(b)),
        BinaryFunction::Min => Some(symbols.minimum(a, b)),
        BinaryFunction::Max => Some(symbols.maximum(a, b)),
        BinaryFunction::And => Some(Dim::from(a.as_const()? & b.as_const()?)),
        BinaryFunction::Or => Some(Dim::from(a.as_const()? | b.as_const()?)),
        BinaryFunction::Xor => Some(Dim::from(a.as_const()? ^ b.as_const()?)),
        BinaryFunction::Pow => {
            let (base, exponent) = (a.as_const()?, u32::try_from(b.as_const()?).ok()?);
            base.checked_pow(exponent).map(Dim::from)
        }
        BinaryFunction::FloorDiv
        | BinaryFunction::Mod
        | BinaryFunction::Fmod
        | BinaryFunction::Shl
        | BinaryFunction::Shr
        | BinaryFunction::Prelu
        | BinaryFunction::Atan2
        | BinaryFunction::MulSilu => None,
    }
}

/// Whether a comparison holds, if bounds decide it.
fn compare(function: CompareFunction, a: &Dim, b: &Dim, symbols: &Symbols) -> Option<bool> {
    let (lower, upper) = (a - b).bounds(symbols);
    let (below, above) = (upper.is_some_and(|u| u < 0), lower.is_some_and(|l| l > 0));
    let (not_above, not_below) = (upper.is_some_and(|u| u <= 0), lower.is_some_and(|l| l >= 0));
    let decide = |yes: bool, no: bool| if yes { Some(true) } else { no.then_some(false) };
    match function {
        CompareFunction::Eq => decide(not_above && not_below, below || above),
        CompareFunction::Ne => decide(below || above, not_above && not_below),
        CompareFunction::Lt => decide(below, not_below),
        CompareFunction::Le => decide(not_above, above),
        CompareFunction::Gt => decide(above, not_above),
        CompareFunction::Ge => decide(not_below, below),
    }
}

fn reduce(
    function: ReduceFunction,
    axes: &[usize],
    contents: &Contents,
    extents: &[usize],
    sizes: &[usize],
    symbols: &Symbols,
) -> Option<Vec<Dim>> {
    let combine: fn(&Symbols, &Dim, &Dim) -> Option<Dim> = match function {
        ReduceFunction::Sum => |_, a, b| Some(a + b),
        ReduceFunction::Prod => |_, a, b| Some(a * b),
        ReduceFunction::Min => |symbols, a, b| Some(symbols.minimum(a, b)),
        ReduceFunction::Max => |symbols, a, b| Some(symbols.maximum(a, b)),
        ReduceFunction::All => |_, a, b| Some(Dim::from(a.as_const()? & b.as_const()?)),
        ReduceFunction::Any => |_, a, b| Some(Dim::from(a.as_const()? | b.as_const()?)),
        ReduceFunction::Mean
        | ReduceFunction::SumSquare
        | ReduceFunction::SumAbs
        | ReduceFunction::Norm2
        | ReduceFunction::LogSum
        | ReduceFunction::LogSumExp => return None,
    };
    let (from, to) = (dense_strides(extents), dense_strides(sizes));
    let mut results: Vec<Option<Dim>> = vec![None; element_count(sizes)?];
    for (at, dim) in contents.iter().enumerate() {
        let kept = (0..extents.len()).filter(|axis| !axes.contains(axis));
        let target: usize = kept.map(|axis| at / from[axis] % extents[axis] * to[axis]).sum();
        results[target] = Some(match &results[target] {
            Some(sum) => combine(symbols, sum, dim)?,
            None => dim.clone(),
        });
    }
    let neutral = match function {
        ReduceFunction::Sum => Some(Dim::ZERO),
        ReduceFunction::Prod => Some(Dim::ONE),
        _ => None,
    };
    results.into_iter().map(|result| result.or_else(|| neutral.clone())).collect()
}

/// Elements at strided positions.
fn pick(contents: &Contents, sizes: &[usize], strides: &[i64], start: i64) -> Option<Vec<Dim>> {
    let dense = dense_strides(sizes);
    let index = |at: usize| -> i64 {
        start + (0..sizes.len()).map(|axis| (at / dense[axis] % sizes[axis]) as i64 * strides[axis]).sum::<i64>()
    };
    let found = (0..element_count(sizes)?).map(|at| contents.get(usize::try_from(index(at)).ok()?).cloned());
    found.collect()
}

fn concat(graph: &Graph, node: &NodeData, axis: usize, sizes: &[usize]) -> Option<Vec<Dim>> {
    let inner: usize = sizes[axis + 1..].iter().product();
    let outer: usize = sizes[..axis].iter().product();
    let mut parts = Vec::with_capacity(node.operands.len());
    for &value in &node.operands {
        parts.push((graph.contents(value)?, graph.ty(value).sizes()?[axis] * inner));
    }
    let mut contents = Vec::new();
    for row in 0..outer {
        for (part, length) in &parts {
            contents.extend_from_slice(&part[row * length..(row + 1) * length]);
        }
    }
    Some(contents)
}

fn gather(contents: &Contents, indices: &Contents, extents: &[usize], axis: usize) -> Option<Vec<Dim>> {
    let inner: usize = extents[axis + 1..].iter().product();
    let outer: usize = extents[..axis].iter().product();
    let mut result = Vec::new();
    for row in 0..outer {
        for index in indices.iter() {
            let index = index.as_const()?;
            let index = usize::try_from(if index < 0 { index + extents[axis] as i64 } else { index }).ok()?;
            if index >= extents[axis] {
                return None;
            }
            let start = (row * extents[axis] + index) * inner;
            result.extend_from_slice(&contents[start..start + inner]);
        }
    }
    Some(result)
}
