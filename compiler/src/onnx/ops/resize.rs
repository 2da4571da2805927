//! `Resize` and its predecessor: every axis in turn is gathered at neighbours of computed positions and weighted.
//!
//! Scales and sizes may be numbers or tensors that the program computes; positions are computed in f64.

use narae_isa::{BinaryFunction, CompareFunction, Element, HostTensor, ReduceFunction, UnaryFunction};

use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("Resize", 10, 10, "any", old_resize),
    onnx("Resize", 11, NEWEST, "any", resize),
    onnx("Upsample", 7, 9, "any", old_resize),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// The options that are the same for every axis.
struct Options<'a> {
    mode: Mode,
    coordinates: &'a str,
    nearest: &'a str,
    cubic: f64,
    exclude: bool,
    antialias: bool,
    extrapolation: f64,
}

/// One axis: where it is, how long it becomes, by which factor (an f64 scalar), and what part of it is taken.
struct Axis {
    axis: usize,
    extent: Dim,
    scale: Value,
    known_scale: Option<f64>,
    region: Option<(Value, Value)>,
}

fn mode(c: &Call) -> Built<Mode> {
    Ok(match c.attributes.text_or("mode", "nearest")? {
        "nearest" => Mode::Nearest,
        "linear" | "bilinear" => Mode::Linear,
        "cubic" => Mode::Cubic,
        other => return Err(unsupported(format!("mode `{other}`"))),
    })
}

/// Before opset 11: factors only, positions by division.
fn old_resize(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.input(0)?;
    let mode = mode(c)?;
    let scales = match c.attributes.floats("scales")? {
        Some(scales) => c.tensor(HostTensor::from_f32(&[scales.len()], scales))?,
        None => c.input(1)?,
    };
    let options = Options {
        mode,
        coordinates: "asymmetric",
        nearest: "floor",
        cubic: -0.75,
        exclude: false,
        antialias: false,
        extrapolation: 0.0,
    };
    let all: Vec<usize> = (0..c.rank(x)).collect();
    let axes = scaled(c, x, &all, scales, None)?;
    Ok(vec![apply(c, x, &options, axes)?])
}

fn resize(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let x = c.input(0)?;
    let rank = c.rank(x);
    let mode = mode(c)?;
    let axes = match c.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| c.axis(axis, rank)).collect::<Built<Vec<usize>>>()?,
        None => (0..rank).collect(),
    };
    let options = Options {
        mode,
        coordinates: c.attributes.text_or("coordinate_transformation_mode", "half_pixel")?,
        nearest: c.attributes.text_or("nearest_mode", "round_prefer_floor")?,
        cubic: c.attributes.float_or("cubic_coeff_a", -0.75)?.into(),
        exclude: c.attributes.flag("exclude_outside", false)?,
        antialias: c.attributes.flag("antialias", false)?,
        extrapolation: c.attributes.float_or("extrapolation_value", 0.0)?.into(),
    };
    let policy = c.attributes.text_or("keep_aspect_ratio_policy", "stretch")?;
    let given =
        |c: &Call, index: usize| c.optional(index).filter(|&value| !c.dims(value).first().is_some_and(|dim| dim.is(0)));
    let region = given(c, 1).filter(|_| options.coordinates == "tf_crop_and_resize");
    if let Some(region) = region {
        one_per_axis(c, region, 2 * axes.len(), "bounds of the region")?;
    }
    let resized = match (given(c, 2), given(c, 3)) {
        (Some(scales), None) => scaled(c, x, &axes, scales, region)?,
        (None, Some(sizes)) => sized(c, x, &axes, sizes, policy, region)?,
        _ => return Err(mismatch("exactly one of scales and sizes must be given")),
    };
    Ok(vec![apply(c, x, &options, resized)?])
}

/// Element `index` of a list, as an f64 scalar.
fn element_of(c: &mut Call, list: Value, index: usize) -> Built {
    let one = c.narrow(list, 0, Dim::from(index), Dim::ONE)?;
    let one = c.reshape(one, vec![])?;
    c.convert(one, Element::F64)
}

fn region_of(c: &mut Call, region: Option<Value>, index: usize, count: usize) -> Built<Option<(Value, Value)>> {
    let Some(region) = region else { return Ok(None) };
    Ok(Some((element_of(c, region, index)?, element_of(c, region, count + index)?)))
}

/// An f64 scalar as a length.
fn length(c: &mut Call, value: Value) -> Built<Dim> {
    let whole = c.convert(value, Element::I64)?;
    c.scalar_operand(whole, "size", Some(0))
}

/// An error unless the value lists so many numbers.
fn one_per_axis(c: &mut Call, list: Value, count: usize, name: &str) -> Built<()> {
    if c.rank(list) != 1 {
        return Err(mismatch(format!("{name} must be a list of {count} numbers, but has rank {}", c.rank(list))));
    }
    let own = c.dim(list, 0);
    c.must_equal(&own, &Dim::from(count), &format!("the number of {name}"))
}

fn scaled(c: &mut Call, x: Value, axes: &[usize], scales: Value, region: Option<Value>) -> Built<Vec<Axis>> {
    one_per_axis(c, scales, axes.len(), "scales")?;
    let known = c.constant_values(scales).map(|values| values.to_f64_vec());
    let mut found = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let input = c.dim(x, axis);
        let known_scale = known.as_ref().and_then(|known| known.get(index)).copied();
        let scale = element_of(c, scales, index)?;
        let extent = match (known_scale, input.as_const()) {
            (Some(scale), _) if scale.fract() == 0.0 && scale > 0.0 => &input * &Dim::from(scale as i64),
            (Some(scale), Some(size)) => Dim::from((size as f64 * scale).floor() as i64),
            _ => {
                let size = c.dim_scalar(input)?;
                let size = c.convert(size, Element::F64)?;
                let product = c.mul(size, scale)?;
                let product = c.unary(UnaryFunction::Floor, product)?;
                length(c, product)?
            }
        };
        let region = region_of(c, region, index, axes.len())?;
        found.push(Axis { axis, extent, scale, known_scale, region });
    }
    Ok(found)
}

fn sized(
    c: &mut Call,
    x: Value,
    axes: &[usize],
    sizes: Value,
    policy: &str,
    region: Option<Value>,
) -> Built<Vec<Axis>> {
    let inputs: Vec<Dim> = axes.iter().map(|&axis| c.dim(x, axis)).collect();
    one_per_axis(c, sizes, axes.len(), "sizes")?;
    let mut scales = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let wanted = element_of(c, sizes, index)?;
        let size = c.dim_scalar(input.clone())?;
        let size = c.convert(size, Element::F64)?;
        scales.push((c.div(wanted, size)?, size));
    }
    let function = match policy {
        "stretch" => None,
        "not_larger" => Some(BinaryFunction::Min),
        "not_smaller" => Some(BinaryFunction::Max),
        other => return Err(unsupported(format!("keep_aspect_ratio_policy `{other}`"))),
    };
    let mut found = Vec::new();
    let extents = match function {
        None => c.shape_operand(sizes, "sizes", Some(0))?,
        Some(function) => {
            let mut common = scales[0].0;
            for (scale, _) in &scales[1..] {
                common = c.binary(function, common, *scale)?;
            }
            let mut extents = Vec::new();
            for (scale, size) in &mut scales {
                *scale = common;
                let product = c.mul(*size, common)?;
                let product = c.with_number(BinaryFunction::Add, product, 0.5)?;
                let product = c.unary(UnaryFunction::Floor, product)?;
                extents.push(length(c, product)?);
            }
            extents
        }
    };
    for (index, extent) in extents.into_iter().enumerate() {
        let known_scale = match (extent.as_const(), inputs[index].as_const()) {
            (Some(to), Some(from)) if function.is_none() => Some(to as f64 / from as f64),
            _ => None,
        };
        let region = region_of(c, region, index, axes.len())?;
        found.push(Axis { axis: axes[index], extent, scale: scales[index].0, known_scale, region });
    }
    Ok(found)
}

fn apply(c: &mut Call, x: Value, options: &Options, axes: Vec<Axis>) -> Built {
    let element = c.element(x);
    let computed = options.mode == Mode::Nearest || element.is_float();
    let mut y = if computed { x } else { c.convert(x, Element::F32)? };
    let mut outside = None;
    for axis in axes {
        if axis.known_scale == Some(1.0) && axis.region.is_none() {
            continue;
        }
        if let Some(times) = repetition(options, &axis) {
            y = repeated(c, y, axis.axis, times)?;
            continue;
        }
        let (resized, out) = resize_axis(c, y, options, &axis)?;
        y = resized;
        outside = match (outside, out) {
            (Some(a), Some(b)) => Some(c.binary(BinaryFunction::Or, a, b)?),
            (a, b) => a.or(b),
        };
    }
    if let Some(outside) = outside {
        let wide = c.element(y);
        let value = c.scalar(wide, options.extrapolation)?;
        y = c.select(outside, value, y)?;
    }
    if computed { Ok(y) } else { c.convert(y, element) }
}

/// How often each element stands in a row, where that is all that happens.
fn repetition(options: &Options, axis: &Axis) -> Option<i64> {
    let scale = axis.known_scale.filter(|scale| scale.fract() == 0.0 && *scale > 1.0)?;
    let plain = match options.coordinates {
        "asymmetric" => options.nearest == "floor",
        // The halves of a pixel never lie in the middle between two.
        "half_pixel" | "pytorch_half_pixel" => matches!(options.nearest, "round_prefer_floor" | "round_prefer_ceil"),
        _ => false,
    };
    (options.mode == Mode::Nearest && plain).then_some(scale as i64)
}

fn repeated(c: &mut Call, x: Value, axis: usize, times: i64) -> Built {
    let dims = c.dims(x);
    let mut wide = dims.clone();
    wide.insert(axis + 1, Dim::from(times));
    let mut merged = dims;
    merged[axis] = &merged[axis] * &Dim::from(times);
    let y = c.unsqueeze(x, &[axis + 1])?;
    let y = c.broadcast(y, wide)?;
    c.reshape(y, merged)
}

/// The resized axis, and which of its positions lie outside of the operand (as a tensor of its rank).
fn resize_axis(c: &mut Call, x: Value, options: &Options, axis: &Axis) -> Built<(Value, Option<Value>)> {
    let input = c.dim(x, axis.axis);
    let last = c.dim_scalar(&input - &Dim::ONE)?;
    let at = positions(c, &input, options, axis)?;
    let outside = match &axis.region {
        None => None,
        Some(_) => {
            let wide = c.convert(last, Element::F64)?;
            let zero = c.scalar(Element::F64, 0.0)?;
            let (low, high) = (c.compare(CompareFunction::Lt, at, zero)?, c.compare(CompareFunction::Gt, at, wide)?);
            let any = c.binary(BinaryFunction::Or, low, high)?;
            let mut line = vec![Dim::ONE; c.rank(x)];
            line[axis.axis] = axis.extent.clone();
            Some(c.reshape(any, line)?)
        }
    };
    let zero = c.integer(Element::I64, 0)?;
    if options.mode == Mode::Nearest {
        let index = nearest(c, at, options.nearest)?;
        let index = c.binary(BinaryFunction::Max, index, zero)?;
        let index = c.binary(BinaryFunction::Min, index, last)?;
        return Ok((c.gather(x, index, axis.axis)?, outside));
    }
    let (neighbours, weights) = neighbours(c, at, &input, options, axis)?;
    let weights = if options.exclude { inside_only(c, neighbours, weights, last)? } else { weights };
    let index = c.binary(BinaryFunction::Max, neighbours, zero)?;
    let index = c.binary(BinaryFunction::Min, index, last)?;
    let points = c.gather(x, index, axis.axis)?;
    let element = c.element(x);
    let weights = c.convert(weights, element)?;
    let trailing: Vec<usize> = (2..2 + c.rank(x) - axis.axis - 1).collect();
    let weights = c.unsqueeze(weights, &trailing)?;
    let products = c.mul(points, weights)?;
    let sum = c.reduce(ReduceFunction::Sum, products, vec![axis.axis + 1])?;
    Ok((c.squeeze(sum, &[axis.axis + 1])?, outside))
}

/// Positions that the importer lists; more are computed on the chip.
const MOST_POSITIONS: i64 = 1 << 16;

/// The same for numbers that are known: one list for the neighbours and for their weights, which no law may round in two ways.
fn known_positions(coordinates: &str, extent: i64, size: f64, scale: f64) -> Option<Vec<f64>> {
    if extent > MOST_POSITIONS {
        return None;
    }
    let width = size * scale;
    let centred = |step: f64| (step + 0.5) / scale - 0.5;
    let position: Box<dyn Fn(f64) -> f64> = match coordinates {
        "half_pixel" => Box::new(centred),
        "asymmetric" => Box::new(|step| step / scale),
        "tf_half_pixel_for_nn" => Box::new(|step| (step + 0.5) / scale),
        "pytorch_half_pixel" => Box::new(move |step| if width == 1.0 { -0.5 } else { centred(step) }),
        "align_corners" => Box::new(move |step| if width == 1.0 { 0.0 } else { step * (size - 1.0) / (width - 1.0) }),
        "half_pixel_symmetric" => {
            let (centre, ratio) = (size * 0.5, extent as f64 / width);
            Box::new(move |step| centred(step) + (centre - centre * ratio))
        }
        _ => return None,
    };
    Some((0..extent).map(|step| position(step as f64)).collect())
}

/// Where each new element lies between the old ones: f64.
fn positions(c: &mut Call, input: &Dim, options: &Options, axis: &Axis) -> Built {
    if let (Some(extent), Some(size), Some(scale)) = (axis.extent.as_const(), input.as_const(), axis.known_scale)
        && let Some(at) = known_positions(options.coordinates, extent, size as f64, scale)
    {
        return c.tensor(HostTensor::from_f64_as(Element::F64, &[at.len()], &at));
    }
    let steps = c.iota(Element::F64, vec![axis.extent.clone()], 0)?;
    let size = c.dim_scalar(input.clone())?;
    let size = c.convert(size, Element::F64)?;
    let width = c.mul(size, axis.scale)?;
    let centred = |c: &mut Call| -> Built {
        let middle = c.with_number(BinaryFunction::Add, steps, 0.5)?;
        let scaled = c.div(middle, axis.scale)?;
        c.with_number(BinaryFunction::Sub, scaled, 0.5)
    };
    let single = |c: &mut Call, alone: Value, other: Value| -> Built {
        let one = c.scalar(Element::F64, 1.0)?;
        let is_one = c.compare(CompareFunction::Eq, width, one)?;
        c.select(is_one, alone, other)
    };
    let spread = |c: &mut Call| -> Built {
        let way = c.with_number(BinaryFunction::Sub, size, 1.0)?;
        let part = c.mul(steps, way)?;
        let gaps = c.with_number(BinaryFunction::Sub, width, 1.0)?;
        c.div(part, gaps)
    };
    match options.coordinates {
        "half_pixel" => centred(c),
        "asymmetric" => c.div(steps, axis.scale),
        "tf_half_pixel_for_nn" => {
            let middle = c.with_number(BinaryFunction::Add, steps, 0.5)?;
            c.div(middle, axis.scale)
        }
        "pytorch_half_pixel" => {
            let (alone, other) = (c.scalar(Element::F64, -0.5)?, centred(c)?);
            single(c, alone, other)
        }
        "align_corners" => {
            let (alone, other) = (c.scalar(Element::F64, 0.0)?, spread(c)?);
            single(c, alone, other)
        }
        "half_pixel_symmetric" => {
            let whole = c.dim_scalar(axis.extent.clone())?;
            let whole = c.convert(whole, Element::F64)?;
            let ratio = c.div(whole, width)?;
            let centre = c.with_number(BinaryFunction::Mul, size, 0.5)?;
            let shift = c.mul(centre, ratio)?;
            let offset = c.sub(centre, shift)?;
            let at = centred(c)?;
            c.add(at, offset)
        }
        "tf_crop_and_resize" => {
            let Some((start, end)) = axis.region else { return Err(mismatch("roi is missing")) };
            let way = c.with_number(BinaryFunction::Sub, size, 1.0)?;
            let part = c.sub(end, start)?;
            let all = spread(c)?;
            let other = c.mul(all, part)?;
            let half = c.with_number(BinaryFunction::Mul, part, 0.5)?;
            let alone = c.mul(half, way)?;
            let inner = single(c, alone, other)?;
            let first = c.mul(start, way)?;
            c.add(inner, first)
        }
        other => Err(unsupported(format!("coordinate_transformation_mode `{other}`"))),
    }
}

fn nearest(c: &mut Call, at: Value, rounding: &str) -> Built {
    let rounded = match rounding {
        "floor" => c.unary(UnaryFunction::Floor, at)?,
        "ceil" => c.unary(UnaryFunction::Ceil, at)?,
        "round_prefer_floor" => {
            let shifted = c.with_number(BinaryFunction::Sub, at, 0.5)?;
            c.unary(UnaryFunction::Ceil, shifted)?
        }
        "round_prefer_ceil" => {
            let shifted = c.with_number(BinaryFunction::Add, at, 0.5)?;
            c.unary(UnaryFunction::Floor, shifted)?
        }
        other => return Err(unsupported(format!("nearest_mode `{other}`"))),
    };
    c.convert(rounded, Element::I64)
}

/// The neighbours of each position and their weights, `[extent, taps]`: `i64` and f64.
fn neighbours(c: &mut Call, at: Value, input: &Dim, options: &Options, axis: &Axis) -> Built<(Value, Value)> {
    let support = if options.mode == Mode::Cubic { 2.0 } else { 1.0 };
    let shrink = c.with_number(BinaryFunction::Min, axis.scale, 1.0)?;
    let plain = !options.antialias || axis.known_scale.is_some_and(|scale| scale >= 1.0);
    let (start, taps) = if plain {
        (c.scalar(Element::F64, 1.0 - support)?, Dim::from(2 * support as i64))
    } else {
        // floor(-support / scale) + 1, and as many on the other side.
        let wide = c.scalar(Element::F64, -support)?;
        let wide = c.div(wide, shrink)?;
        let first = c.unary(UnaryFunction::Floor, wide)?;
        let first = c.with_number(BinaryFunction::Add, first, 1.0)?;
        let twice = c.with_number(BinaryFunction::Mul, first, -2.0)?;
        let count = c.with_number(BinaryFunction::Add, twice, 2.0)?;
        let count = c.convert(count, Element::I64)?;
        // A result that has elements at all is not smaller than the operand by more than the operand's extent.
        let most = c.dim_scalar(input * &Dim::from(2 * support as i64))?;
        let count = c.binary(BinaryFunction::Min, count, most)?;
        (first, c.scalar_operand(count, "taps", Some(0))?)
    };
    // The neighbour on the left is strictly left, so that the rest is in (0, 1].
    let base = c.unary(UnaryFunction::Ceil, at)?;
    let base = c.with_number(BinaryFunction::Sub, base, 1.0)?;
    let base = c.add(base, start)?;
    let base = c.unsqueeze(base, &[1])?;
    let steps = c.iota(Element::F64, vec![Dim::ONE, taps], 1)?;
    let places = c.add(base, steps)?;
    let at = c.unsqueeze(at, &[1])?;
    let distance = c.sub(places, at)?;
    let distance = c.unary(UnaryFunction::Abs, distance)?;
    let distance = if plain { distance } else { c.mul(distance, shrink)? };
    let weights = match options.mode {
        Mode::Cubic => cubic(c, distance, options.cubic)?,
        _ => {
            let one = c.scalar(Element::F64, 1.0)?;
            let rest = c.sub(one, distance)?;
            c.with_number(BinaryFunction::Max, rest, 0.0)?
        }
    };
    let weights = if plain { weights } else { normalized(c, weights)? };
    Ok((c.convert(places, Element::I64)?, weights))
}

fn normalized(c: &mut Call, weights: Value) -> Built {
    let sum = c.reduce(ReduceFunction::Sum, weights, vec![1])?;
    c.div(weights, sum)
}

/// `((a + 2)·d - (a + 3))·d² + 1` up to 1, `((a·d - 5a)·d + 8a)·d - 4a` up to 2, zero beyond.
fn cubic(c: &mut Call, distance: Value, a: f64) -> Built {
    let near = c.with_number(BinaryFunction::Mul, distance, a + 2.0)?;
    let near = c.with_number(BinaryFunction::Sub, near, a + 3.0)?;
    let near = c.mul(near, distance)?;
    let near = c.mul(near, distance)?;
    let near = c.with_number(BinaryFunction::Add, near, 1.0)?;
    let far = c.with_number(BinaryFunction::Mul, distance, a)?;
    let far = c.with_number(BinaryFunction::Sub, far, 5.0 * a)?;
    let far = c.mul(far, distance)?;
    let far = c.with_number(BinaryFunction::Add, far, 8.0 * a)?;
    let far = c.mul(far, distance)?;
    let far = c.with_number(BinaryFunction::Sub, far, 4.0 * a)?;
    let (one, two, zero) = (c.scalar(Element::F64, 1.0)?, c.scalar(Element::F64, 2.0)?, c.scalar(Element::F64, 0.0)?);
    let within = c.compare(CompareFunction::Le, distance, one)?;
    let beyond = c.compare(CompareFunction::Ge, distance, two)?;
    let rest = c.select(beyond, zero, far)?;
    c.select(within, near, rest)
}

/// Neighbours outside of the operand count nothing; the others share their weight.
fn inside_only(c: &mut Call, places: Value, weights: Value, last: Value) -> Built {
    let zero = c.integer(Element::I64, 0)?;
    let (low, high) = (c.compare(CompareFunction::Lt, places, zero)?, c.compare(CompareFunction::Gt, places, last)?);
    let outside = c.binary(BinaryFunction::Or, low, high)?;
    let nothing = c.scalar(Element::F64, 0.0)?;
    let weights = c.select(outside, nothing, weights)?;
    normalized(c, weights)
}
