//! Runs in 16 bits against runs in 32: what the tests of `--precision` share.

use std::path::Path;

use narae::npz::Arrays;
use narae::session::Session;
use narae_compiler::compile::{Options, Precision};
use narae_isa::{Chip, HostTensor};

/// The narrow types.
pub const NARROW: [Precision; 2] = [Precision::F16, Precision::Bf16];

/// Options for a call with these inputs.
pub fn options(precision: Precision, inputs: &Arrays) -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.precision = precision;
    options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
    options
}

/// The answer of the chip.
pub fn answer(path: &Path, options: &Options, inputs: &Arrays) -> Arrays {
    let mut session = Session::compile(path, options).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    session.run(None, inputs).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Half of the distance between neighbours at 1.
pub fn rounding(precision: Precision) -> f64 {
    if precision == Precision::Bf16 { 2f64.powi(-9) } else { 2f64.powi(-12) }
}

/// What differs in kind: NaN against a number, infinite against finite.
pub fn mismatches(got: &HostTensor, want: &HostTensor) -> usize {
    let kind = |value: f64| (value.is_nan(), value.is_infinite(), value.is_infinite() && value > 0.0);
    got.to_f64_vec().into_iter().zip(want.to_f64_vec()).filter(|(got, want)| kind(*got) != kind(*want)).count()
}

/// The greatest difference, in parts of the greatest wanted number.
pub fn distance(got: &HostTensor, want: &HostTensor) -> f64 {
    let (got, want) = (got.to_f64_vec(), want.to_f64_vec());
    let range = want.iter().filter(|value| value.is_finite()).fold(0f64, |most, value| most.max(value.abs()));
    let difference = |(got, want): (&f64, &f64)| if got == want { 0.0 } else { (got - want).abs() };
    got.iter().zip(&want).map(difference).filter(|value| value.is_finite()).fold(0.0, f64::max) / range.max(1e-30)
}
