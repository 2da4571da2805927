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
    /// The bias is added before the cap.
    pub bias_first: bool,
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
    /// The logit of a virtual key with value 0.
    pub sink: Option<f32>,
}

/// The running state of one query: greatest score, denominator.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f32,
}

impl Running {
    fn start(query: &Query) -> Running {
        match query.sink {
            Some(sink) => Running { max: sink, sum: 1.0 },
            None => Running { max: f32::NEG_INFINITY, sum: 0.0 },
        }
    }
}

/// The definition, query by query; the rule stands at `Attend` in `narae_isa::instructions`. `out` receives one row of `value_depth` per
/// query. A key whose score is −∞ is invisible.
pub fn plain(rule: Rule, q: &[f32], queries: &[Query], source: &impl Source, out: &mut [f32]) {
    for (i, query) in queries.iter().enumerate() {
        let q = &q[i * rule.depth..(i + 1) * rule.depth];
        let row = &mut out[i * rule.value_depth..(i + 1) * rule.value_depth];
        row.fill(0.0);
        let mut state = Running::start(query);
        for start in (0..query.visible.end).step_by(BLOCK) {
            let keys = start..(start + BLOCK).min(query.visible.end);
            let (mut k, mut v) = (vec![0.0; keys.len() * rule.depth], vec![0.0; keys.len() * rule.value_depth]);
            source.block(keys.clone(), &mut k, &mut v);
            let mut s: Vec<f32> = k.chunks_exact(rule.depth).map(|k| super::plain::dot(q, k) * rule.scale).collect();
            finish_scores(rule, i, keys.clone(), source, &mut s);
            let seen: Vec<bool> =
                keys.zip(&s).map(|(key, s)| query.visible.contains(&key) && *s != f32::NEG_INFINITY).collect();
            if !seen.contains(&true) {
                continue;
            }
            let max = s.iter().zip(&seen).fold(state.max, |max, (s, seen)| if *seen && *s > max { *s } else { max });
            let e: Vec<f32> =
                s.iter().zip(&seen).map(|(s, seen)| if *seen { f32_of(exp, *s - max) } else { 0.0 }).collect();
            let shrink = f32_of(exp, state.max - max);
            state = Running { max, sum: state.sum * shrink + super::plain::sum(&e) };
            for (d, o) in row.iter_mut().enumerate() {
                let mut sum = 0.0;
                for (j, e) in e.iter().enumerate().filter(|(j, _)| seen[*j]) {
                    sum += e * v[j * rule.value_depth + d];
                }
                *o = *o * shrink + sum;
            }
        }
        finish(state, row);
    }
}

/// Soft-cap and bias, in the order of the rule.
#[inline(always)]
fn finish_scores(rule: Rule, query: usize, keys: Range<usize>, source: &impl Source, s: &mut [f32]) {
    if rule.bias_first {
        source.bias(query, keys.clone(), s);
    }
    if let Some(cap) = rule.softcap {
        for s in s.iter_mut() {
            // The cap of −∞ would be −cap, and a masked key would come back.
            *s = if *s == f32::NEG_INFINITY { *s } else { cap * f32_of(tanh, *s / cap) };
        }
    }
    if !rule.bias_first {
        source.bias(query, keys, s);
    }
}

#[inline(always)]
fn finish(state: Running, row: &mut [f32]) {
    for o in row.iter_mut() {
        *o = if state.sum == 0.0 { 0.0 } else { canonical_f32(*o / state.sum) };
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
    let mut states: Vec<Running> = queries.iter().map(Running::start).collect();
    let first = queries.iter().map(|query| query.visible.start).min().unwrap_or(0);
    let last = queries.iter().map(|query| query.visible.end).max().unwrap_or(0);
    for start in (first / BLOCK * BLOCK..last).step_by(BLOCK) {
        let keys = start..(start + BLOCK).min(last);
        let (k, v) = (&mut scratch.k[..keys.len() * rule.depth], &mut scratch.v[..keys.len() * rule.value_depth]);
        source.block(keys.clone(), k, v);
        dispatch(arch, Step { rule, q, queries, source, out, states: &mut states, keys, k, v });
    }
    for (state, row) in states.into_iter().zip(out.chunks_exact_mut(rule.value_depth.max(1))) {
        finish(state, row);
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
            finish_scores(rule, i, seen, source, &mut s[from..to]);
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
}

/// Turns the scores of a block into weights and adds the weighted values to `row`.
#[inline(always)]
fn accumulate<L: Lanes>(lanes: L, state: Running, s: &mut [f32; BLOCK], v: &[f32], row: &mut [f32]) -> Running {
    let visible: u64 = s.iter().enumerate().fold(0, |set, (j, s)| set | u64::from(*s != f32::NEG_INFINITY) << j);
    if visible == 0 {
        return state;
    }
    let block_max = fast::maximum(s);
    let max = if block_max > state.max { block_max } else { state.max };
    for s in s.iter_mut() {
        let weight = f32_of(exp, *s - max);
        *s = if *s == f32::NEG_INFINITY { 0.0 } else { weight };
    }
    let shrink = f32_of(exp, state.max - max);
    weighted_values(lanes, shrink, s, visible, v, row);
    Running { max, sum: state.sum * shrink + fast::sum(lanes, s) }
}

/// row = row · shrink + Σ over the visible keys, ascending, from +0.
#[inline(always)]
fn weighted_values<L: Lanes>(lanes: L, shrink: f32, e: &[f32; BLOCK], visible: u64, v: &[f32], row: &mut [f32]) {
    let depth = row.len();
    let (chunks, tail) = row.as_chunks_mut::<16>();
    let from = chunks.len() * 16;
    // Two chunks at a time: their sums are independent, which hides the latency of the additions.
    let mut pairs = chunks.chunks_exact_mut(2);
    let mut at = 0;
    for pair in &mut pairs {
        let mut sums = [lanes.splat(0.0); 2];
        each(visible, |j| {
            if let Some(v) = v[j * depth + at..].first_chunk::<32>() {
                let (halves, _) = v.as_chunks::<16>();
                let weight = lanes.splat(e[j]);
                sums[0] = lanes.mul_add(weight, lanes.load(&halves[0]), sums[0]);
                sums[1] = lanes.mul_add(weight, lanes.load(&halves[1]), sums[1]);
            }
        });
        for (chunk, sum) in pair.iter_mut().zip(sums) {
            *chunk = lanes.array(lanes.mul_add(lanes.load(chunk), lanes.splat(shrink), sum));
        }
        at += 32;
    }
    for chunk in pairs.into_remainder() {
        let mut sum = lanes.splat(0.0);
        each(visible, |j| {
            if let Some(v) = v[j * depth + at..].first_chunk() {
                sum = lanes.mul_add(lanes.splat(e[j]), lanes.load(v), sum);
            }
        });
        *chunk = lanes.array(lanes.mul_add(lanes.load(chunk), lanes.splat(shrink), sum));
    }
    for (d, o) in tail.iter_mut().enumerate() {
        let mut sum = 0.0;
        each(visible, |j| sum += e[j] * v[j * depth + from + d]);
        *o = *o * shrink + sum;
    }
}

/// Calls `f` with every member of a set, ascending.
#[inline(always)]
fn each(mut set: u64, mut f: impl FnMut(usize)) {
    while set != 0 {
        f(set.trailing_zeros() as usize);
        set &= set - 1;
    }
}
