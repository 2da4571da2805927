//! Attention of onnxruntime's domain with as many heads of keys as of queries: packed projections, masks by position, a past.

use narae_isa::{BinaryFunction, CompareFunction, Element, HostTensor, UnaryFunction};

use super::attention::{Heads, append, logits, mask_to_bias, merge_heads, rotate, split_heads};
use super::quantization::scaled_integer_product;
use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, Row, microsoft};

pub(super) const ROWS: &[Row] = &[
    microsoft("MultiHeadAttention", "float", multi_head_attention),
    microsoft("Attention", "float", packed_attention),
    microsoft("QAttention", "i8, u8", quantized_attention),
    microsoft("RotaryEmbedding", "float", rotary_embedding),
    microsoft("GemmaRotaryEmbedding", "float", gemma_rotary_embedding),
    microsoft("RelativePositionBias", "float", relative_position_bias),
    microsoft("GatedRelativePositionBias", "float", |_| Err(unsupported("a gated bias of positions"))),
];

fn rotary_embedding(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (x, positions, cos, sin) = (c.input(0)?, c.input(1)?, c.input(2)?, c.input(3)?);
    let interleaved = c.attributes.flag("interleaved", false)?;
    let mut heads = c.attributes.int_or("num_heads", 0)?;
    // onnxruntime's kernels read neither the scale nor whether batches are packed.
    c.attributes.ignore(&["rotary_embedding_dim", "is_packed_batching", "scale"]);
    let dims = c.dims(x);
    let sequence = if dims.len() == 4 { dims[2].clone() } else { dims[1].clone() };
    let positions = c.convert(positions, Element::I64)?;
    let one = c.rank(positions) < 2;
    let positions = if one {
        // One number: where the first token stands.
        let start = c.reshape(positions, vec![])?;
        let steps = c.iota(Element::I64, vec![sequence], 0)?;
        c.add(steps, start)?
    } else {
        positions
    };
    if dims.len() == 3 && heads == 0 {
        let size = &c.dim(cos, 1) * &Dim::from(2i64);
        heads = dims[2].floor_div(&size).as_const().ok_or_else(|| unsupported("the number of heads is not known"))?;
    }
    let (cos, sin) = (c.gather(cos, positions, 0)?, c.gather(sin, positions, 0)?);
    Ok(vec![rotate(c, x, cos, sin, interleaved, heads)?])
}

/// `q·cos + rotated_q·sin` of angles, for queries and keys.
fn gemma_rotary_embedding(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(5)?;
    let angles = c.input(0)?;
    let (sin, cos) = (c.unary(UnaryFunction::Sin, angles)?, c.unary(UnaryFunction::Cos, angles)?);
    let element = c.element(c.input(1)?);
    let (sin, cos) = (c.convert(sin, element)?, c.convert(cos, element)?);
    let (sin, cos) = (c.unsqueeze(sin, &[1])?, c.unsqueeze(cos, &[1])?);
    let mut results = Vec::new();
    for (plain, turned) in [(1, 2), (3, 4)] {
        let (plain, turned) = (c.input(plain)?, c.input(turned)?);
        let (a, b) = (c.mul(plain, cos)?, c.mul(turned, sin)?);
        results.push(c.add(a, b)?);
    }
    Ok(results)
}

/// How the attentions of encoders mask: which keys, and how much is added where one is masked.
struct Masking {
    heads: i64,
    scale: Option<f32>,
    causal: bool,
    filter: f32,
}

fn masking(c: &Call) -> Built<Masking> {
    Ok(Masking {
        heads: c.attributes.required_int("num_heads")?,
        scale: c.attributes.float("scale")?.filter(|&scale| scale != 0.0),
        causal: c.attributes.flag("unidirectional", false)?,
        filter: c.attributes.float_or("mask_filter_value", -10000.0)?,
    })
}

impl Masking {
    /// The attention of heads with a mask and a bias: `[B, S, H·E]`, and the scores if the node wants them as its fourth result.
    /// `lengths`: how many keys each sequence had before its queries, where they lie in a buffer.
    fn attend(
        &self,
        c: &mut Call,
        [q, k, v]: [Value; 3],
        (mask, bias): (Option<Value>, Option<Value>),
        lengths: Option<Value>,
    ) -> Built<(Value, Option<Value>)> {
        let element = c.element(q);
        let keys = c.dim(k, 2);
        let mask = match mask {
            Some(mask) => Some(self.bias(c, mask, (c.dim(q, 0), keys), element)?),
            None => None,
        };
        let mut attention = Heads::new(q, k, v);
        attention.scale = self.scale;
        attention.causal = self.causal;
        attention.bias = match (mask, bias) {
            (Some(mask), Some(bias)) => Some(c.add(mask, bias)?),
            (mask, bias) => mask.or(bias),
        };
        attention.lengths = lengths;
        let scores = c.wants(3).then(|| self.scores(c, &attention)).transpose()?;
        let y = attention.build(c)?;
        Ok((merge_heads(c, y)?, scores))
    }

    /// What softmax takes.
    fn scores(&self, c: &mut Call, attention: &Heads) -> Built {
        if self.causal {
            return Err(unsupported("scores of causal attention as a result"));
        }
        let start = c.integer(Element::I64, 0)?;
        logits(c, attention, start)
    }

    /// The additive form of a mask in any of its shapes.
    fn bias(&self, c: &mut Call, mask: Value, (batch, keys): (Dim, Dim), element: Element) -> Built {
        let shown = match c.rank(mask) {
            1 => self.by_position(c, mask, &batch, &keys)?,
            2..=4 => {
                let own = c.element(mask);
                let zero = c.integer(own, 0)?;
                let set =
                    if c.element(mask) == Element::Bool { mask } else { c.compare(CompareFunction::Gt, mask, zero)? };
                match c.rank(mask) {
                    2 => c.unsqueeze(set, &[1, 2])?,
                    3 => c.unsqueeze(set, &[1])?,
                    _ => return Err(unsupported("a mask of four axes")),
                }
            }
            rank => return Err(mismatch(format!("a mask of rank {rank}"))),
        };
        let (zero, hidden) = (c.scalar(element, 0.0)?, c.scalar(element, self.filter.into())?);
        c.select(shown, zero, hidden)
    }

    /// Ends `[B]`, ends and starts `[2·B]`, or the table `[3·B + 2]` that begins with ends, of the keys that count. A length that may be any of
    /// the three is looked at when the program runs.
    fn by_position(&self, c: &mut Call, mask: Value, batch: &Dim, keys: &Dim) -> Built {
        let mask = c.convert(mask, Element::I64)?;
        let all = c.dim(mask, 0);
        let column = vec![batch.clone(), Dim::ONE, Dim::ONE, Dim::ONE];
        let positions = c.iota(Element::I64, vec![keys.clone()], 0)?;
        let ends = c.narrow(mask, 0, Dim::ZERO, batch.clone())?;
        let ends = c.reshape(ends, column.clone())?;
        let before = c.compare(CompareFunction::Lt, positions, ends)?;
        let twice = batch * &Dim::from(2i64);
        let table = &(batch * &Dim::from(3i64)) + &Dim::from(2i64);
        let sizes = c.graph.symbols.given(&all).zip(c.graph.symbols.given(batch));
        let is = |c: &Call, form: &Dim| {
            all == *form || (sizes.is_some() && c.graph.symbols.given(form) == sizes.map(|s| s.0))
        };
        if let Some(form) = [batch, &twice, &table].into_iter().find(|form| is(c, form)) {
            c.must_equal(&all, form, "the mask's length")?;
        }
        if [batch, &table].contains(&&c.dim(mask, 0)) {
            return Ok(before);
        }
        let starts = self.starts(c, mask, &twice, batch)?;
        let starts = c.reshape(starts, column)?;
        let after = c.compare(CompareFunction::Ge, positions, starts)?;
        c.binary(BinaryFunction::And, before, after)
    }

    /// The second half of a mask of ends and starts; zeros where the run finds that it has none.
    fn starts(&self, c: &mut Call, mask: Value, twice: &Dim, batch: &Dim) -> Built {
        let all = c.dim(mask, 0);
        if all == *twice {
            return c.narrow(mask, 0, batch.clone(), batch.clone());
        }
        if all.as_const().is_some() && batch.as_const().is_some() {
            return Err(mismatch("a mask of one axis has B, 2·B or 3·B + 2 elements"));
        }
        let (first, last) = (c.dim_scalar(batch.clone())?, c.dim_scalar(&all - &Dim::ONE)?);
        let places = c.iota(Element::I64, vec![batch.clone()], 0)?;
        let places = c.add(places, first)?;
        let places = c.binary(BinaryFunction::Min, places, last)?;
        let found = c.gather(mask, places, 0)?;
        let (all, twice, zero) = (c.dim_scalar(all)?, c.dim_scalar(twice.clone())?, c.integer(Element::I64, 0)?);
        let has = c.compare(CompareFunction::Eq, all, twice)?;
        c.select(has, found, zero)
    }
}

fn multi_head_attention(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(9)?;
    let mut masking = masking(c)?;
    let query = c.input(0)?;
    let (key, value, bias) = (c.optional(1), c.optional(2), c.optional(3));
    let (mask, attention_bias, past_key, past_value) = (c.optional(4), c.optional(5), c.optional(6), c.optional(7));
    let heads = masking.heads;
    let [q, mut k, mut v] = match (key, value) {
        (None, _) => {
            unpack(c, query, 3, heads)?.try_into().map_err(|_| mismatch("packed projections need five axes"))?
        }
        (Some(key), None) => {
            let parts = unpack(c, key, 2, heads)?;
            let q = split_heads(c, query, heads)?;
            [q, parts[0], parts[1]]
        }
        (Some(key), Some(value)) => {
            let biases = bias_parts(c, bias, (query, key, value))?;
            let part = |c: &mut Call, x: Value, bias: Option<Value>| -> Built {
                // Keys of a cross attention may come as heads already.
                if c.rank(x) == 4 {
                    c.extent_must_be(x, 1, &Dim::from(heads), "the second extent (the heads)")?;
                    return Ok(x);
                }
                let x = c.add_optional(x, bias)?;
                split_heads(c, x, heads)
            };
            [part(c, query, biases[0])?, part(c, key, biases[1])?, part(c, value, biases[2])?]
        }
    };
    if (key.is_none() || value.is_none()) && bias.is_some() {
        return Err(unsupported("a bias of packed projections"));
    }
    let (y, scores) = match (c.optional(8), past_key, past_value) {
        (Some(count), Some(past_key), Some(past_value)) => {
            if mask.is_some() {
                return Err(unsupported("a mask of keys with past_sequence_length"));
            }
            let (lengths, shown) = filled(c, q, past_key, count)?;
            k = c.op(Op::KvAppend {}, &[past_key, k, lengths])?;
            v = c.op(Op::KvAppend {}, &[past_value, v, lengths])?;
            let bias = c.add_optional(shown, attention_bias)?;
            masking.attend(c, [q, k, v], (None, Some(bias)), masking.causal.then_some(lengths))?
        }
        _ => {
            let (sequence, new) = (c.dim(q, 2), c.dim(k, 2));
            k = append(c, past_key, k, 2)?;
            v = append(c, past_value, v, 2)?;
            let mut bias = attention_bias;
            if masking.causal && new != sequence && !c.wants(3) {
                masking.causal = false;
                let (past, keys) = (past_key.map_or(Dim::ZERO, |past| c.dim(past, 2)), c.dim(k, 2));
                let shown = seen_of_others(c, (sequence, keys), past)?;
                let element = c.element(q);
                let hidden = mask_to_bias(c, shown, element)?;
                bias = Some(c.add_optional(hidden, bias)?);
            }
            masking.attend(c, [q, k, v], (mask, bias), None)?
        }
    };
    Ok([y, k, v].into_iter().chain(scores).collect())
}

/// Which keys of another sequence causal queries see in onnxruntime, `[queries, keys]`: the past and as many as there are queries up to this
/// one, but the last query sees all. (Where keys and queries are equally many, that is what the graph's own op does.)
fn seen_of_others(c: &mut Call, (queries, keys): (Dim, Dim), past: Dim) -> Built {
    let rows = c.iota(Element::I64, vec![queries.clone(), Dim::ONE], 0)?;
    let columns = c.iota(Element::I64, vec![Dim::ONE, keys], 1)?;
    let past = c.dim_scalar(past)?;
    let position = c.add(rows, past)?;
    let before = c.compare(CompareFunction::Le, columns, position)?;
    let end = c.dim_scalar(&queries - &Dim::ONE)?;
    let last = c.compare(CompareFunction::Eq, rows, end)?;
    c.binary(BinaryFunction::Or, before, last)
}

/// Of a buffer whose first `count` rows are filled: that number for every sequence, and the bias that hides what is empty after the queries.
fn filled(c: &mut Call, q: Value, buffer: Value, count: Value) -> Built<(Value, Value)> {
    let (batch, sequence, room) = (c.dim(q, 0), c.dim(q, 2), c.dim(buffer, 2));
    let count = c.convert(count, Element::I64)?;
    let count = c.reshape(count, vec![])?;
    let new = c.dim_scalar(sequence)?;
    let end = c.add(count, new)?;
    let places = c.iota(Element::I64, vec![room], 0)?;
    let shown = c.compare(CompareFunction::Lt, places, end)?;
    let element = c.element(q);
    let bias = mask_to_bias(c, shown, element)?;
    Ok((c.broadcast(count, vec![batch])?, bias))
}

/// `[B, S, H, parts, D]` as `parts` times `[B, H, S, D]`.
fn unpack(c: &mut Call, x: Value, parts: usize, heads: i64) -> Built<Vec<Value>> {
    let dims = c.dims(x);
    if dims.len() != 5 {
        return Err(mismatch("packed projections need five axes"));
    }
    c.must_equal(&dims[2], &Dim::from(heads), "the third extent (the heads)")?;
    c.must_equal(&dims[3], &Dim::from(parts), "the fourth extent (what is packed)")?;
    let mut found = Vec::new();
    for part in 0..parts {
        let one = c.narrow(x, 3, Dim::from(part), Dim::ONE)?;
        let one = c.squeeze(one, &[3])?;
        found.push(c.transpose(one, &[0, 2, 1, 3])?);
    }
    Ok(found)
}

/// The parts of a bias for query, key and value.
fn bias_parts(c: &mut Call, bias: Option<Value>, (q, k, v): (Value, Value, Value)) -> Built<[Option<Value>; 3]> {
    let Some(bias) = bias else { return Ok([None; 3]) };
    let width = |c: &Call, x: Value| {
        let dims = c.dims(x);
        if dims.len() == 4 { &dims[1] * &dims[3] } else { dims[dims.len() - 1].clone() }
    };
    let widths = [width(c, q), width(c, k), width(c, v)];
    let parts = c.split(bias, 0, &widths)?;
    Ok([Some(parts[0]), Some(parts[1]), Some(parts[2])])
}

/// Attention that projects its input itself.
fn packed_attention(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(6)?;
    let masking = masking(c)?;
    let (x, weights, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let projected = c.matmul(x, weights)?;
    let projected = c.add_optional(projected, bias)?;
    let sizes = c.attributes.ints("qkv_hidden_sizes")?.map(<[i64]>::to_vec);
    c.attributes.ignore(&["past_present_share_buffer"]);
    if c.attributes.flag("do_rotary", false)? {
        return Err(unsupported("do_rotary"));
    }
    c.attributes.ignore(&["rotary_embedding_dim"]);
    let (mask, past, attention_bias) = (c.optional(3), c.optional(4), c.optional(5));
    projected_attention(c, &masking, projected, sizes, (mask, past, attention_bias))
}

type Extras = (Option<Value>, Option<Value>, Option<Value>);

/// Attention of `[B, S, q + k + v]`; the past and the present are `[2, B, H, T, D]`.
fn projected_attention(
    c: &mut Call,
    masking: &Masking,
    projected: Value,
    sizes: Option<Vec<i64>>,
    (mask, past, attention_bias): Extras,
) -> Built<Vec<Value>> {
    let widths: Vec<Dim> = match sizes {
        Some(sizes) if sizes.len() == 3 => sizes.into_iter().map(Dim::from).collect(),
        Some(_) => return Err(mismatch("qkv_hidden_sizes must be three")),
        None => vec![c.dim(projected, 2).floor_div(&Dim::from(3i64)); 3],
    };
    let parts = c.split(projected, 2, &widths)?;
    let q = split_heads(c, parts[0], masking.heads)?;
    let mut k = split_heads(c, parts[1], masking.heads)?;
    let mut v = split_heads(c, parts[2], masking.heads)?;
    if let Some(past) = past {
        let halves = c.split(past, 0, &[Dim::ONE, Dim::ONE])?;
        let (past_key, past_value) = (c.squeeze(halves[0], &[0])?, c.squeeze(halves[1], &[0])?);
        k = c.concat(&[past_key, k], 2)?;
        v = c.concat(&[past_value, v], 2)?;
    }
    let mut results = vec![masking.attend(c, [q, k, v], (mask, attention_bias), None)?.0];
    if c.wants(1) {
        let (k, v) = (c.unsqueeze(k, &[0])?, c.unsqueeze(v, &[0])?);
        results.push(c.concat(&[k, v], 0)?);
    }
    Ok(results)
}

/// The same with integer input and weights.
fn quantized_attention(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(9)?;
    let masking = masking(c)?;
    c.attributes.ignore(&["past_present_share_buffer"]);
    if c.attributes.flag("do_rotary", false)? {
        return Err(unsupported("do_rotary"));
    }
    let (x, weights, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (x_scale, w_scale, mask) = (c.input(3)?, c.input(4)?, c.optional(5));
    let (x_zero, w_zero, past) = (c.optional(6), c.optional(7), c.optional(8));
    let projected = scaled_integer_product(c, (x, x_scale, x_zero), (weights, w_scale, w_zero), Some(bias))?;
    projected_attention(c, &masking, projected, None, (mask, past, None))
}

/// The bias of T5: a table row for each bucket of distances between query and key.
fn relative_position_bias(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (table, queries, keys) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let most = c.attributes.required_int("max_distance")?;
    let both = c.attributes.flag("is_bidirectional", false)?;
    let queries = c.scalar_operand(queries, "query_length", Some(0))?;
    let keys = c.scalar_operand(keys, "key_length", Some(0))?;
    let buckets = c.dim(table, 0).as_const().ok_or_else(|| unsupported("the number of buckets is not known"))?;
    let rows = c.iota(Element::I64, vec![queries.clone(), Dim::ONE], 0)?;
    let columns = c.iota(Element::I64, vec![Dim::ONE, keys.clone()], 1)?;
    let distance = c.sub(columns, rows)?;
    let bucket = bucket(c, distance, buckets, most, both)?;
    let bias = c.gather(table, bucket, 0)?;
    let bias = c.transpose(bias, &[2, 0, 1])?;
    Ok(vec![c.unsqueeze(bias, &[0])?])
}

/// Small distances have buckets of their own, larger ones share them on a logarithmic scale.
fn bucket(c: &mut Call, distance: Value, buckets: i64, most: i64, both: bool) -> Built {
    let zero = c.integer(Element::I64, 0)?;
    let (buckets, start, distance) = if both {
        let half = c.integer(Element::I64, buckets / 2)?;
        let later = c.compare(CompareFunction::Gt, distance, zero)?;
        let start = c.select(later, half, zero)?;
        (buckets / 2, start, c.unary(UnaryFunction::Abs, distance)?)
    } else {
        let back = c.unary(UnaryFunction::Neg, distance)?;
        (buckets, zero, c.binary(BinaryFunction::Max, back, zero)?)
    };
    let exact = buckets / 2;
    let limit = c.integer(Element::I64, exact)?;
    let small = c.compare(CompareFunction::Lt, distance, limit)?;
    let wide = c.convert(distance, Element::F32)?;
    let ratio = c.with_number(BinaryFunction::Div, wide, exact as f64)?;
    let log = c.unary(UnaryFunction::Log, ratio)?;
    let span = (most as f64 / exact as f64).ln();
    let scaled = c.with_number(BinaryFunction::Div, log, span)?;
    let scaled = c.with_number(BinaryFunction::Mul, scaled, (buckets - exact) as f64)?;
    // Distances below the limit would give minus infinity here; their bucket is the other one.
    let scaled = c.with_number(BinaryFunction::Max, scaled, 0.0)?;
    let steps = c.convert(scaled, Element::I64)?;
    let far = c.add(steps, limit)?;
    let last = c.tensor(HostTensor::from_i64(&[], &[buckets - 1]))?;
    let far = c.binary(BinaryFunction::Min, far, last)?;
    let found = c.select(small, distance, far)?;
    c.add(found, start)
}
