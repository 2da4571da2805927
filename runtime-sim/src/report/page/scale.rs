//! Scales and their ticks.
//!
//! In: the range of the data. Out: positions in 0 … 1, and round numbers to label. Always: ticks lie inside of the range; a range of
//! no extent is widened, so that nothing divides by zero.

/// A scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Equal distances are equal differences.
    Linear(f64, f64),
    /// From 0, with ticks that are round in binary: addresses and sizes.
    Binary(f64),
    /// Equal distances are equal ratios.
    Log(f64, f64),
}

impl Scale {
    /// From 0 to at least `top`.
    pub fn from_zero(top: f64) -> Scale {
        Scale::Linear(0.0, if top > 0.0 { top } else { 1.0 })
    }

    /// A logarithmic scale around positive values, with room at both ends; `None` without any.
    pub fn log_around(values: impl IntoIterator<Item = f64>) -> Option<Scale> {
        let values = values.into_iter().filter(|value| *value > 0.0 && value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, 0f64), |(low, high), value| (low.min(value), high.max(value)));
        low.is_finite().then(|| Scale::Log(low / 2.0, high * 2.0))
    }

    /// Its ends.
    pub fn range(&self) -> (f64, f64) {
        match *self {
            Scale::Linear(low, high) | Scale::Log(low, high) => (low, high),
            Scale::Binary(high) => (0.0, high),
        }
    }

    /// Where a value lies, 0 … 1; values outside stay at the ends.
    pub fn position(&self, value: f64) -> f64 {
        let share = match *self {
            Scale::Linear(low, high) => (value - low) / (high - low),
            Scale::Binary(high) => value / high,
            Scale::Log(low, high) => (value.max(low / 1e3).log10() - low.log10()) / (high.log10() - low.log10()),
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Round numbers inside of the range: about `wanted` of a linear scale, the decades of a logarithmic one.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        match *self {
            Scale::Linear(low, high) => {
                let step = round_step((high - low) / wanted.max(1) as f64);
                let (first, last) = ((low / step).ceil() as i64, (high / step + 1e-9).floor() as i64);
                (first..=last).map(|index| index as f64 * step).collect()
            }
            Scale::Binary(high) => {
                let step = (high / wanted.max(1) as f64).max(1.0).log2().ceil().exp2();
                (0..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= high).collect()
            }
            Scale::Log(low, high) => {
                let (first, last) = ((low.log10() - 1e-9).ceil() as i32, (high.log10() + 1e-9).floor() as i32);
                let every = ((last - first).max(0) as usize).div_ceil(wanted.max(1)).max(1);
                let decades = (first..=last).step_by(every).map(|power| 10f64.powi(power));
                if last - first >= 2 {
                    return decades.collect();
                }
                // Few decades: 1, 2 and 5 of each.
                let all = (first - 1..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
                all.filter(|tick| (low..=high).contains(tick)).collect()
            }
        }
    }
}

/// The nearest of 1, 2, 5 × 10ⁿ that is not smaller.
fn round_step(rough: f64) -> f64 {
    if !(rough > 0.0 && rough.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(rough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale::from_zero(24_500.0).ticks(6), [0.0, 5000.0, 10_000.0, 15_000.0, 20_000.0]);
        assert_eq!(Scale::from_zero(0.0).ticks(2), [0.0, 0.5, 1.0]);
        let log = Scale::log_around([0.3, 42.0]).unwrap();
        assert_eq!(log, Scale::Log(0.15, 84.0));
        assert_eq!(log.ticks(9), [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(Scale::Log(0.5, 2000.0).ticks(9), [1.0, 10.0, 100.0, 1000.0]);
        assert!((Scale::Log(0.1, 100.0).position(1.0) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Scale::log_around([0.0]), None);
        assert_eq!(Scale::Binary(3e6).ticks(4), [0.0, 1_048_576.0, 2_097_152.0]);
    }

    #[test]
    fn positions_stay_inside() {
        for scale in [Scale::from_zero(10.0), Scale::Log(1.0, 100.0)] {
            assert_eq!(scale.position(-5.0), 0.0);
            assert_eq!(scale.position(1e9), 1.0);
            assert_eq!(scale.position(f64::NAN), 0.0);
        }
    }
}
