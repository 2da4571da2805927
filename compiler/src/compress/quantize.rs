//! Rows of f32 weights in, codes with scales and zero points out: `w ≈ scale · (code − zero)`.
//!
//! Codes are unsigned integers of `bits` bits, zero points are integers of the same range, and a group is a run of
//! neighbours along K (the input dimension) of one row (one output). Always holds: the written scale is exactly
//! representable in the scale's element, and codes are chosen against that written scale, never against a finer one;
//! the result depends on the row alone, never on threads or on how the rows were dealt out.

use half::{bf16, f16};
use narae_isa::format::{Group, ScaleType, UniformKind, WeightFormat};

/// How the range of a group is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Range {
    /// From min(w, 0) to max(w, 0), with an integer zero point.
    Asymmetric,
    /// From −max|w| to max|w|, zero point in the middle of the code range.
    Symmetric,
    /// The asymmetric range shrunk by the best of 24 ratios (1.000, 0.975 … 0.425) by squared error.
    AsymmetricClipped,
    /// The symmetric range shrunk likewise.
    SymmetricClipped,
}

/// A uniform quantizer: everything that decides the codes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantizer {
    /// The codes.
    pub kind: UniformKind,
    /// Weights that share a scale.
    pub group: Group,
    /// Type of the stored scales.
    pub scale: ScaleType,
    /// Choice of range.
    pub range: Range,
}

/// Scale and zero point of one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Step between neighbouring codes, already rounded to the stored element.
    pub scale: f32,
    /// The code that means zero.
    pub zero: u8,
}

/// Quantised rows: the exact content of a `u2`, `u3`, `u4` or `u8` weight before it is packed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Codes {
    /// Weights per row (K).
    pub columns: usize,
    /// Length of a group, `columns` when the group is the row.
    pub group: usize,
    /// Codes, row after row.
    pub codes: Vec<u8>,
    /// One scale per group, row after row.
    pub scales: Vec<f32>,
    /// One zero point per group, row after row.
    pub zeros: Vec<u8>,
}

/// A weight that has no code.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoCode {
    /// It is not a number, or infinite.
    #[error("the weight at row {row}, column {column} is not a finite number and has no code")]
    NotFinite {
        /// Output index.
        row: usize,
        /// Input index.
        column: usize,
    },
    /// Its group spans so much that the scale is beyond its type.
    #[error("the weights of row {row} from column {column} on need the scale {scale:e}, which is beyond {}", to.name())]
    Scale {
        /// Output index.
        row: usize,
        /// First input index of the group.
        column: usize,
        /// The scale.
        scale: f32,
        /// Its type.
        to: ScaleType,
    },
}

impl NoCode {
    /// The same, with rows counted from another one.
    pub fn from_row(self, start: usize) -> NoCode {
        match self {
            NoCode::NotFinite { row, column } => NoCode::NotFinite { row: start + row, column },
            NoCode::Scale { row, column, scale, to } => NoCode::Scale { row: start + row, column, scale, to },
        }
    }
}

/// Ratios tried by the clipped ranges, the widest first so that ties keep the wider range.
const CLIP_STEPS: u32 = 24;

impl Codes {
    /// An empty set of rows of this length.
    pub fn new(columns: usize, group: Group) -> Codes {
        let length = group.inputs().map_or(columns, |inputs| inputs as usize);
        Codes::with_length(columns, length)
    }

    /// An empty set of rows with groups of any length.
    pub fn with_length(columns: usize, group: usize) -> Codes {
        let group = group.clamp(1, columns.max(1));
        Codes { columns, group, ..Codes::default() }
    }

    /// Number of complete rows.
    pub fn rows(&self) -> usize {
        if self.columns == 0 { 0 } else { self.codes.len() / self.columns }
    }

    /// Groups per row; the last one may be shorter.
    pub fn groups(&self) -> usize {
        self.columns.div_ceil(self.group)
    }

    /// The weight that a code stands for.
    pub fn weight(&self, row: usize, column: usize) -> f32 {
        let group = row * self.groups() + column / self.group;
        let code = f32::from(self.codes[row * self.columns + column]);
        self.scales[group] * (code - f32::from(self.zeros[group]))
    }

    /// All weights, row after row.
    pub fn weights(&self) -> Vec<f32> {
        (0..self.rows())
            .flat_map(|row| (0..self.columns).map(move |column| (row, column)))
            .map(|(r, c)| self.weight(r, c))
            .collect()
    }
}

/// The nearest positive finite value that a stored scale can have.
fn round_scale(scale: f32, to: ScaleType) -> f32 {
    match to {
        ScaleType::F16 => f16::from_f32(scale.min(f16::MAX.to_f32())).to_f32().max(f16::from_bits(1).to_f32()),
        ScaleType::BF16 => bf16::from_f32(scale.min(bf16::MAX.to_f32())).to_f32().max(f32::MIN_POSITIVE),
        ScaleType::F32 => scale.max(f32::MIN_POSITIVE),
    }
}

/// The greatest scale of a type.
fn greatest_scale(to: ScaleType) -> f32 {
    match to {
        ScaleType::F16 => f16::MAX.to_f32(),
        ScaleType::BF16 => bf16::MAX.to_f32(),
        ScaleType::F32 => f32::MAX,
    }
}

impl Quantizer {
    /// The scale that spans all of a group, before it is rounded.
    fn widest_scale(&self, group: &[f32]) -> f32 {
        let (low, high) = group.iter().fold((0.0_f32, 0.0_f32), |(low, high), w| (low.min(*w), high.max(*w)));
        let top = f32::from(self.kind.greatest());
        match self.range {
            Range::Asymmetric | Range::AsymmetricClipped => high / top - low / top,
            Range::Symmetric | Range::SymmetricClipped => {
                high.max(-low) / ((1_u32 << (self.kind.bits() - 1)) - 1).max(1) as f32
            }
        }
    }

    /// The format that the codes are stored in.
    pub fn format(&self) -> WeightFormat {
        WeightFormat::Uniform { kind: self.kind, group: self.group, scale: self.scale }
    }

    /// Quantises one row and appends it.
    pub fn row(&self, weights: &[f32], to: &mut Codes) -> Result<(), NoCode> {
        assert!(weights.len() == to.columns, "a row has as many weights as the set of codes has columns");
        if let Some(column) = weights.iter().position(|w| !w.is_finite()) {
            return Err(NoCode::NotFinite { row: to.rows(), column });
        }
        let row = to.rows();
        for (number, group) in weights.chunks(to.group).enumerate() {
            let scale = self.widest_scale(group);
            if scale > greatest_scale(self.scale) {
                return Err(NoCode::Scale { row, column: number * to.group, scale, to: self.scale });
            }
            let grid = self.grid(group);
            to.scales.push(grid.scale);
            to.zeros.push(grid.zero);
            to.codes.extend(group.iter().map(|w| self.code(*w, grid)));
        }
        Ok(())
    }

    /// Quantises a whole matrix of `rows × columns` weights.
    pub fn matrix(&self, weights: &[f32], columns: usize) -> Result<Codes, NoCode> {
        let mut codes = Codes::new(columns, self.group);
        weights.chunks(columns.max(1)).try_for_each(|row| self.row(row, &mut codes))?;
        Ok(codes)
    }

    /// Sum of squared differences between the weights of a row and their codes.
    pub fn row_error(&self, weights: &[f32]) -> f64 {
        let group = Codes::new(weights.len(), self.group).group;
        weights.chunks(group).map(|group| self.error(group, self.grid(group))).sum()
    }

    /// Scale and zero point for one group.
    pub fn grid(&self, group: &[f32]) -> Grid {
        let (low, high) = group.iter().fold((0.0_f32, 0.0_f32), |(low, high), w| (low.min(*w), high.max(*w)));
        let widest = self.grid_of(low, high);
        match self.range {
            Range::Asymmetric | Range::Symmetric => widest,
            Range::AsymmetricClipped | Range::SymmetricClipped => self.best_clip(group, low, high, widest),
        }
    }

    /// The grid with the least squared error among the clip ratios.
    fn best_clip(&self, group: &[f32], low: f32, high: f32, widest: Grid) -> Grid {
        let mut best = (self.error(group, widest), widest);
        for step in 1..CLIP_STEPS {
            let ratio = 1.0 - 0.025 * step as f32;
            let grid = self.grid_of(low * ratio, high * ratio);
            let error = self.error(group, grid);
            if error < best.0 {
                best = (error, grid);
            }
        }
        best.1
    }

    /// The grid that spans a range which includes zero.
    fn grid_of(&self, low: f32, high: f32) -> Grid {
        let top = f32::from(self.kind.greatest());
        match self.range {
            Range::Asymmetric | Range::AsymmetricClipped => {
                // Halves first: high − low itself may overflow.
                let scale = round_scale(high / top - low / top, self.scale);
                let zero = (-low / scale).round_ties_even().clamp(0.0, top) as u8;
                Grid { scale, zero }
            }
            Range::Symmetric | Range::SymmetricClipped => {
                let middle = 1_u32 << (self.kind.bits() - 1);
                let scale = round_scale(high.max(-low) / (middle - 1).max(1) as f32, self.scale);
                Grid { scale, zero: middle as u8 }
            }
        }
    }

    /// The nearest code, saturated.
    fn code(&self, weight: f32, grid: Grid) -> u8 {
        let code = (weight / grid.scale).round_ties_even() + f32::from(grid.zero);
        code.clamp(0.0, f32::from(self.kind.greatest())) as u8
    }

    /// Squared error of a group under a grid.
    fn error(&self, group: &[f32], grid: Grid) -> f64 {
        let difference = |w: &f32| {
            let restored = grid.scale * (f32::from(self.code(*w, grid)) - f32::from(grid.zero));
            f64::from(*w) - f64::from(restored)
        };
        group.iter().map(difference).map(|d| d * d).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quantizer(kind: UniformKind, group: Group, range: Range) -> Quantizer {
        Quantizer { kind, group, scale: ScaleType::F16, range }
    }

    fn kinds() -> impl Strategy<Value = UniformKind> {
        prop::sample::select(UniformKind::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn a_weight_is_a_step_from_its_code(weights in prop::collection::vec(-3.0_f32..3.0, 1..70), kind in kinds(), group in prop::sample::select(Group::ALL.to_vec())) {
            let q = Quantizer { scale: ScaleType::F32, ..quantizer(kind, group, Range::Asymmetric) };
            let codes = q.matrix(&weights, weights.len()).unwrap();
            for (column, w) in weights.iter().enumerate() {
                let step = codes.scales[column / codes.group];
                // Half a step from rounding the code, half from rounding the zero point at the edge of the range.
                prop_assert!((codes.weight(0, column) - w).abs() <= step * 1.001 + 1e-6);
            }
        }

        #[test]
        fn zero_is_exact(weights in prop::collection::vec(-3.0_f32..3.0, 1..40), kind in kinds()) {
            let mut weights = weights;
            weights[0] = 0.0;
            for range in [Range::Asymmetric, Range::Symmetric, Range::AsymmetricClipped, Range::SymmetricClipped] {
                let codes = quantizer(kind, Group::G16, range).matrix(&weights, weights.len()).unwrap();
                prop_assert_eq!(codes.weight(0, 0), 0.0);
            }
        }

        #[test]
        fn clipping_never_costs_error(weights in prop::collection::vec(-3.0_f32..3.0, 1..70), kind in kinds()) {
            let wide = quantizer(kind, Group::G32, Range::Asymmetric).row_error(&weights);
            let clipped = quantizer(kind, Group::G32, Range::AsymmetricClipped).row_error(&weights);
            prop_assert!(clipped <= wide);
        }

        #[test]
        fn rows_do_not_know_each_other(weights in prop::collection::vec(-3.0_f32..3.0, 96)) {
            let q = quantizer(UniformKind::U4, Group::G16, Range::Asymmetric);
            let all = q.matrix(&weights, 32).unwrap();
            let second = q.matrix(&weights[32..64], 32).unwrap();
            prop_assert_eq!(&all.codes[32..64], &second.codes[..]);
            prop_assert_eq!(&all.scales[2..4], &second.scales[..]);
        }
    }

    #[test]
    fn a_row_of_zeros_is_zeros() {
        let codes = quantizer(UniformKind::U4, Group::Row, Range::Asymmetric).matrix(&[0.0; 8], 8).unwrap();
        assert_eq!(codes.weights(), vec![0.0; 8]);
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let found = quantizer(UniformKind::U4, Group::Row, Range::Symmetric).matrix(&[1.0, 2.0, 3.0, f32::NAN], 2);
        assert_eq!(found, Err(NoCode::NotFinite { row: 1, column: 1 }));
    }

    #[test]
    fn a_scale_beyond_its_type_is_named() {
        let weights = [1.0, -2e6, 3.0, 0.5];
        for range in [Range::Asymmetric, Range::SymmetricClipped] {
            let narrow = quantizer(UniformKind::U4, Group::Row, range);
            assert!(matches!(narrow.matrix(&weights, 4), Err(NoCode::Scale { row: 0, column: 0, .. })), "{range:?}");
            assert!(Quantizer { scale: ScaleType::F32, ..narrow }.matrix(&weights, 4).is_ok(), "{range:?}");
        }
    }
}
