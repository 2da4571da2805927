//! Reductions, running sums, softmax, normalisations and rotary embedding.

use narae_isa::instructions as isa;
use narae_isa::operand::{ArgFunction, Axis, AxisSet, Float32, NormKind};

use super::elementwise::rank_error;
use super::scope::Scope;
use super::{Lowered, Lowering, d};
use crate::graph::ops::ArgFunction as GraphArgFunction;
use crate::graph::{NodeData, Op};
use crate::tile::View;

impl Lowering {
    pub(super) fn reduction(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let x = scope.view(node.operands[0]);
        let out = self.result(scope, node.results[0])?;
        match &node.op {
            Op::Reduce { function, axes } => {
                let axes = AxisSet::of(axes).ok_or_else(rank_error)?;
                self.compute(isa::Reduce { function: *function, out: d(0), a: d(1), axes }, vec![out, x], vec![])
            }
            Op::ArgReduce { function, axis, last } => {
                let function = match function {
                    GraphArgFunction::Min => ArgFunction::Min,
                    GraphArgFunction::Max => ArgFunction::Max,
                };
                let axis = instruction_axis(*axis)?;
                self.compute(isa::ArgReduce { function, out: d(0), a: d(1), axis, last: *last }, vec![out, x], vec![])
            }
            Op::Cumulate { function, axis, exclusive, reverse } => {
                let axis = instruction_axis(*axis)?;
                let (exclusive, reverse) = (*exclusive, *reverse);
                let inst = isa::Cumulate { function: *function, out: d(0), a: d(1), axis, exclusive, reverse };
                self.compute(inst, vec![out, x], vec![])
            }
            Op::Softmax { axis, log } => {
                let axes = AxisSet::of(&[*axis]).ok_or_else(rank_error)?;
                self.compute(isa::Softmax { out: d(0), a: d(1), axes, log: *log }, vec![out, x], vec![])
            }
            Op::RmsNorm { epsilon } => self.norm(scope, node, NormKind::Rms, epsilon.get(), out, x),
            Op::LayerNorm { epsilon } => self.norm(scope, node, NormKind::Layer, epsilon.get(), out, x),
            Op::Rope { interleaved } => {
                let last = x.rank() - 1;
                let wide = |view: View| -> View {
                    let mut dims = x.dims.clone();
                    dims[last] = view.dims[view.rank() - 1].clone();
                    self.repeated(&view, &dims)
                };
                let (cos, sin) = (wide(scope.view(node.operands[1])), wide(scope.view(node.operands[2])));
                let inst = isa::Rope { out: d(0), x: d(1), cos: d(2), sin: d(3), interleaved: *interleaved };
                self.compute(inst, vec![out, x, cos, sin], vec![])
            }
            other => unreachable!("`{}` is not a reduction", other.name()),
        }
    }

    fn norm(
        &mut self,
        scope: &Scope<'_>,
        node: &NodeData,
        kind: NormKind,
        epsilon: f64,
        out: View,
        x: View,
    ) -> Lowered {
        let axes = AxisSet::of(&[x.rank() - 1]).ok_or_else(rank_error)?;
        let mut views = vec![out, x.clone()];
        views.extend(node.operands[1..].iter().map(|&value| self.repeated(&scope.view(value), &x.dims)));
        let gain = (node.operands.len() > 1).then_some(d(2));
        let bias = (node.operands.len() > 2).then_some(d(3));
        let epsilon = Float32::new(epsilon as f32);
        self.compute(isa::Norm { kind, out: d(0), x: d(1), gain, bias, axes, epsilon }, views, vec![])
    }
}

/// An axis as instructions name it.
pub(super) fn instruction_axis(axis: usize) -> Result<Axis, narae_isa::Diagnostic> {
    u8::try_from(axis).ok().and_then(Axis::new).ok_or_else(rank_error)
}
