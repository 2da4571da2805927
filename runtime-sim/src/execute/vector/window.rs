//! Pooling and interpolation: instructions whose results look at windows of spatial axes.

use super::super::number::{Number, with_arithmetic};
use super::super::{Context, Fault, Flow, require};
use crate::state::{Arithmetic, View};
use narae_isa::descriptor::{CoordinateMode, NearestMode, Parameters, ResizeMode, ResizeParameters, WindowParameters};
use narae_isa::instructions::*;
use narae_isa::operand::PoolKind;
use narae_isa::{Descriptor, Element, Overflow};

pub(crate) fn pool(c: &mut Context<'_>, row: &Pool) -> Result<Flow, Fault> {
    let (out, indices, a, window) =
        (c.view(row.out)?, c.optional_view(row.indices)?, c.view(row.a)?, c.window(row.window)?);
    let spatial = a.rank.wrapping_sub(2);
    let fits = (1..=3).contains(&spatial) && out.rank == a.rank && out.dims[..2] == a.dims[..2];
    require(fits, || format!("pooling {:?} does not give {:?}", a.dims(), out.dims()))?;
    require(window.kernel.iter().all(|k| *k > 0), || "a pooling window has at least one element".to_string())?;
    require(indices.is_none_or(|view| view.dims() == out.dims()), || {
        "the indices have the dims of the result".to_string()
    })?;
    let windows = Windows { input: sizes(&a, spatial), output: sizes(&out, spatial), window, spatial };
    with_arithmetic!(Arithmetic::of(&[a.element]), N => {
        let values = N::load(c.memory, &a)?;
        let (image, positions): (usize, usize) = (windows.input.iter().product(), windows.output.iter().product());
        let mut result = Vec::with_capacity(out.len());
        let mut places = Vec::with_capacity(out.len());
        for channel in 0..a.dims[0] * a.dims[1] {
            let values = &values[channel * image..(channel + 1) * image];
            for position in 0..positions {
                let (value, place) = windows.pool::<N>(row.kind, values, position);
                result.push(value);
                places.push((channel * image + place) as i128);
            }
        }
        N::store(c.memory, &out, &result, Overflow::Wrap)?;
        if let Some(view) = indices {
            c.memory.store_integers(&view, &places, Overflow::Wrap)?;
        }
    });
    Ok(Flow::Next)
}

fn sizes(view: &View, spatial: usize) -> [usize; 3] {
    std::array::from_fn(|i| if i < spatial { view.dims[2 + i] } else { 1 })
}

struct Windows {
    input: [usize; 3],
    output: [usize; 3],
    window: WindowParameters<i32>,
    spatial: usize,
}

impl Windows {
    /// Where element q of window p lies along an axis.
    fn place(&self, axis: usize, p: usize, q: usize) -> i64 {
        if axis >= self.spatial {
            return 0;
        }
        let w = &self.window;
        p as i64 * i64::from(w.stride[axis]) + q as i64 * i64::from(w.dilation[axis]) - i64::from(w.pad_before[axis])
    }

    /// The pooled value of a window, and the position of the greatest element.
    fn pool<N: Number>(&self, kind: PoolKind, values: &[N], position: usize) -> (N, usize) {
        let p = [
            position / (self.output[1] * self.output[2]),
            position / self.output[2] % self.output[1],
            position % self.output[2],
        ];
        let kernel: [usize; 3] =
            std::array::from_fn(|i| if i < self.spatial { self.window.kernel[i] as usize } else { 1 });
        let (mut sum, mut best, mut best_place) = (N::default(), N::LEAST, 0);
        let (mut inside_count, mut padded_count) = (0, 0);
        for q0 in 0..kernel[0] {
            for q1 in 0..kernel[1] {
                for q2 in 0..kernel[2] {
                    let at = [self.place(0, p[0], q0), self.place(1, p[1], q1), self.place(2, p[2], q2)];
                    let inside = |axis: usize| at[axis] >= 0 && at[axis] < self.input[axis] as i64;
                    let padded = |axis: usize| {
                        axis >= self.spatial
                            || at[axis] < self.input[axis] as i64 + i64::from(self.window.pad_after[axis])
                    };
                    padded_count += usize::from((0..3).all(padded));
                    if !(0..3).all(inside) {
                        continue;
                    }
                    let flat = (at[0] as usize * self.input[1] + at[1] as usize) * self.input[2] + at[2] as usize;
                    let value = values[flat];
                    if inside_count == 0 || value > best || (value.is_nan() && !best.is_nan()) {
                        (best, best_place) = (value, flat);
                    }
                    sum = sum.add(value);
                    inside_count += 1;
                }
            }
        }
        let value = match kind {
            PoolKind::Max => best,
            PoolKind::Average => sum.div(N::from_count(inside_count)),
            PoolKind::AverageWithPadding => sum.div(N::from_count(padded_count)),
            PoolKind::Sum => sum,
        };
        (value, best_place)
    }
}

pub(crate) fn resize(c: &mut Context<'_>, row: &Resize) -> Result<Flow, Fault> {
    let (out, a) = (c.view(row.out)?, c.view(row.a)?);
    let Descriptor::Parameters(Parameters::Resize(parameters)) = *c.descriptor(row.parameters)? else {
        return Err(Fault::operands(format!("{} does not hold a resize row", row.parameters)));
    };
    require(out.rank == a.rank && (a.is_empty() == out.is_empty()), || {
        format!("resizing {:?} to {:?}", a.dims(), out.dims())
    })?;
    if out.is_empty() {
        return Ok(Flow::Next);
    }
    let floats = |view: Option<View>, n: usize| -> Result<Option<Vec<f64>>, Fault> {
        let Some(view) = view else { return Ok(None) };
        require(view.len() == n, || format!("{} numbers where {n} are needed", view.len()))?;
        f64::load(c.memory, &view).map(Some)
    };
    let scales = floats(c.optional_view(row.scales)?, a.rank)?;
    let roi = floats(c.optional_view(row.roi)?, 2 * a.rank)?;
    let mut values = f32::load(c.memory, &a)?;
    let mut dims: Vec<usize> = a.dims().to_vec();
    for axis in (0..a.rank).rev() {
        let scale = scales.as_ref().map_or(out.dims[axis] as f64 / a.dims[axis] as f64, |scales| scales[axis]);
        let region = roi.as_ref().map(|roi| (roi[axis], roi[axis + a.rank]));
        let crop = parameters.coordinates == CoordinateMode::TfCropAndResize
            && region.is_some_and(|region| region != (0.0, 1.0));
        if out.dims[axis] == a.dims[axis] && scale == 1.0 && !crop {
            continue;
        }
        let line = Line {
            parameters: &parameters,
            n: a.dims[axis],
            m: out.dims[axis],
            scale,
            region: region.unwrap_or((0.0, 1.0)),
        };
        values = line.resample(&values, &dims, axis);
        dims[axis] = out.dims[axis];
    }
    let overflow = if out.element.is_float() { Overflow::Wrap } else { Overflow::Saturate };
    if out.element.is_float() || out.element == Element::Bool {
        c.memory.store_f32(&out, &values, overflow)?;
    } else {
        let rounded: Vec<f32> = values.into_iter().map(f32::round_ties_even).collect();
        c.memory.store_f32(&out, &rounded, overflow)?;
    }
    Ok(Flow::Next)
}

/// Interpolation along one axis: n elements become m.
struct Line<'a> {
    parameters: &'a ResizeParameters,
    n: usize,
    m: usize,
    scale: f64,
    region: (f64, f64),
}

impl Line<'_> {
    fn resample(&self, values: &[f32], dims: &[usize], axis: usize) -> Vec<f32> {
        let (outer, inner): (usize, usize) = (dims[..axis].iter().product(), dims[axis + 1..].iter().product());
        let taps: Vec<Option<Vec<(usize, f32)>>> = (0..self.m).map(|x| self.taps(x)).collect();
        let mut out = Vec::with_capacity(outer * self.m * inner);
        for o in 0..outer {
            for taps in &taps {
                for i in 0..inner {
                    out.push(match taps {
                        None => self.parameters.extrapolation,
                        Some(taps) => match taps[..] {
                            [(only, _)] => values[(o * self.n + only) * inner + i],
                            _ => taps
                                .iter()
                                .fold(0.0, |sum, (at, weight)| sum + weight * values[(o * self.n + at) * inner + i]),
                        },
                    });
                }
            }
        }
        out
    }

    /// The position in the input for position x of the output.
    fn position(&self, x: usize) -> f64 {
        let (n, m, x) = (self.n as f64, self.m as f64, x as f64);
        let half_pixel = (x + 0.5) / self.scale - 0.5;
        match self.parameters.coordinates {
            CoordinateMode::HalfPixel => half_pixel,
            CoordinateMode::HalfPixelSymmetric => n / 2.0 * (1.0 - m / (self.scale * n)) + half_pixel,
            CoordinateMode::PytorchHalfPixel => {
                if self.m == 1 {
                    0.0
                } else {
                    half_pixel
                }
            }
            CoordinateMode::AlignCorners => {
                if self.m == 1 {
                    0.0
                } else {
                    x * (n - 1.0) / (m - 1.0)
                }
            }
            CoordinateMode::Asymmetric => x / self.scale,
            CoordinateMode::TfCropAndResize => {
                let (start, end) = self.region;
                if self.m == 1 {
                    (end + start) * (n - 1.0) / 2.0
                } else {
                    start * (n - 1.0) + x * (end - start) * (n - 1.0) / (m - 1.0)
                }
            }
        }
    }

    /// The elements that an output looks at with their weights; `None` beyond the input of a crop.
    fn taps(&self, x: usize) -> Option<Vec<(usize, f32)>> {
        let position = self.position(x);
        let last = self.n as f64 - 1.0;
        if self.parameters.coordinates == CoordinateMode::TfCropAndResize && !(0.0..=last).contains(&position) {
            return None;
        }
        if self.parameters.mode == ResizeMode::Nearest {
            let nearest = match self.parameters.nearest {
                NearestMode::RoundPreferFloor => (position - 0.5).ceil(),
                NearestMode::RoundPreferCeil => (position + 0.5).floor(),
                NearestMode::Floor => position.floor(),
                NearestMode::Ceil => position.ceil(),
            };
            return Some(vec![(nearest.clamp(0.0, last) as usize, 1.0)]);
        }
        // The shrink factor widens the filter; without antialiasing it stays as it is.
        let shrink = if self.parameters.antialias { self.scale.min(1.0) } else { 1.0 };
        let radius = if self.parameters.mode == ResizeMode::Linear { 1.0 } else { 2.0 } / shrink;
        let (from, to) = ((position - radius).floor() as i64 + 1, (position + radius).ceil() as i64 - 1);
        let mut taps: Vec<(i64, f64)> =
            (from..=to.max(from)).map(|i| (i, self.filter((i as f64 - position) * shrink))).collect();
        if self.parameters.exclude_outside {
            taps.retain(|(i, _)| (0..self.n as i64).contains(i));
        }
        let total: f64 = taps.iter().map(|tap| tap.1).sum();
        let normalise = self.parameters.exclude_outside || self.parameters.antialias;
        let weight = |w: f64| if normalise && total != 0.0 { w / total } else { w };
        Some(taps.into_iter().map(|(i, w)| (i.clamp(0, self.n as i64 - 1) as usize, weight(w) as f32)).collect())
    }

    /// The weight of a neighbour at a distance.
    fn filter(&self, distance: f64) -> f64 {
        let d = distance.abs();
        if self.parameters.mode == ResizeMode::Linear {
            return (1.0 - d).max(0.0);
        }
        let a = f64::from(self.parameters.cubic_coefficient);
        if d <= 1.0 {
            ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
        } else if d < 2.0 {
            ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
        } else {
            0.0
        }
    }
}
