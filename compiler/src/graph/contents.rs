//! Symbolic contents of small tensors of integers, and of floats made of integers: how shape arithmetic is followed.
//!
//! In: a node that was just inferred and the contents of its operands. Out: for each result that is a small tensor of integers,
//! bools or floats, its elements as dims (of floats: as quotients of dims by a number), if they are known as expressions of symbols. Exact: what is said
//! holds at every point that the bounds of the symbols allow; where an op's result depends on more (a comparison that bounds do not
//! decide), nothing is said. Exporters compute lengths in floats as well, `ceil(height / 2.0) * 2.0`; lengths are taken to be below 2^24,
//! where that is exact in f32.

use std::sync::Arc;

use narae_isa::tensor::{dense_strides, element_count};
use narae_isa::{BinaryFunction, CompareFunction, Element, ReduceFunction, UnaryFunction};

use super::{Graph, NodeData, Op};
use crate::compress::{Recipe, Step};
use crate::ir::{Dim, Symbols, Value};

/// Tensors with more elements are not followed.
pub const MAXIMUM_ELEMENTS: usize = 128;
/// Of floats, lists of extents and factors are followed: a bias of a layer is not read for this.
const MAXIMUM_FLOATS: usize = 16;
/// Quotients by greater numbers are not followed.
const MAXIMUM_DIVISOR: i64 = 1 << 31;

/// The elements of a tensor, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct Contents {
    /// The elements, or what is divided.
    pub elements: Arc<[Dim]>,
    /// What each is divided by, exactly: 1 for integers.
    pub divisor: i64,
}

impl Contents {
    fn whole(elements: Vec<Dim>) -> Option<Contents> {
        Contents::over(elements, 1)
    }

    fn over(elements: Vec<Dim>, divisor: i64) -> Option<Contents> {
        (1..=MAXIMUM_DIVISOR).contains(&divisor).then(|| Contents { elements: elements.into(), divisor })
    }

    /// The same numbers over a multiple of the divisor.
    fn expanded(&self, divisor: i64) -> Vec<Dim> {
        let factor = Dim::from(divisor / self.divisor);
        self.elements.iter().map(|dim| dim * &factor).collect()
    }
}

/// The contents of the results of a node, `None` for those that are not known.
pub(super) fn of_node(graph: &Graph, node: &NodeData) -> Vec<Option<Contents>> {
    node.results
        .iter()
        .enumerate()
        .map(|(index, &value)| if index == 0 { of_result(graph, node, value) } else { None })
        .collect()
}

fn followed(element: Element) -> bool {
    matches!(element, Element::I64 | Element::I32 | Element::Bool | Element::F32 | Element::F64)
}

fn of_result(graph: &Graph, node: &NodeData, value: Value) -> Option<Contents> {
    if !followed(graph.element(value)) {
        return None;
    }
    let sizes = graph.ty(value).sizes()?;
    let most = if graph.element(value).is_float() { MAXIMUM_FLOATS } else { MAXIMUM_ELEMENTS };
    let count = element_count(&sizes).filter(|&count| count <= most)?;
    let contents = compute(graph, node, &sizes)?;
    assert!(contents.elements.len() == count, "contents of `{}` have the size of its result", node.op.name());
    contents.elements.iter().all(|dim| !dim.is_invalid()).then_some(contents)
}

/// What an op does to contents; `sizes` are the extents of the result.
fn compute(graph: &Graph, node: &NodeData, sizes: &[usize]) -> Option<Contents> {
    let operand = |index: usize| graph.contents(node.operands[index]);
    let extents = |index: usize| graph.ty(node.operands[index]).sizes();
    let symbols = &graph.symbols;
    // Ops that only choose or move elements keep the divisor.
    let moved = |source: &Contents, elements: Option<Vec<Dim>>| Contents::over(elements?, source.divisor);
    match &node.op {
        Op::Constant { recipe } => constant(graph, recipe),
        Op::Dims { dims, shape: _ } => Contents::whole(dims.clone()),
        Op::Iota { element: _, dims: _, axis } => {
            let stride = dense_strides(sizes)[*axis];
            let count = element_count(sizes)?;
            Contents::whole((0..count).map(|at| Dim::from(at / stride % sizes[*axis])).collect())
        }
        Op::Convert { to, .. } => convert(operand(0)?, *to, symbols),
        Op::Unary { function } => unary(*function, operand(0)?),
        Op::Binary { function } => match function {
            BinaryFunction::Mul | BinaryFunction::Div if graph.element(node.operands[0]).is_float() => {
                scaled(graph, node, sizes, *function)
            }
            _ => elementwise(graph, node, sizes, |at, whole| binary(*function, at(0), at(1), symbols, whole)),
        },
        Op::Compare { function } => {
            let truth = elementwise(graph, node, sizes, |at, _| {
                compare(*function, at(0), at(1), symbols).map(|holds| Dim::from(i64::from(holds)))
            })?;
            Contents::whole(truth.elements.to_vec())
        }
        Op::Select {} => elementwise(graph, node, sizes, |at, _| {
            let condition = at(0).as_const();
            match condition {
                Some(0) => Some(at(2).clone()),
                Some(_) => Some(at(1).clone()),
                None if at(1) == at(2) => Some(at(1).clone()),
                None => None,
            }
        }),
        Op::Reduce { function, axes } => {
            let source = operand(0)?;
            if *function == ReduceFunction::Prod && source.divisor != 1 {
                return None;
            }
            moved(source, reduce(*function, axes, &source.elements, &extents(0)?, sizes, symbols))
        }
        Op::Reshape { .. } => Some(operand(0)?.clone()),
        Op::Broadcast { .. } => elementwise(graph, node, sizes, |at, _| Some(at(0).clone())),
        Op::Transpose { permutation } => {
            let strides = dense_strides(&extents(0)?);
            let strides: Vec<i64> = permutation.iter().map(|&axis| strides[axis] as i64).collect();
            moved(operand(0)?, pick(&operand(0)?.elements, sizes, &strides, 0))
        }
        Op::Slice { starts, steps, dims: _ } => {
            let strides = dense_strides(&extents(0)?);
            let starts: Option<Vec<i64>> = starts.iter().map(Dim::as_const).collect();
            let start = starts?.iter().zip(&strides).map(|(start, &stride)| start * stride as i64).sum();
            let strides: Vec<i64> = steps.iter().zip(&strides).map(|(step, &stride)| step * stride as i64).collect();
            moved(operand(0)?, pick(&operand(0)?.elements, sizes, &strides, start))
        }
        Op::Concat { axis } => concat(graph, node, *axis, sizes),
        Op::Gather { axis } => {
            let (source, indices) = (operand(0)?, operand(1)?);
            moved(source, gather(&source.elements, &indices.elements, &extents(0)?, *axis))
        }
        Op::Bits { .. }
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
fn constant(graph: &Graph, recipe: &Recipe) -> Option<Contents> {
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
    let elements = bytes.chunks_exact(element.bytes());
    if !element.is_float() {
        return Contents::whole(elements.map(|bytes| Dim::from(element.load_i64(bytes))).collect());
    }
    let numbers: Vec<f64> = elements.map(|bytes| element.load_f64(bytes)).collect();
    let exact = |divisor: &i64| {
        let whole = |number: &f64| (number * *divisor as f64).fract() == 0.0 && number.abs() < f64::from(1 << 24);
        numbers.iter().all(whole)
    };
    let divisor = (0..12).map(|power| 1_i64 << power).find(exact)?;
    Contents::over(numbers.iter().map(|number| Dim::from((number * divisor as f64) as i64)).collect(), divisor)
}

fn convert(contents: &Contents, to: Element, symbols: &Symbols) -> Option<Contents> {
    if to.is_float() {
        return Some(contents.clone());
    }
    let divisor = Dim::from(contents.divisor);
    let one = |dim: &Dim| match to {
        Element::Bool => {
            compare(CompareFunction::Ne, dim, &Dim::ZERO, symbols).map(|holds| Dim::from(i64::from(holds)))
        }
        Element::I32 => match truncated(dim, &divisor, symbols).as_const() {
            Some(value) => i32::try_from(value).ok().map(Dim::from),
            None => Some(truncated(dim, &divisor, symbols)),
        },
        _ => Some(truncated(dim, &divisor, symbols)),
    };
    Contents::whole(contents.elements.iter().map(one).collect::<Option<_>>()?)
}

/// `a / b` rounded towards zero, for `b > 0`: rounded down where `a` is not negative, up where it is.
fn truncated(a: &Dim, b: &Dim, symbols: &Symbols) -> Dim {
    let down = symbols.maximum(&a.floor_div(b), &Dim::ZERO);
    let up = symbols.minimum(&a.ceil_div(b), &Dim::ZERO);
    &down + &up
}

fn unary(function: UnaryFunction, contents: &Contents) -> Option<Contents> {
    let divisor = Dim::from(contents.divisor);
    let each = |f: &dyn Fn(&Dim) -> Dim| contents.elements.iter().map(f).collect::<Vec<Dim>>();
    match function {
        UnaryFunction::Neg => Contents::over(each(&|dim| &Dim::ZERO - dim), contents.divisor),
        UnaryFunction::Floor => Contents::whole(each(&|dim| dim.floor_div(&divisor))),
        UnaryFunction::Ceil => Contents::whole(each(&|dim| dim.ceil_div(&divisor))),
        UnaryFunction::Not => {
            let not = |dim: &Dim| dim.as_const().map(|value| Dim::from(i64::from(value == 0)));
            Contents::whole(contents.elements.iter().map(not).collect::<Option<_>>()?)
        }
        _ => None,
    }
}

/// Applies a function at every position of the result, operands broadcast and over one divisor. The function is told whether that is 1.
fn elementwise(
    graph: &Graph,
    node: &NodeData,
    sizes: &[usize],
    function: impl Fn(&dyn Fn(usize) -> Dim, bool) -> Option<Dim>,
) -> Option<Contents> {
    let condition = usize::from(matches!(node.op, Op::Select {}));
    let parts: Option<Vec<&Contents>> = node.operands.iter().map(|&value| graph.contents(value)).collect();
    let parts = parts?;
    let divisor = parts[condition..].iter().try_fold(1, |all, part| common_multiple(all, part.divisor))?;
    let mut operands = Vec::with_capacity(parts.len());
    for (index, (part, &value)) in parts.iter().zip(&node.operands).enumerate() {
        let own = if index < condition { part.divisor } else { divisor };
        operands.push((part.expanded(own), broadcast_strides(&graph.ty(value).sizes()?, sizes)));
    }
    let strides = dense_strides(sizes);
    let position = |at: usize, own: &[usize]| -> usize {
        (0..sizes.len()).map(|axis| at / strides[axis] % sizes[axis].max(1) * own[axis]).sum()
    };
    let one = |at: usize| function(&|index| operands[index].0[position(at, &operands[index].1)].clone(), divisor == 1);
    Contents::over((0..element_count(sizes)?).map(one).collect::<Option<_>>()?, divisor)
}

fn common_multiple(a: i64, b: i64) -> Option<i64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b).filter(|&multiple| multiple <= MAXIMUM_DIVISOR)
}

/// Products of floats, and quotients by one number.
fn scaled(graph: &Graph, node: &NodeData, sizes: &[usize], function: BinaryFunction) -> Option<Contents> {
    let (a, b) = (graph.contents(node.operands[0])?, graph.contents(node.operands[1])?);
    if function == BinaryFunction::Mul {
        let squared = elementwise(graph, node, sizes, |at, _| Some(&at(0) * &at(1)))?;
        return Contents::over(squared.elements.to_vec(), squared.divisor.checked_mul(squared.divisor)?);
    }
    let by = b.elements.first()?.as_const().filter(|&by| by > 0)?;
    if b.elements.iter().any(|other| !other.is(by)) {
        return None;
    }
    let factor = Dim::from(b.divisor);
    let wide = elementwise(graph, node, sizes, |at, _| Some(at(0)))?;
    // `wide` is over the common divisor of both operands.
    let elements = wide.elements.iter().map(|dim| dim * &factor).collect();
    debug_assert!(wide.divisor % a.divisor == 0, "a common multiple");
    Contents::over(elements, wide.divisor.checked_mul(by)?)
}

/// Strides that repeat axes of extent 1, aligned to the last axis of `sizes`.
fn broadcast_strides(extents: &[usize], sizes: &[usize]) -> Vec<usize> {
    let own = dense_strides(extents);
    let new = sizes.len() - extents.len();
    (0..sizes.len()).map(|axis| if axis < new || extents[axis - new] == 1 { 0 } else { own[axis - new] }).collect()
}

/// `whole`: the operands are integers, not what is divided by one number.
fn binary(function: BinaryFunction, a: Dim, b: Dim, symbols: &Symbols, whole: bool) -> Option<Dim> {
    let (a, b) = (&a, &b);
    let not_negative = |dim: &Dim| dim.bounds(symbols).0.is_some_and(|least| least >= 0);
    match function {
        BinaryFunction::Add => Some(a + b),
        BinaryFunction::Sub => Some(a - b),
        BinaryFunction::Min => Some(symbols.minimum(a, b)),
        BinaryFunction::Max => Some(symbols.maximum(a, b)),
        _ if !whole => None,
        BinaryFunction::Mul => Some(a * b),
        // Truncation and flooring agree where nothing is negative; a division by zero is left to the run.
        BinaryFunction::Div if b.is(0) => None,
        BinaryFunction::Div if b.as_const().is_some_and(|by| by > 0) => Some(truncated(a, b, symbols)),
        BinaryFunction::Div if not_negative(a) && not_negative(b) => Some(a.floor_div(b)),
        BinaryFunction::Div => Some(Dim::from(a.as_const()?.checked_div(b.as_const()?)?)),
        BinaryFunction::FloorDiv if !b.is(0) => Some(a.floor_div(b)),
        BinaryFunction::Mod if !b.is(0) => Some(a.modulo(b)),
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
fn compare(
    function: CompareFunction,
    a: impl std::borrow::Borrow<Dim>,
    b: impl std::borrow::Borrow<Dim>,
    symbols: &Symbols,
) -> Option<bool> {
    let (lower, upper) = (a.borrow() - b.borrow()).bounds(symbols);
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
    contents: &[Dim],
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
fn pick(contents: &[Dim], sizes: &[usize], strides: &[i64], start: i64) -> Option<Vec<Dim>> {
    let dense = dense_strides(sizes);
    let index = |at: usize| -> i64 {
        start + (0..sizes.len()).map(|axis| (at / dense[axis] % sizes[axis]) as i64 * strides[axis]).sum::<i64>()
    };
    let found = (0..element_count(sizes)?).map(|at| contents.get(usize::try_from(index(at)).ok()?).cloned());
    found.collect()
}

fn concat(graph: &Graph, node: &NodeData, axis: usize, sizes: &[usize]) -> Option<Contents> {
    let inner: usize = sizes[axis + 1..].iter().product();
    let outer: usize = sizes[..axis].iter().product();
    let mut parts = Vec::with_capacity(node.operands.len());
    let mut divisor = 1;
    for &value in &node.operands {
        divisor = common_multiple(divisor, graph.contents(value)?.divisor)?;
    }
    for &value in &node.operands {
        parts.push((graph.contents(value)?.expanded(divisor), graph.ty(value).sizes()?[axis] * inner));
    }
    let mut contents = Vec::new();
    for row in 0..outer {
        for (part, length) in &parts {
            contents.extend_from_slice(&part[row * length..(row + 1) * length]);
        }
    }
    Contents::over(contents, divisor)
}

fn gather(contents: &[Dim], indices: &[Dim], extents: &[usize], axis: usize) -> Option<Vec<Dim>> {
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
