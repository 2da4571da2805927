//! Activation functions and softmax.

use narae_isa::{BinaryFunction, CompareFunction, Element, UnaryFunction};

use crate::graph::Op;
use crate::graph::ops::{ArgFunction, PadMode};
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

macro_rules! unary {
    ($name:literal, $since:literal, $function:ident) => {
        onnx($name, $since, NEWEST, "float", |c| {
            let x = c.single()?;
            Ok(vec![c.unary(UnaryFunction::$function, x)?])
        })
    };
}

pub(super) const ROWS: &[Row] = &[
    onnx("Relu", 6, NEWEST, "float, integer", |c| {
        let x = c.single()?;
        Ok(vec![c.unary(UnaryFunction::Relu, x)?])
    }),
    unary!("Sigmoid", 6, Sigmoid),
    unary!("Tanh", 6, Tanh),
    unary!("Softplus", 1, Softplus),
    unary!("Softsign", 1, Softsign),
    unary!("Mish", 18, Mish),
    unary!("HardSwish", 14, HardSwish),
    onnx("Gelu", 1, NEWEST, "float", gelu),
    microsoft("Gelu", "float", |c| {
        let x = c.single()?;
        Ok(vec![c.unary(UnaryFunction::Gelu, x)?])
    }),
    microsoft("FastGelu", "float", |c| biased(c, UnaryFunction::GeluTanh)),
    microsoft("BiasGelu", "float", |c| biased(c, UnaryFunction::Gelu)),
    microsoft("BiasSplitGelu", "float", bias_split_gelu),
    microsoft("QuickGelu", "float", quick_gelu),
    onnx("Swish", 24, NEWEST, "float", swish),
    onnx("SwiGLU", 28, NEWEST, "float", swiglu),
    onnx("LeakyRelu", 6, NEWEST, "float", leaky_relu),
    onnx("PRelu", 7, NEWEST, "float, integer", |c| {
        let (x, slope) = c.pair()?;
        Ok(vec![c.binary(BinaryFunction::Prelu, x, slope)?])
    }),
    onnx("Elu", 6, NEWEST, "float", elu),
    onnx("Selu", 6, NEWEST, "float", selu),
    onnx("Celu", 12, NEWEST, "float", celu),
    onnx("ThresholdedRelu", 10, NEWEST, "float", thresholded_relu),
    onnx("HardSigmoid", 6, NEWEST, "float", hard_sigmoid),
    onnx("Shrink", 9, NEWEST, "float, integer", shrink),
    onnx("Softmax", 1, 12, "float", |c| flat_softmax(c, softmax_last)),
    onnx("Softmax", 13, NEWEST, "float", |c| axis_softmax(c, false)),
    onnx("LogSoftmax", 1, 12, "float", |c| flat_softmax(c, log_softmax_last)),
    onnx("LogSoftmax", 13, NEWEST, "float", |c| axis_softmax(c, true)),
    onnx("Hardmax", 1, 12, "float", |c| flat_softmax(c, hardmax_last)),
    onnx("Hardmax", 13, NEWEST, "float", |c| {
        let x = c.single()?;
        let axis = c.attributes.int_or("axis", -1)?;
        let axis = c.axis(axis, c.rank(x))?;
        Ok(vec![hardmax(c, x, axis)?])
    }),
];

fn gelu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let function = match c.attributes.text_or("approximate", "none")? {
        "none" => UnaryFunction::Gelu,
        "tanh" => UnaryFunction::GeluTanh,
        other => return Err(unsupported(format!("approximate = `{other}`"))),
    };
    Ok(vec![c.unary(function, x)?])
}

fn biased(c: &mut Call, function: UnaryFunction) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let (x, bias) = (c.input(0)?, c.optional(1));
    let x = c.add_optional(x, bias)?;
    Ok(vec![c.unary(function, x)?])
}

fn bias_split_gelu(c: &mut Call) -> Built<Vec<Value>> {
    let (x, bias) = c.pair()?;
    let x = c.add(x, bias)?;
    let axis = c.last_axis(x)?;
    let half = c.dim(x, axis).floor_div(&Dim::from(2i64));
    let parts = c.split(x, axis, &[half.clone(), half])?;
    let gate = c.unary(UnaryFunction::Gelu, parts[1])?;
    Ok(vec![c.mul(parts[0], gate)?])
}

/// `x · sigmoid(alpha · x)`
fn gated(c: &mut Call, x: Value, alpha: f64) -> Built<Vec<Value>> {
    if alpha == 1.0 {
        return Ok(vec![c.unary(UnaryFunction::Silu, x)?]);
    }
    let scaled = c.scale(x, alpha)?;
    let gate = c.unary(UnaryFunction::Sigmoid, scaled)?;
    Ok(vec![c.mul(x, gate)?])
}

fn quick_gelu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let alpha = c.attributes.float_or("alpha", 1.702)?;
    gated(c, x, alpha.into())
}

fn swish(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let alpha = c.attributes.float_or("alpha", 1.0)?;
    gated(c, x, alpha.into())
}

fn swiglu(c: &mut Call) -> Built<Vec<Value>> {
    let (gate, x) = c.pair()?;
    let alpha = c.attributes.float_or("alpha", 1.0)?;
    let gate = gated(c, gate, alpha.into())?[0];
    Ok(vec![c.mul(gate, x)?])
}

pub(super) fn leaky_relu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let alpha = c.attributes.float_or("alpha", 0.01)?;
    Ok(vec![c.with_number(BinaryFunction::Prelu, x, alpha.into())?])
}

/// The activation that an operator with one behind it names, with its first and second parameter.
pub(super) fn named(c: &mut Call, x: Value, name: &str, first: Option<f32>, second: Option<f32>) -> Built {
    let parameter = |given: Option<f32>, default: f32| given.unwrap_or(default);
    match name {
        "" => Ok(x),
        "Relu" => c.unary(UnaryFunction::Relu, x),
        "Sigmoid" => c.unary(UnaryFunction::Sigmoid, x),
        "Tanh" => c.unary(UnaryFunction::Tanh, x),
        "Softplus" => c.unary(UnaryFunction::Softplus, x),
        "Softsign" => c.unary(UnaryFunction::Softsign, x),
        "LeakyRelu" => c.with_number(BinaryFunction::Prelu, x, parameter(first, 0.01).into()),
        "Elu" => exponential(c, x, parameter(first, 1.0), 1.0),
        "HardSigmoid" => clipped_line(c, x, parameter(first, 0.2), parameter(second, 0.5)),
        "ThresholdedRelu" => above(c, x, parameter(first, 1.0)),
        "Clip" => {
            let x = c.with_number(BinaryFunction::Max, x, parameter(first, f32::NEG_INFINITY).into())?;
            c.with_number(BinaryFunction::Min, x, parameter(second, f32::INFINITY).into())
        }
        other => Err(unsupported(format!("activation `{other}`"))),
    }
}

fn elu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let alpha = c.attributes.float_or("alpha", 1.0)?;
    Ok(vec![exponential(c, x, alpha, 1.0)?])
}

fn selu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let (alpha, gamma) = (c.attributes.float_or("alpha", 1.673_263_2)?, c.attributes.float_or("gamma", 1.050_701)?);
    Ok(vec![exponential(c, x, alpha, gamma)?])
}

/// `gamma · (max(x, 0) + alpha · (e^min(x, 0) - 1))`
fn exponential(c: &mut Call, x: Value, alpha: f32, gamma: f32) -> Built {
    let positive = c.unary(UnaryFunction::Relu, x)?;
    let negative = c.with_number(BinaryFunction::Min, x, 0.0)?;
    let negative = c.unary(UnaryFunction::Expm1, negative)?;
    let negative = c.scale(negative, alpha.into())?;
    let sum = c.add(positive, negative)?;
    c.scale(sum, gamma.into())
}

/// `max(x, 0) + min(0, alpha · (e^(x / alpha) - 1))`
fn celu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let alpha = f64::from(c.attributes.float_or("alpha", 1.0)?);
    let positive = c.unary(UnaryFunction::Relu, x)?;
    let negative = c.with_number(BinaryFunction::Min, x, 0.0)?;
    let negative = c.with_number(BinaryFunction::Div, negative, alpha)?;
    let negative = c.unary(UnaryFunction::Expm1, negative)?;
    let negative = c.scale(negative, alpha)?;
    Ok(vec![c.add(positive, negative)?])
}

fn thresholded_relu(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let alpha = c.attributes.float_or("alpha", 1.0)?;
    Ok(vec![above(c, x, alpha)?])
}

/// `x` where it is greater than a number, else zero.
fn above(c: &mut Call, x: Value, number: f32) -> Built {
    let element = c.element(x);
    let (limit, zero) = (c.scalar(element, number.into())?, c.scalar(element, 0.0)?);
    let above = c.compare(CompareFunction::Gt, x, limit)?;
    c.select(above, x, zero)
}

fn hard_sigmoid(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let (alpha, beta) = (c.attributes.float_or("alpha", 0.2)?, c.attributes.float_or("beta", 0.5)?);
    Ok(vec![clipped_line(c, x, alpha, beta)?])
}

/// `min(max(alpha · x + beta, 0), 1)`
fn clipped_line(c: &mut Call, x: Value, alpha: f32, beta: f32) -> Built {
    let y = c.scale(x, alpha.into())?;
    let y = c.with_number(BinaryFunction::Add, y, beta.into())?;
    let y = c.with_number(BinaryFunction::Max, y, 0.0)?;
    c.with_number(BinaryFunction::Min, y, 1.0)
}

fn shrink(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let (bias, lambd) = (c.attributes.float_or("bias", 0.0)?, c.attributes.float_or("lambd", 0.5)?);
    let element = c.element(x);
    // Integers are compared and shifted as floats and rounded back by truncation.
    let wide = if element.is_float() { element } else { Element::F64 };
    let y = c.convert(x, wide)?;
    let (low, high, zero) = (c.scalar(wide, -f64::from(lambd))?, c.scalar(wide, lambd.into())?, c.scalar(wide, 0.0)?);
    let (below, above) = (c.compare(CompareFunction::Lt, y, low)?, c.compare(CompareFunction::Gt, y, high)?);
    let (raised, lowered) =
        (c.with_number(BinaryFunction::Add, y, bias.into())?, c.with_number(BinaryFunction::Sub, y, bias.into())?);
    let rest = c.select(above, lowered, zero)?;
    let y = c.select(below, raised, rest)?;
    Ok(vec![c.convert(y, element)?])
}

pub(super) fn axis_softmax(c: &mut Call, log: bool) -> Built<Vec<Value>> {
    let x = c.single()?;
    let axis = c.attributes.int_or("axis", -1)?;
    let axis = c.axis(axis, c.rank(x))?;
    Ok(vec![c.op(Op::Softmax { axis, log }, &[x])?])
}

pub(super) fn softmax_last(c: &mut Call, x: Value) -> Built {
    let axis = c.last_axis(x)?;
    c.softmax(x, axis)
}

fn log_softmax_last(c: &mut Call, x: Value) -> Built {
    let axis = c.last_axis(x)?;
    c.op(Op::Softmax { axis, log: true }, &[x])
}

fn hardmax_last(c: &mut Call, x: Value) -> Built {
    let axis = c.last_axis(x)?;
    hardmax(c, x, axis)
}

/// Before opset 13 all axes from `axis` on are taken as one.
pub(super) fn flat_softmax(c: &mut Call, function: fn(&mut Call, Value) -> Built) -> Built<Vec<Value>> {
    let x = c.single()?;
    let axis = c.attributes.int_or("axis", 1)?;
    let dims = c.dims(x);
    let axis = if axis == dims.len() as i64 { dims.len() } else { c.axis(axis, dims.len())? };
    if axis + 1 == dims.len() {
        return Ok(vec![function(c, x)?]);
    }
    let product = |dims: &[Dim]| dims.iter().fold(Dim::ONE, |product, dim| &product * dim);
    let flat = c.reshape(x, vec![product(&dims[..axis]), product(&dims[axis..])])?;
    let flat = function(c, flat)?;
    Ok(vec![c.reshape(flat, dims)?])
}

/// With an element of -∞ behind the last of an axis.
fn with_one_more(c: &mut Call, x: Value, axis: usize) -> Built {
    let mut dims = c.dims(x);
    dims[axis] = &dims[axis] + &Dim::ONE;
    let element = c.element(x);
    let least = c.scalar(element, f64::NEG_INFINITY)?;
    c.pad(x, Some(least), vec![Dim::ZERO; dims.len()], dims, PadMode::Constant)
}

/// One at the first greatest element, zero elsewhere.
fn hardmax(c: &mut Call, x: Value, axis: usize) -> Built {
    let extent = c.dim(x, axis);
    if extent.as_const() == Some(0) {
        return Ok(x);
    }
    let never_empty = extent.bounds(&c.graph.symbols).0.is_some_and(|least| least > 0);
    // No element is the greatest of none: one that is never greatest stands behind the others, so that there always is one.
    let ranked = if never_empty { x } else { with_one_more(c, x, axis)? };
    let best = c.op(Op::ArgReduce { function: ArgFunction::Max, axis, last: false }, &[ranked])?;
    let mut line = vec![Dim::ONE; c.rank(x)];
    line[axis] = c.dim(x, axis);
    let positions = c.iota(Element::I64, line, axis)?;
    let hit = c.compare(CompareFunction::Eq, best, positions)?;
    let element = c.element(x);
    c.convert(hit, element)
}
