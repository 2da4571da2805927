//! Grouped-query attention of onnxruntime's domain: a cache in which every sequence of the batch has its own length.
//!
//! `seqlens_k[b] + 1` keys of sequence `b` count once the new ones are in; so `past[b] = max(seqlens_k[b] + 1 - S, 0)` were there before
//! (fewer keys than queries: a prompt that is padded on the right), new key `i` stands at `past[b] + i`, and so does query `i`. The
//! present is as long as the past, or, where `total_sequence_length` does not fit, as that: a cache that grows, or a buffer with room.
//! What rows hold beyond a sequence's keys is not specified (the operator's documentation says so too).

use narae_isa::{BinaryFunction, CompareFunction, Element, UnaryFunction};

use super::attention::{Heads, logits, mask_to_bias, merge_heads, rotate, split_heads};
use super::contrib_kv_codes::Codes;
use crate::graph::Op;
use crate::graph::ops::PadMode;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, Row, microsoft};

pub(super) const ROWS: &[Row] = &[microsoft("GroupQueryAttention", "float", group_query_attention)];

fn group_query_attention(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(17)?;
    if c.attributes.flag("sliding_window_cache", false)? {
        return Err(unsupported("sliding_window_cache: which rows such a cache keeps is the choice of each runtime"));
    }
    let (heads, kv_heads) = (c.attributes.required_int("num_heads")?, c.attributes.required_int("kv_num_heads")?);
    let causal = c.attributes.flag("causal", true)?;
    let window = usize::try_from(c.attributes.int_or("local_window_size", -1)?).unwrap_or(0);
    let [q, k, v] = operands(c, heads, kv_heads)?;
    let [q, k] = normalized(c, [q, k])?;
    let cache = Cache::new(c, q)?;
    let [q, k] = rotated(c, &cache, [q, k])?;
    let codes = (Codes::new(c, "k_quant_type", 12)?, Codes::new(c, "v_quant_type", 13)?);
    let (present_key, k) = codes.0.append(c, &cache, c.optional(3), k)?;
    let (present_value, v) = codes.1.append(c, &cache, c.optional(4), v)?;
    let mut attention = Heads::new(q, k, v);
    attention.scale = c.attributes.float("scale")?.filter(|&scale| scale != 0.0);
    attention.softcap = c.attributes.float_or("softcap", 0.0)?;
    (attention.causal, attention.window) = (causal, window);
    attention.lengths = cache.past.filter(|_| causal);
    attention.bias = bias(c, &cache, k, causal)?;
    attention.sinks = sinks(c, q, heads)?;
    let scores = scores(c, &cache, &attention)?;
    let y = attention.build(c)?;
    Ok([merge_heads(c, y)?, present_key, present_value].into_iter().chain(scores).collect())
}

/// What `qk_output` asks for, `[B, H, S, total_sequence_length]`: logits (1) or weights (2), zero where a query sees no key.
fn scores(c: &mut Call, cache: &Cache, attention: &Heads) -> Built<Option<Value>> {
    let mode = c.attributes.int_or("qk_output", 0)?;
    if mode == 0 {
        return Ok(None);
    }
    if attention.sinks.is_some() && mode == 2 {
        return Err(unsupported("qk_output = 2 with sinks"));
    }
    let offset = match cache.past {
        Some(past) => c.reshape(past, vec![cache.batch.clone(), Dim::ONE, Dim::ONE, Dim::ONE])?,
        None => c.integer(Element::I64, 0)?,
    };
    let logits = logits(c, attention, offset)?;
    let scores = match mode {
        1 => {
            let element = c.element(logits);
            let (hidden, zero) = (c.unary(UnaryFunction::IsNegInf, logits)?, c.scalar(element, 0.0)?);
            c.select(hidden, zero, logits)?
        }
        2 => c.softmax(logits, 3)?,
        other => return Err(unsupported(format!("qk_output = {other}"))),
    };
    Ok(Some(c.narrow(scores, 3, Dim::ZERO, cache.asked.clone())?))
}

/// Query, key and value heads `[B, H, S, D]`, from three operands or from one that holds all.
fn operands(c: &mut Call, heads: i64, kv_heads: i64) -> Built<[Value; 3]> {
    let q = c.input(0)?;
    if heads < 1 || kv_heads < 1 || heads % kv_heads != 0 {
        return Err(mismatch(format!("{heads} heads over {kv_heads}")));
    }
    let parts = match (c.optional(1), c.optional(2)) {
        (Some(k), Some(v)) => vec![q, k, v],
        (None, None) if c.rank(q) == 3 => {
            let size = c.dim(q, 2).floor_div(&Dim::from(heads + 2 * kv_heads));
            let (wide, narrow) = (&size * &Dim::from(heads), &size * &Dim::from(kv_heads));
            c.split(q, 2, &[wide, narrow.clone(), narrow])?
        }
        _ => return Err(mismatch("key and value must both be there, or be packed with a query of three axes")),
    };
    Ok([split_heads(c, parts[0], heads)?, split_heads(c, parts[1], kv_heads)?, split_heads(c, parts[2], kv_heads)?])
}

/// Queries and keys normalised per head, where there are gains for that.
fn normalized(c: &mut Call, mut pair: [Value; 2]) -> Built<[Value; 2]> {
    let both = c.attributes.float_or("qk_norm_epsilon", 1e-6)?;
    for (index, name) in ["q_norm_epsilon", "k_norm_epsilon"].into_iter().enumerate() {
        let epsilon = c.attributes.float_or(name, both)?;
        if let Some(gain) = c.optional(14 + index) {
            pair[index] = c.rms_norm(pair[index], Some(gain), epsilon.into())?;
        }
    }
    Ok(pair)
}

/// Where each sequence's new keys go.
pub(super) struct Cache {
    /// Keys before the new ones, `i64 [B]`; none if there is no past at all.
    past: Option<Value>,
    /// Keys with the new ones, `i64 [B]`.
    total: Value,
    /// The extent of the present.
    extent: Dim,
    batch: Dim,
    sequence: Dim,
    /// `total_sequence_length`.
    asked: Dim,
}

impl Cache {
    fn new(c: &mut Call, q: Value) -> Built<Cache> {
        let (batch, sequence) = (c.dim(q, 0), c.dim(q, 2));
        let (ends, asked) = (c.input(5)?, c.input(6)?);
        let asked = c.scalar_operand(asked, "total_sequence_length", Some(0))?;
        let total = c.convert(ends, Element::I64)?;
        let total = c.reshape(total, vec![batch.clone()])?;
        let total = c.with_number(BinaryFunction::Add, total, 1.0)?;
        let (Some(past), Some(_)) = (c.optional(3), c.optional(4)) else {
            return Ok(Cache { past: None, total, extent: sequence.clone(), batch, sequence, asked });
        };
        let new = match c.optional(16) {
            Some(counts) => c.convert(counts, Element::I64)?,
            None => c.dim_scalar(sequence.clone())?,
        };
        let before = c.sub(total, new)?;
        let before = c.with_number(BinaryFunction::Max, before, 0.0)?;
        let room = c.dim(past, 2);
        let most = &room + &sequence;
        let symbols = &c.graph.symbols;
        let extent = symbols.maximum(&room, &symbols.minimum(&asked, &most));
        Ok(Cache { past: Some(before), total, extent, batch, sequence, asked })
    }

    /// The present of a past and new rows `[B, G, S, D]`.
    pub(super) fn append(&self, c: &mut Call, past: Option<Value>, new: Value) -> Built {
        let (Some(past), Some(before)) = (past, self.past) else { return Ok(new) };
        let mut dims = c.dims(past);
        if dims.len() != 4 || c.rank(new) != 4 {
            return Err(mismatch(format!("the past must have 4 axes, but has {}", dims.len())));
        }
        // The past says how wide heads are only if it is told: some exporters give the axis a name of its own.
        for axis in [0, 1, 3] {
            let own = c.dim(new, axis);
            c.must_equal(&dims[axis], &own, "an axis of the past")?;
            dims[axis] = own;
        }
        dims[2] = self.extent.clone();
        let cache = c.pad(past, None, vec![Dim::ZERO; 4], dims, PadMode::Constant)?;
        c.op(Op::KvAppend {}, &[cache, new, before])
    }

    /// The position of every query: `i64 [B, S]`, or `[S]` if nothing was before.
    fn positions(&self, c: &mut Call) -> Built {
        let steps = c.iota(Element::I64, vec![self.sequence.clone()], 0)?;
        let Some(past) = self.past else { return Ok(steps) };
        let past = c.reshape(past, vec![self.batch.clone(), Dim::ONE])?;
        c.add(past, steps)
    }

    /// The positions that the model gives; of those of a first prompt only the first one counts, all others follow it.
    fn given_positions(&self, c: &mut Call, given: Value) -> Built {
        let given = c.convert(given, Element::I64)?;
        let first = c.narrow(given, 0, Dim::ZERO, Dim::ONE)?;
        let first = c.narrow(first, 1, Dim::ZERO, Dim::ONE)?;
        let steps = c.iota(Element::I64, vec![self.sequence.clone()], 0)?;
        let counted = c.add(first, steps)?;
        let (asked, sequence) = (c.dim_scalar(self.asked.clone())?, c.dim_scalar(self.sequence.clone())?);
        let prompt = c.compare(CompareFunction::Eq, asked, sequence)?;
        c.select(prompt, counted, given)
    }
}

/// Queries and keys rotated by their positions, if the operator does that.
fn rotated(c: &mut Call, cache: &Cache, [q, k]: [Value; 2]) -> Built<[Value; 2]> {
    let interleaved = c.attributes.flag("rotary_interleaved", false)?;
    if !c.attributes.flag("do_rotary", false)? {
        return Ok([q, k]);
    }
    let (cos, sin) = (c.input(7)?, c.input(8)?);
    let positions = match c.optional(9) {
        Some(given) => cache.given_positions(c, given)?,
        None => cache.positions(c)?,
    };
    let (cos, sin) = (c.gather(cos, positions, 0)?, c.gather(sin, positions, 0)?);
    Ok([rotate(c, q, cos, sin, interleaved, 0)?, rotate(c, k, cos, sin, interleaved, 0)?])
}

/// What is added to the scores: the given bias, as long as the keys, and without causality the ends of the sequences.
fn bias(c: &mut Call, cache: &Cache, k: Value, causal: bool) -> Built<Option<Value>> {
    let (keys, element) = (c.dim(k, 2), c.element(k));
    let given = match c.optional(10) {
        Some(bias) => {
            let mut dims = c.dims(bias);
            dims[3] = keys.clone();
            Some(c.pad(bias, None, vec![Dim::ZERO; 4], dims, PadMode::Constant)?)
        }
        None => None,
    };
    if causal {
        return Ok(given);
    }
    let end = c.reshape(cache.total, vec![cache.batch.clone(), Dim::ONE, Dim::ONE, Dim::ONE])?;
    let places = c.iota(Element::I64, vec![keys], 0)?;
    let shown = c.compare(CompareFunction::Lt, places, end)?;
    let ends = mask_to_bias(c, shown, element)?;
    Ok(Some(c.add_optional(ends, given)?))
}

/// Logits without a value: given ones, or zeros.
fn sinks(c: &mut Call, q: Value, heads: i64) -> Built<Option<Value>> {
    let smooth = c.attributes.int_or("smooth_softmax", 0)? > 0;
    match c.optional(11) {
        Some(sinks) => Ok(Some(sinks)),
        None if smooth => {
            let element = c.element(q);
            let zero = c.scalar(element, 0.0)?;
            Ok(Some(c.broadcast(zero, vec![Dim::from(heads)])?))
        }
        None => Ok(None),
    }
}
