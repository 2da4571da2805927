//! Layout ops: views where strides can say it, copies where not.

use narae_isa::instructions as isa;
use narae_isa::operand::Float64;
use narae_isa::{Element, HostTensor};

use super::scope::Scope;
use super::{Lowered, Lowering, d};
use crate::compress::Recipe;
use crate::graph::ops::PadMode;
use crate::graph::{NodeData, Op};
use crate::ir::Dim;
use crate::tile::{self, View};

impl Lowering {
    pub(super) fn layout(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let value = node.results[0];
        let view = match &node.op {
            Op::Constant { recipe } => self.constant(recipe),
            Op::Dims { dims, .. } => return self.dims_tensor(scope, node, dims),
            Op::Transpose { permutation } => scope.view(node.operands[0]).transpose(permutation),
            Op::Reshape { .. } => {
                let dims = scope.value_dims(value);
                let view = scope.view(node.operands[0]);
                self.reshaped(&view, &dims)?
            }
            Op::Broadcast { .. } => self.repeated(&scope.view(node.operands[0]), &scope.value_dims(value)),
            Op::Slice { starts, steps, .. } => {
                let mut view = scope.view(node.operands[0]);
                let dims = scope.value_dims(value);
                for (axis, start) in scope.dims(starts).iter().enumerate() {
                    view = view.slice(axis, start, &dims[axis], steps[axis]);
                }
                view
            }
            Op::Pad { before, mode, .. } => return self.pad(scope, node, before, *mode),
            Op::Concat { axis } => return self.concat(scope, node, *axis),
            other => unreachable!("`{}` is not a layout op", other.name()),
        };
        scope.set_view(value, view);
        Ok(())
    }

    /// A tensor of expressions: constants are bytes of the image, the rest is written by the control unit.
    fn dims_tensor(&mut self, scope: &mut Scope<'_>, node: &NodeData, dims: &[Dim]) -> Lowered {
        let dims = scope.dims(dims);
        let shape: Vec<usize> = scope.graph.dims(node.results[0]).iter().filter_map(Dim::as_size).collect();
        let known: Option<Vec<i64>> = dims.iter().map(Dim::as_const).collect();
        if let Some(known) = known {
            let view = self.constant(&Recipe::inline(HostTensor::from_i64(&shape, &known)));
            scope.set_view(node.results[0], view);
            return Ok(());
        }
        let view = self.scratch(Element::I64, &scope.value_dims(node.results[0]))?;
        scope.set_view(node.results[0], view.clone());
        self.block.push(tile::Op::Write { to: view, values: dims });
        Ok(())
    }

    fn concat(&mut self, scope: &mut Scope<'_>, node: &NodeData, axis: usize) -> Lowered {
        let out = self.result(scope, node.results[0])?;
        let mut start = Dim::ZERO;
        for &operand in &node.operands {
            let from = scope.view(operand);
            let extent = from.dims[axis].clone();
            self.copy(out.slice(axis, &start, &extent, 1), from);
            start = &start + &extent;
        }
        Ok(())
    }

    fn pad(&mut self, scope: &mut Scope<'_>, node: &NodeData, before: &[Dim], mode: PadMode) -> Lowered {
        let x = scope.view(node.operands[0]);
        let before = scope.dims(before);
        let dims = scope.value_dims(node.results[0]);
        match mode {
            PadMode::Constant => {
                let out = self.result(scope, node.results[0])?;
                let fill = node.operands.get(1).map(|&value| scope.view(value));
                for margin in self.margins(&out, &x, &before) {
                    self.fill(margin, fill.as_ref())?;
                }
                self.place(&out, &x, &before);
                Ok(())
            }
            PadMode::Edge | PadMode::Reflect | PadMode::Wrap => {
                let last = self.pad_by_pieces(x, &before, &dims, mode)?;
                scope.set_view(node.results[0], last);
                Ok(())
            }
        }
    }

    /// What of `out` the value fills: both ends of the one axis that grows, else all of it.
    fn margins(&self, out: &View, x: &View, before: &[Dim]) -> Vec<View> {
        let never_negative = |dim: &Dim| dim.bounds(&self.program.symbols).0.is_some_and(|least| least >= 0);
        let growing: Vec<usize> =
            (0..out.rank()).filter(|&axis| !before[axis].is(0) || out.dims[axis] != x.dims[axis]).collect();
        let [axis] = growing[..] else { return vec![out.clone()] };
        let behind = &before[axis] + &x.dims[axis];
        let after = &out.dims[axis] - &behind;
        if !never_negative(&before[axis]) || !never_negative(&after) {
            return vec![out.clone()];
        }
        let ends = [(Dim::ZERO, before[axis].clone()), (behind, after)];
        let filled = ends.iter().filter(|(_, extent)| !extent.is(0));
        filled.map(|(start, extent)| out.slice(axis, start, extent, 1)).collect()
    }

    /// The value everywhere; zero if there is none.
    pub(super) fn fill(&mut self, out: View, value: Option<&View>) -> Lowered {
        match value {
            Some(value) => {
                self.copy(out.clone(), value.broadcast(&out.dims));
                Ok(())
            }
            None => {
                let fill = isa::Fill { out: d(0), value: Float64::new(0.0) };
                self.compute(fill, View::simplify_together(&[&out]), vec![])
            }
        }
    }

    /// Copies `x` into `out` so that its first element stands at `before`; parts that fall outside (negative padding)
    /// are left away.
    pub(super) fn place(&mut self, out: &View, x: &View, before: &[Dim]) {
        let (mut to, mut from) = (out.clone(), x.clone());
        let symbols = &self.program.symbols;
        for (axis, before) in before.iter().enumerate() {
            let skip = symbols.maximum(&(&Dim::ZERO - before), &Dim::ZERO);
            let start = symbols.maximum(before, &Dim::ZERO);
            let left = &x.dims[axis] - &skip;
            let room = &out.dims[axis] - &start;
            let extent = symbols.minimum(&left, &room);
            to = to.slice(axis, &start, &extent, 1);
            from = from.slice(axis, &skip, &extent, 1);
        }
        self.copy(to, from);
    }

    /// The modes that repeat elements: axis after axis, the middle and then the two borders.
    fn pad_by_pieces(
        &mut self,
        x: View,
        before: &[Dim],
        dims: &[Dim],
        mode: PadMode,
    ) -> Result<View, narae_isa::Diagnostic> {
        let mut current = x;
        for axis in 0..dims.len() {
            let extent = current.dims[axis].clone();
            if before[axis].is(0) && extent == dims[axis] {
                continue;
            }
            let after = &(&dims[axis] - &before[axis]) - &extent;
            let mut grown = current.dims.clone();
            grown[axis] = dims[axis].clone();
            let out = self.scratch(current.element, &grown)?;
            self.copy(out.slice(axis, &before[axis], &extent, 1), current.clone());
            let last = &extent - &Dim::ONE;
            let behind = &before[axis] + &extent;
            let (front, back) = match mode {
                PadMode::Edge => {
                    let edge = |at: &Dim, count: &Dim| {
                        let one = current.slice(axis, at, &Dim::ONE, 1);
                        let mut wide = one.dims.clone();
                        wide[axis] = count.clone();
                        one.broadcast(&wide)
                    };
                    (edge(&Dim::ZERO, &before[axis]), edge(&last, &after))
                }
                PadMode::Reflect => (
                    current.slice(axis, &before[axis], &before[axis], -1),
                    current.slice(axis, &(&last - &Dim::ONE), &after, -1),
                ),
                PadMode::Wrap => (
                    current.slice(axis, &(&extent - &before[axis]), &before[axis], 1),
                    current.slice(axis, &Dim::ZERO, &after, 1),
                ),
                PadMode::Constant => unreachable!("constant padding is a fill and a copy"),
            };
            self.copy(out.slice(axis, &Dim::ZERO, &before[axis], 1), front);
            self.copy(out.slice(axis, &behind, &after, 1), back);
            current = out;
        }
        Ok(current)
    }
}
