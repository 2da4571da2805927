//! Choosing the next token from a row of logits. In: logits as f32, a strategy, a seed, the tokens so far. Out: a token id.
//!
//! Always holds: the choice is a pure function of (logits, strategy, seed, tokens so far, number of draws before it), on every machine.
//! Ties go to the lowest id, as in numpy's and onnxruntime's argmax. The steps are those of the transformers library, in its order: the
//! penalty of repetition, temperature, `top_k`, `top_p`, `min_p`.

use std::collections::BTreeSet;

use narae_isa::numerics;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strategy {
    /// Tokens are drawn from softmax(logits / temperature); 0 always takes the likeliest.
    pub temperature: f64,
    /// Only so many of the likeliest tokens are drawn from; none: all.
    pub top_k: Option<u64>,
    /// Only the likeliest tokens that together are at least so likely are drawn from; 1: all.
    pub top_p: f64,
    /// Only tokens that are at least so likely as a part of the likeliest are drawn from; 0: all.
    pub min_p: f64,
    /// Logits of tokens that were there already are divided by this if above zero, else multiplied; 1 changes nothing.
    pub repetition_penalty: f64,
}

impl Strategy {
    /// Always the likeliest token.
    pub const GREEDY: Strategy =
        Strategy { temperature: 0.0, top_k: None, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 };
}

/// A strategy, the tokens so far, and the state of its random numbers.
#[derive(Clone, Debug)]
pub struct Sampler {
    strategy: Strategy,
    seen: BTreeSet<usize>,
    random: SplitMix64,
}

impl Sampler {
    /// A sampler whose draws are determined by `seed`.
    pub fn new(strategy: Strategy, seed: u64) -> Self {
        Sampler { strategy, seen: BTreeSet::new(), random: SplitMix64(seed) }
    }

    /// Tokens that are there now.
    pub fn see(&mut self, ids: &[i64]) {
        self.seen.extend(ids.iter().filter_map(|&id| usize::try_from(id).ok()));
    }

    /// The next token for one row of logits; `None` if the row holds no number.
    pub fn next(&mut self, logits: &[f32]) -> Option<usize> {
        let row = self.penalised(logits);
        let best = argmax(&row).filter(|&best| !row[best].is_nan())?;
        if self.strategy.temperature <= 0.0 {
            return Some(best);
        }
        let draw = self.random.next_unit();
        Some(draw_from(&self.weights(&row, best), draw).unwrap_or(best))
    }

    /// The logits after the penalty of repetition.
    fn penalised(&self, logits: &[f32]) -> Vec<f32> {
        let mut row = logits.to_vec();
        let penalty = self.strategy.repetition_penalty;
        if penalty == 1.0 {
            return row;
        }
        for &id in self.seen.iter().filter(|id| **id < logits.len()) {
            let logit = f64::from(row[id]);
            row[id] = (if logit < 0.0 { logit * penalty } else { logit / penalty }) as f32;
        }
        row
    }

    /// The weight of each token, that of the likeliest being 1; 0 for those that are not drawn.
    fn weights(&self, row: &[f32], best: usize) -> Vec<f64> {
        let Strategy { temperature, top_k, top_p, min_p, .. } = self.strategy;
        let top = f64::from(row[best]);
        let weight = |logit: &f32| match logit.is_nan() {
            true => 0.0,
            false => numerics::exp((f64::from(*logit) - top) / temperature),
        };
        let mut weights: Vec<f64> = row.iter().map(weight).collect();
        if top_k.is_some() || top_p < 1.0 {
            keep_likeliest(&mut weights, row, top_k, top_p);
        }
        weights.iter_mut().filter(|weight| **weight < min_p).for_each(|weight| *weight = 0.0);
        weights
    }
}

/// Leaves the weights of the `top_k` likeliest, and of these the first that together hold a part of at least `top_p`.
fn keep_likeliest(weights: &mut [f64], row: &[f32], top_k: Option<u64>, top_p: f64) {
    let mut order: Vec<usize> = (0..row.len()).filter(|&id| !row[id].is_nan()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    order.truncate(top_k.and_then(|k| usize::try_from(k).ok()).unwrap_or(usize::MAX));
    let total: f64 = order.iter().map(|&id| weights[id]).sum();
    let mut sum = 0.0;
    let enough = order.iter().position(|&id| {
        sum += weights[id];
        sum >= top_p * total
    });
    order.truncate(enough.map_or(order.len(), |last| last + 1));
    let kept: BTreeSet<usize> = order.into_iter().collect();
    weights.iter_mut().enumerate().filter(|(id, _)| !kept.contains(id)).for_each(|(_, weight)| *weight = 0.0);
}

/// The index of the largest value, the first of equals; NaN never wins over a number.
pub fn argmax(row: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, value) in row.iter().enumerate() {
        if best.is_none_or(|b| *value > row[b] || (row[b].is_nan() && !value.is_nan())) {
            best = Some(index);
        }
    }
    best
}

/// The first id whose cumulated weight exceeds the part `draw`, in [0, 1), of all; sums run over ascending ids in f64. None if the total is
/// no number.
fn draw_from(weights: &[f64], draw: f64) -> Option<usize> {
    let total: f64 = weights.iter().sum();
    let target = draw * total;
    let mut sum = 0.0;
    weights.iter().position(|weight| {
        sum += weight;
        sum > target
    })
}

/// Steele, Lea and Flood's SplitMix64: one 64-bit state, full period, no weak seeds.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next_word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number in [0, 1) with 53 random bits.
    fn next_unit(&mut self) -> f64 {
        (self.next_word() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_equals_and_ignores_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN, 1.0]), Some(1));
        assert_eq!(argmax(&[]), None);
    }

    fn drawing(temperature: f64) -> Strategy {
        Strategy { temperature, ..Strategy::GREEDY }
    }

    /// The ids that 2,000 draws give.
    fn drawn(strategy: Strategy, logits: &[f32]) -> BTreeSet<usize> {
        let mut sampler = Sampler::new(strategy, 7);
        (0..2000).filter_map(|_| sampler.next(logits)).collect()
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let logits = [0.0, 1.0, 2.0, 3.0];
        let strategy = Strategy { top_k: Some(3), top_p: 0.95, min_p: 0.01, repetition_penalty: 1.2, ..drawing(0.8) };
        let run = |seed| {
            let mut sampler = Sampler::new(strategy, seed);
            (0..50).map(|_| sampler.next(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let mut sampler = Sampler::new(drawing(1.0), 3);
        let ones = (0..20_000).filter(|_| sampler.next(&[0.0, 1.0]) == Some(1)).count();
        let expected = 20_000.0 * 0.731_058_6;
        assert!((ones as f64 - expected).abs() < 300.0, "{ones} against {expected}");
    }

    #[test]
    fn only_the_likeliest_are_drawn() {
        // Probabilities 0.5, 0.25, 0.125, 0.125.
        let logits = [0.125f32, 0.5, 0.125, 0.25].map(f32::ln);
        let all = drawing(1.0);
        assert_eq!(drawn(all, &logits), BTreeSet::from([0, 1, 2, 3]));
        assert_eq!(drawn(Strategy { top_k: Some(2), ..all }, &logits), BTreeSet::from([1, 3]));
        assert_eq!(drawn(Strategy { top_k: Some(3), ..all }, &logits), BTreeSet::from([0, 1, 3]), "ties: the lower id");
        assert_eq!(drawn(Strategy { top_p: 0.4, ..all }, &logits), BTreeSet::from([1]));
        assert_eq!(drawn(Strategy { top_p: 0.74, ..all }, &logits), BTreeSet::from([1, 3]));
        assert_eq!(drawn(Strategy { top_p: 0.80, ..all }, &logits), BTreeSet::from([0, 1, 3]));
        assert_eq!(drawn(Strategy { min_p: 0.3, ..all }, &logits), BTreeSet::from([1, 3]));
        assert_eq!(drawn(Strategy { min_p: 0.6, ..all }, &logits), BTreeSet::from([1]));
        // Of the two likeliest the first holds two thirds.
        assert_eq!(drawn(Strategy { top_k: Some(2), top_p: 0.6, ..all }, &logits), BTreeSet::from([1]));
    }

    #[test]
    fn repetition_is_penalised_on_both_sides_of_zero() {
        let mut sampler = Sampler::new(Strategy { repetition_penalty: 2.0, ..Strategy::GREEDY }, 0);
        assert_eq!(sampler.next(&[4.0, 3.0]), Some(0));
        sampler.see(&[0, 99, -1]);
        assert_eq!(sampler.next(&[4.0, 3.0]), Some(1), "4 / 2 < 3");
        assert_eq!(sampler.next(&[-2.0, -3.0]), Some(1), "-2 * 2 < -3");
        assert_eq!(sampler.next(&[7.0, 3.0]), Some(0), "7 / 2 > 3");
    }

    #[test]
    fn a_row_without_numbers_gives_no_token() {
        for strategy in [Strategy::GREEDY, drawing(1.0)] {
            assert_eq!(Sampler::new(strategy, 0).next(&[f32::NAN, f32::NAN]), None);
            assert_eq!(Sampler::new(strategy, 0).next(&[]), None);
            assert_eq!(drawn(strategy, &[f32::NAN, 1.0, f32::NEG_INFINITY]), BTreeSet::from([1]));
        }
    }
}
