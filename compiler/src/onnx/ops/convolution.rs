//! Convolutions and pools.

use narae_isa::{BinaryFunction, Element, ReduceFunction, UnaryFunction};

use super::activation;
use super::quantization::encoded;
use super::shape::product;
use crate::graph::Op;
use crate::graph::ops::PoolFunction;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("Conv", 1, NEWEST, "float", conv),
    microsoft("FusedConv", "float", fused_conv),
    microsoft("NhwcConv", "float", nhwc_conv),
    onnx("ConvInteger", 10, NEWEST, "i8, u8", conv_integer),
    onnx("QLinearConv", 10, NEWEST, "i8, u8", q_linear_conv),
    onnx("ConvTranspose", 1, NEWEST, "float", conv_transpose),
    onnx("MaxPool", 1, NEWEST, "float, i8, u8", max_pool),
    onnx("AveragePool", 7, NEWEST, "float", average_pool),
    onnx("LpPool", 2, NEWEST, "float", lp_pool),
    onnx("GlobalAveragePool", 1, NEWEST, "float", |c| global_pool(c, ReduceFunction::Mean)),
    onnx("GlobalMaxPool", 1, NEWEST, "float", |c| global_pool(c, ReduceFunction::Max)),
];

/// The windows of a convolution or pool along the spatial axes.
struct Windows {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    before: Vec<Dim>,
    after: Vec<Dim>,
    /// Windows per spatial axis.
    dims: Vec<Dim>,
}

/// A list of positive sizes, one per spatial axis.
fn sizes(c: &Call, name: &str, count: usize) -> Built<Option<Vec<usize>>> {
    let Some(list) = c.attributes.ints(name)? else { return Ok(None) };
    let sizes: Option<Vec<usize>> =
        list.iter().map(|&size| usize::try_from(size).ok().filter(|&size| size > 0)).collect();
    match sizes {
        Some(sizes) if sizes.len() == count => Ok(Some(sizes)),
        _ => Err(mismatch(format!("{name} = {list:?} for {count} spatial axes"))),
    }
}

impl Windows {
    /// Over the spatial axes of `x`, with the kernel of a weight or of the attribute.
    fn new(c: &mut Call, x: Value, kernel: Option<Vec<usize>>) -> Built<Windows> {
        let input = c.dims(x);
        let count = input.len().checked_sub(2).filter(|&count| count > 0);
        let count = count.ok_or_else(|| mismatch("the operand must have spatial axes"))?;
        let given = sizes(c, "kernel_shape", count)?;
        let kernel = kernel.or(given).ok_or_else(|| mismatch("kernel_shape is missing"))?;
        if kernel.len() != count {
            return Err(mismatch(format!("a kernel of {} axes for {count} spatial axes", kernel.len())));
        }
        let strides = sizes(c, "strides", count)?.unwrap_or_else(|| vec![1; count]);
        let dilations = sizes(c, "dilations", count)?.unwrap_or_else(|| vec![1; count]);
        let ceil = c.attributes.flag("ceil_mode", false)?;
        let automatic = c.attributes.text_or("auto_pad", "NOTSET")?;
        let pads = c.attributes.ints("pads")?;
        let pads: Vec<Dim> =
            pads.map_or_else(|| vec![Dim::ZERO; 2 * count], |pads| pads.iter().copied().map(Dim::from).collect());
        if pads.len() != 2 * count {
            return Err(mismatch(format!("{} pads for {count} spatial axes", pads.len())));
        }
        let mut windows = Windows { kernel, strides, dilations, before: vec![], after: vec![], dims: vec![] };
        for axis in 0..count {
            let extent = &input[axis + 2];
            let (reach, stride) = (Dim::from(windows.reach(axis)), Dim::from(windows.strides[axis]));
            let (before, after, dim) = match automatic {
                "NOTSET" | "VALID" => {
                    let zero = automatic == "VALID";
                    let pad = |at: usize| if zero { Dim::ZERO } else { pads[at].clone() };
                    let (before, after) = (pad(axis), pad(count + axis));
                    let dim = Windows::count(c, extent, (&before, &after), (&reach, &stride), ceil);
                    (before, after, dim)
                }
                "SAME_UPPER" | "SAME_LOWER" => {
                    let dim = extent.ceil_div(&stride);
                    let needed = &(&(&(&dim - &Dim::ONE) * &stride) + &reach) - extent;
                    let total = c.graph.symbols.maximum(&needed, &Dim::ZERO);
                    let small = total.floor_div(&Dim::from(2i64));
                    let large = &total - &small;
                    if automatic == "SAME_UPPER" { (small, large, dim) } else { (large, small, dim) }
                }
                other => return Err(unsupported(format!("auto_pad `{other}`"))),
            };
            windows.before.push(before);
            windows.after.push(after);
            windows.dims.push(dim);
        }
        Ok(windows)
    }

    /// Elements that a window spans along an axis.
    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    /// Windows that fit; with `ceil` also a last partial one, if it starts inside.
    fn count(
        c: &mut Call,
        extent: &Dim,
        (before, after): (&Dim, &Dim),
        (reach, stride): (&Dim, &Dim),
        ceil: bool,
    ) -> Dim {
        let way = &(&(extent + before) + after) - reach;
        if !ceil {
            c.graph.symbols.learn_not_negative(&way);
            return &way.floor_div(stride) + &Dim::ONE;
        }
        // The last one may be partial, but not the first.
        c.graph.symbols.learn_not_negative(&(&way + &(stride - &Dim::ONE)));
        let inside = &(&(&(extent + before) - &Dim::ONE).floor_div(stride) + &Dim::ONE);
        c.graph.symbols.minimum(&(&way.ceil_div(stride) + &Dim::ONE), inside)
    }

    fn conv(&self, groups: usize) -> Op {
        Op::Conv {
            strides: self.strides.clone(),
            before: self.before.clone(),
            dilations: self.dilations.clone(),
            input_dilations: vec![1; self.kernel.len()],
            groups,
            dims: self.dims.clone(),
        }
    }

    fn pool(&self, c: &mut Call, x: Value, function: PoolFunction) -> Built {
        let op = Op::Pool {
            function,
            kernel: self.kernel.clone(),
            strides: self.strides.clone(),
            before: self.before.clone(),
            dilations: self.dilations.clone(),
            dims: self.dims.clone(),
        };
        c.op(op, &[x])
    }
}

/// The spatial extents of a weight, which must be known.
fn kernel_of(c: &Call, weight: Value) -> Built<Vec<usize>> {
    let dims = c.dims(weight);
    let sizes: Option<Vec<usize>> = dims.iter().skip(2).map(|dim| dim.as_size().filter(|&size| size > 0)).collect();
    sizes.ok_or_else(|| unsupported("the kernel's size is not known"))
}

fn groups_of(c: &Call) -> Built<usize> {
    usize::try_from(c.attributes.int_or("group", 1)?)
        .ok()
        .filter(|&groups| groups > 0)
        .ok_or_else(|| mismatch("group must be positive"))
}

fn conv(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, w, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    Ok(vec![float_conv(c, x, w, bias)?])
}

fn float_conv(c: &mut Call, x: Value, w: Value, bias: Option<Value>) -> Built {
    let kernel = kernel_of(c, w)?;
    c.attributes.ignore(&["kernel_shape"]);
    let windows = Windows::new(c, x, Some(kernel))?;
    let operands: Vec<Value> = [x, w].into_iter().chain(bias).collect();
    let groups = groups_of(c)?;
    c.op(windows.conv(groups), &operands)
}

/// onnxruntime's convolution with an addition and an activation behind it.
fn fused_conv(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (x, w, bias, skip) = (c.input(0)?, c.input(1)?, c.optional(2), c.optional(3));
    let y = float_conv(c, x, w, bias)?;
    let y = c.add_optional(y, skip)?;
    let parameters = c.attributes.floats("activation_params")?.unwrap_or(&[]);
    let (a, b) = (parameters.first().copied(), parameters.get(1).copied());
    let name = c.attributes.text_or("activation", "")?.to_string();
    Ok(vec![activation::named(c, y, &name, a, b)?])
}

/// The same with the channels last, in images and weights.
fn nhwc_conv(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, w, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    if c.rank(x) != 4 || c.rank(w) != 4 {
        return Err(mismatch("images and weights must have four axes"));
    }
    let (x, w) = (c.transpose(x, &[0, 3, 1, 2])?, c.transpose(w, &[0, 3, 1, 2])?);
    let y = float_conv(c, x, w, bias)?;
    Ok(vec![c.transpose(y, &[0, 2, 3, 1])?])
}

/// The exact `i32` convolution of codes after subtraction of the zero points.
fn integer_conv(c: &mut Call, (x, x_zero): (Value, Option<Value>), (w, w_zero): (Value, Option<Value>)) -> Built {
    let kernel = kernel_of(c, w)?;
    c.attributes.ignore(&["kernel_shape"]);
    let windows = Windows::new(c, x, Some(kernel))?;
    let centre = |c: &mut Call, codes: Value, zero: Option<Value>| -> Built {
        let rank = c.rank(codes);
        let wide = c.convert(codes, Element::I32)?;
        let Some(zero) = zero else { return Ok(wide) };
        let zero = c.convert(zero, Element::I32)?;
        let zero = per_output(c, zero, rank)?;
        c.sub(wide, zero)
    };
    let (x, w) = (centre(c, x, x_zero)?, centre(c, w, w_zero)?);
    let groups = groups_of(c)?;
    c.op(windows.conv(groups), &[x, w])
}

/// One number for all, or one per output of a weight, broadcast over the weight's other axes.
fn per_output(c: &mut Call, x: Value, rank: usize) -> Built {
    match c.dims(x).as_slice() {
        [] => Ok(x),
        [one] if one.is(1) => c.reshape(x, vec![]),
        [count] => {
            let mut dims = vec![Dim::ONE; rank];
            dims[0] = count.clone();
            c.reshape(x, dims)
        }
        _ => Err(mismatch("a scale or zero point of more than one axis")),
    }
}

fn conv_integer(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (x, w) = ((c.input(0)?, c.optional(2)), (c.input(1)?, c.optional(3)));
    Ok(vec![integer_conv(c, x, w)?])
}

fn q_linear_conv(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(9)?;
    let (x, x_scale, x_zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (w, w_scale, w_zero) = (c.input(3)?, c.input(4)?, c.optional(5));
    let (scale, zero, bias) = (c.input(6)?, c.input(7)?, c.optional(8));
    let mut sum = integer_conv(c, (x, x_zero), (w, w_zero))?;
    let rank = c.rank(sum);
    let channels = |c: &mut Call, x: Value| -> Built {
        match c.dims(x).as_slice() {
            [count] if !count.is(1) => {
                let mut dims = vec![Dim::ONE; rank];
                dims[1] = count.clone();
                c.reshape(x, dims)
            }
            _ => c.reshape(x, vec![]),
        }
    };
    if let Some(bias) = bias {
        let bias = channels(c, bias)?;
        sum = c.add(sum, bias)?;
    }
    let (x_scale, w_scale) = (c.reshape(x_scale, vec![])?, channels(c, w_scale)?);
    let factor = c.mul(x_scale, w_scale)?;
    let element = c.element(factor);
    let wide = c.convert(sum, element)?;
    let y = c.mul(wide, factor)?;
    let (scale, zero) = (c.reshape(scale, vec![])?, c.reshape(zero, vec![])?);
    Ok(vec![encoded(c, y, scale, zero)?])
}

/// The convolution of `x`, spread by the strides, with the mirrored weight.
fn conv_transpose(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, w, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (input, kernel) = (c.dims(x), kernel_of(c, w)?);
    let count = kernel.len();
    if input.len() != count + 2 {
        return Err(mismatch("operand and weight differ in rank"));
    }
    let strides = sizes(c, "strides", count)?.unwrap_or_else(|| vec![1; count]);
    let dilations = sizes(c, "dilations", count)?.unwrap_or_else(|| vec![1; count]);
    c.attributes.ignore(&["kernel_shape"]);
    let groups = groups_of(c)?;
    let extra = c.attributes.ints("output_padding")?.map_or_else(|| vec![0; count], <[i64]>::to_vec);
    let pads = c.attributes.ints("pads")?.map_or_else(|| vec![0; 2 * count], <[i64]>::to_vec);
    let wanted = c.attributes.ints("output_shape")?.map(<[i64]>::to_vec);
    let automatic = c.attributes.text_or("auto_pad", "NOTSET")?;
    // The shape of the result may come with batch and channels.
    let fits = wanted.as_ref().is_none_or(|wanted| wanted.len() == count || wanted.len() == count + 2);
    if extra.len() != count || pads.len() != 2 * count || !fits {
        return Err(mismatch("pads, output_padding or output_shape do not fit the spatial axes"));
    }
    let (mut before, mut dims) = (Vec::new(), Vec::new());
    for axis in 0..count {
        let reach = Dim::from((kernel[axis] - 1).saturating_mul(dilations[axis]));
        let stride = Dim::from(strides[axis]);
        let full = &(&(&(&input[axis + 2] - &Dim::ONE) * &stride) + &reach) + &Dim::from(extra[axis].saturating_add(1));
        let target = match (&wanted, automatic) {
            (Some(wanted), _) => Some(Dim::from(wanted[wanted.len() - count + axis])),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(&input[axis + 2] * &stride),
            _ => None,
        };
        let (front, dim) = match target {
            None if automatic == "VALID" => (Dim::ZERO, full),
            None => (Dim::from(pads[axis]), &full - &Dim::from(pads[axis].saturating_add(pads[count + axis]))),
            Some(dim) => {
                let total = c.graph.symbols.maximum(&(&full - &dim), &Dim::ZERO);
                let small = total.floor_div(&Dim::from(2i64));
                (if automatic == "SAME_UPPER" { small } else { &total - &small }, dim)
            }
        };
        before.push(&reach - &front);
        dims.push(dim);
    }
    if before.iter().any(|dim| dim.bounds(&c.graph.symbols).0.is_none_or(|least| least < 0)) {
        return Err(unsupported("padding that is longer than the kernel"));
    }
    let w = mirrored(c, w, groups)?;
    let op = Op::Conv { strides: vec![1; count], before, dilations, input_dilations: strides, groups, dims };
    let operands: Vec<Value> = [x, w].into_iter().chain(bias).collect();
    Ok(vec![c.op(op, &operands)?])
}

/// `[C, M / groups, k…]` to `[M, C / groups, k…]`, the kernel backwards.
fn mirrored(c: &mut Call, w: Value, groups: usize) -> Built {
    let dims = c.dims(w);
    let rank = dims.len();
    let mut starts = vec![Dim::ZERO; rank];
    let mut steps = vec![1; rank];
    for axis in 2..rank {
        starts[axis] = &dims[axis] - &Dim::ONE;
        steps[axis] = -1;
    }
    let flipped = c.op(Op::Slice { starts, steps, dims: dims.clone() }, &[w])?;
    let groups = Dim::from(groups);
    let (inner, outer) = (dims[0].floor_div(&groups), dims[1].clone());
    let mut split = vec![groups.clone(), inner.clone(), outer.clone()];
    split.extend_from_slice(&dims[2..]);
    let y = c.reshape(flipped, split)?;
    let mut permutation: Vec<usize> = (0..rank + 1).collect();
    permutation.swap(1, 2);
    let y = c.transpose(y, &permutation)?;
    let mut merged = vec![&groups * &outer, inner];
    merged.extend_from_slice(&dims[2..]);
    c.reshape(y, merged)
}

fn max_pool(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let columns = c.attributes.int_or("storage_order", 0)? != 0;
    let windows = Windows::new(c, x, None)?;
    let y = windows.pool(c, x, PoolFunction::Max)?;
    if !c.wants(1) {
        return Ok(vec![y]);
    }
    let indices = max_indices(c, x, &windows, columns)?;
    Ok(vec![y, indices])
}

/// Where the greatest element of each window stands in the flattened tensor; the first one among equals.
fn max_indices(c: &mut Call, x: Value, windows: &Windows, columns: bool) -> Built {
    let element = c.element(x);
    let wide = if element.is_float() { x } else { c.convert(x, Element::F32)? };
    let dims = c.dims(x);
    let count = windows.kernel.len();
    let op = |value: &Windows| Op::Window {
        kernel: value.kernel.clone(),
        strides: value.strides.clone(),
        before: value.before.clone(),
        dilations: value.dilations.clone(),
        dims: value.dims.clone(),
    };
    let float = c.element(wide);
    let never = c.scalar(float, f64::NEG_INFINITY)?;
    let values = c.op(op(windows), &[wide, never])?;
    // The spatial position of every element, seen through the same windows.
    let mut place = c.integer(Element::I64, 0)?;
    let mut stride = Dim::ONE;
    let order: Vec<usize> = if columns { (0..count).collect() } else { (0..count).rev().collect() };
    for axis in order {
        let mut line = vec![Dim::ONE; count + 2];
        line[axis + 2] = dims[axis + 2].clone();
        let positions = c.iota(Element::I64, line, axis + 2)?;
        let step = c.dim_scalar(stride.clone())?;
        let part = c.mul(positions, step)?;
        place = c.add(place, part)?;
        stride = &stride * &dims[axis + 2];
    }
    let mut one_image = vec![Dim::ONE, Dim::ONE];
    one_image.extend_from_slice(&dims[2..]);
    let place = c.broadcast(place, one_image)?;
    let nowhere = c.integer(Element::I64, -1)?;
    let places = c.op(op(windows), &[place, nowhere])?;
    let mut flat: Vec<Dim> = dims[..2].to_vec();
    flat.extend_from_slice(&windows.dims);
    let kernel = Dim::from(windows.kernel.iter().product::<usize>());
    flat.push(kernel);
    let values = c.reshape(values, flat.clone())?;
    let (batch, channels) = (flat[0].clone(), flat[1].clone());
    (flat[0], flat[1]) = (Dim::ONE, Dim::ONE);
    let places = c.reshape(places, flat.clone())?;
    (flat[0], flat[1]) = (batch.clone(), channels.clone());
    let places = c.broadcast(places, flat)?;
    let best =
        c.op(Op::ArgReduce { function: crate::graph::ops::ArgFunction::Max, axis: count + 2, last: false }, &[values])?;
    let found = c.op(Op::GatherElements { axis: count + 2 }, &[places, best])?;
    let found = c.squeeze(found, &[count + 2])?;
    // The offset of the image and channel.
    let images = c.iota(Element::I64, vec![batch, Dim::ONE], 0)?;
    let planes = c.iota(Element::I64, vec![Dim::ONE, channels.clone()], 1)?;
    let channels = c.dim_scalar(channels)?;
    let images = c.mul(images, channels)?;
    let planes = c.add(images, planes)?;
    let size = c.dim_scalar(product(&dims[2..]))?;
    let planes = c.mul(planes, size)?;
    let trailing: Vec<usize> = (2..count + 2).collect();
    let planes = c.unsqueeze(planes, &trailing)?;
    c.add(found, planes)
}

pub(super) fn average_pool(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let all = c.attributes.flag("count_include_pad", false)?;
    let windows = Windows::new(c, x, None)?;
    let sum = windows.pool(c, x, PoolFunction::Sum)?;
    let element = c.element(x);
    let one = c.scalar(element, 1.0)?;
    let spatial = c.dims(x)[2..].to_vec();
    let mut ones = vec![Dim::ONE, Dim::ONE];
    let mut counted = windows;
    for (axis, dim) in spatial.iter().enumerate() {
        if all {
            ones.push(&(dim + &counted.before[axis]) + &counted.after[axis]);
            counted.before[axis] = Dim::ZERO;
        } else {
            ones.push(dim.clone());
        }
    }
    let ones = c.broadcast(one, ones)?;
    let number = counted.pool(c, ones, PoolFunction::Sum)?;
    Ok(vec![c.div(sum, number)?])
}

fn lp_pool(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let power = c.attributes.int_or("p", 2)?;
    let windows = Windows::new(c, x, None)?;
    let size = c.unary(UnaryFunction::Abs, x)?;
    let powers = c.with_number(BinaryFunction::Pow, size, power as f64)?;
    let sum = windows.pool(c, powers, PoolFunction::Sum)?;
    Ok(vec![c.with_number(BinaryFunction::Pow, sum, 1.0 / power as f64)?])
}

pub(super) fn global_pool(c: &mut Call, function: ReduceFunction) -> Built<Vec<Value>> {
    let x = c.single()?;
    let axes: Vec<usize> = (2..c.rank(x)).collect();
    Ok(vec![c.reduce(function, x, axes)?])
}
