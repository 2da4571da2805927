//! Elementwise ops: operands are broadcast by strides of 0 and all views lose the axes that they need not have.

use narae_isa::element::ScaleRounding;
use narae_isa::instructions::{self as isa, Inst};
use narae_isa::operand::Axis;
use narae_isa::{Diagnostic, Element, codes};

use super::scope::Scope;
use super::{Lowered, Lowering, d};
use crate::graph::{NodeData, Op};
use crate::ir::{Dim, Value};
use crate::tile::View;

impl Lowering {
    pub(super) fn elementwise(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let inst: Inst = match &node.op {
            Op::Unary { function } => isa::Unary { function: *function, out: d(0), a: d(1) }.into(),
            Op::Binary { function } => isa::Binary { function: *function, out: d(0), a: d(1), b: d(2) }.into(),
            Op::Compare { function } => isa::Compare { function: *function, out: d(0), a: d(1), b: d(2) }.into(),
            Op::Select {} => isa::Select { out: d(0), c: d(1), a: d(2), b: d(3) }.into(),
            Op::Convert { to, .. } if scope.graph.element(node.operands[0]) == *to => {
                scope.set_view(node.results[0], scope.view(node.operands[0]));
                return Ok(());
            }
            Op::Convert { saturate, .. } => {
                isa::Convert { out: d(0), a: d(1), rounding: ScaleRounding::Up, saturate: *saturate }.into()
            }
            Op::Bits { from, to, element } => {
                let x = self.converted(scope.view(node.operands[0]), *from)?;
                let bits = self.converted(View { element: *to, ..x }, *element)?;
                scope.set_view(node.results[0], bits);
                return Ok(());
            }
            Op::Iota { axis, .. } => return self.iota(scope, node, *axis),
            Op::Quantize { axis, block, .. } => {
                let zero = (node.operands.len() > 2).then_some(d(3));
                let inst = isa::Quantize { out: d(0), a: d(1), scale: d(2), zero };
                return self.scaled(scope, node, inst.into(), *axis, *block);
            }
            Op::Dequantize { axis, block } => {
                let zero = (node.operands.len() > 2).then_some(d(3));
                let inst = isa::Dequantize { out: d(0), a: d(1), scale: d(2), zero };
                return self.scaled(scope, node, inst.into(), *axis, *block);
            }
            other => unreachable!("`{}` is not elementwise", other.name()),
        };
        let out = self.result(scope, node.results[0])?;
        let operands: Vec<View> = node.operands.iter().map(|&value| scope.view(value)).collect();
        self.apply(inst, out, operands)
    }

    /// Appends an elementwise instruction whose template numbers the result 0 and the operands from 1.
    pub(super) fn apply(&mut self, inst: Inst, out: View, operands: Vec<View>) -> Lowered {
        let wide: Vec<View> = operands.iter().map(|view| self.repeated(view, &out.dims)).collect();
        let mut all = vec![&out];
        all.extend(&wide);
        let views = View::simplify_together(&all);
        self.compute(inst, views, vec![])
    }

    /// A view in another element type: itself, or a conversion to working memory.
    fn converted(&mut self, view: View, element: Element) -> Result<View, Diagnostic> {
        if view.element == element {
            return Ok(view);
        }
        let out = self.scratch(element, &view.dims)?;
        let inst = isa::Convert { out: d(0), a: d(1), rounding: ScaleRounding::Up, saturate: false };
        self.apply(inst.into(), out.clone(), vec![view])?;
        Ok(out)
    }

    fn iota(&mut self, scope: &mut Scope<'_>, node: &NodeData, axis: usize) -> Lowered {
        let out = self.result(scope, node.results[0])?;
        let axis = u8::try_from(axis).ok().and_then(Axis::new).ok_or_else(rank_error)?;
        self.compute(isa::Iota { out: d(0), axis, start: None, step: None }, vec![out], vec![])
    }

    /// Quantize and dequantize: scale and zero point serve blocks along an axis, which is split in two for that.
    fn scaled(&mut self, scope: &mut Scope<'_>, node: &NodeData, inst: Inst, axis: usize, block: usize) -> Lowered {
        let out = self.result(scope, node.results[0])?;
        let operands: Vec<View> = node.operands.iter().map(|&value: &Value| scope.view(value)).collect();
        if block == 0 {
            return self.apply(inst, out, operands);
        }
        let extent = out.dims[axis].as_size();
        let Some(extent) = extent.filter(|extent| extent % block == 0) else {
            return self.ragged_blocks(inst, &out, &operands, axis, block);
        };
        let split = |view: &View| -> View {
            let mut dims = view.dims.clone();
            dims[axis] = Dim::from(extent / block);
            dims.insert(axis + 1, Dim::from(block));
            view.reshape(&dims).expect("splitting one axis needs no copy")
        };
        let (split_out, split_x) = (split(&out), split(&operands[0]));
        let mut wide = vec![split_x];
        wide.extend(operands[1..].iter().map(|view| view.insert_axis(axis + 1)));
        self.apply(inst, split_out, wide)
    }

    /// The same where the last block is shorter, or the extent is dynamic: one instruction per block.
    fn ragged_blocks(&mut self, inst: Inst, out: &View, operands: &[View], axis: usize, block: usize) -> Lowered {
        // A parameter of 1 along the axis is one for all blocks.
        let Some(own) = operands[1..].iter().find(|view| !view.dims[axis].is(1)) else {
            return self.apply(inst, out.clone(), operands.to_vec());
        };
        let blocks = own.dims[axis].as_size().ok_or_else(|| {
            Diagnostic::new(&codes::E0202, "blocked quantisation along an axis of dynamic extent is not supported")
        })?;
        if blocks == 0 {
            // No block is no element: the result is written for all that.
            return self.fill(out.clone(), None);
        }
        for index in 0..blocks {
            let start = Dim::from(index * block);
            let rest = &out.dims[axis] - &start;
            let extent = self.program.symbols.minimum(&rest, &Dim::from(block));
            let cut = |view: &View| view.slice(axis, &start, &extent, 1);
            let mut parts = vec![cut(&operands[0])];
            let own = |view: &View| match view.dims[axis].is(1) {
                true => view.clone(),
                false => view.slice(axis, &Dim::from(index), &Dim::ONE, 1),
            };
            parts.extend(operands[1..].iter().map(own));
            self.apply(inst, cut(out), parts)?;
        }
        Ok(())
    }
}

/// An axis beyond what instructions can name.
pub(super) fn rank_error() -> Diagnostic {
    Diagnostic::new(&codes::E0403, format!("an axis is beyond the {} of an instruction", super::MAXIMUM_RANK))
}
