//! Comparing numbers as the data's READMEs ask: max|Δ| ≤ rtol·|want| + atol element by element, integers exactly, positions that
//! the attention mask pads left out.

use narae::npz::Arrays;
use narae::padding::Padding;
use narae_isa::HostTensor;

/// A tolerance of the manifest.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative to the wanted value.
    pub relative: f64,
    /// On top of it.
    pub absolute: f64,
}

/// The worst element of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The largest |got − want|.
    pub max_abs: f64,
    /// The largest excess over the tolerance, as a multiple of it; above 1 is a mismatch.
    pub worst: f64,
    /// Where the worst element is.
    pub index: Vec<usize>,
}

/// Compares one output.
pub fn compare(
    name: &str,
    got: &HostTensor,
    want: &HostTensor,
    tolerance: Tolerance,
    padding: Option<&Padding>,
) -> Result<Difference, String> {
    if got.dims != want.dims {
        return Err(format!("{name}: dims {:?}, expected {:?}", got.dims, want.dims));
    }
    if got.element != want.element {
        return Err(format!("{name}: element {}, expected {}", got.element.name(), want.element.name()));
    }
    let strides = want.strides();
    let mut worst = Difference::default();
    for flat in 0..want.len() {
        let index: Vec<usize> = strides.iter().zip(&want.dims).map(|(stride, dim)| flat / stride % dim).collect();
        if padding.is_some_and(|padding| !padding.is_real(name, &index, &want.dims)) {
            continue;
        }
        let (a, b) = (got.get_f64(flat), want.get_f64(flat));
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let delta = (a - b).abs();
        let allowed = if want.element.is_float() { tolerance.relative * b.abs() + tolerance.absolute } else { 0.0 };
        let excess = if delta.is_nan() { f64::INFINITY } else { delta / allowed };
        worst.max_abs = worst.max_abs.max(if delta.is_nan() { f64::INFINITY } else { delta });
        if excess > worst.worst {
            worst = Difference { worst: excess, index, ..worst };
        }
    }
    if worst.worst > 1.0 {
        return Err(format!(
            "{name}: max |Δ| {:.3e}, {:.2} × the tolerance at {:?}",
            worst.max_abs, worst.worst, worst.index
        ));
    }
    Ok(worst)
}

/// Compares all wanted outputs; the largest |Δ| of each, or every mismatch.
pub fn compare_all(
    got: &Arrays,
    want: &Arrays,
    inputs: &Arrays,
    tolerance: impl Fn(&str) -> Tolerance,
) -> Result<f64, String> {
    let padding = Padding::of_call(inputs);
    let mut problems = Vec::new();
    let mut largest = 0f64;
    for (name, expected) in want {
        match got.get(name).ok_or_else(|| format!("{name}: missing")) {
            Err(problem) => problems.push(problem),
            Ok(found) => match compare(name, found, expected, tolerance(name), padding.as_ref()) {
                Ok(difference) => largest = largest.max(difference.max_abs),
                Err(problem) => problems.push(problem),
            },
        }
    }
    if problems.is_empty() { Ok(largest) } else { Err(problems.join("\n")) }
}
