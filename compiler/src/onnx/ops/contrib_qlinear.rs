//! onnxruntime's operators on codes: what the operator of numbers makes of the numbers that the codes stand for, as codes again.
//!
//! In: operands as three of the node's (codes, scale, zero point), the result's scale and zero point. Out: codes. Always holds: the
//! row of numbers sees operands as if the node had been one of numbers, so it is written once.

use narae_isa::{BinaryFunction, ReduceFunction, UnaryFunction};

use super::quantization::{decoded, encoded};
use super::{activation, convolution, elementwise, reduce, shape};
use crate::ir::Value;
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::{Call, Row, microsoft};

pub(super) const ROWS: &[Row] = &[
    microsoft("QLinearAdd", "i8, u8", |c| binary(c, BinaryFunction::Add)),
    microsoft("QLinearMul", "i8, u8", |c| binary(c, BinaryFunction::Mul)),
    microsoft("QLinearSigmoid", "i8, u8", |c| single(c, sigmoid)),
    microsoft("QLinearLeakyRelu", "i8, u8", |c| single(c, activation::leaky_relu)),
    microsoft("QLinearSoftmax", "i8, u8", |c| single(c, softmax)),
    microsoft("QLinearReduceMean", "i8, u8", |c| single(c, |c| reduce::reduce(c, ReduceFunction::Mean))),
    microsoft("QLinearAveragePool", "i8, u8", |c| single(c, |c| channels(c, convolution::average_pool))),
    microsoft("QLinearGlobalAveragePool", "i8, u8", |c| single(c, |c| channels(c, global_mean))),
    microsoft("QLinearConcat", "i8, u8", concat),
    microsoft("QLinearWhere", "i8, u8", select),
];

/// The numbers of the codes at operand `index`, whose scale and zero point follow it.
fn numbers(c: &mut Call, index: usize) -> Built {
    let quantized = (c.input(index)?, c.input(index + 1)?, c.optional(index + 2));
    decoded(c, quantized)
}

/// Builds the operator of numbers on `operands`; its result as codes with the scale at operand `scale` and the zero point behind it.
fn through(
    c: &mut Call,
    operands: Vec<Value>,
    scale: usize,
    build: impl Fn(&mut Call) -> Built<Vec<Value>>,
) -> Built<Vec<Value>> {
    let (scale, zero) = (c.input(scale)?, c.optional(scale + 1));
    let zero = match zero {
        Some(zero) => zero,
        None => {
            let element = c.first_element()?;
            c.integer(element, 0)?
        }
    };
    c.inputs = operands.into_iter().map(Some).collect();
    let results = build(c)?;
    results.into_iter().map(|result| encoded(c, result, scale, zero)).collect()
}

fn single(c: &mut Call, build: impl Fn(&mut Call) -> Built<Vec<Value>>) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let x = numbers(c, 0)?;
    through(c, vec![x], 3, build)
}

fn binary(c: &mut Call, function: BinaryFunction) -> Built<Vec<Value>> {
    c.at_most(8)?;
    let (x, y) = (numbers(c, 0)?, numbers(c, 3)?);
    through(c, vec![x, y], 6, |c| Ok(vec![c.binary(function, x, y)?]))
}

fn select(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(9)?;
    let (condition, x, y) = (c.input(0)?, numbers(c, 1)?, numbers(c, 4)?);
    through(c, vec![condition, x, y], 7, elementwise::select)
}

/// The result's scale and zero point come first.
fn concat(c: &mut Call) -> Built<Vec<Value>> {
    let parts: Vec<Value> = (2..c.inputs.len()).step_by(3).map(|index| numbers(c, index)).collect::<Built<_>>()?;
    through(c, parts, 0, shape::concat)
}

fn sigmoid(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    Ok(vec![c.unary(UnaryFunction::Sigmoid, x)?])
}

fn global_mean(c: &mut Call) -> Built<Vec<Value>> {
    convolution::global_pool(c, ReduceFunction::Mean)
}

/// The node says itself which opset's Softmax it stands for.
fn softmax(c: &mut Call) -> Built<Vec<Value>> {
    match c.attributes.required_int("opset")? {
        ..13 => activation::flat_softmax(c, activation::softmax_last),
        13.. => activation::axis_softmax(c, false),
    }
}

/// Images whose channels come last, if the node says so, as the operator of numbers wants them and back.
fn channels(c: &mut Call, build: impl Fn(&mut Call) -> Built<Vec<Value>>) -> Built<Vec<Value>> {
    if !c.attributes.flag("channels_last", false)? {
        return build(c);
    }
    let x = c.single()?;
    let rank = c.rank(x);
    if rank < 2 {
        return Err(mismatch(format!("an image has batch and channels, but the operand has {rank} axes")));
    }
    let first: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let last: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    let x = c.transpose(x, &first)?;
    c.inputs = vec![Some(x)];
    build(c)?.into_iter().map(|y| c.transpose(y, &last)).collect()
}
