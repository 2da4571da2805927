//! Choosing the next token from a row of logits. In: logits as f32, a temperature, a seed. Out: a token id.
//!
//! Always holds: the choice is a pure function of (logits, temperature, seed, number of draws before it), on every machine. Ties
//! go to the lowest id, as in numpy's and onnxruntime's argmax.

use narae_isa::numerics;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy {
    /// Always the most likely token.
    Greedy,
    /// Draw from softmax(logits / temperature).
    Temperature(f64),
}

/// A strategy and the state of its random numbers.
#[derive(Clone, Debug)]
pub struct Sampler {
    strategy: Strategy,
    random: SplitMix64,
}

impl Sampler {
    /// A sampler for `temperature` (0 means greedy) whose draws are determined by `seed`.
    pub fn new(temperature: f64, seed: u64) -> Self {
        let strategy = if temperature > 0.0 { Strategy::Temperature(temperature) } else { Strategy::Greedy };
        Sampler { strategy, random: SplitMix64(seed) }
    }

    /// The next token for one row of logits; `None` if the row is empty.
    pub fn next(&mut self, logits: &[f32]) -> Option<usize> {
        match self.strategy {
            Strategy::Greedy => argmax(logits),
            Strategy::Temperature(temperature) => {
                let draw = self.random.next_unit();
                draw_from_softmax(logits, temperature, draw)
            }
        }
    }
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

/// The first id whose cumulated probability exceeds `draw` in [0, 1); sums run over ascending ids in f64.
fn draw_from_softmax(logits: &[f32], temperature: f64, draw: f64) -> Option<usize> {
    let best = argmax(logits)?;
    let top = f64::from(logits[best]);
    let weight = |logit: f32| if logit.is_nan() { 0.0 } else { numerics::exp((f64::from(logit) - top) / temperature) };
    let total: f64 = logits.iter().map(|logit| weight(*logit)).sum();
    let target = draw * total;
    let mut sum = 0.0;
    for (index, logit) in logits.iter().enumerate() {
        sum += weight(*logit);
        if sum > target {
            return Some(index);
        }
    }
    Some(best) // only reached when the total is infinite or NaN
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

    #[test]
    fn one_seed_gives_one_sequence() {
        let logits = [0.0, 1.0, 2.0, 3.0];
        let run = |seed| {
            let mut sampler = Sampler::new(0.8, seed);
            (0..50).map(|_| sampler.next(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let mut sampler = Sampler::new(1.0, 3);
        let ones = (0..20_000).filter(|_| sampler.next(&[0.0, 1.0]) == Some(1)).count();
        let expected = 20_000.0 * 0.731_058_6;
        assert!((ones as f64 - expected).abs() < 300.0, "{ones} against {expected}");
    }
}
