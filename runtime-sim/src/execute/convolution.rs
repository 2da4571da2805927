//! Convolution on the matrix engine: the window of every output position becomes a row, and rows times kernels are a product.
//!
//! In: the operands of one `conv`. Out: its result. Always: terms are numbered row-major over (channel, tap), those outside of the input
//! included; which positions are computed together, or on which thread, decides nothing.

use super::matrix::finish;
use super::number::{Number, with_arithmetic};
use super::{Context, Fault, Flow, require};
use crate::kernels::fast::over_rows;
use crate::state::{Arithmetic, View};
use narae_isa::descriptor::WindowParameters;
use narae_isa::instructions::Convolution;
use pulp::Arch;

/// Elements of windows that are made at a time: they stay in the cache.
const WINDOW_ELEMENTS: usize = 65536;

/// A tap outside of the input.
const OUTSIDE: usize = usize::MAX;

pub(super) fn conv(c: &mut Context<'_>, row: &Convolution) -> Result<Flow, Fault> {
    let (out, x, w, bias) = (c.view(row.out)?, c.view(row.x)?, c.view(row.w)?, c.optional_view(row.bias)?);
    let (x_zero, w_zero, window) = (c.optional_view(row.x_zero)?, c.optional_view(row.w_zero)?, c.window(row.window)?);
    let spatial = x.rank.wrapping_sub(3);
    let fits = (1..=3).contains(&spatial)
        && out.rank == x.rank
        && w.rank == x.rank
        && out.dims[0] == x.dims[0]
        && out.dims[1] == x.dims[1];
    let fits = fits && w.dims[0] == x.dims[1] && w.dims[1] == out.dims[2] && w.dims[2] == x.dims[2];
    require(fits, || format!("x {:?} convolved with w {:?} does not give {:?}", x.dims(), w.dims(), out.dims()))?;
    require(window.stride.iter().chain(&window.input_dilation).all(|v| *v > 0), || {
        "strides and input dilations are at least 1".to_string()
    })?;
    for (operand, zero) in [(("x", &x), &x_zero), (("w", &w), &w_zero)] {
        if let Some(zero) = zero {
            super::same_dims(&[operand, ("its zero points", zero)])?;
        }
    }
    with_arithmetic!(Arithmetic::of(&[x.element, w.element]), N => {
        let centred = |view: &View, zero: Option<View>| -> Result<Vec<N>, Fault> {
            let mut values = N::load(c.memory, view)?;
            if let Some(zero) = zero {
                let zeros = N::load(c.memory, &zero)?;
                values.iter_mut().zip(zeros).for_each(|(v, z)| *v = v.sub(z));
            }
            Ok(values)
        };
        let (xs, ws) = (centred(&x, x_zero)?, centred(&w, w_zero)?);
        let bias = bias.map(|bias| N::load(c.memory, &bias)).transpose()?;
        require(bias.as_ref().is_none_or(|bias| bias.len() == w.dims[0] * w.dims[1]), || "the bias has the dims [G, M]".to_string())?;
        let mut result = vec![N::default(); out.len()];
        let operands = Operands { x: &xs, w: &ws, bias: bias.as_deref() };
        Geometry::new(&x, &w, &out, &window).run(c.arch, &operands, &mut result);
        finish(c, &out, result, row.accumulate)
    })
}

/// Dense numbers: x \[N, G, C, spatial…\], w \[G, M, C, spatial…\], bias \[G, M\].
struct Operands<'a, N> {
    x: &'a [N],
    w: &'a [N],
    bias: Option<&'a [N]>,
}

/// Sizes, and where taps fall. Axes beyond the spatial rank have one place.
struct Geometry {
    groups: usize,
    /// Output channels of a group.
    outputs: usize,
    /// Input channels of a group.
    channels: usize,
    input: [usize; 3],
    kernel: [usize; 3],
    output: [usize; 3],
    /// Per axis, for output position p and tap q at `p · kernel + q`: the place in the input, or [`OUTSIDE`].
    places: [Vec<usize>; 3],
}

impl Geometry {
    fn new(x: &View, w: &View, out: &View, window: &WindowParameters<i32>) -> Geometry {
        let sizes = |view: &View| std::array::from_fn(|axis| view.dims().get(3 + axis).copied().unwrap_or(1));
        let (input, kernel, output) = (sizes(x), sizes(w), sizes(out));
        let spatial = x.rank - 3;
        let places = std::array::from_fn(|axis| match axis < spatial {
            true => places(window, axis, (input[axis], kernel[axis], output[axis])),
            false => vec![0],
        });
        Geometry { groups: out.dims[1], outputs: out.dims[2], channels: x.dims[2], input, kernel, output, places }
    }

    /// The products, plus the bias, as \[N, G, M, positions\].
    fn run<N: Number>(&self, arch: Arch, operands: &Operands<'_, N>, out: &mut [N]) {
        let positions: usize = self.output.iter().product();
        let taps: usize = self.kernel.iter().product();
        let (outputs, terms) = (self.outputs, self.channels * taps);
        if out.is_empty() || terms == 0 {
            return;
        }
        let image = self.channels * self.input.iter().product::<usize>();
        over_rows(out, outputs * positions, outputs * positions * terms, |first, part| {
            for (ng, out) in part.chunks_exact_mut(outputs * positions).enumerate() {
                let (image, g) = (&operands.x[(first + ng) * image..][..image], (first + ng) % self.groups);
                let w = &operands.w[g * outputs * terms..][..outputs * terms];
                let products = self.products(arch, image, w, terms, positions);
                for (m, row) in out.chunks_exact_mut(positions).enumerate() {
                    let sums = products.iter().skip(m).step_by(outputs);
                    match operands.bias.map(|bias| bias[g * outputs + m]) {
                        Some(bias) => row.iter_mut().zip(sums).for_each(|(o, sum)| *o = sum.add(bias)),
                        None => row.iter_mut().zip(sums).for_each(|(o, sum)| *o = *sum),
                    }
                }
            }
        });
    }

    /// Windows times kernels of one image and group, \[positions, M\].
    fn products<N: Number>(&self, arch: Arch, image: &[N], w: &[N], terms: usize, positions: usize) -> Vec<N> {
        let outputs = self.outputs;
        let mut products = vec![N::default(); positions * outputs];
        over_rows(&mut products, outputs, outputs * terms, |first, part| {
            let chunk = WINDOW_ELEMENTS.div_ceil(terms);
            let mut windows = vec![N::default(); chunk.min(part.len() / outputs) * terms];
            for (number, part) in part.chunks_mut(chunk * outputs).enumerate() {
                let windows = &mut windows[..part.len() / outputs * terms];
                self.windows(image, first + number * chunk, windows, terms);
                N::rows_product(arch, terms, windows, w, part, outputs);
            }
        });
        products
    }

    /// The elements under the windows from an output position on, row-major over (channel, tap); zeros outside. Channel after channel,
    /// because the same place of several channels often falls into the same lines of a cache.
    fn windows<N: Number>(&self, image: &[N], first: usize, windows: &mut [N], terms: usize) {
        let channel: usize = self.input.iter().product();
        let count = terms / self.channels;
        let mut taps = vec![0; windows.len() / terms * count];
        taps.chunks_exact_mut(count).enumerate().for_each(|(number, taps)| self.taps(first + number, taps));
        let inside = !taps.contains(&OUTSIDE);
        for (c, channel) in image.chunks_exact(channel.max(1)).enumerate() {
            for (window, taps) in windows.chunks_exact_mut(terms).zip(taps.chunks_exact(count)) {
                let elements = window[c * count..][..count].iter_mut().zip(taps);
                match inside {
                    true => elements.for_each(|(e, tap)| *e = channel[*tap]),
                    false => elements.for_each(|(e, tap)| *e = channel.get(*tap).copied().unwrap_or_default()),
                }
            }
        }
    }

    /// Where the taps of the window at an output position lie in a channel, row-major.
    fn taps(&self, position: usize, taps: &mut [usize]) {
        let p = [
            position / self.output[2] / self.output[1],
            position / self.output[2] % self.output[1],
            position % self.output[2],
        ];
        let [a, b, c]: [&[usize]; 3] =
            std::array::from_fn(|axis| &self.places[axis][p[axis] * self.kernel[axis]..][..self.kernel[axis]]);
        let rows = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
        let all = rows.flat_map(|(a, b)| c.iter().map(move |c| (a, b, *c)));
        for (tap, (a, b, c)) in taps.iter_mut().zip(all) {
            let inside = a != OUTSIDE && b != OUTSIDE && c != OUTSIDE;
            *tap = if inside { (a * self.input[1] + b) * self.input[2] + c } else { OUTSIDE };
        }
    }
}

/// One axis of [`Geometry::places`].
fn places(w: &WindowParameters<i32>, axis: usize, (input, kernel, output): (usize, usize, usize)) -> Vec<usize> {
    let place = |p: usize, q: usize| {
        let at = p as i64 * i64::from(w.stride[axis]) + q as i64 * i64::from(w.dilation[axis])
            - i64::from(w.pad_before[axis]);
        let step = i64::from(w.input_dilation[axis]);
        let inside = at >= 0 && at % step == 0 && at / step < input as i64;
        if inside { (at / step) as usize } else { OUTSIDE }
    };
    (0..output).flat_map(|p| (0..kernel).map(move |q| place(p, q))).collect()
}
