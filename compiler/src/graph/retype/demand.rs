//! Which values must be wide because of what is done with them.
//!
//! In: a graph. Out: for each float value the reason why one of its readers, near or far, needs it wide. A demand starts at an op that
//! magnifies an error of its operand (the sine of a large angle, the exponential of a score, a quotient) and goes backwards through
//! elementwise ops and changes of layout. Always holds: it stops at matrix products, windows, norms, reductions and attention, whose
//! results are as good as their operands.

use cranelift_entity::{EntityRef, SecondaryMap};
use narae_isa::{BinaryFunction, Element, ReduceFunction, UnaryFunction};

use super::Reason;
use crate::graph::{Graph, NodeData, Op};
use crate::ir::Value;

/// Reasons by value.
pub(super) type Demands = SecondaryMap<Value, Option<Reason>>;

/// The demands of all ops of a graph, and of its outputs if they are `delivered` wide.
pub(super) fn demands(graph: &Graph, delivered: bool) -> Demands {
    let mut found = Demands::new();
    let uses = graph.use_counts();
    if delivered {
        graph.outputs().iter().filter(|port| is_tail(graph, &uses, port.value)).for_each(|port| {
            found[port.value] = Some(Reason::Output);
        });
    }
    for (_, node) in graph.nodes().rev() {
        let passed = node.results.iter().find_map(|&value| found[value]);
        // What others read too (a residual stream) is no part of the way to the output alone.
        let alone = node.results.iter().all(|value| uses[value.index()] <= 1) && is_elementwise(&node.op);
        let passed = passed.filter(|reason| *reason != Reason::Output || alone);
        let through =
            passed.into_iter().flat_map(|reason| carriers(graph, node).into_iter().map(move |at| (at, reason)));
        for (at, reason) in own(node).into_iter().chain(through) {
            let value = node.operands[at];
            if graph.element(value).is_float() {
                found[value] = found[value].or(Some(reason));
            }
        }
    }
    found
}

/// Whether a value that nobody else reads is the end of a chain of elementwise ops, but for changes of layout.
fn is_tail(graph: &Graph, uses: &[u32], value: Value) -> bool {
    let mut value = value;
    while graph.element(value) == Element::F32 && uses[value.index()] == 1 {
        match graph.defining(value) {
            Some((_, node)) if matches!(node.op, Op::Reshape { .. } | Op::Transpose { .. }) => value = node.operands[0],
            Some((_, node)) => return is_elementwise(&node.op),
            None => return false,
        }
    }
    false
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary { .. } | Op::Binary { .. } | Op::Select {} | Op::Reshape { .. } | Op::Transpose { .. })
}

/// The operands that an op itself needs wide.
fn own(node: &NodeData) -> Vec<(usize, Reason)> {
    match &node.op {
        Op::Unary { function } => unary(*function).map(|reason| (0, reason)).into_iter().collect(),
        Op::Binary { function: BinaryFunction::Div } => vec![(1, Reason::Divisor)],
        Op::Binary { function: BinaryFunction::Mod | BinaryFunction::Fmod | BinaryFunction::FloorDiv } => {
            vec![(0, Reason::Index), (1, Reason::Index)]
        }
        Op::Binary { function: BinaryFunction::Atan2 } => vec![(0, Reason::Angle), (1, Reason::Angle)],
        Op::Convert { to, .. } if to.is_integer() => vec![(0, Reason::Index)],
        Op::Softmax { .. } => vec![(0, Reason::Scores)],
        Op::Reduce { function: ReduceFunction::LogSum | ReduceFunction::LogSumExp, .. } => vec![(0, Reason::Exponent)],
        Op::Cumulate { .. } => vec![(0, Reason::Accumulation)],
        Op::Rope { .. } => vec![(1, Reason::Rotation), (2, Reason::Rotation)],
        Op::Attention { bias: true, .. } => vec![(3, Reason::Scores)],
        Op::Quantize { .. } | Op::Dequantize { .. } => vec![(1, Reason::Scale)],
        Op::Bits { .. } => vec![(0, Reason::Index)],
        _ => vec![],
    }
}

fn unary(function: UnaryFunction) -> Option<Reason> {
    use UnaryFunction::*;
    match function {
        Sin | Cos | Tan => Some(Reason::Angle),
        Exp | Exp2 | Expm1 | Log | Log1p | Softplus | Sinh | Cosh | LogGamma => Some(Reason::Exponent),
        Sqrt | Rsqrt | Reciprocal => Some(Reason::Divisor),
        Floor | Ceil | Round | Truncate => Some(Reason::Index),
        Neg | Abs | Tanh | Erf | Asin | Acos | Atan | Asinh | Acosh | Atanh | Sign | Sigmoid | Softsign | Mish
        | Gelu | GeluTanh | Silu | QuickGelu | Relu | HardSwish | Not | BitwiseNot | IsNan | IsInf | IsPosInf
        | IsNegInf | Square => None,
    }
}

/// The operands that must be wide where the result must.
fn carriers(graph: &Graph, node: &NodeData) -> Vec<usize> {
    let all = || (0..node.operands.len()).collect();
    match &node.op {
        Op::Unary { .. } | Op::Binary { .. } | Op::Concat { .. } | Op::Pad { .. } => all(),
        Op::Select {} => vec![1, 2],
        Op::Convert { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Broadcast { .. }
        | Op::Slice { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::GatherNd { .. } => vec![0],
        Op::ScatterElements { .. } | Op::ScatterNd { .. } => vec![0, 2],
        Op::MatMul {} | Op::Linear {} if is_outer(graph, node) => all(),
        _ => vec![],
    }
}

/// Whether a matrix product sums over one element: then it is an elementwise product, which exporters use to multiply positions with
/// frequencies.
pub(super) fn is_outer(graph: &Graph, node: &NodeData) -> bool {
    graph.dims(node.operands[0]).last().is_some_and(|inner| inner.is(1))
}

/// Whether an element type is that of a count.
pub(super) fn counts(element: Element) -> bool {
    !element.is_float() && element != Element::Bool
}
