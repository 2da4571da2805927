//! Attention and rotary embedding of ONNX's own domain (opset 23 and later).

use narae_isa::{CompareFunction, Element};

use crate::graph::ops::PadMode;
use crate::graph::{Op, Real};
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("Attention", 23, NEWEST, "float", attention),
    onnx("RotaryEmbedding", 23, NEWEST, "float", rotary_embedding),
];

/// What every attention of every domain comes down to.
pub(super) struct Heads {
    /// `[B, H, S, D]`
    pub q: Value,
    /// `[B, G, T, D]`
    pub k: Value,
    /// `[B, G, T, E]`
    pub v: Value,
    /// Broadcasts to `[B, H, S, T]`.
    pub bias: Option<Value>,
    /// Keys before the first query, `i64 [B]`; `T - S` if absent.
    pub lengths: Option<Value>,
    /// Logits without a value, `[H]`.
    pub sinks: Option<Value>,
    /// Factor of the scores; none for `1 / sqrt(D)`.
    pub scale: Option<f32>,
    /// Whether a query sees no later keys.
    pub causal: bool,
    /// How many keys a query sees at most; 0: all.
    pub window: usize,
    /// Bound of the scores; 0: none.
    pub softcap: f32,
}

impl Heads {
    /// Plain attention of these.
    pub fn new(q: Value, k: Value, v: Value) -> Heads {
        Heads { q, k, v, bias: None, lengths: None, sinks: None, scale: None, causal: false, window: 0, softcap: 0.0 }
    }

    /// Appends the op: `[B, H, S, E]`.
    pub fn build(self, c: &mut Call) -> Built {
        let scale = default_scale(c, self.q, self.scale)?;
        shared_heads(c, self.q, self.k)?;
        let rest = [self.bias, self.lengths, self.sinks];
        let operands: Vec<Value> = [self.q, self.k, self.v].into_iter().chain(rest.into_iter().flatten()).collect();
        let op = Op::Attention {
            scale: Real::new(scale),
            causal: self.causal,
            window: self.window,
            softcap: Real::new(self.softcap.into()),
            bias: self.bias.is_some(),
            lengths: self.lengths.is_some(),
            sinks: self.sinks.is_some(),
        };
        c.op(op, &operands)
    }
}

/// Every head of keys belongs to as many heads of queries: known, or checked by the run.
fn shared_heads(c: &mut Call, q: Value, k: Value) -> Built<()> {
    if c.rank(q) != 4 || c.rank(k) != 4 {
        return Ok(());
    }
    let (heads, groups) = (c.dim(q, 1), c.dim(k, 1));
    if heads == groups {
        return Ok(());
    }
    c.at_least(&groups, &Dim::ONE);
    c.must_equal(&heads.modulo(&groups), &Dim::ZERO, "what the heads of keys leave over of the heads of queries")
}

/// The logits `[B, H, S, T]` of attention for who wants to see them: scaled, bounded, with the bias, and minus infinity where a query,
/// the first of which stands at `offset` (broadcast to `[B, 1, S, T]`), sees no key.
pub(super) fn logits(c: &mut Call, heads: &Heads, offset: Value) -> Built {
    let scale = default_scale(c, heads.q, heads.scale)?;
    let keys = repeat_heads(c, heads.q, heads.k)?;
    let keys = c.transpose_last(keys)?;
    let products = c.matmul(heads.q, keys)?;
    let products = c.scale(products, scale)?;
    let logits = bounded(c, products, heads.softcap)?;
    let ahead = heads.causal.then_some(0);
    let left = heads.window.checked_sub(1);
    let bias = visible(c, (heads.q, heads.k), offset, ahead, left, false, heads.bias)?;
    c.add_optional(logits, bias)
}

/// Scores bounded by a softcap, if there is one.
fn bounded(c: &mut Call, scores: Value, softcap: f32) -> Built {
    if softcap <= 0.0 {
        return Ok(scores);
    }
    let small = c.with_number(narae_isa::BinaryFunction::Div, scores, softcap.into())?;
    let bounded = c.unary(narae_isa::UnaryFunction::Tanh, small)?;
    c.scale(bounded, softcap.into())
}

/// The given scale, or one over the root of the head's size.
fn default_scale(c: &Call, q: Value, scale: Option<f32>) -> Built<f64> {
    match scale {
        Some(scale) => Ok(scale.into()),
        None => match c.dim(q, 3).as_size() {
            Some(size) if size > 0 => Ok(1.0 / (size as f64).sqrt()),
            _ => Err(unsupported("the size of a head is not known")),
        },
    }
}

/// `[B, S, H·D]` to `[B, H, S, D]`.
pub(super) fn split_heads(c: &mut Call, x: Value, heads: i64) -> Built {
    let [batch, sequence, hidden] =
        <[Dim; 3]>::try_from(c.dims(x)).map_err(|dims| mismatch(format!("rank {} instead of 3", dims.len())))?;
    if heads < 1 {
        return Err(mismatch(format!("{heads} heads")));
    }
    let size = hidden.floor_div(&Dim::from(heads));
    let whole = &size * &Dim::from(heads);
    c.must_equal(&hidden, &whole, "the hidden size (a multiple of the heads)")?;
    let split = c.reshape(x, vec![batch, sequence, Dim::from(heads), size])?;
    c.transpose(split, &[0, 2, 1, 3])
}

/// `[B, H, S, D]` to `[B, S, H·D]`.
pub(super) fn merge_heads(c: &mut Call, x: Value) -> Built {
    let dims = c.dims(x);
    let y = c.transpose(x, &[0, 2, 1, 3])?;
    c.reshape(y, vec![dims[0].clone(), dims[2].clone(), &dims[1] * &dims[3]])
}

/// The past before the new, if there is a past.
pub(super) fn append(c: &mut Call, past: Option<Value>, new: Value, axis: usize) -> Built {
    match past {
        Some(past) => c.concat(&[past, new], axis),
        None => Ok(new),
    }
}

/// Zero where the bool mask holds, minus infinity elsewhere.
pub(super) fn mask_to_bias(c: &mut Call, mask: Value, element: Element) -> Built {
    let (zero, never) = (c.scalar(element, 0.0)?, c.scalar(element, f64::NEG_INFINITY)?);
    c.select(mask, zero, never)
}

fn attention(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(7)?;
    let inputs = [c.input(0)?, c.input(1)?, c.input(2)?];
    let flat = c.rank(inputs[0]) == 3;
    let (q_heads, kv_heads) = (c.attributes.int("q_num_heads")?, c.attributes.int("kv_num_heads")?);
    let scale = c.attributes.float("scale")?;
    let softcap = c.attributes.float_or("softcap", 0.0)?;
    let causal = c.attributes.flag("is_causal", false)?;
    let mode = c.attributes.int_or("qk_matmul_output_mode", 0)?;
    let precision = c.attributes.int("softmax_precision")?;
    let window = (c.attributes.int_or("left_window_size", -1)?, c.attributes.int_or("right_window_size", -1)?);
    let [q, k, v] = if flat {
        let (Some(q_heads), Some(kv_heads)) = (q_heads, kv_heads) else {
            return Err(mismatch("operands of rank 3 need q_num_heads and kv_num_heads"));
        };
        [
            split_heads(c, inputs[0], q_heads)?,
            split_heads(c, inputs[1], kv_heads)?,
            split_heads(c, inputs[2], kv_heads)?,
        ]
    } else {
        inputs
    };
    let (past_key, past_value, valid) = (c.optional(4), c.optional(5), c.optional(6));
    let new = c.dim(k, 2);
    let k = append(c, past_key, k, 2)?;
    let v = append(c, past_value, v, 2)?;
    let mut heads = Heads::new(q, k, v);
    (heads.scale, heads.softcap) = (scale, softcap);
    let sequence = c.dim(q, 2);
    if let Some(valid) = valid {
        let valid = c.convert(valid, Element::I64)?;
        let own = c.dim_scalar(sequence.clone())?;
        heads.lengths = Some(c.sub(valid, own)?);
    }
    let mut bias = match c.optional(3) {
        Some(mask) => Some(attention_bias(c, mask, q, k)?),
        None => None,
    };
    // The op's own alignment is that of the last query to the last key; anything else is said by a bias.
    let aligned = heads.lengths.is_some() || new == sequence;
    let left = usize::try_from(window.0).ok();
    let explicit = c.wants(3) || !aligned || window.1 >= 0;
    if explicit {
        let offset = match heads.lengths {
            Some(lengths) => {
                let batch = c.dim(q, 0);
                c.reshape(lengths, vec![batch, Dim::ONE, Dim::ONE, Dim::ONE])?
            }
            None => {
                let offset = past_key.map_or(Dim::ZERO, |past| c.dim(past, 2));
                c.dim_scalar(offset)?
            }
        };
        let ahead = if causal { Some(0) } else { Some(window.1).filter(|&right| right >= 0) };
        let valid = heads.lengths.take().is_some();
        bias = visible(c, (q, k), offset, ahead, left, valid, bias)?;
    } else {
        heads.causal = causal;
        heads.window = left.map_or(0, |left| left + 1);
    }
    heads.bias = bias;
    let mut results = Vec::new();
    if c.wants(3) {
        let (y, scores) = spelled_out(c, heads, mode, precision)?;
        results.extend([y, k, v, scores]);
    } else {
        results.extend([heads.build(c)?, k, v]);
    }
    if flat {
        results[0] = merge_heads(c, results[0])?;
    }
    Ok(results)
}

/// The additive form of a mask, as long as the keys.
fn attention_bias(c: &mut Call, mask: Value, q: Value, k: Value) -> Built {
    let element = c.element(q);
    let keys = c.dim(k, 2);
    let bias =
        if c.element(mask) == Element::Bool { mask_to_bias(c, mask, element)? } else { c.convert(mask, element)? };
    let rank = c.rank(bias);
    if rank == 0 {
        return Ok(bias);
    }
    let own = c.dim(bias, rank - 1);
    let shorter = match (own.as_const(), keys.as_const()) {
        (Some(own), Some(keys)) => own < keys && own != 1,
        _ => c.optional(6).is_some() && own != keys,
    };
    if !shorter {
        return Ok(bias);
    }
    let mut dims = c.dims(bias);
    dims[rank - 1] = keys;
    let never = c.scalar(element, f64::NEG_INFINITY)?;
    c.pad(bias, Some(never), vec![Dim::ZERO; rank], dims, PadMode::Constant)
}

/// A bias that hides keys: after `position + ahead`, before `position - left`, and, if `valid`, after the queries themselves.
fn visible(
    c: &mut Call,
    (q, k): (Value, Value),
    offset: Value,
    ahead: Option<i64>,
    left: Option<usize>,
    valid: bool,
    bias: Option<Value>,
) -> Built<Option<Value>> {
    let (sequence, keys) = (c.dim(q, 2), c.dim(k, 2));
    let rows = c.iota(Element::I64, vec![sequence.clone(), Dim::ONE], 0)?;
    let columns = c.iota(Element::I64, vec![Dim::ONE, keys], 1)?;
    let position = c.add(rows, offset)?;
    let element = c.element(q);
    let mut sum = bias;
    let mut hide = |c: &mut Call, shown: Value| -> Built<()> {
        let part = mask_to_bias(c, shown, element)?;
        sum = Some(match sum {
            Some(bias) => c.add(bias, part)?,
            None => part,
        });
        Ok(())
    };
    if let Some(ahead) = ahead {
        let ahead = c.integer(Element::I64, ahead)?;
        let last = c.add(position, ahead)?;
        let shown = c.compare(CompareFunction::Le, columns, last)?;
        hide(c, shown)?;
    }
    if let Some(left) = left {
        let left = c.integer(Element::I64, left as i64)?;
        let first = c.sub(position, left)?;
        let shown = c.compare(CompareFunction::Ge, columns, first)?;
        hide(c, shown)?;
    }
    if valid {
        let own = c.dim_scalar(sequence)?;
        let end = c.add(offset, own)?;
        let shown = c.compare(CompareFunction::Lt, columns, end)?;
        hide(c, shown)?;
    }
    Ok(sum)
}

/// Attention in its parts, for who wants to see the scores: the result and the scores at the stage `mode`.
fn spelled_out(c: &mut Call, heads: Heads, mode: i64, precision: Option<i64>) -> Built<(Value, Value)> {
    let element = c.element(heads.q);
    let scale = default_scale(c, heads.q, heads.scale)?;
    let (k, v) = (repeat_heads(c, heads.q, heads.k)?, repeat_heads(c, heads.q, heads.v)?);
    let root = f64::from(scale as f32).sqrt();
    let (q, k) = (c.scale(heads.q, root)?, c.scale(k, root)?);
    let k = c.transpose_last(k)?;
    let products = c.matmul(q, k)?;
    let capped = bounded(c, products, heads.softcap)?;
    let biased = c.add_optional(capped, heads.bias)?;
    let wide = match precision {
        Some(number) => super::source::element_attribute(number)?,
        None => element,
    };
    let logits = c.convert(biased, wide)?;
    let weights = c.softmax(logits, 3)?;
    // A row that sees nothing is zero.
    let most = c.reduce(narae_isa::ReduceFunction::Max, logits, vec![3])?;
    let blind = c.unary(narae_isa::UnaryFunction::IsNegInf, most)?;
    let zero = c.scalar(wide, 0.0)?;
    let weights = c.select(blind, zero, weights)?;
    let weights = c.convert(weights, element)?;
    let scores = match mode {
        0 => products,
        1 => capped,
        2 => biased,
        3 => weights,
        other => return Err(unsupported(format!("qk_matmul_output_mode = {other}"))),
    };
    Ok((c.matmul(weights, v)?, scores))
}

/// Each key head as often as there are query heads for it.
fn repeat_heads(c: &mut Call, q: Value, x: Value) -> Built {
    let (heads, dims) = (c.dim(q, 1), c.dims(x));
    if heads == dims[1] {
        return Ok(x);
    }
    let times = heads.floor_div(&dims[1]);
    let spread = c.unsqueeze(x, &[2])?;
    let wide = vec![dims[0].clone(), dims[1].clone(), times, dims[2].clone(), dims[3].clone()];
    let spread = c.broadcast(spread, wide)?;
    c.reshape(spread, vec![dims[0].clone(), heads, dims[2].clone(), dims[3].clone()])
}

fn rotary_embedding(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (x, cos, sin, positions) = (c.input(0)?, c.input(1)?, c.input(2)?, c.optional(3));
    let interleaved = c.attributes.flag("interleaved", false)?;
    let heads = c.attributes.int_or("num_heads", 0)?;
    c.attributes.ignore(&["rotary_embedding_dim"]);
    let (cos, sin) = match positions {
        Some(positions) => (c.gather(cos, positions, 0)?, c.gather(sin, positions, 0)?),
        None => (cos, sin),
    };
    Ok(vec![rotate(c, x, cos, sin, interleaved, heads)?])
}

/// Rotates `[B, H, S, D]`, or `[B, S, H·D]` with a number of heads, by tables `[B or 1, S, R / 2]`.
pub(super) fn rotate(c: &mut Call, x: Value, cos: Value, sin: Value, interleaved: bool, heads: i64) -> Built {
    let dims = c.dims(x);
    let element = c.element(x);
    let (cos, sin) = (c.convert(cos, element)?, c.convert(sin, element)?);
    let heads_axis = if dims.len() == 4 { 1 } else { 2 };
    let wide = if dims.len() == 4 {
        x
    } else if heads > 0 && dims.len() == 3 {
        let size = dims[2].floor_div(&Dim::from(heads));
        c.reshape(x, vec![dims[0].clone(), dims[1].clone(), Dim::from(heads), size])?
    } else {
        return Err(mismatch("an operand of rank 3 needs num_heads"));
    };
    // Tables [S, R / 2] have no batch.
    let table = |c: &mut Call, table: Value| -> Built {
        if c.rank(table) == 2 {
            if heads_axis == 1 { Ok(table) } else { c.unsqueeze(table, &[1]) }
        } else {
            c.unsqueeze(table, &[heads_axis])
        }
    };
    let (cos, sin) = (table(c, cos)?, table(c, sin)?);
    let (whole, half) = (c.dim(wide, 3), c.dim(cos, c.last_axis(cos)?));
    c.at_least(&whole, &(&half * &Dim::from(2i64)));
    let y = c.op(Op::Rope { interleaved }, &[wide, cos, sin])?;
    c.reshape(y, dims)
}
