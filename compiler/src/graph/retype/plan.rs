//! What is computed wide, and which values are wide.
//!
//! In: a graph, the target. Out: for each node whether it computes wide and why, and for each value whether those who read only wide values
//! go on wide. A value becomes wide where 16 bits cannot hold it: it counts, it grows (powers, exponentials, sums), a constant of it is
//! beyond the range, or a reader demands it. Wide values stay wide through elementwise ops and changes of layout. Where wide meets
//! narrow, the op computes wide and its result is narrow again, with saturation: the residual stream stays narrow, and nothing overflows.

use cranelift_entity::SecondaryMap;
use narae_isa::{BinaryFunction, CumulateFunction, Element, ReduceFunction, UnaryFunction};

use super::demand::{Demands, counts, demands, is_outer};
use super::{Ports, Reason, constants, is_retyped};
use crate::graph::ops::PoolFunction;
use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Node, Value};

/// What is wide, and why.
pub(crate) struct Plan {
    /// Nodes that compute wide.
    pub(super) compute: SecondaryMap<Node, Option<Reason>>,
    /// Values that make ops wide which read nothing else.
    wide: SecondaryMap<Value, Option<Reason>>,
}

/// A node's decision: how it computes, and what its results are.
type Decision = (Option<Reason>, Option<Reason>);

impl Plan {
    /// Decides for a graph or body.
    pub(super) fn new(graph: &Graph, target: Element, ports: Ports) -> Plan {
        let mut plan = Plan { compute: SecondaryMap::new(), wide: SecondaryMap::new() };
        if !matches!(target, Element::F16 | Element::BF16) {
            return plan;
        }
        let demands = demands(graph, ports == Ports::Declared);
        for port in graph.inputs().iter().filter(|port| is_retyped(graph.element(port.value), target)) {
            plan.wide[port.value] = match ports {
                Ports::Declared => demands[port.value],
                Ports::Wide => Some(Reason::Carried),
                Ports::Narrow => None,
            };
        }
        for (node, data) in graph.nodes() {
            let step = Step { graph, data, target, demands: &demands, plan: &plan };
            let (compute, value) = step.decide();
            let retyped = |value: &Value| is_retyped(graph.element(*value), target);
            let applies = match &data.op {
                Op::Compare { .. } => retyped(&data.operands[0]),
                _ => data.results.iter().any(retyped),
            };
            if applies {
                plan.compute[node] = compute;
                data.results.iter().for_each(|result| plan.wide[*result] = value);
            }
        }
        plan
    }
}

/// The decision about one node.
struct Step<'a> {
    graph: &'a Graph,
    data: &'a NodeData,
    target: Element,
    demands: &'a Demands,
    plan: &'a Plan,
}

impl Step<'_> {
    fn decide(&self) -> Decision {
        let demanded = self.data.results.iter().find_map(|&value| self.demands[value]);
        let both = |reason: Reason| (Some(reason), Some(reason));
        let followed = |reason: Option<Reason>| (reason.or(demanded), reason.or(demanded));
        match &self.data.op {
            Op::Iota { .. } => both(Reason::Counted),
            Op::Convert { .. } => match self.graph.element(self.data.operands[0]) {
                from if counts(from) => both(Reason::Counted),
                _ => followed(self.of(0)),
            },
            Op::Unary { function } => unary(*function, self.of(0), demanded),
            Op::Binary { function } => self.binary(*function, demanded),
            Op::Compare { .. } => {
                let any = self.any().or(self.beyond([0, 1]));
                (any, None)
            }
            Op::Select {} => match self.beyond([1, 2]) {
                Some(reason) => both(reason),
                None => followed(self.all()),
            },
            Op::Concat { .. } | Op::ScatterElements { .. } | Op::ScatterNd { .. } => followed(self.all()),
            Op::Reduce { function, .. } => match function {
                ReduceFunction::Mean | ReduceFunction::Min | ReduceFunction::Max => followed(self.of(0)),
                ReduceFunction::All | ReduceFunction::Any => (None, None),
                ReduceFunction::Sum
                | ReduceFunction::Prod
                | ReduceFunction::SumSquare
                | ReduceFunction::SumAbs
                | ReduceFunction::Norm2
                | ReduceFunction::LogSum
                | ReduceFunction::LogSumExp => both(Reason::Accumulation),
            },
            Op::Cumulate { function, .. } => match function {
                CumulateFunction::Sum | CumulateFunction::Prod => both(Reason::Accumulation),
                CumulateFunction::Min | CumulateFunction::Max => followed(self.of(0)),
            },
            Op::Softmax { log, .. } => (Some(Reason::Scores), demanded.or(log.then_some(Reason::Scores))),
            Op::Pool { function: PoolFunction::Sum, .. } => both(Reason::Accumulation),
            Op::MatMul {} | Op::Linear {} if is_outer(self.graph, self.data) => followed(self.any()),
            Op::MatMul {} | Op::Conv { .. } => (self.beyond([0, 1]), None),
            // Bounded, whatever goes in.
            Op::RmsNorm { .. } | Op::LayerNorm { .. } => (self.of(0), demanded),
            Op::Dequantize { .. } => (Some(Reason::Scale), demanded),
            Op::While { .. } | Op::If { .. } => both(Reason::Carried),
            Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. }
            | Op::TopK { .. }
            | Op::Pool { function: PoolFunction::Max, .. }
            | Op::Window { .. } => followed(self.of(0)),
            Op::Constant { .. }
            | Op::Dims { .. }
            | Op::Bits { .. }
            | Op::ArgReduce { .. }
            | Op::NonZero {}
            | Op::MatMulInteger {}
            | Op::Quantize { .. }
            | Op::Linear {}
            | Op::Rope { .. }
            | Op::Attention { .. }
            | Op::KvAppend {}
            | Op::Loop { .. } => (None, None),
        }
    }

    /// Why an operand is wide, if it is.
    fn of(&self, operand: usize) -> Option<Reason> {
        self.plan.wide[self.data.operands[operand]]
    }

    /// The float operands that are no constants.
    fn floats(&self) -> impl Iterator<Item = Value> {
        let graph = self.graph;
        let known = move |value: &Value| graph.recipe(*value).is_some();
        self.data.operands.iter().copied().filter(move |value| graph.element(*value).is_float() && !known(value))
    }

    /// Why some operand is wide.
    fn any(&self) -> Option<Reason> {
        self.floats().find_map(|value| self.plan.wide[value])
    }

    /// Why all operands are wide, if there are any.
    fn all(&self) -> Option<Reason> {
        self.floats().all(|value| self.plan.wide[value].is_some()).then(|| self.any()).flatten()
    }

    /// Whether a constant among these operands is beyond the target.
    fn beyond(&self, operands: [usize; 2]) -> Option<Reason> {
        let recipes = operands.into_iter().filter_map(|at| self.graph.recipe(*self.data.operands.get(at)?));
        let mut beyond = recipes.map(|recipe| constants::is_beyond(recipe, &self.graph.sources, self.target));
        beyond.any(|beyond| beyond).then_some(Reason::Range)
    }

    fn binary(&self, function: BinaryFunction, demanded: Option<Reason>) -> Decision {
        let both = |reason: Reason| (Some(reason), Some(reason));
        let mixed = || (self.any().or(demanded), self.all().or(demanded));
        let [a, b] = [self.data.operands[0], self.data.operands[1]];
        match function {
            // Against what is narrow, the nearest number that the narrow type has does the same.
            BinaryFunction::Min | BinaryFunction::Max => {
                let all = self.all().or(demanded);
                (all, all)
            }
            _ if self.beyond([0, 1]).is_some() => both(Reason::Range),
            BinaryFunction::Pow => both(Reason::Growth),
            BinaryFunction::Mul if a == b => both(Reason::Growth),
            BinaryFunction::Div if self.graph.recipe(b).is_none() => {
                let numerator = self.plan.wide[a].or(self.graph.recipe(a).map(|_| Reason::Growth));
                (Some(Reason::Divisor), numerator.or(demanded))
            }
            BinaryFunction::Add
            | BinaryFunction::Sub
            | BinaryFunction::Mul
            | BinaryFunction::Div
            | BinaryFunction::Mod
            | BinaryFunction::Fmod
            | BinaryFunction::And
            | BinaryFunction::Or
            | BinaryFunction::Xor
            | BinaryFunction::Shl
            | BinaryFunction::Shr
            | BinaryFunction::Prelu
            | BinaryFunction::Atan2
            | BinaryFunction::MulSilu
            | BinaryFunction::FloorDiv => mixed(),
        }
    }
}

fn unary(function: UnaryFunction, operand: Option<Reason>, demanded: Option<Reason>) -> Decision {
    use UnaryFunction::*;
    let followed = operand.or(demanded);
    match function {
        Exp | Exp2 | Expm1 | Square | Sinh | Cosh | Tan | Rsqrt | Reciprocal | LogGamma => {
            (Some(Reason::Growth), Some(Reason::Growth))
        }
        // The operand was demanded: an angle in f32 has its sine taken in f32.
        Sin | Cos => (Some(Reason::Angle), demanded),
        Tanh | Erf | Asin | Acos | Atan | Sign | Sigmoid | Softsign => (followed, demanded),
        Neg | Abs | Log | Sqrt | Asinh | Acosh | Atanh | Floor | Ceil | Round | Truncate | Softplus | Mish | Gelu
        | GeluTanh | Silu | QuickGelu | Relu | HardSwish | Not | BitwiseNot | IsNan | IsInf | IsPosInf | IsNegInf
        | Log1p => (followed, followed),
    }
}
