//! Operators that make tensors of nothing but attributes and shapes.

use narae_isa::{Element, HostTensor};

use crate::compress::Recipe;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("Constant", 1, NEWEST, "any", constant),
    onnx("ConstantOfShape", 9, NEWEST, "any", constant_of_shape),
    onnx("Identity", 1, NEWEST, "any", |c| Ok(vec![c.single()?])),
    onnx("Shape", 1, NEWEST, "any", shape),
    onnx("Size", 1, NEWEST, "any", size),
    onnx("Range", 11, NEWEST, "float, integer", range),
    onnx("EyeLike", 9, NEWEST, "any", eye_like),
    onnx("Dropout", 7, NEWEST, "float", dropout),
    onnx("OneHot", 9, NEWEST, "any", one_hot),
    onnx("HannWindow", 17, NEWEST, "float", |c| window(c, &[0.5, 0.5])),
    onnx("HammingWindow", 17, NEWEST, "float", |c| window(c, &[25.0 / 46.0, 21.0 / 46.0])),
    onnx("BlackmanWindow", 17, NEWEST, "float", |c| window(c, &[0.42, 0.5, 0.08])),
];

fn constant(c: &mut Call) -> Built<Vec<Value>> {
    let a = &c.attributes;
    if let Some(tensor) = a.tensor("value")? {
        return Ok(vec![c.importer.constant(tensor)?]);
    }
    if let Some(tensor) = a.sparse_tensor("sparse_value")? {
        return Ok(vec![c.importer.sparse_constant(tensor)?]);
    }
    let tensor = if let Some(value) = a.int("value_int")? {
        HostTensor::from_i64(&[], &[value])
    } else if let Some(value) = a.float("value_float")? {
        HostTensor::from_f32(&[], &[value])
    } else if let Some(values) = a.ints("value_ints")? {
        HostTensor::from_i64(&[values.len()], values)
    } else if let Some(values) = a.floats("value_floats")? {
        HostTensor::from_f32(&[values.len()], values)
    } else {
        return Err(unsupported("a constant that is text, or that has no value"));
    };
    Ok(vec![c.tensor(tensor)?])
}

fn constant_of_shape(c: &mut Call) -> Built<Vec<Value>> {
    let shape = c.single()?;
    let value = match c.attributes.tensor("value")? {
        Some(tensor) => c.importer.constant(tensor)?,
        None => c.scalar(Element::F32, 0.0)?,
    };
    let dims = c.shape_operand(shape, "shape", Some(0))?;
    let scalar = c.reshape(value, vec![])?;
    Ok(vec![fill(c, scalar, dims)?])
}

/// A scalar in every position; a small integer constant where all is known, so that shape arithmetic can be followed.
fn fill(c: &mut Call, scalar: Value, dims: Vec<Dim>) -> Built {
    let sizes: Option<Vec<usize>> = dims.iter().map(Dim::as_size).collect();
    if let (Some(sizes), Some(recipe)) = (sizes, c.graph.recipe(scalar).cloned()) {
        return c.constant(recipe.broadcast(sizes)?);
    }
    c.broadcast(scalar, dims)
}

fn shape(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let dims = c.dims(x);
    let rank = dims.len() as i64;
    let clamp = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let start = clamp(c.attributes.int_or("start", 0)?);
    let end = clamp(c.attributes.int_or("end", rank)?);
    let part = dims[start..end.max(start)].to_vec();
    let count = part.len();
    Ok(vec![c.dims_tensor(part, vec![count])?])
}

fn size(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let count = c.dims(x).iter().fold(Dim::ONE, |count, dim| &count * dim);
    Ok(vec![c.dim_scalar(count)?])
}

fn range(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let element = c.first_element()?;
    let operands = [c.input(0)?, c.input(1)?, c.input(2)?];
    let [start, limit, delta] = {
        let mut scalars = operands;
        for value in &mut scalars {
            *value = c.reshape(*value, vec![])?;
        }
        scalars
    };
    let count = range_count(c, [start, limit, delta], element)?;
    let iota = c.iota(element, vec![count], 0)?;
    let step = c.known_ints(delta);
    let scaled = if step == Some(vec![1]) { iota } else { c.mul(iota, delta)? };
    let zero = c.known_ints(start) == Some(vec![0]);
    Ok(vec![if zero { scaled } else { c.add(scaled, start)? }])
}

/// `max(ceil((limit - start) / delta), 0)`
fn range_count(c: &mut Call, [start, limit, delta]: [Value; 3], element: Element) -> Built<Dim> {
    let known = |value: Value| {
        let (dims, divisor) = c.graph.known_quotients(value)?;
        Some((dims.into_iter().next()?, divisor))
    };
    if let (Some(start), Some(limit), Some(delta)) = (known(start), known(limit), known(delta))
        && let Some(all) = start.1.checked_mul(limit.1).and_then(|both| both.checked_mul(delta.1))
    {
        // All over one divisor, which the quotient does not see.
        let all = Dim::from(all);
        let [start, limit, delta] =
            [start, limit, delta].map(|(dim, divisor)| (&dim * &all).floor_div(&divisor.into()));
        let way = &limit - &start;
        let count = match delta.as_const() {
            Some(0) => return Err(mismatch("the step of a range is 0")),
            Some(1) => way,
            Some(step) if step > 0 => way.ceil_div(&delta),
            Some(_) => (&Dim::ZERO - &way).ceil_div(&(&Dim::ZERO - &delta)),
            None => way.ceil_div(&delta),
        };
        return Ok(c.graph.symbols.maximum(&count, &Dim::ZERO));
    }
    if let (Some(start), Some(limit), Some(delta)) =
        (c.constant_values(start), c.constant_values(limit), c.constant_values(delta))
    {
        let count = ((limit.get_f64(0) - start.get_f64(0)) / delta.get_f64(0)).ceil().max(0.0);
        return Ok(Dim::from(count as i64));
    }
    // The number is computed on the chip as ONNX says and read back.
    let wide = if element.is_float() { Element::F64 } else { Element::I64 };
    let (start, limit, delta) = (c.convert(start, wide)?, c.convert(limit, wide)?, c.convert(delta, wide)?);
    let way = c.sub(limit, start)?;
    let count = if element.is_float() {
        let quotient = c.div(way, delta)?;
        let count = c.unary(narae_isa::UnaryFunction::Ceil, quotient)?;
        c.convert(count, Element::I64)?
    } else {
        let back = c.unary(narae_isa::UnaryFunction::Neg, way)?;
        let quotient = c.binary(narae_isa::BinaryFunction::FloorDiv, back, delta)?;
        c.unary(narae_isa::UnaryFunction::Neg, quotient)?
    };
    let zero = c.integer(Element::I64, 0)?;
    let count = c.binary(narae_isa::BinaryFunction::Max, count, zero)?;
    c.scalar_operand(count, "range", Some(0))
}

fn eye_like(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let element = match c.attributes.int("dtype")? {
        Some(number) => element_attribute(number)?,
        None => c.element(x),
    };
    let diagonal = c.attributes.int_or("k", 0)?;
    if c.rank(x) != 2 {
        return Err(mismatch("the operand must be a matrix"));
    }
    let dims = c.dims(x);
    let rows = c.iota(Element::I64, vec![dims[0].clone(), Dim::ONE], 0)?;
    let columns = c.iota(Element::I64, vec![Dim::ONE, dims[1].clone()], 1)?;
    let shift = c.integer(Element::I64, diagonal)?;
    let rows = c.add(rows, shift)?;
    let equal = c.compare(narae_isa::CompareFunction::Eq, rows, columns)?;
    Ok(vec![c.convert(equal, element)?])
}

/// The element type that an attribute names.
pub(super) fn element_attribute(number: i64) -> Built<Element> {
    let number = i32::try_from(number).unwrap_or(-1);
    crate::onnx::tensor::element(number).map_err(|name| {
        narae_isa::Diagnostic::new(&narae_isa::codes::E0203, format!("element type {name} does not exist here"))
    })
}

fn dropout(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.input(0)?;
    c.at_most(3)?;
    c.attributes.ignore(&["ratio", "seed"]);
    if let Some(training) = c.optional(2)
        && c.known_ints(training) != Some(vec![0])
    {
        return Err(unsupported("dropout in training mode"));
    }
    if !c.wants(1) {
        return Ok(vec![x]);
    }
    let yes = c.integer(Element::Bool, 1)?;
    let dims = c.dims(x);
    Ok(vec![x, c.broadcast(yes, dims)?])
}

fn one_hot(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (indices, depth, values) = (c.input(0)?, c.input(1)?, c.input(2)?);
    c.expect_rank(values, 1, "`values`, off and on,")?;
    let axis = c.attributes.int_or("axis", -1)?;
    let depth = if c.element(depth) == Element::I64 { depth } else { c.convert(depth, Element::I64)? };
    let depth = c.scalar_operand(depth, "depth", Some(0))?;
    let rank = c.rank(indices) + 1;
    let axis = c.axis(axis, rank)?;
    let indices = c.convert(indices, Element::I64)?;
    let count = c.dim_scalar(depth.clone())?;
    let zero = c.integer(Element::I64, 0)?;
    let negative = c.compare(narae_isa::CompareFunction::Lt, indices, zero)?;
    let wrapped = c.add(indices, count)?;
    let indices = c.select(negative, wrapped, indices)?;
    let indices = c.unsqueeze(indices, &[axis])?;
    let mut line = vec![Dim::ONE; rank];
    line[axis] = depth;
    let positions = c.iota(Element::I64, line, axis)?;
    let hit = c.compare(narae_isa::CompareFunction::Eq, indices, positions)?;
    let off = c.narrow(values, 0, Dim::ZERO, Dim::ONE)?;
    let on = c.narrow(values, 0, Dim::ONE, Dim::ONE)?;
    let (off, on) = (c.reshape(off, vec![])?, c.reshape(on, vec![])?);
    Ok(vec![c.select(hit, on, off)?])
}

/// `a0 - a1·cos(2πi / n) + a2·cos(4πi / n)`
fn window(c: &mut Call, weights: &[f64]) -> Built<Vec<Value>> {
    let size = c.single()?;
    let element = element_attribute(c.attributes.int_or("output_datatype", 1)?)?;
    let periodic = c.attributes.flag("periodic", true)?;
    let count = c.scalar_operand(size, "size", Some(0))?;
    let period = if periodic { count.clone() } else { &count - &Dim::ONE };
    let positions = c.iota(Element::F32, vec![count], 0)?;
    let period = c.dim_scalar(period)?;
    let period = c.convert(period, Element::F32)?;
    let mut sum = c.scalar(Element::F32, weights[0])?;
    for (order, &weight) in weights.iter().enumerate().skip(1) {
        let angle = c.scale(positions, 2.0 * std::f64::consts::PI * order as f64)?;
        let angle = c.div(angle, period)?;
        let wave = c.unary(narae_isa::UnaryFunction::Cos, angle)?;
        let wave = c.scale(wave, if order % 2 == 1 { -weight } else { weight })?;
        sum = c.add(sum, wave)?;
    }
    Ok(vec![c.convert(sum, element)?])
}

/// A recipe of the constant that a value is, or a refusal that names the operand.
pub(super) fn constant_recipe(c: &Call, value: Value, name: &str) -> Built<Recipe> {
    c.recipe(value).ok_or_else(|| unsupported(format!("{name} must be an initializer")))
}
