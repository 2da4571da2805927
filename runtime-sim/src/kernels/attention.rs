//! Attention of many queries over one sequence of keys and values, by blocks of 64 keys, with the online softmax.
//!
//! In: queries as dense f32 rows, and a [`Source`] that delivers blocks of keys, values and biases. Out: one row per query. Always: blocks
//! ascend from key 0 in steps of 64 whatever the visible range, the chunk or the page, and every step is written down in [`plain`];
//! so prefill and decode of the same tokens give the same bits, and [`attend`] equals [`plain`] on every instruction set.

use super::fast;
use super::lanes::{Kernel, Lanes, dispatch};
use narae_isa::numerics::{canonical_f32, exp, f32_of, tanh};
use pulp::Arch;
use std::ops::Range;

/// Keys in a block.
pub const BLOCK: usize = 64;

/// What is the same for all queries.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Length of a query and of a key.
    pub depth: usize,
    /// Length of a value and of an output.
    pub value_depth: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// If given, scores become cap · tanh(score / cap).
    pub softcap: Option<f32>,
}

/// Where keys, values and biases come from.
pub trait Source {
    /// Fills the rows of the keys and values `keys.start .. keys.end` (at most 64).
    fn block(&self, keys: Range<usize>, k: &mut [f32], v: &mut [f32]);
    /// Adds the biases of the given query to the scores of the keys `keys`.
    fn bias(&self, query: usize, keys: Range<usize>, scores: &mut [f32]);
}

/// One query.
#[derive(Clone, Debug)]
pub struct Query {
    /// The keys that it sees.
    pub visible: Range<usize>,
    /// A score without a key, which only takes part in the denominator.
    pub sink: Option<f32>,
}

/// The running state of one query: greatest score, denominator.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

const START: Running = Running { max: f32::NEG_INFINITY, sum: 0.0 };

/// The definition, query by query. `out` receives one row of `value_depth` per query.
///
/// For each block: s = dot(q, k) · scale; capped; plus bias; m' = max(m, s); weights exp(s − m'); what was accumulated is scaled by
/// exp(m − m'); the denominator adds the block's weights as sixteen strided sums and a tree; the numerator takes one fused multiply-add per
/// key, ascending; keys of weight zero are passed over. At the end a sink joins the denominator, and the numerator is divided. A query that
/// sees no key (or only scores of −∞) gives zeros.
pub fn plain(rule: Rule, q: &[f32], queries: &[Query], source: &impl Source, out: &mut [f32]) {
    for (i, query) in queries.iter().enumerate() {
        let q = &q[i * rule.depth..(i + 1) * rule.depth];
        let row = &mut out[i * rule.value_depth..(i + 1) * rule.value_depth];
        row.fill(0.0);
        let mut state = START;
        for start in (0..query.visible.end).step_by(BLOCK) {
            let keys = start..(start + BLOCK).min(query.visible.end);
            let (mut k, mut v) = (vec![0.0; keys.len() * rule.depth], vec![0.0; keys.len() * rule.value_depth]);
            source.block(keys.clone(), &mut k, &mut v);
            let mut s: Vec<f32> = k.chunks_exact(rule.depth).map(|k| super::plain::dot(q, k) * rule.scale).collect();
            if let Some(cap) = rule.softcap {
                s.iter_mut().for_each(|s| *s = cap * f32_of(tanh, *s / cap));
            }
            source.bias(i, keys.clone(), &mut s);
            let seen: Vec<bool> = keys.map(|key| query.visible.contains(&key)).collect();
            let max = s.iter().zip(&seen).fold(state.max, |max, (s, seen)| if *seen && *s > max { *s } else { max });
            let weight =
                |(s, seen): (&f32, &bool)| if *seen && *s != f32::NEG_INFINITY { f32_of(exp, *s - max) } else { 0.0 };
            let p: Vec<f32> = s.iter().zip(&seen).map(weight).collect();
            if p.iter().all(|p| *p == 0.0) && max == f32::NEG_INFINITY {
                continue;
            }
            let shrink = f32_of(exp, state.max - max);
            state = Running { max, sum: state.sum * shrink + super::plain::sum(&p) };
            for (d, o) in row.iter_mut().enumerate() {
                *o *= shrink;
                for (j, p) in p.iter().enumerate().filter(|(_, p)| **p != 0.0) {
                    *o = p.mul_add(v[j * rule.value_depth + d], *o);
                }
            }
        }
        finish(state, query.sink, row);
    }
}

/// Lets the sink join and divides.
#[inline(always)]
fn finish(state: Running, sink: Option<f32>, row: &mut [f32]) {
    let (mut shrink, mut sum) = (1.0, state.sum);
    if let Some(sink) = sink {
        let max = if sink > state.max { sink } else { state.max };
        shrink = f32_of(exp, state.max - max);
        sum = sum * shrink + f32_of(exp, sink - max);
    }
    for o in row.iter_mut() {
        *o = if sum == 0.0 { 0.0 } else { canonical_f32(*o * shrink / sum) };
    }
}

/// Memory that calls reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    k: Vec<f32>,
    v: Vec<f32>,
}

/// The same as [`plain`], block by block for all queries together, on vector lanes.
pub fn attend(
    arch: Arch,
    rule: Rule,
    q: &[f32],
    queries: &[Query],
    source: &impl Source,
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    scratch.k.resize(BLOCK * rule.depth, 0.0);
    scratch.v.resize(BLOCK * rule.value_depth, 0.0);
    out.fill(0.0);
    let mut states = vec![START; queries.len()];
    let first = queries.iter().map(|query| query.visible.start).min().unwrap_or(0);
    let last = queries.iter().map(|query| query.visible.end).max().unwrap_or(0);
    for start in (first / BLOCK * BLOCK..last).step_by(BLOCK) {
        let keys = start..(start + BLOCK).min(last);
        let (k, v) = (&mut scratch.k[..keys.len() * rule.depth], &mut scratch.v[..keys.len() * rule.value_depth]);
        source.block(keys.clone(), k, v);
        dispatch(arch, Step { rule, q, queries, source, out, states: &mut states, keys, k, v });
    }
    for ((query, state), row) in queries.iter().zip(states).zip(out.chunks_exact_mut(rule.value_depth.max(1))) {
        finish(state, query.sink, row);
    }
}

/// One block of keys against all queries.
struct Step<'a, S> {
    rule: Rule,
    q: &'a [f32],
    queries: &'a [Query],
    source: &'a S,
    out: &'a mut [f32],
    states: &'a mut [Running],
    keys: Range<usize>,
    k: &'a [f32],
    v: &'a [f32],
}

impl<S: Source> Kernel for Step<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Step { rule, q, queries, source, out, states, keys, k, v } = self;
        for (i, query) in queries.iter().enumerate() {
            let seen = query.visible.start.max(keys.start)..query.visible.end.min(keys.end);
            if seen.is_empty() {
                continue;
            }
            let q = &q[i * rule.depth..(i + 1) * rule.depth];
            let row = &mut out[i * rule.value_depth..(i + 1) * rule.value_depth];
            // Positions outside of `seen` keep the weight zero; lane = position in the block.
            let mut s = [f32::NEG_INFINITY; BLOCK];
            let (from, to) = (seen.start - keys.start, seen.end - keys.start);
            scores(lanes, rule, q, &k[from * rule.depth..to * rule.depth], &mut s[from..to]);
            source.bias(i, seen, &mut s[from..to]);
            states[i] = accumulate(lanes, states[i], &mut s, v, row);
        }
    }
}

/// Scores of consecutive keys.
#[inline(always)]
fn scores<L: Lanes>(lanes: L, rule: Rule, q: &[f32], k: &[f32], s: &mut [f32]) {
    for (s, k) in s.iter_mut().zip(k.chunks_exact(rule.depth)) {
        *s = fast::dot(lanes, q, k) * rule.scale;
    }
    if let Some(cap) = rule.softcap {
        for s in s.iter_mut() {
            *s = cap * f32_of(tanh, *s / cap);
        }
    }
}

/// Turns the scores of a block into weights and adds the weighted values to `row`.
#[inline(always)]
fn accumulate<L: Lanes>(lanes: L, state: Running, s: &mut [f32; BLOCK], v: &[f32], row: &mut [f32]) -> Running {
    let block_max = fast::maximum(s);
    let max = if block_max > state.max { block_max } else { state.max };
    for s in s.iter_mut() {
        let weight = f32_of(exp, *s - max);
        *s = if *s == f32::NEG_INFINITY { 0.0 } else { weight };
    }
    if max == f32::NEG_INFINITY && s.iter().all(|p| *p == 0.0) {
        return state;
    }
    let shrink = f32_of(exp, state.max - max);
    weighted_values(lanes, shrink, s, v, row);
    Running { max, sum: state.sum * shrink + fast::sum(lanes, s) }
}

/// row = row · shrink, then one fused multiply-add per key of nonzero weight, ascending.
#[inline(always)]
fn weighted_values<L: Lanes>(lanes: L, shrink: f32, p: &[f32; BLOCK], v: &[f32], row: &mut [f32]) {
    let depth = row.len();
    let (chunks, tail) = row.as_chunks_mut::<16>();
    let from = chunks.len() * 16;
    for (c, chunk) in chunks.iter_mut().enumerate() {
        let mut sum = lanes.mul(lanes.load(chunk), lanes.splat(shrink));
        for (p, v) in p.iter().zip(v.chunks_exact(depth)) {
            if *p != 0.0
                && let Some(v) = v[c * 16..].first_chunk()
            {
                sum = lanes.fma(lanes.splat(*p), lanes.load(v), sum);
            }
        }
        *chunk = lanes.array(sum);
    }
    for (d, o) in tail.iter_mut().enumerate() {
        *o *= shrink;
        for (p, v) in p.iter().zip(v.chunks_exact(depth)).filter(|(p, _)| **p != 0.0) {
            *o = p.mul_add(v[from + d], *o);
        }
    }
}
