//! The rules of canonicalisation. Each is a law, said in its comment; each makes the graph smaller or moves it towards the
//! one spelling, so that they terminate.

use narae_isa::{BinaryFunction, CompareFunction, Diagnostic, Element, ReduceFunction, UnaryFunction};

use super::Builder;
use crate::compress::Step;
use crate::graph::{Graph, Op, Provenance};
use crate::ir::{Dim, Value};

type Simplified = Result<Option<Value>, Diagnostic>;

/// A simpler value that equals the op's only result.
pub(super) fn simplify(b: &mut Builder, op: &Op, operands: &[Value], provenance: &Provenance) -> Simplified {
    match op {
        Op::Unary { function } => unary(b, *function, operands[0], provenance),
        Op::Binary { function } => binary(b, *function, operands, op, provenance),
        Op::Compare { function } => {
            let commutes = matches!(function, CompareFunction::Eq | CompareFunction::Ne);
            match constant_last(&b.graph, commutes, operands) {
                Some(swapped) => b.emit1(op.clone(), swapped, provenance).map(Some),
                None => without_broadcasts(b, op, operands, provenance),
            }
        }
        Op::Select {} => select(b, op, operands, provenance),
        Op::Convert { to, saturate } => convert(b, *to, *saturate, operands[0], provenance),
        Op::Reduce { function, axes } => Ok(reduce(b, *function, axes, operands[0])),
        Op::Transpose { permutation } => transpose(b, permutation, operands[0], provenance),
        Op::Reshape { dims } => reshape(b, dims, operands[0], provenance),
        Op::Broadcast { dims } => broadcast(b, dims, operands[0], provenance),
        Op::Slice { starts, steps, dims } => slice(b, (starts, steps, dims), operands[0], provenance),
        Op::Pad { before, dims, .. } => {
            // pad(x, nothing) = x
            let same = before.iter().all(|dim| dim.is(0)) && b.graph.dims(operands[0]) == dims.as_slice();
            Ok(same.then_some(operands[0]))
        }
        Op::Concat { axis } => concat(b, *axis, operands, provenance),
        Op::Gather { axis } => gather(b, *axis, operands, provenance),
        Op::GatherNd { batch } => gather_nd(b, *batch, operands, provenance),
        Op::Constant { .. }
        | Op::Dims { .. }
        | Op::Iota { .. }
        | Op::Bits { .. }
        | Op::ArgReduce { .. }
        | Op::Cumulate { .. }
        | Op::Softmax { .. }
        | Op::GatherElements { .. }
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
        | Op::If { .. } => Ok(None),
    }
}

/// The op and the operands that define a value.
fn defining(graph: &Graph, value: Value) -> Option<(&Op, &[Value])> {
    graph.defining(value).map(|(_, node)| (&node.op, node.operands.as_slice()))
}

/// The number that every element of a constant is.
fn splat(graph: &Graph, value: Value) -> Option<f64> {
    match defining(graph, value)? {
        (Op::Broadcast { .. }, operands) => splat(graph, operands[0]),
        (Op::Constant { recipe }, _) => {
            let Step::Inline(bytes) = recipe.step() else { return None };
            let size = recipe.element().bytes();
            let first = bytes.get(..size)?;
            bytes.chunks_exact(size).all(|other| other == first).then(|| recipe.element().load_f64(first))
        }
        _ => None,
    }
}

fn unary(b: &mut Builder, function: UnaryFunction, x: Value, provenance: &Provenance) -> Simplified {
    match defining(&b.graph, x) {
        // -(-x) = x and not not x = x
        Some((Op::Unary { function: inner }, operands))
            if *inner == function && matches!(function, UnaryFunction::Neg | UnaryFunction::Not) =>
        {
            Ok(Some(operands[0]))
        }
        // f(broadcast(x)) = broadcast(f(x))
        Some((Op::Broadcast { dims }, operands)) => {
            let (dims, source) = (dims.clone(), operands[0]);
            let inner = b.emit1(Op::Unary { function }, vec![source], provenance)?;
            b.emit1(Op::Broadcast { dims }, vec![inner], provenance).map(Some)
        }
        _ => Ok(None),
    }
}

fn binary(
    b: &mut Builder,
    function: BinaryFunction,
    operands: &[Value],
    op: &Op,
    provenance: &Provenance,
) -> Simplified {
    let [x, y] = [operands[0], operands[1]];
    if let Some(swapped) = constant_last(&b.graph, commutes(function), operands) {
        return b.emit1(op.clone(), swapped, provenance).map(Some);
    }
    let left = splat(&b.graph, y).and_then(|number| kept_by(function, number, false));
    let right = splat(&b.graph, x).and_then(|number| kept_by(function, number, true));
    // x + 0 = x, x · 1 = x, and their kin, where the constant does not widen x
    if left.is_some() && joined(&b.graph, operands).as_deref() == Some(b.graph.dims(x)) {
        return Ok(Some(x));
    }
    if right.is_some() && joined(&b.graph, operands).as_deref() == Some(b.graph.dims(y)) {
        return Ok(Some(y));
    }
    // x^2 = x·x, and x^½ = √x where x is not negative: (−∞)^½ is ∞, √−∞ is not a number
    if function == BinaryFunction::Pow
        && b.graph.element(x).is_float()
        && joined(&b.graph, operands).as_deref() == Some(b.graph.dims(x))
    {
        let function = match splat(&b.graph, y) {
            Some(2.0) => Some(UnaryFunction::Square),
            Some(0.5) if never_negative(&b.graph, x, MAXIMUM_STEPS) => Some(UnaryFunction::Sqrt),
            _ => None,
        };
        if let Some(function) = function {
            return b.emit1(Op::Unary { function }, vec![x], provenance).map(Some);
        }
    }
    without_broadcasts(b, op, operands, provenance)
}

/// Proofs that a tensor is not negative look back so many ops.
const MAXIMUM_STEPS: usize = 6;

/// Whether no element of a tensor is below 0, by what it is computed from; NaN may be among them.
fn never_negative(graph: &Graph, value: Value, steps: usize) -> bool {
    let Some(steps) = steps.checked_sub(1) else { return false };
    if let Some(number) = splat(graph, value) {
        return number >= 0.0;
    }
    let Some((op, operands)) = defining(graph, value) else { return false };
    let all = || operands.iter().all(|&operand| never_negative(graph, operand, steps));
    match op {
        Op::Unary { function } => {
            use UnaryFunction::{Abs, Exp, Exp2, Relu, Sigmoid, Softplus, Square};
            matches!(function, Abs | Exp | Exp2 | Relu | Sigmoid | Softplus | Square)
        }
        Op::Binary { function: BinaryFunction::Mul } if operands[0] == operands[1] => true,
        Op::Binary { function: BinaryFunction::Add | BinaryFunction::Mul } => all(),
        Op::Reduce { function: ReduceFunction::SumSquare | ReduceFunction::SumAbs | ReduceFunction::Norm2, .. } => true,
        Op::Reduce { function: ReduceFunction::Sum | ReduceFunction::Mean | ReduceFunction::Max, .. } => all(),
        Op::Convert { to, .. } => to.is_float() && all(),
        Op::Reshape { .. } | Op::Transpose { .. } | Op::Broadcast { .. } => all(),
        _ => false,
    }
}

/// a ∘ b = b ∘ a: constants stand last, so that alike layers are alike.
fn constant_last(graph: &Graph, commutes: bool, operands: &[Value]) -> Option<Vec<Value>> {
    let constant = |value: Value| graph.recipe(value).is_some();
    (commutes && constant(operands[0]) && !constant(operands[1])).then(|| vec![operands[1], operands[0]])
}

fn commutes(function: BinaryFunction) -> bool {
    match function {
        BinaryFunction::Add
        | BinaryFunction::Mul
        | BinaryFunction::Min
        | BinaryFunction::Max
        | BinaryFunction::And
        | BinaryFunction::Or
        | BinaryFunction::Xor => true,
        BinaryFunction::Sub
        | BinaryFunction::Div
        | BinaryFunction::Pow
        | BinaryFunction::Mod
        | BinaryFunction::Fmod
        | BinaryFunction::Shl
        | BinaryFunction::Shr
        | BinaryFunction::Prelu
        | BinaryFunction::Atan2
        | BinaryFunction::MulSilu
        | BinaryFunction::FloorDiv => false,
    }
}

/// Whether a function with this number as one operand returns the other one.
fn kept_by(function: BinaryFunction, number: f64, number_is_left: bool) -> Option<()> {
    let neutral = match function {
        BinaryFunction::Add | BinaryFunction::Or | BinaryFunction::Xor => number == 0.0,
        BinaryFunction::Sub | BinaryFunction::Shl | BinaryFunction::Shr => number == 0.0 && !number_is_left,
        BinaryFunction::Mul => number == 1.0,
        BinaryFunction::Div | BinaryFunction::Pow => number == 1.0 && !number_is_left,
        // All bits are set only in true; integers would need -1.
        BinaryFunction::And
        | BinaryFunction::Min
        | BinaryFunction::Max
        | BinaryFunction::Mod
        | BinaryFunction::Fmod
        | BinaryFunction::Prelu
        | BinaryFunction::Atan2
        | BinaryFunction::MulSilu
        | BinaryFunction::FloorDiv => false,
    };
    neutral.then_some(())
}

/// The dims of operands broadcast, if that is certain without learning anything.
fn joined(graph: &Graph, operands: &[Value]) -> Option<Vec<Dim>> {
    let mut dims: Vec<Dim> = graph.dims(operands[0]).to_vec();
    for &operand in &operands[1..] {
        let other = graph.dims(operand);
        let rank = dims.len().max(other.len());
        let extent =
            |dims: &[Dim], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(Dim::ONE, |at| dims[at].clone());
        dims = (0..rank)
            .map(|axis| match (extent(&dims, axis), extent(other, axis)) {
                (a, b) if a == b || b.is(1) => Some(a),
                (a, b) if a.is(1) => Some(b),
                _ => None,
            })
            .collect::<Option<Vec<Dim>>>()?;
    }
    Some(dims)
}

/// f(broadcast(x), y) = f(x, y) where y has the dims already.
fn without_broadcasts(b: &mut Builder, op: &Op, operands: &[Value], provenance: &Provenance) -> Simplified {
    let is_broadcast = |&value: &Value| matches!(defining(&b.graph, value), Some((Op::Broadcast { .. }, _)));
    if !operands.iter().any(is_broadcast) {
        return Ok(None);
    }
    let Some(dims) = joined(&b.graph, operands) else { return Ok(None) };
    let mut bare = operands.to_vec();
    for index in 0..bare.len() {
        if let Some((Op::Broadcast { .. }, sources)) = defining(&b.graph, bare[index]) {
            let kept = std::mem::replace(&mut bare[index], sources[0]);
            if joined(&b.graph, &bare).as_ref() != Some(&dims) {
                bare[index] = kept;
            }
        }
    }
    if bare == operands { Ok(None) } else { b.emit1(op.clone(), bare, provenance).map(Some) }
}

fn select(b: &mut Builder, op: &Op, operands: &[Value], provenance: &Provenance) -> Simplified {
    let [condition, yes, no] = [operands[0], operands[1], operands[2]];
    let chosen = match splat(&b.graph, condition) {
        // select(true, a, b) = a
        Some(holds) => Some(if holds != 0.0 { yes } else { no }),
        // select(c, a, a) = a
        None if yes == no => Some(yes),
        None => None,
    };
    if let (Some(chosen), Some(dims)) = (chosen, joined(&b.graph, operands)) {
        return b.emit1(Op::Broadcast { dims }, vec![chosen], provenance).map(Some);
    }
    // select(not c, a, b) = select(c, b, a)
    if let Some((Op::Unary { function: UnaryFunction::Not }, inner)) = defining(&b.graph, condition) {
        let swapped = vec![inner[0], no, yes];
        return b.emit1(Op::Select {}, swapped, provenance).map(Some);
    }
    without_broadcasts(b, op, operands, provenance)
}

/// Whether every value of a type is also one of another.
fn is_exact(from: Element, to: Element) -> bool {
    let integer_bits = |element: Element| match element {
        Element::F64 => 53,
        Element::F32 => 24,
        Element::F16 => 11,
        Element::BF16 => 8,
        _ => 0,
    };
    match (from.integer_range(), to.integer_range()) {
        (Some(own), Some(other)) => to != Element::Bool && other.0 <= own.0 && own.1 <= other.1,
        (Some(own), None) => own.1 <= 1 << integer_bits(to).min(100) && integer_bits(to) > 0,
        (None, Some(_)) => false,
        (None, None) => match from {
            Element::F32 => to == Element::F64,
            Element::F64 | Element::F8E8M0 => false,
            _ => matches!(to, Element::F32 | Element::F64),
        },
    }
}

fn convert(b: &mut Builder, to: Element, saturate: bool, x: Value, provenance: &Provenance) -> Simplified {
    if b.graph.element(x) == to {
        return Ok(Some(x));
    }
    match defining(&b.graph, x) {
        // convert(convert(x)) = convert(x), where the first one is exact
        Some((Op::Convert { to: middle, saturate: false }, operands))
            if is_exact(b.graph.element(operands[0]), *middle) =>
        {
            let source = operands[0];
            b.emit1(Op::Convert { to, saturate }, vec![source], provenance).map(Some)
        }
        // convert(broadcast(x)) = broadcast(convert(x))
        Some((Op::Broadcast { dims }, operands)) => {
            let (dims, source) = (dims.clone(), operands[0]);
            let inner = b.emit1(Op::Convert { to, saturate }, vec![source], provenance)?;
            b.emit1(Op::Broadcast { dims }, vec![inner], provenance).map(Some)
        }
        _ => Ok(None),
    }
}

/// The reduction of axes of extent 1 is no reduction.
fn reduce(b: &Builder, function: ReduceFunction, axes: &[usize], x: Value) -> Option<Value> {
    let keeps = match function {
        ReduceFunction::Sum
        | ReduceFunction::Mean
        | ReduceFunction::Prod
        | ReduceFunction::Min
        | ReduceFunction::Max => true,
        ReduceFunction::All | ReduceFunction::Any => b.graph.element(x) == Element::Bool,
        ReduceFunction::SumSquare
        | ReduceFunction::SumAbs
        | ReduceFunction::Norm2
        | ReduceFunction::LogSum
        | ReduceFunction::LogSumExp => false,
    };
    (keeps && axes.iter().all(|&axis| b.graph.dims(x)[axis].is(1))).then_some(x)
}

fn transpose(b: &mut Builder, permutation: &[usize], x: Value, provenance: &Provenance) -> Simplified {
    // transpose by nothing is nothing
    if permutation.iter().enumerate().all(|(at, &axis)| at == axis) {
        return Ok(Some(x));
    }
    // transpose(transpose(x)) = transpose(x)
    if let Some((Op::Transpose { permutation: first }, operands)) = defining(&b.graph, x) {
        let both = permutation.iter().map(|&axis| first[axis]).collect();
        let source = operands[0];
        return b.emit1(Op::Transpose { permutation: both }, vec![source], provenance).map(Some);
    }
    Ok(None)
}

fn reshape(b: &mut Builder, dims: &[Dim], x: Value, provenance: &Provenance) -> Simplified {
    // reshape to the same dims is nothing
    if b.graph.dims(x) == dims {
        return Ok(Some(x));
    }
    // reshape(reshape(x)) = reshape(x)
    if let Some((Op::Reshape { .. }, operands)) = defining(&b.graph, x) {
        let source = operands[0];
        return b.emit1(Op::Reshape { dims: dims.to_vec() }, vec![source], provenance).map(Some);
    }
    Ok(None)
}

fn broadcast(b: &mut Builder, dims: &[Dim], x: Value, provenance: &Provenance) -> Simplified {
    // broadcast to the same dims is nothing
    if b.graph.dims(x) == dims {
        return Ok(Some(x));
    }
    // broadcast(broadcast(x)) = broadcast(x)
    if let Some((Op::Broadcast { .. }, operands)) = defining(&b.graph, x) {
        let source = operands[0];
        return b.emit1(Op::Broadcast { dims: dims.to_vec() }, vec![source], provenance).map(Some);
    }
    Ok(None)
}

fn slice(
    b: &mut Builder,
    (starts, steps, dims): (&[Dim], &[i64], &[Dim]),
    x: Value,
    provenance: &Provenance,
) -> Simplified {
    // slice of everything is nothing
    let own = b.graph.dims(x);
    if own == dims && steps.iter().all(|&step| step == 1) {
        return Ok(Some(x));
    }
    match defining(&b.graph, x) {
        // slice(slice(x)) = slice(x)
        Some((Op::Slice { starts: first, steps: strides, .. }, operands)) => {
            let source = operands[0];
            let composed: Vec<Dim> =
                (0..starts.len()).map(|axis| &first[axis] + &(&starts[axis] * &Dim::from(strides[axis]))).collect();
            let both: Option<Vec<i64>> = steps.iter().zip(strides).map(|(a, b)| a.checked_mul(*b)).collect();
            let (Some(steps), false) = (both, composed.iter().any(Dim::is_invalid)) else { return Ok(None) };
            b.emit1(Op::Slice { starts: composed, steps, dims: dims.to_vec() }, vec![source], provenance).map(Some)
        }
        // slice(concat(.., x, ..)) = slice(x), where it lies inside of x
        Some((Op::Concat { axis }, operands)) => {
            let axis = *axis;
            let parts = operands.to_vec();
            slice_of_concat(b, (starts, steps, dims), axis, &parts, provenance)
        }
        _ => Ok(None),
    }
}

fn slice_of_concat(
    b: &mut Builder,
    (starts, steps, dims): (&[Dim], &[i64], &[Dim]),
    axis: usize,
    parts: &[Value],
    provenance: &Provenance,
) -> Simplified {
    let symbols = &b.graph.symbols;
    let last = &starts[axis] + &(&(&dims[axis] - &Dim::ONE) * &Dim::from(steps[axis]));
    let (low, high) = if steps[axis] > 0 { (&starts[axis], &last) } else { (&last, &starts[axis]) };
    let never_negative = |dim: &Dim| dim.bounds(symbols).0.is_some_and(|least| least >= 0);
    let mut offset = Dim::ZERO;
    // Only the first parts are tried, so that many slices of one long concat stay linear.
    for &part in parts.iter().take(16) {
        let end = &offset + &b.graph.dims(part)[axis];
        let inside = never_negative(&(low - &offset)) && never_negative(&(&(&end - &Dim::ONE) - high));
        if inside {
            let mut inner = starts.to_vec();
            inner[axis] = &starts[axis] - &offset;
            let op = Op::Slice { starts: inner, steps: steps.to_vec(), dims: dims.to_vec() };
            return b.emit1(op, vec![part], provenance).map(Some);
        }
        offset = end;
    }
    Ok(None)
}

fn concat(b: &mut Builder, axis: usize, operands: &[Value], provenance: &Provenance) -> Simplified {
    // concat(x) = x; parts without elements add nothing
    let filled: Vec<Value> = operands.iter().copied().filter(|&part| !b.graph.dims(part)[axis].is(0)).collect();
    match (filled.as_slice(), operands.len()) {
        ([], _) => Ok(Some(operands[0])),
        ([one], _) => Ok(Some(*one)),
        (some, all) if some.len() < all => b.emit1(Op::Concat { axis }, filled, provenance).map(Some),
        _ => Ok(None),
    }
}

/// gather(x, i) = slice(x, i) where the constant indices follow each other.
fn gather(b: &mut Builder, axis: usize, operands: &[Value], provenance: &Provenance) -> Simplified {
    let [x, indices] = [operands[0], operands[1]];
    let own = b.graph.dims(x).to_vec();
    let Some(known) = b.graph.known_dims(indices) else { return Ok(None) };
    let numbers: Option<Vec<i64>> = known.iter().map(Dim::as_const).collect();
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else { return Ok(None) };
    let step = numbers.get(1).map_or(1, |second| second - numbers[0]);
    let follow = numbers.windows(2).all(|pair| pair[1] - pair[0] == step);
    let one_sign = numbers.iter().all(|&n| n >= 0) || numbers.iter().all(|&n| n < 0);
    if !follow || step == 0 || !one_sign || b.graph.recipe(x).is_some_and(|recipe| recipe.element().bits() < 8) {
        return Ok(None);
    }
    let start = match numbers[0] {
        from_end if from_end < 0 => &own[axis] + &Dim::from(from_end),
        from_start => Dim::from(from_start),
    };
    // An index that may be out of range is left for the run to refuse.
    let last = &start + &Dim::from((numbers.len() as i64 - 1).saturating_mul(step));
    let never_negative = |dim: &Dim| dim.bounds(&b.graph.symbols).0.is_some_and(|least| least >= 0);
    let inside = |at: &Dim| never_negative(at) && never_negative(&(&(&own[axis] - at) - &Dim::ONE));
    if !inside(&start) || !inside(&last) {
        return Ok(None);
    }
    let (mut starts, mut steps, mut dims) = (vec![Dim::ZERO; own.len()], vec![1; own.len()], own.clone());
    (starts[axis], steps[axis], dims[axis]) = (start, step, numbers.len().into());
    let sliced = b.emit1(Op::Slice { starts, steps, dims }, vec![x], provenance)?;
    let result = [&own[..axis], b.graph.dims(indices), &own[axis + 1..]].concat();
    b.emit1(Op::Reshape { dims: result }, vec![sliced], provenance).map(Some)
}

/// gather_nd(x, i) = gather(x, i) where a coordinate is one index of the first axis.
fn gather_nd(b: &mut Builder, batch: usize, operands: &[Value], provenance: &Provenance) -> Simplified {
    let [x, indices] = [operands[0], operands[1]];
    let Some((coordinates, rows)) = b.graph.dims(indices).split_last() else { return Ok(None) };
    if batch > 0 || !coordinates.is(1) {
        return Ok(None);
    }
    let rows = rows.to_vec();
    let indices = b.emit1(Op::Reshape { dims: rows }, vec![indices], provenance)?;
    b.emit1(Op::Gather { axis: 0 }, vec![x, indices], provenance).map(Some)
}
