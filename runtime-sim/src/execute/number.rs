//! The three kinds of numbers in which vector instructions compute: f32, f64 and exact integers, behind one trait.
//!
//! In: views. Out: vectors of numbers, and the arithmetic on them. Always: f32 and f64 round after every operation; integers are exact until
//! they are stored.

use crate::kernels::fast;
use crate::kernels::lanes::{Kernel, Lanes, dispatch};
use crate::state::{Fault, Memory, View};
use narae_isa::numerics;
use narae_isa::{BinaryFunction, Element, Overflow, UnaryFunction};
use pulp::Arch;

/// A number that vector instructions compute with.
pub trait Number: Copy + PartialOrd + Default + Send + Sync + 'static {
    /// One.
    const ONE: Self;
    /// Below every other number.
    const LEAST: Self;
    /// Above every other number.
    const GREATEST: Self;
    /// All elements of a view, row-major.
    fn load(memory: &Memory, view: &View) -> Result<Vec<Self>, Fault>;
    /// Writes all elements of a view.
    fn store(memory: &mut Memory, view: &View, values: &[Self], overflow: Overflow) -> Result<(), Fault>;
    /// A function of each element.
    fn unary(arch: Arch, function: UnaryFunction, a: &[Self]) -> Vec<Self>;
    /// A function of pairs of elements of operands of this type.
    fn binary(arch: Arch, function: BinaryFunction, element: Element, a: &[Self], b: &[Self]) -> Vec<Self>;
    /// The written sum of a row: strided for floats, exact for integers.
    fn sum(arch: Arch, row: &[Self]) -> Self;
    /// The written dot product.
    fn dot(arch: Arch, a: &[Self], b: &[Self]) -> Self;
    /// out[m, n] = dot(a[m, :], b[n, :]) over rows of `k` > 0 numbers.
    fn rows_product(arch: Arch, k: usize, a: &[Self], b: &[Self], out: &mut [Self], n: usize) {
        for (row, a) in out.chunks_exact_mut(n.max(1)).zip(a.chunks_exact(k)) {
            for (o, b) in row.iter_mut().zip(b.chunks_exact(k)) {
                *o = Self::dot(arch, a, b);
            }
        }
    }
    /// a + b.
    fn add(self, other: Self) -> Self;
    /// a · b.
    fn mul(self, other: Self) -> Self;
    /// a / b; integers truncate and give 0 for a zero divisor.
    fn div(self, other: Self) -> Self;
    /// An integer, rounded.
    fn from_count(n: usize) -> Self;
    /// The same number; integers truncate.
    fn from_f32(x: f32) -> Self;
    /// Not a number.
    fn is_nan(self) -> bool;
    /// A function of one number.
    fn apply(self, function: UnaryFunction) -> Self;

    /// The smaller one; NaN if either is NaN.
    fn lesser(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }

    /// The greater one; NaN if either is NaN.
    fn greater(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    /// a − b.
    fn sub(self, other: Self) -> Self;
}

/// A hot function of each element on the host's vector instructions.
struct UnaryKernel<'a, F>(F, &'a [f32], &'a mut [f32]);

impl<F: Fn(f64) -> f64> Kernel for UnaryKernel<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for (o, x) in self.2.iter_mut().zip(self.1) {
            *o = numerics::f32_of(&self.0, *x);
        }
    }
}

/// Functions that language models apply to whole activations run on vector instructions; compiling all others for every instruction set would
/// cost more than it gives. The bits are the same either way.
fn unary_part(arch: Arch, function: UnaryFunction, a: &[f32], out: &mut [f32]) {
    match function {
        UnaryFunction::Exp => dispatch(arch, UnaryKernel(numerics::exp, a, out)),
        UnaryFunction::Sigmoid => dispatch(arch, UnaryKernel(numerics::sigmoid, a, out)),
        UnaryFunction::Silu => dispatch(arch, UnaryKernel(numerics::silu, a, out)),
        UnaryFunction::Gelu => dispatch(arch, UnaryKernel(numerics::gelu, a, out)),
        UnaryFunction::GeluTanh => dispatch(arch, UnaryKernel(numerics::gelu_tanh, a, out)),
        UnaryFunction::Erf => dispatch(arch, UnaryKernel(numerics::erf, a, out)),
        UnaryFunction::Tanh => dispatch(arch, UnaryKernel(numerics::tanh, a, out)),
        _ => numerics::unary_f32_slice(function, a, out),
    }
}

/// A gated activation, the one transcendental function of two operands that is hot.
struct MulSiluKernel<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

impl Kernel for MulSiluKernel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for ((o, x), y) in self.2.iter_mut().zip(self.0).zip(self.1) {
            *o = numerics::f32_of(|y| f64::from(*x) * numerics::silu(y), *y);
        }
    }
}

fn binary_part(arch: Arch, function: BinaryFunction, a: &[f32], b: &[f32], out: &mut [f32]) {
    match function {
        BinaryFunction::MulSilu => dispatch(arch, MulSiluKernel(a, b, out)),
        _ => numerics::binary_f32_slice(function, a, b, out),
    }
}

struct SumKernel<'a>(&'a [f32]);

impl Kernel for SumKernel<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f32 {
        fast::sum(lanes, self.0)
    }
}

struct DotKernel<'a>(&'a [f32], &'a [f32]);

impl Kernel for DotKernel<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f32 {
        fast::dot(lanes, self.0, self.1)
    }
}

impl Number for f32 {
    const ONE: f32 = 1.0;
    const LEAST: f32 = f32::NEG_INFINITY;
    const GREATEST: f32 = f32::INFINITY;
    fn load(memory: &Memory, view: &View) -> Result<Vec<f32>, Fault> {
        let mut out = Vec::new();
        memory.load_f32(view, &mut out).map(|()| out)
    }
    fn store(memory: &mut Memory, view: &View, values: &[f32], overflow: Overflow) -> Result<(), Fault> {
        memory.store_f32(view, values, overflow)
    }
    fn unary(arch: Arch, function: UnaryFunction, a: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; a.len()];
        fast::over_rows(&mut out, 1, 64, |first, part| unary_part(arch, function, &a[first..first + part.len()], part));
        out
    }
    fn binary(arch: Arch, function: BinaryFunction, _: Element, a: &[f32], b: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; a.len()];
        fast::over_rows(&mut out, 1, 16, |first, part| {
            let range = first..first + part.len();
            binary_part(arch, function, &a[range.clone()], &b[range], part);
        });
        out
    }
    fn sum(arch: Arch, row: &[f32]) -> f32 {
        dispatch(arch, SumKernel(row))
    }
    fn dot(arch: Arch, a: &[f32], b: &[f32]) -> f32 {
        dispatch(arch, DotKernel(a, b))
    }
    fn rows_product(arch: Arch, k: usize, a: &[f32], b: &[f32], out: &mut [f32], n: usize) {
        fast::matmul(arch, b, k, a, out, n);
    }
    fn add(self, other: f32) -> f32 {
        self + other
    }
    fn sub(self, other: f32) -> f32 {
        self - other
    }
    fn mul(self, other: f32) -> f32 {
        self * other
    }
    fn div(self, other: f32) -> f32 {
        self / other
    }
    fn from_f32(x: f32) -> f32 {
        x
    }
    fn from_count(n: usize) -> f32 {
        n as f32
    }
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    fn apply(self, function: UnaryFunction) -> f32 {
        numerics::unary_f32(function, self)
    }
}

impl Number for f64 {
    const ONE: f64 = 1.0;
    const LEAST: f64 = f64::NEG_INFINITY;
    const GREATEST: f64 = f64::INFINITY;
    fn load(memory: &Memory, view: &View) -> Result<Vec<f64>, Fault> {
        let mut out = Vec::new();
        memory.load_f64(view, &mut out).map(|()| out)
    }
    fn store(memory: &mut Memory, view: &View, values: &[f64], overflow: Overflow) -> Result<(), Fault> {
        memory.store_f64(view, values, overflow)
    }
    fn unary(_: Arch, function: UnaryFunction, a: &[f64]) -> Vec<f64> {
        a.iter().map(|x| numerics::unary_f64(function, *x)).collect()
    }
    fn binary(_: Arch, function: BinaryFunction, _: Element, a: &[f64], b: &[f64]) -> Vec<f64> {
        a.iter().zip(b).map(|(x, y)| numerics::binary_f64(function, *x, *y)).collect()
    }
    fn sum(_: Arch, row: &[f64]) -> f64 {
        strided(row.iter().copied())
    }
    fn dot(_: Arch, a: &[f64], b: &[f64]) -> f64 {
        strided(a.iter().zip(b).map(|(x, y)| x * y))
    }
    fn add(self, other: f64) -> f64 {
        self + other
    }
    fn sub(self, other: f64) -> f64 {
        self - other
    }
    fn mul(self, other: f64) -> f64 {
        self * other
    }
    fn div(self, other: f64) -> f64 {
        self / other
    }
    fn from_f32(x: f32) -> f64 {
        f64::from(x)
    }
    fn from_count(n: usize) -> f64 {
        n as f64
    }
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    fn apply(self, function: UnaryFunction) -> f64 {
        numerics::unary_f64(function, self)
    }
}

/// Sixteen strided partial sums and the binary tree, in f64.
fn strided(terms: impl Iterator<Item = f64>) -> f64 {
    let mut p = [0f64; 16];
    for (i, term) in terms.enumerate() {
        p[i % 16] += term;
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            p[i] += p[i + width];
        }
    }
    p[0]
}

impl Number for i128 {
    const ONE: i128 = 1;
    const LEAST: i128 = i128::MIN;
    const GREATEST: i128 = i128::MAX;
    fn load(memory: &Memory, view: &View) -> Result<Vec<i128>, Fault> {
        let mut out = Vec::new();
        memory.load_integers(view, &mut out).map(|()| out)
    }
    fn store(memory: &mut Memory, view: &View, values: &[i128], overflow: Overflow) -> Result<(), Fault> {
        memory.store_integers(view, values, overflow)
    }
    fn unary(_: Arch, function: UnaryFunction, a: &[i128]) -> Vec<i128> {
        a.iter().map(|x| numerics::unary_integer(function, *x)).collect()
    }
    fn binary(_: Arch, function: BinaryFunction, element: Element, a: &[i128], b: &[i128]) -> Vec<i128> {
        a.iter().zip(b).map(|(x, y)| numerics::binary_integer(function, *x, *y, element)).collect()
    }
    fn sum(_: Arch, row: &[i128]) -> i128 {
        row.iter().fold(0, |sum, x| sum.wrapping_add(*x))
    }
    fn dot(_: Arch, a: &[i128], b: &[i128]) -> i128 {
        a.iter().zip(b).fold(0, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(*y)))
    }
    fn add(self, other: i128) -> i128 {
        self.wrapping_add(other)
    }
    fn sub(self, other: i128) -> i128 {
        self.wrapping_sub(other)
    }
    fn mul(self, other: i128) -> i128 {
        self.wrapping_mul(other)
    }
    fn div(self, other: i128) -> i128 {
        self.checked_div(other).unwrap_or(0)
    }
    fn from_f32(x: f32) -> i128 {
        x as i128
    }
    fn from_count(n: usize) -> i128 {
        n as i128
    }
    fn is_nan(self) -> bool {
        false
    }
    fn apply(self, function: UnaryFunction) -> i128 {
        numerics::unary_integer(function, self)
    }
}

/// Calls a function that is generic over [`Number`] with the type of an [`crate::state::Arithmetic`].
macro_rules! with_arithmetic {
    ($arithmetic:expr, $N:ident => $body:expr) => {
        match $arithmetic {
            $crate::state::Arithmetic::F32 => {
                type $N = f32;
                $body
            }
            $crate::state::Arithmetic::F64 => {
                type $N = f64;
                $body
            }
            $crate::state::Arithmetic::Integer => {
                type $N = i128;
                $body
            }
        }
    };
}
pub(super) use with_arithmetic;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::lanes::all_archs;
    use crate::kernels::tests::Numbers;

    #[test]
    fn functions_give_the_same_bits_on_every_instruction_set() {
        let mut numbers = Numbers(11);
        let mut a: Vec<f32> = numbers.f32s(61).iter().map(|x| x * 20.0).collect();
        a.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, 100.0, -200.0]);
        let b: Vec<f32> = a.iter().rev().copied().collect();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        for arch in all_archs() {
            for &function in UnaryFunction::ALL {
                let want = a.iter().map(|x| numerics::unary_f32(function, *x)).collect();
                assert_eq!(bits(f32::unary(arch, function, &a)), bits(want), "{function} {arch:?}");
            }
            for &function in BinaryFunction::ALL {
                let want = a.iter().zip(&b).map(|(x, y)| numerics::binary_f32(function, *x, *y)).collect();
                assert_eq!(bits(f32::binary(arch, function, Element::F32, &a, &b)), bits(want), "{function} {arch:?}");
            }
        }
    }
}
