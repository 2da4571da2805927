//! The attention engine: queries against a cache, by the kernel of [`crate::kernels::attention`].

use super::{Context, Fault, Flow, require};
use crate::kernels::attention::{BLOCK, Query, Rule, Source, attend as kernel};
use crate::state::{Cache, Memory, View};
use narae_isa::instructions::Attend;
use narae_isa::{Element, Overflow};
use std::cell::RefCell;
use std::ops::Range;

/// The keys, values and biases of one batch and one KV head, for the queries of all its heads.
struct Heads<'a> {
    memory: &'a Memory,
    k: &'a Cache,
    v: &'a Cache,
    bias: Option<View>,
    b: usize,
    kv_head: usize,
    /// Query heads per KV head, and queries per head.
    group: usize,
    queries: usize,
    /// The first fault, as the kernel knows no faults.
    fault: RefCell<Option<Fault>>,
    buffer: RefCell<Vec<f32>>,
}

impl Heads<'_> {
    fn note(&self, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.fault.borrow_mut().get_or_insert(fault);
        }
    }

    fn rows(&self, cache: &Cache, keys: Range<usize>, out: &mut [f32]) {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        let loaded = cache.load(self.memory, self.b, self.kv_head, keys, &mut buffer);
        match loaded {
            Ok(()) if buffer.len() == out.len() => out.copy_from_slice(&buffer),
            other => self.note(other),
        }
    }
}

impl Source for Heads<'_> {
    fn block(&self, keys: Range<usize>, k: &mut [f32], v: &mut [f32]) {
        self.rows(self.k, keys.clone(), k);
        self.rows(self.v, keys, v);
    }

    fn bias(&self, query: usize, keys: Range<usize>, scores: &mut [f32]) {
        let Some(bias) = self.bias else { return };
        let (head, i) = (self.kv_head * self.group + query / self.queries, query % self.queries);
        let mut row = bias.tail(3, &[self.b, head, i, keys.start]);
        row.dims[0] = keys.len();
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        self.note(self.memory.load_f32(&row, &mut buffer));
        if bias.element == Element::Bool {
            scores
                .iter_mut()
                .zip(buffer.iter())
                .filter(|(_, keep)| **keep == 0.0)
                .for_each(|(s, _)| *s = f32::NEG_INFINITY);
        } else {
            scores.iter_mut().zip(buffer.iter()).for_each(|(s, b)| *s += b);
        }
    }
}

/// The dims of the operands, checked.
struct Shape {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    depth: usize,
    value_depth: usize,
}

fn shape(out: &View, q: &View, k: &Cache, v: &Cache) -> Result<Shape, Fault> {
    let [kb, kv_heads, keys, depth] = k.dims();
    let [vb, v_heads, v_keys, value_depth] = v.dims();
    let fits = q.rank == 4
        && out.rank == 4
        && out.dims[..3] == q.dims[..3]
        && out.dims[3] == value_depth
        && q.dims[3] == depth;
    let fits = fits
        && kb == q.dims[0]
        && vb == kb
        && v_heads == kv_heads
        && v_keys == keys
        && q.dims[1].is_multiple_of(kv_heads);
    require(fits, || {
        format!("attention of q {:?}, k {:?}, v {:?} does not give {:?}", q.dims(), k.dims(), v.dims(), out.dims())
    })?;
    Ok(Shape { batch: kb, heads: q.dims[1], kv_heads, queries: q.dims[2], keys, depth, value_depth })
}

/// The keys that the query at a position sees; none before the first key.
fn visible(row: &Attend, position: i64, end: usize, sliding: Option<usize>) -> Range<usize> {
    let behind = usize::try_from(position.saturating_add(1)).unwrap_or(0);
    let causal_end = if row.causal { end.min(behind) } else { end };
    match sliding {
        None => 0..causal_end,
        Some(window) => {
            let reach = usize::try_from(position.saturating_add(window as i64)).unwrap_or(0);
            let last = if row.causal { causal_end } else { end.min(reach) };
            let first = behind.saturating_sub(window);
            first.min(last)..last
        }
    }
}

/// The sliding window in tokens.
fn window(c: &Context<'_>, row: &Attend) -> Result<Option<usize>, Fault> {
    let window = c.optional_scalar(row.sliding).map(usize::try_from).transpose();
    window.map_err(|_| Fault::operands("the sliding window is negative"))
}

/// Tokens before the first query (below zero where that comes before the first key), and valid keys, of sequence `b`.
fn bounds(
    row: &Attend,
    past: Option<&[i64]>,
    valid: Option<&[usize]>,
    b: usize,
    queries: usize,
    keys: usize,
) -> (i64, usize) {
    let before = match past {
        Some(past) => past[b],
        None if row.causal => keys.saturating_sub(queries) as i64,
        None => 0,
    };
    let end = match (valid, past) {
        (Some(valid), _) => valid[b].min(keys),
        (None, Some(_)) => keys.min(usize::try_from(before.saturating_add(queries as i64)).unwrap_or(0)),
        (None, None) => keys,
    };
    (before, end)
}

/// For each sequence, the keys that each of its queries sees; queries in order.
pub fn visible_keys(
    c: &Context<'_>,
    row: &Attend,
    batch: usize,
    queries: usize,
    keys: usize,
) -> Result<Vec<Vec<Range<usize>>>, Fault> {
    let past = super::moves::per_sequence(c, row.past, batch)?;
    let valid = super::moves::lengths(c, row.keys, batch)?;
    let sliding = window(c, row)?;
    let of = |b| {
        let (before, end) = bounds(row, past.as_deref(), valid.as_deref(), b, queries, keys);
        (0..queries).map(|i| visible(row, before.saturating_add(i as i64), end, sliding)).collect()
    };
    Ok((0..batch).map(of).collect())
}

/// For each sequence, the blocks of keys that contain all that some query sees.
pub(super) fn seen(c: &Context<'_>, row: &Attend, batch: usize, keys: usize) -> Result<Vec<Range<usize>>, Fault> {
    let queries = c.tensor(row.q)?.dims().get(2).copied().unwrap_or(0) as usize;
    let whole = |ranges: Vec<Range<usize>>| {
        let seen = ranges.iter().filter(|range| !range.is_empty());
        let all = seen.fold(0..0, |all: Range<usize>, one| match all.is_empty() {
            true => one.clone(),
            false => all.start.min(one.start)..all.end.max(one.end),
        });
        all.start / BLOCK * BLOCK..all.end
    };
    Ok(visible_keys(c, row, batch, queries, keys)?.into_iter().map(whole).collect())
}

pub(super) fn attend(c: &mut Context<'_>, row: &Attend) -> Result<Flow, Fault> {
    let (out, q) = (c.view(row.out)?, c.view(row.q)?);
    let (k, v) = (Cache::of(c.tensor(row.k)?)?, Cache::of(c.tensor(row.v)?)?);
    let shape = shape(&out, &q, &k, &v)?;
    let bias = c.optional_view(row.bias)?;
    let bias_dims = [shape.batch, shape.heads, shape.queries, shape.keys];
    require(bias.is_none_or(|bias| bias.dims() == bias_dims), || format!("the bias must have the dims {bias_dims:?}"))?;
    if let Some(bias) = &bias {
        bias.check(c.memory)?;
    }
    let past = super::moves::per_sequence(c, row.past, shape.batch)?;
    let valid = super::moves::lengths(c, row.keys, shape.batch)?;
    let sinks = match c.optional_view(row.sinks)? {
        None => None,
        Some(view) => {
            require(view.len() == shape.heads, || format!("{} sinks for {} heads", view.len(), shape.heads))?;
            let mut sinks = Vec::new();
            c.memory.load_f32(&view, &mut sinks)?;
            Some(sinks)
        }
    };
    let softcap = c.optional_scalar(row.softcap).map(|bits| f32::from_bits(bits as u32));
    let sliding = window(c, row)?;
    let rule = Rule {
        depth: shape.depth,
        value_depth: shape.value_depth,
        scale: row.scale.value(),
        softcap,
        bias_first: row.bias_first,
    };
    let mut queries = Vec::new();
    c.memory.load_f32(&q, &mut queries)?;
    let mut result = vec![0f32; out.len()];
    // No heads of keys: no heads of queries either.
    let group = shape.heads.checked_div(shape.kv_heads).unwrap_or(0);
    let rows = group * shape.queries;
    for b in 0..shape.batch {
        let (before, end) = bounds(row, past.as_deref(), valid.as_deref(), b, shape.queries, shape.keys);
        for kv_head in 0..shape.kv_heads {
            let list: Vec<Query> = (0..rows)
                .map(|r| {
                    let sink = sinks.as_ref().map(|sinks| sinks[kv_head * group + r / shape.queries]);
                    Query {
                        visible: visible(row, before.saturating_add((r % shape.queries) as i64), end, sliding),
                        sink,
                    }
                })
                .collect();
            let first = (b * shape.heads + kv_head * group) * shape.queries;
            let source = Heads {
                memory: c.memory,
                k: &k,
                v: &v,
                bias,
                b,
                kv_head,
                group,
                queries: shape.queries,
                fault: RefCell::new(None),
                buffer: RefCell::new(Vec::new()),
            };
            let q = &queries[first * shape.depth..(first + rows) * shape.depth];
            let o = &mut result[first * shape.value_depth..(first + rows) * shape.value_depth];
            kernel(c.arch, rule, q, &list, &source, o, c.scratch);
            if let Some(fault) = source.fault.into_inner() {
                return Err(fault);
            }
        }
    }
    c.memory.store_f32(&out, &result, Overflow::Wrap)?;
    Ok(Flow::Next)
}
