//! Normalisations of ONNX's own domain.

use narae_isa::{BinaryFunction, Element, ReduceFunction, UnaryFunction};

use super::shape::product;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    // onnxruntime writes this operator into models of any opset.
    onnx("LayerNormalization", 1, NEWEST, "float", layer_normalization),
    onnx("RMSNormalization", 23, NEWEST, "float", simplified),
    // onnxruntime's own, written without its domain.
    onnx("SimplifiedLayerNormalization", 1, NEWEST, "float", simplified),
    onnx("InstanceNormalization", 6, NEWEST, "float", instance_normalization),
    onnx("GroupNormalization", 18, 20, "float", |c| group_normalization(c, true)),
    onnx("GroupNormalization", 21, NEWEST, "float", |c| group_normalization(c, false)),
    onnx("BatchNormalization", 7, NEWEST, "float", batch_normalization),
    onnx("LpNormalization", 1, NEWEST, "float", lp_normalization),
    onnx("MeanVarianceNormalization", 9, NEWEST, "float", mean_variance_normalization),
    onnx("LRN", 1, NEWEST, "float", local_response_normalization),
];

/// A view of `x` in which the axes from `axis` on are one.
fn flattened(c: &mut Call, x: Value, axis: usize) -> Built {
    let dims = c.dims(x);
    if axis + 1 == dims.len() {
        return Ok(x);
    }
    let mut flat = dims[..axis].to_vec();
    flat.push(product(&dims[axis..]));
    c.reshape(x, flat)
}

/// Whether a gain or bias differs along axes that are not normalised: then it is no part of the norm, but a factor behind it.
fn differs_outside(c: &Call, gain: Value, normalized: usize) -> bool {
    let dims = c.dims(gain);
    dims[..dims.len().saturating_sub(normalized)].iter().any(|dim| !dim.is(1))
}

/// Gain or bias as one axis, broadcast over the normalised axes first where it is smaller.
pub(super) fn line(c: &mut Call, gain: Value, normalized: &[Dim]) -> Built {
    let dims = c.dims(gain);
    if dims.len() == 1 && normalized.len() == 1 && !(dims[0].is(1) && !normalized[0].is(1)) {
        return Ok(gain);
    }
    // Leading axes of extent 1 say nothing.
    let skip = dims.len().saturating_sub(normalized.len());
    if differs_outside(c, gain, normalized.len()) {
        return Err(unsupported("a gain that differs along axes that are not normalised"));
    }
    let gain = c.reshape(gain, dims[skip..].to_vec())?;
    let gain = c.broadcast(gain, normalized.to_vec())?;
    c.reshape(gain, vec![product(normalized)])
}

fn layer_normalization(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, gain, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let axis = c.attributes.int_or("axis", -1)?;
    let epsilon = f64::from(c.attributes.float_or("epsilon", 1e-5)?);
    c.attributes.ignore(&["stash_type"]);
    let dims = c.dims(x);
    let axis = c.axis(axis, dims.len())?;
    let flat = flattened(c, x, axis)?;
    // The graph's op takes operands of one type.
    let element = c.element(x);
    let gain = c.convert(gain, element)?;
    let bias = bias.map(|bias| c.convert(bias, element)).transpose()?;
    let outside = [Some(gain), bias].into_iter().flatten().any(|part| differs_outside(c, part, dims.len() - axis));
    let mut results = if outside {
        let one = c.scalar(element, 1.0)?;
        let one = c.broadcast(one, vec![product(&dims[axis..])])?;
        let y = c.layer_norm(flat, one, None, epsilon)?;
        let y = c.reshape(y, dims.clone())?;
        let y = c.mul(y, gain)?;
        vec![c.add_optional(y, bias)?]
    } else {
        let gain = line(c, gain, &dims[axis..])?;
        let bias = bias.map(|bias| line(c, bias, &dims[axis..])).transpose()?;
        let y = c.layer_norm(flat, gain, bias, epsilon)?;
        vec![c.reshape(y, dims.clone())?]
    };
    if c.wants(1) || c.wants(2) {
        let axes: Vec<usize> = (axis..dims.len()).collect();
        let (mean, deviation) = moments(c, x, &axes, epsilon)?;
        results.extend([mean, deviation]);
    }
    Ok(results)
}

/// Mean and reciprocal standard deviation along axes, which stay, in at least f32.
fn moments(c: &mut Call, x: Value, axes: &[usize], epsilon: f64) -> Built<(Value, Value)> {
    let wide = if c.element(x) == Element::F64 { x } else { c.convert(x, Element::F32)? };
    let mean = c.reduce(ReduceFunction::Mean, wide, axes.to_vec())?;
    let centred = c.sub(wide, mean)?;
    let squares = c.mul(centred, centred)?;
    let variance = c.reduce(ReduceFunction::Mean, squares, axes.to_vec())?;
    let shifted = c.with_number(BinaryFunction::Add, variance, epsilon)?;
    Ok((mean, c.unary(UnaryFunction::Rsqrt, shifted)?))
}

/// The root mean square normalisation, from whichever domain.
pub(super) fn simplified(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let (x, gain) = c.pair()?;
    let axis = c.attributes.int_or("axis", -1)?;
    let epsilon = f64::from(c.attributes.float_or("epsilon", 1e-5)?);
    c.attributes.ignore(&["stash_type"]);
    let dims = c.dims(x);
    let axis = c.axis(axis, dims.len())?;
    let flat = flattened(c, x, axis)?;
    let element = c.element(x);
    // The result has the type of the gain where the two differ.
    let result = c.element(gain);
    let gain = c.convert(gain, element)?;
    let y = if differs_outside(c, gain, dims.len() - axis) {
        let y = c.rms_norm(flat, None, epsilon)?;
        let y = c.reshape(y, dims.clone())?;
        c.mul(y, gain)?
    } else {
        let gain = line(c, gain, &dims[axis..])?;
        let y = c.rms_norm(flat, Some(gain), epsilon)?;
        c.reshape(y, dims.clone())?
    };
    let mut results = vec![c.convert(y, result)?];
    if c.wants(1) {
        let axes: Vec<usize> = (axis..dims.len()).collect();
        let wide = if element == Element::F64 { x } else { c.convert(x, Element::F32)? };
        let squares = c.mul(wide, wide)?;
        let mean = c.reduce(ReduceFunction::Mean, squares, axes)?;
        let shifted = c.with_number(BinaryFunction::Add, mean, epsilon)?;
        results.push(c.unary(UnaryFunction::Rsqrt, shifted)?);
    }
    Ok(results)
}

/// `[channels]` as `[1, channels, 1, …]`.
fn per_channel(c: &mut Call, x: Value, rank: usize) -> Built {
    c.expect_rank(x, 1, "a value per channel")?;
    let channels = c.dim(x, 0);
    let mut dims = vec![Dim::ONE; rank];
    dims[1] = channels;
    c.reshape(x, dims)
}

/// `(x - mean) / sqrt(variance + epsilon)` over axes, in f32 for smaller floats.
pub(super) fn standardised(c: &mut Call, x: Value, axes: &[usize], epsilon: f64) -> Built {
    let element = c.element(x);
    let wide = if element == Element::F64 { x } else { c.convert(x, Element::F32)? };
    let (mean, scale) = moments(c, wide, axes, epsilon)?;
    let centred = c.sub(wide, mean)?;
    let y = c.mul(centred, scale)?;
    c.convert(y, element)
}

fn instance_normalization(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, gain, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let epsilon = f64::from(c.attributes.float_or("epsilon", 1e-5)?);
    let rank = c.rank(x);
    if rank < 3 {
        return Err(mismatch("the operand must have spatial axes"));
    }
    let y = standardised(c, x, &(2..rank).collect::<Vec<_>>(), epsilon)?;
    let (gain, bias) = (per_channel(c, gain, rank)?, per_channel(c, bias, rank)?);
    let y = c.mul(y, gain)?;
    Ok(vec![c.add(y, bias)?])
}

/// Before opset 21 gain and bias had one element per group, later one per channel.
fn group_normalization(c: &mut Call, per_group: bool) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, gain, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let epsilon = f64::from(c.attributes.float_or("epsilon", 1e-5)?);
    let groups = c.attributes.required_int("num_groups")?;
    c.attributes.ignore(&["stash_type"]);
    let dims = c.dims(x);
    let rank = dims.len();
    if rank < 2 || groups < 1 {
        return Err(mismatch("the operand must have channels, in at least one group"));
    }
    let y = grouped(c, x, groups, epsilon)?;
    if per_group {
        let y = split_channels(c, y, groups)?;
        let (gain, bias) = (per_channel(c, gain, 3)?, per_channel(c, bias, 3)?);
        let y = c.mul(y, gain)?;
        let y = c.add(y, bias)?;
        return Ok(vec![c.reshape(y, dims)?]);
    }
    let (gain, bias) = (per_channel(c, gain, rank)?, per_channel(c, bias, rank)?);
    let y = c.mul(y, gain)?;
    Ok(vec![c.add(y, bias)?])
}

/// `[batch, groups, everything else]`
fn split_channels(c: &mut Call, x: Value, groups: i64) -> Built {
    let dims = c.dims(x);
    let rest = product(&dims[1..]).floor_div(&Dim::from(groups));
    c.reshape(x, vec![dims[0].clone(), Dim::from(groups), rest])
}

/// Each group of channels (axis 1) standardised over its elements.
pub(super) fn grouped(c: &mut Call, x: Value, groups: i64, epsilon: f64) -> Built {
    let dims = c.dims(x);
    let flat = split_channels(c, x, groups)?;
    let y = standardised(c, flat, &[2], epsilon)?;
    c.reshape(y, dims)
}

fn batch_normalization(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let x = c.input(0)?;
    let epsilon = f64::from(c.attributes.float_or("epsilon", 1e-5)?);
    let momentum = c.attributes.float_or("momentum", 0.9)?;
    c.attributes.ignore(&["spatial"]);
    let training = c.attributes.flag("training_mode", false)?;
    let rank = c.rank(x);
    if rank < 2 {
        return Err(mismatch("the operand must have channels"));
    }
    let mut lines = Vec::new();
    for index in 1..5 {
        let value = c.input(index)?;
        lines.push(per_channel(c, value, rank)?);
    }
    let [gain, bias, mut mean, mut variance] = [lines[0], lines[1], lines[2], lines[3]];
    let mut running = Vec::new();
    if training {
        // The batch's own statistics are used, and those given move towards them.
        let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
        let wide = c.element(mean);
        let own = c.convert(x, wide)?;
        let own_mean = c.reduce(ReduceFunction::Mean, own, axes.clone())?;
        let centred = c.sub(own, own_mean)?;
        let squares = c.mul(centred, centred)?;
        let own_variance = c.reduce(ReduceFunction::Mean, squares, axes)?;
        for (old, new) in [(mean, own_mean), (variance, own_variance)] {
            let kept = c.scale(old, momentum.into())?;
            let learnt = c.scale(new, f64::from(1.0 - momentum))?;
            let sum = c.add(kept, learnt)?;
            let channels = c.dim(x, 1);
            running.push(c.reshape(sum, vec![channels])?);
        }
        (mean, variance) = (own_mean, own_variance);
    }
    let element = c.element(x);
    let wide = c.element(mean);
    let x = c.convert(x, wide)?;
    let centred = c.sub(x, mean)?;
    let shifted = c.with_number(BinaryFunction::Add, variance, epsilon)?;
    let deviation = c.unary(UnaryFunction::Sqrt, shifted)?;
    let y = c.div(centred, deviation)?;
    let (gain, bias) = (c.convert(gain, wide)?, c.convert(bias, wide)?);
    let y = c.mul(y, gain)?;
    let y = c.add(y, bias)?;
    let mut results = vec![c.convert(y, element)?];
    results.extend(running);
    Ok(results)
}

fn lp_normalization(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let axis = c.attributes.int_or("axis", -1)?;
    let axis = c.axis(axis, c.rank(x))?;
    let function = match c.attributes.int_or("p", 2)? {
        1 => ReduceFunction::SumAbs,
        2 => ReduceFunction::Norm2,
        other => return Err(unsupported(format!("p = {other}"))),
    };
    let norm = c.reduce(function, x, vec![axis])?;
    // A row of zeros stays zero.
    let element = c.element(x);
    let (zero, one) = (c.scalar(element, 0.0)?, c.scalar(element, 1.0)?);
    let empty = c.compare(narae_isa::CompareFunction::Eq, norm, zero)?;
    let norm = c.select(empty, one, norm)?;
    Ok(vec![c.div(x, norm)?])
}

fn mean_variance_normalization(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let rank = c.rank(x);
    let axes = c.attributes.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec();
    let axes = c.axes(&axes, rank)?;
    let mean = c.reduce(ReduceFunction::Mean, x, axes.clone())?;
    let centred = c.sub(x, mean)?;
    let squares = c.mul(centred, centred)?;
    let variance = c.reduce(ReduceFunction::Mean, squares, axes)?;
    let deviation = c.unary(UnaryFunction::Sqrt, variance)?;
    let deviation = c.with_number(BinaryFunction::Add, deviation, 1e-9)?;
    Ok(vec![c.div(centred, deviation)?])
}

/// `x / (bias + alpha / size · Σ of squares of neighbouring channels)^beta`
fn local_response_normalization(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let size = c.attributes.required_int("size")?;
    let (alpha, beta) = (c.attributes.float_or("alpha", 1e-4)?, c.attributes.float_or("beta", 0.75)?);
    let bias = c.attributes.float_or("bias", 1.0)?;
    let dims = c.dims(x);
    if !(1..=1024).contains(&size) || dims.len() < 2 {
        return Err(mismatch("size must be positive, and the operand must have channels"));
    }
    let squares = c.mul(x, x)?;
    let (mut before, mut padded) = (vec![Dim::ZERO; dims.len()], dims.clone());
    before[1] = Dim::from((size - 1) / 2);
    padded[1] = &dims[1] + &Dim::from(size - 1);
    let wide = c.pad(squares, None, before, padded, crate::graph::ops::PadMode::Constant)?;
    let mut sum = c.narrow(wide, 1, Dim::ZERO, dims[1].clone())?;
    for shift in 1..size {
        let part = c.narrow(wide, 1, Dim::from(shift), dims[1].clone())?;
        sum = c.add(sum, part)?;
    }
    let scaled = c.scale(sum, f64::from(alpha) / size as f64)?;
    let scaled = c.with_number(BinaryFunction::Add, scaled, bias.into())?;
    let power = c.with_number(BinaryFunction::Pow, scaled, beta.into())?;
    Ok(vec![c.div(x, power)?])
}
