//! Normalisations of onnxruntime's domain, most of them fused with an addition.

use narae_isa::{CompareFunction, Element, ReduceFunction, UnaryFunction};

use super::normalization::{grouped, line, simplified};
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

pub(super) const ROWS: &[Row] = &[
    microsoft("SimplifiedLayerNormalization", "float", simplified),
    microsoft("SkipLayerNormalization", "float", skip_layer_norm),
    microsoft("SkipSimplifiedLayerNormalization", "float", skip_rms_norm),
    onnx("SkipLayerNormalization", 1, NEWEST, "float", skip_layer_norm),
    onnx("SkipSimplifiedLayerNormalization", 1, NEWEST, "float", skip_rms_norm),
    microsoft("EmbedLayerNormalization", "float", embed_layer_norm),
    microsoft("GroupNorm", "float", group_norm),
    microsoft("SkipGroupNorm", "float", skip_group_norm),
];

/// `input + skip + bias`; a skip without a batch is that of every batch.
fn residual(c: &mut Call, bias: Option<Value>) -> Built {
    let (x, skip) = (c.input(0)?, c.input(1)?);
    let sum = c.add(x, skip)?;
    c.add_optional(sum, bias)
}

fn skip_layer_norm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let (gain, beta, bias) = (c.input(2)?, c.optional(3), c.optional(4));
    let epsilon = c.attributes.float_or("epsilon", 1e-12)?;
    let sum = residual(c, bias)?;
    let y = c.layer_norm(sum, gain, beta, epsilon.into())?;
    with_sum(c, y, sum)
}

fn skip_rms_norm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (gain, bias) = (c.input(2)?, c.optional(3));
    let epsilon = c.attributes.float_or("epsilon", 1e-12)?;
    let sum = residual(c, bias)?;
    let y = c.rms_norm(sum, Some(gain), epsilon.into())?;
    with_sum(c, y, sum)
}

/// Mean and deviation (outputs 1 and 2) exist for training only; the sum is output 3.
fn with_sum(c: &mut Call, y: Value, sum: Value) -> Built<Vec<Value>> {
    if c.wants(1) || c.wants(2) {
        return Err(unsupported("the outputs for training"));
    }
    Ok(vec![y, y, y, sum])
}

fn embed_layer_norm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(9)?;
    let (ids, segments) = (c.input(0)?, c.optional(1));
    let (words, places, kinds) = (c.input(2)?, c.input(3)?, c.optional(4));
    let (gain, beta, mask, positions) = (c.input(5)?, c.input(6)?, c.optional(7), c.optional(8));
    let epsilon = c.attributes.float_or("epsilon", 1e-12)?;
    let mask_kind = c.attributes.int_or("mask_index_type", 1)?;
    let indices = |c: &mut Call, ids: Value| c.convert(ids, Element::I64);
    let at = indices(c, ids)?;
    let mut sum = c.gather(words, at, 0)?;
    let place = match positions {
        Some(positions) => {
            let at = indices(c, positions)?;
            c.gather(places, at, 0)?
        }
        None => {
            let sequence = c.dim(ids, 1);
            c.narrow(places, 0, Dim::ZERO, sequence)?
        }
    };
    sum = c.add(sum, place)?;
    if let (Some(segments), Some(kinds)) = (segments, kinds) {
        let at = indices(c, segments)?;
        let kind = c.gather(kinds, at, 0)?;
        sum = c.add(sum, kind)?;
    }
    let y = c.layer_norm(sum, gain, Some(beta), epsilon.into())?;
    let batch = c.dim(ids, 0);
    let mask_index = match mask {
        Some(mask) if mask_kind == 1 => {
            let element = c.element(mask);
            let zero = c.integer(element, 0)?;
            let set = c.compare(CompareFunction::Ne, mask, zero)?;
            let numbers = c.convert(set, Element::I32)?;
            let count = c.reduce(ReduceFunction::Sum, numbers, vec![1])?;
            c.squeeze(count, &[1])?
        }
        _ => {
            let zero = c.integer(Element::I32, 0)?;
            c.broadcast(zero, vec![batch])?
        }
    };
    Ok(vec![y, mask_index, sum])
}

fn group_norm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let x = c.input(0)?;
    let (gain, beta) = (c.input(1)?, c.input(2)?);
    Ok(vec![group_norm_of(c, x, gain, beta)?])
}

fn skip_group_norm(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let (x, gain, beta, skip, bias) = (c.input(0)?, c.input(1)?, c.input(2)?, c.input(3)?, c.optional(4));
    // A skip [N, C] or [N, 1, 1, C] is that of every pixel.
    let skip = if c.rank(skip) == 2 { c.unsqueeze(skip, &[1, 2])? } else { skip };
    let sum = c.add(x, skip)?;
    let sum = c.add_optional(sum, bias)?;
    Ok(vec![group_norm_of(c, sum, gain, beta)?, sum])
}

fn group_norm_of(c: &mut Call, x: Value, gain: Value, beta: Value) -> Built {
    let epsilon = c.attributes.float_or("epsilon", 1e-5)?;
    let groups = c.attributes.required_int("groups")?;
    let channels_last = c.attributes.flag("channels_last", true)?;
    let activation = c.attributes.int_or("activation", 0)?;
    if c.rank(x) != 4 || groups < 1 {
        return Err(mismatch("the operand must be images, in at least one group"));
    }
    let images = if channels_last { c.transpose(x, &[0, 3, 1, 2])? } else { x };
    let y = grouped(c, images, groups, epsilon.into())?;
    let y = c.transpose(y, &[0, 2, 3, 1])?;
    let channels = c.dim(y, 3);
    let (gain, beta) = (line(c, gain, std::slice::from_ref(&channels))?, line(c, beta, &[channels])?);
    let element = c.element(y);
    let (gain, beta) = (c.convert(gain, element)?, c.convert(beta, element)?);
    let y = c.mul(y, gain)?;
    let y = c.add(y, beta)?;
    let y = if channels_last { y } else { c.transpose(y, &[0, 3, 1, 2])? };
    match activation {
        0 => Ok(y),
        1 => c.unary(UnaryFunction::Silu, y),
        other => Err(unsupported(format!("activation = {other}"))),
    }
}
