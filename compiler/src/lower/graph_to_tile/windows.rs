//! Convolution, pooling and windows.

use narae_isa::descriptor::WindowParameters;
use narae_isa::instructions::{self as isa, Inst};
use narae_isa::operand::{Float64, PoolKind};
use narae_isa::{Diagnostic, codes};

use super::scope::Scope;
use super::{Lowered, Lowering, d};
use crate::graph::ops::PoolFunction;
use crate::graph::{NodeData, Op};
use crate::ir::Dim;
use crate::tile::{self, Compute, Parameters, View};

/// Spatial axes that one instruction can walk.
const MAXIMUM_SPATIAL: usize = 3;

impl Lowering {
    pub(super) fn windows(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        match &node.op {
            Op::Conv { strides, before, dilations, input_dilations, groups, .. } => {
                let before = scope.dims(before);
                let spatial = scope.graph.rank(node.operands[0]) - 2;
                let kernel: Vec<Dim> = scope.value_dims(node.operands[1])[2..].to_vec();
                let parameters = WindowParameters {
                    kernel: spread(&kernel, 1)?,
                    stride: spread(&dims_of(strides), 1)?,
                    dilation: spread(&dims_of(dilations), 1)?,
                    pad_before: spread(&before, 0)?,
                    pad_after: spread(&[], 0)?,
                    input_dilation: spread(&dims_of(input_dilations), 1)?,
                };
                assert_eq!(strides.len(), spatial, "inference has checked the spatial rank");
                self.conv(scope, node, *groups, parameters)
            }
            Op::Pool { function, kernel, strides, before, dilations, .. } => {
                let kind = match function {
                    PoolFunction::Max => PoolKind::Max,
                    PoolFunction::Sum => PoolKind::Sum,
                };
                let parameters = WindowParameters {
                    kernel: spread(&dims_of(kernel), 1)?,
                    stride: spread(&dims_of(strides), 1)?,
                    dilation: spread(&dims_of(dilations), 1)?,
                    pad_before: spread(&scope.dims(before), 0)?,
                    pad_after: spread(&[], 0)?,
                    input_dilation: spread(&[], 1)?,
                };
                let a = scope.view(node.operands[0]);
                let out = self.result(scope, node.results[0])?;
                let inst = isa::Pool { kind, out: d(0), indices: None, a: d(1), window: d(2) };
                self.parametrised(inst, vec![out, a], parameters)
            }
            Op::Window { kernel, strides, before, dilations, .. } => {
                self.window_view(scope, node, kernel, strides, before, dilations)
            }
            other => unreachable!("`{}` is not a window op", other.name()),
        }
    }

    fn parametrised(&mut self, inst: impl Into<Inst>, views: Vec<View>, window: WindowParameters<Dim>) -> Lowered {
        let parameters = Some(Parameters::Window(window));
        let cause = self.cause.clone();
        self.block.push(tile::Op::Compute(Compute { inst: inst.into(), views, scalars: vec![], parameters, cause }));
        Ok(())
    }

    /// Groups become an axis of their own: of the input, the weight, the bias and the result.
    fn conv(
        &mut self,
        scope: &mut Scope<'_>,
        node: &NodeData,
        groups: usize,
        window: WindowParameters<Dim>,
    ) -> Lowered {
        let operands: Vec<View> = node.operands.iter().map(|&value| scope.view(value)).collect();
        let out = self.result(scope, node.results[0])?;
        let group = Dim::from(groups);
        let split = |view: &View, axis: usize| -> View {
            let mut dims = view.dims.clone();
            dims[axis] = dims[axis].floor_div(&group);
            dims.insert(axis, group.clone());
            view.reshape(&dims).expect("splitting one axis needs no copy")
        };
        let mut views = vec![split(&out, 1), split(&operands[0], 1), split(&operands[1], 0)];
        views.extend(operands.get(2).map(|bias| split(bias, 0)));
        let bias = operands.get(2).map(|_| d(3));
        let parameters = d(u8::try_from(views.len()).expect("a convolution has at most four views"));
        let inst = isa::Convolution {
            out: d(0),
            x: d(1),
            w: d(2),
            bias,
            x_zero: None,
            w_zero: None,
            window: parameters,
            accumulate: false,
        };
        self.parametrised(inst, views, window)
    }

    /// Windows are a view of the padded tensor in which elements repeat.
    fn window_view(
        &mut self,
        scope: &mut Scope<'_>,
        node: &NodeData,
        kernel: &[usize],
        strides: &[usize],
        before: &[Dim],
        dilations: &[usize],
    ) -> Lowered {
        let x = scope.view(node.operands[0]);
        let dims = scope.value_dims(node.results[0]);
        let spatial = kernel.len();
        let mut full_before = vec![Dim::ZERO; 2];
        full_before.extend(scope.dims(before));
        let mut padded_dims = x.dims[..2].to_vec();
        for axis in 0..spatial {
            let windows = &(&dims[2 + axis] - &Dim::ONE) * &Dim::from(strides[axis]);
            padded_dims.push(&windows + &Dim::from((kernel[axis] - 1) * dilations[axis] + 1));
        }
        let padded = if full_before.iter().all(|dim| dim.is(0)) && padded_dims == x.dims {
            x
        } else {
            let out = self.scratch(x.element, &padded_dims)?;
            match node.operands.get(1) {
                Some(&value) => {
                    let fill = scope.view(value).broadcast(&out.dims);
                    self.copy(out.clone(), fill);
                }
                None => {
                    let views = View::simplify_together(&[&out]);
                    self.compute(isa::Fill { out: d(0), value: Float64::new(0.0) }, views, vec![])?;
                }
            }
            self.place(&out, &x, &full_before);
            out
        };
        let mut view = View { dims, strides: padded.strides[..2].to_vec(), ..padded.clone() };
        for (axis, &stride) in strides.iter().enumerate() {
            view.strides.push(&padded.strides[2 + axis] * &Dim::from(stride));
        }
        for (axis, &dilation) in dilations.iter().enumerate() {
            view.strides.push(&padded.strides[2 + axis] * &Dim::from(dilation));
        }
        scope.set_view(node.results[0], view);
        Ok(())
    }
}

fn dims_of(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|&size| Dim::from(size)).collect()
}

/// Up to three spatial numbers, the unused ones neutral.
fn spread(numbers: &[Dim], neutral: i64) -> Result<[Dim; MAXIMUM_SPATIAL], Diagnostic> {
    if numbers.len() > MAXIMUM_SPATIAL {
        let message = format!("{} spatial axes are beyond the {MAXIMUM_SPATIAL} of an instruction", numbers.len());
        return Err(Diagnostic::new(&codes::E0403, message));
    }
    Ok(std::array::from_fn(|axis| numbers.get(axis).cloned().unwrap_or_else(|| neutral.into())))
}
