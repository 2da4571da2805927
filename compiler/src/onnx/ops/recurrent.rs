//! Layers with a state that tokens pass through in order: linear attention in all its update rules, and the short causal convolution
//! before it (Gated DeltaNet, Mamba, RWKV, RetNet).
//!
//! In: tokens and the state before them. Out: tokens and the state behind them. Always holds: the state is kept in f32 inside; a single token
//! needs no loop.

use std::sync::Arc;

use narae_isa::{Element, UnaryFunction};

use super::control::{Captures, Inside};
use crate::graph::{Op, TensorType};
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Builder, Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("LinearAttention", 27, NEWEST, "float", linear_attention),
    onnx("CausalConvWithState", 27, NEWEST, "float", causal_convolution),
];

/// A depthwise convolution that sees the tokens before a position; what it saw last is the state.
fn causal_convolution(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (x, weight, bias, past) = (c.input(0)?, c.input(1)?, c.optional(2), c.optional(3));
    let (Some(channels), Some(kernel)) = (c.dim(weight, 0).as_size(), c.dim(weight, 2).as_size()) else {
        return Err(unsupported("a kernel of unknown size"));
    };
    let silu = match c.attributes.text_or("activation", "none")? {
        "none" => false,
        "silu" | "swish" => true,
        other => return Err(unsupported(format!("activation `{other}`"))),
    };
    let [batch, depth, length] = <[Dim; 3]>::try_from(c.dims(x)).map_err(|_| mismatch("tokens need three axes"))?;
    c.must_equal(&depth, &Dim::from(channels), "the number of channels")?;
    let behind = Dim::from(kernel.saturating_sub(1));
    let past = match past {
        Some(past) => {
            c.extent_must_be(past, 2, &behind, "the length of the past")?;
            past
        }
        None => {
            let element = c.element(x);
            let zero = c.scalar(element, 0.0)?;
            c.broadcast(zero, vec![batch, depth, behind.clone()])?
        }
    };
    let all = c.concat(&[past, x], 2)?;
    let op = Op::Conv {
        strides: vec![1],
        before: vec![Dim::ZERO],
        dilations: vec![1],
        input_dilations: vec![1],
        groups: channels,
        dims: vec![length.clone()],
    };
    let operands: Vec<Value> = [all, weight].into_iter().chain(bias).collect();
    let mut y = c.op(op, &operands)?;
    if silu {
        y = c.unary(UnaryFunction::Silu, y)?;
    }
    Ok(vec![y, c.narrow(all, 2, length, behind)?])
}

/// How the state S changes with a token: it decays by e^g, then k ⊗ v is added, or β·k ⊗ (v − Sᵀk), and q reads it.
#[derive(Clone, Copy)]
struct Rule {
    decays: bool,
    corrects: bool,
    scale: f64,
    /// Query heads per head of keys.
    group: i64,
}

/// What a step takes of each token, in the order of the operands: `[batch, heads, width]`.
struct Token {
    q: Value,
    k: Value,
    v: Value,
    decay: Option<Value>,
    rate: Option<Value>,
}

fn linear_attention(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(6)?;
    c.attributes.ignore(&["chunk_size"]);
    let (heads, groups) = (c.attributes.required_int("q_num_heads")?, c.attributes.required_int("kv_num_heads")?);
    if groups < 1 || heads < 1 || heads % groups != 0 {
        return Err(mismatch(format!("{heads} heads of queries for {groups} of keys")));
    }
    let (decays, corrects) = match c.attributes.text_or("update_rule", "gated_delta")? {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(unsupported(format!("update_rule `{other}`"))),
    };
    let scale = c.attributes.float_or("scale", 0.0)?;
    let element = c.first_element()?;
    let mut tokens = vec![token_rows(c, 0, heads)?, token_rows(c, 1, groups)?, token_rows(c, 2, groups)?];
    if decays {
        tokens.push(token_rows(c, 4, groups)?);
    }
    if corrects {
        // A rate for all heads is one head that broadcasts.
        let all = c.input(5)?;
        let own = if c.dim(all, 2).is(1) { 1 } else { groups };
        tokens.push(token_rows(c, 5, own)?);
    }
    let first = c.dims(tokens[0]);
    for &other in &tokens[1..] {
        for (axis, what) in [(0, "the batch of an operand"), (1, "the number of tokens of an operand")] {
            c.extent_must_be(other, axis, &first[axis], what)?;
        }
    }
    let width = c.dim(tokens[0], 3);
    c.extent_must_be(tokens[1], 3, &width, "the width of a key")?;
    if decays && !c.dim(tokens[3], 3).is(1) {
        c.extent_must_be(tokens[3], 3, &width, "the width of a decay that is not one for all")?;
    }
    let dims = c.dims(tokens[0]);
    let width = dims[3].as_const();
    let usual = || width.map(|width| 1.0 / (width as f64).sqrt()).ok_or_else(|| unsupported("heads of unknown width"));
    let scale = if scale == 0.0 { usual()? } else { scale.into() };
    let rule = Rule { decays, corrects, scale, group: heads / groups };
    let state = first_state(c, &tokens)?;
    let (state, y) = if dims[1].is(1) { single(c, rule, &tokens, state)? } else { steps(c, rule, &tokens, state)? };
    let merged = vec![dims[0].clone(), dims[1].clone(), &Dim::from(heads) * &c.dim(tokens[2], 3)];
    let y = c.reshape(y, merged)?;
    Ok(vec![c.convert(y, element)?, c.convert(state, element)?])
}

/// An operand `[batch, tokens, heads · width]` as `[batch, tokens, heads, width]` in f32.
fn token_rows(c: &mut Call, index: usize, heads: i64) -> Built {
    let x = c.input(index)?;
    if c.rank(x) != 3 {
        return Err(mismatch(format!("operand {index} must have three axes")));
    }
    let x = c.convert(x, Element::F32)?;
    let dims = c.dims(x);
    let heads = Dim::from(heads);
    c.reshape(x, vec![dims[0].clone(), dims[1].clone(), heads.clone(), dims[2].floor_div(&heads)])
}

/// The state before the first token: `[batch, heads, width of keys, width of values]`.
fn first_state(c: &mut Call, tokens: &[Value]) -> Built {
    match c.optional(3) {
        Some(past) => {
            c.expect_rank(past, 4, "the past state")?;
            let (k, v) = (c.dims(tokens[1]), c.dims(tokens[2]));
            for (axis, own) in [&k[0], &k[2], &k[3], &v[3]].into_iter().enumerate() {
                c.extent_must_be(past, axis, own, "an extent of the past state")?;
            }
            c.convert(past, Element::F32)
        }
        None => {
            let (k, v) = (c.dims(tokens[1]), c.dims(tokens[2]));
            let zero = c.scalar(Element::F32, 0.0)?;
            c.broadcast(zero, vec![k[0].clone(), k[2].clone(), k[3].clone(), v[3].clone()])
        }
    }
}

/// One token, whose axis of tokens is dropped.
fn single(c: &mut Call, rule: Rule, tokens: &[Value], state: Value) -> Built<(Value, Value)> {
    let token = tokens.iter().map(|&all| c.squeeze(all, &[1])).collect::<Built<Vec<Value>>>()?;
    rule.step(c, &rule.token(&token), state)
}

/// A loop over the tokens; what it reads comes out as `[batch, tokens, heads, width of values]`.
fn steps(c: &mut Call, rule: Rule, tokens: &[Value], state: Value) -> Built<(Value, Value)> {
    let mut captures = Captures::default();
    for &value in tokens.iter().chain([&state]) {
        c.dims(value).iter().for_each(|dim| captures.use_symbols(dim));
    }
    let trip = c.dim(tokens[0], 1);
    let mut inside = Inside::enter(c.importer, &captures, "step");
    let iteration = inside.builder().graph.add_input("iteration", TensorType::scalar(Element::I64));
    let before = inside.input("state", state);
    let all: Vec<Value> =
        tokens.iter().enumerate().map(|(index, &value)| inside.input(&format!("tokens.{index}"), value)).collect();
    let b = inside.builder();
    let token = all.iter().map(|&all| b.gather(all, iteration, 1)).collect::<Built<Vec<Value>>>();
    let result = token.and_then(|token| rule.step(b, &rule.token(&token), before));
    let body = inside.leave(result, |graph, (state, read)| {
        graph.add_output("state", state);
        graph.add_output("read", read);
    })?;
    let op = Op::While { trip, conditional: false, carried: 1, symbols: captures.symbol_dims(), body: Arc::new(body) };
    let operands: Vec<Value> = [state].into_iter().chain(tokens.iter().copied()).collect();
    let results = c.ops(op, &operands)?;
    let rank = c.rank(results[1]);
    let order: Vec<usize> = [1, 0].into_iter().chain(2..rank).collect();
    Ok((results[0], c.transpose(results[1], &order)?))
}

impl Rule {
    fn token(self, parts: &[Value]) -> Token {
        let mut rest = parts[3..].iter().copied();
        let decay = if self.decays { rest.next() } else { None };
        let rate = if self.corrects { rest.next() } else { None };
        Token { q: parts[0], k: parts[1], v: parts[2], decay, rate }
    }

    /// The state behind a token, and what the queries read: `[batch, heads, group, width of values]`.
    fn step(self, b: &mut Builder, token: &Token, state: Value) -> Built<(Value, Value)> {
        let mut state = state;
        if let Some(decay) = token.decay {
            let factor = b.unary(UnaryFunction::Exp, decay)?;
            let factor = b.unsqueeze(factor, &[3])?;
            state = b.mul(state, factor)?;
        }
        let key = b.unsqueeze(token.k, &[3])?;
        let mut value = token.v;
        if let Some(rate) = token.rate {
            let row = b.unsqueeze(token.k, &[2])?;
            let found = b.matmul(row, state)?;
            let found = b.squeeze(found, &[2])?;
            let missing = b.sub(value, found)?;
            value = b.mul(rate, missing)?;
        }
        let value = b.unsqueeze(value, &[2])?;
        let added = b.mul(key, value)?;
        let state = b.add(state, added)?;
        let dims = b.dims(token.q);
        let group = Dim::from(self.group);
        let grouped = vec![dims[0].clone(), dims[1].floor_div(&group), group, dims[2].clone()];
        let q = b.reshape(token.q, grouped)?;
        let read = b.matmul(q, state)?;
        Ok((state, b.scale(read, self.scale)?))
    }
}
