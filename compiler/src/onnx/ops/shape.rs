//! Operators that move elements without changing them.

use narae_isa::{BinaryFunction, CompareFunction, Diagnostic, Element, HostTensor, ReduceFunction, codes};

use super::slice::slice;
use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("Reshape", 5, NEWEST, "any", reshape),
    onnx("Flatten", 1, NEWEST, "any", flatten),
    onnx("Transpose", 1, NEWEST, "any", transpose),
    onnx("Squeeze", 1, NEWEST, "any", squeeze),
    onnx("Unsqueeze", 1, NEWEST, "any", unsqueeze),
    microsoft("ExpandDims", "any", unsqueeze),
    onnx("Expand", 8, NEWEST, "any", expand),
    onnx("Concat", 4, NEWEST, "any", concat),
    onnx("Split", 2, NEWEST, "any", split),
    onnx("Slice", 1, NEWEST, "any", slice),
    onnx("Tile", 6, NEWEST, "any", tile),
    onnx("Trilu", 14, NEWEST, "any", trilu),
    microsoft("Trilu", "any", trilu),
    onnx("DepthToSpace", 1, NEWEST, "any", depth_to_space),
    onnx("SpaceToDepth", 1, NEWEST, "any", space_to_depth),
    onnx("ReverseSequence", 10, NEWEST, "any", reverse_sequence),
];

/// The axes that an instruction can walk.
const MAXIMUM_RANK: usize = 8;

/// The product of dims.
pub(super) fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
    dims.into_iter().fold(Dim::ONE, |product, dim| &product * dim)
}

fn reshape(c: &mut Call) -> Built<Vec<Value>> {
    let (x, target) = c.pair()?;
    let allow_zero = c.attributes.flag("allowzero", false)?;
    let source = c.dims(x);
    let Some(mut dims) = c.known(target) else {
        let dims = reshape_at_run_time(c, &source, target, allow_zero)?;
        return Ok(vec![c.reshape(x, dims)?]);
    };
    for (axis, dim) in dims.iter_mut().enumerate() {
        if dim.is(0) && !allow_zero {
            *dim = source
                .get(axis)
                .cloned()
                .ok_or_else(|| mismatch(format!("axis {axis} copies an axis that is not there")))?;
        }
    }
    if !allow_zero {
        copies_nothing(c, &source, &dims);
    }
    let open: Vec<usize> = (0..dims.len()).filter(|&axis| dims[axis].is(-1)).collect();
    match open.as_slice() {
        [] => {}
        [axis] => {
            let rest = product(dims.iter().enumerate().filter(|(at, _)| at != axis).map(|(_, dim)| dim));
            dims[*axis] = if rest.is(0) { Dim::ZERO } else { product(&source).floor_div(&rest) };
        }
        _ => return Err(mismatch("more than one axis is -1")),
    }
    Ok(vec![c.reshape(x, dims)?])
}

/// An entry that is computed and turns out as 0 copies the operand's extent, just as a written 0 does. Beside a -1, or another extent of 0, the
/// result can still have as many elements as the operand, none, in other dims than the ones meant: the program does not run for such a
/// length. Where the operand's own extent is a multiple of the entry, both are 0 together.
fn copies_nothing(c: &mut Call, source: &[Dim], dims: &[Dim]) {
    let is_open = dims.iter().any(|dim| dim.is(-1));
    for (axis, (dim, own)) in dims.iter().zip(source).enumerate() {
        let positive = |dim: &Dim| dim.bounds(&c.graph.symbols).0.is_some_and(|least| least > 0);
        if dim.as_const().is_some() || positive(dim) || own == &(&own.floor_div(dim) * dim) {
            continue;
        }
        if is_open {
            c.graph.symbols.assume(&dim.minimum(&Dim::ONE), &Dim::ONE);
            continue;
        }
        let others = product(dims.iter().enumerate().filter(|(at, _)| *at != axis).map(|(_, dim)| dim));
        if !positive(&others) {
            let is_zero = |dim: &Dim| &Dim::ONE - &dim.minimum(&Dim::ONE);
            let copies = &(&is_zero(dim) * &own.minimum(&Dim::ONE)) * &is_zero(&others);
            c.graph.symbols.assume(&copies, &Dim::ZERO);
        }
    }
}

/// The target of a reshape whose `0` and `-1` are only seen when the program runs.
fn reshape_at_run_time(c: &mut Call, source: &[Dim], target: Value, allow_zero: bool) -> Built<Vec<Dim>> {
    let rank = c.list_length(target, "shape")?;
    let mut wanted = c.convert(target, Element::I64)?;
    let (zero, minus) = (c.integer(Element::I64, 0)?, c.integer(Element::I64, -1)?);
    if !allow_zero {
        let copied: Vec<Dim> = (0..rank).map(|axis| source.get(axis).cloned().unwrap_or(Dim::ONE)).collect();
        let copied = c.dims_tensor(copied, vec![rank])?;
        let is_zero = c.compare(CompareFunction::Eq, wanted, zero)?;
        wanted = c.select(is_zero, copied, wanted)?;
    }
    let is_open = c.compare(CompareFunction::Eq, wanted, minus)?;
    let one = c.integer(Element::I64, 1)?;
    let others = c.select(is_open, one, wanted)?;
    let rest = c.reduce(ReduceFunction::Prod, others, vec![0])?;
    let total = c.dim_scalar(product(source))?;
    let open = c.binary(BinaryFunction::Div, total, rest)?;
    let found = c.select(is_open, open, wanted)?;
    c.shape_operand(found, "shape", Some(0))
}

fn flatten(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let dims = c.dims(x);
    let axis = c.attributes.int_or("axis", 1)?;
    let axis = if axis == dims.len() as i64 { dims.len() } else { c.axis(axis, dims.len())? };
    Ok(vec![c.reshape(x, vec![product(&dims[..axis]), product(&dims[axis..])])?])
}

fn transpose(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let rank = c.rank(x);
    let permutation: Vec<usize> = match c.attributes.ints("perm")? {
        Some(list) => list.iter().map(|&axis| c.axis(axis, rank)).collect::<Built<_>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![c.transpose(x, &permutation)?])
}

/// Axes from the attribute of older opsets or the operand of newer ones.
fn axes_operand(c: &Call) -> Built<Option<Vec<i64>>> {
    match c.attributes.ints("axes")? {
        Some(list) => Ok(Some(list.to_vec())),
        None => c.known_list(1, "axes"),
    }
}

/// The operand that holds the axes, if they are only seen when the program runs.
fn run_time_axes(c: &Call) -> Option<Value> {
    c.optional(1).filter(|&axes| c.known_ints(axes).is_none())
}

fn squeeze(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let rank = c.rank(x);
    if let Some(axes) = run_time_axes(c) {
        return Ok(vec![super::run_time_axes::squeeze(c, x, axes)?]);
    }
    let axes = match axes_operand(c)? {
        Some(axes) => c.axes(&axes, rank)?,
        None => ones(c, x)?,
    };
    Ok(vec![c.squeeze(x, &axes)?])
}

/// The axes of extent 1. The calls that will be made say of a length whether it is 1; otherwise it is taken not to be, and the runtime refuses it.
fn ones(c: &mut Call, x: Value) -> Built<Vec<usize>> {
    let mut found = Vec::new();
    for (axis, dim) in c.dims(x).iter().enumerate() {
        if c.graph.symbols.given(dim) == Some(1) {
            c.must_equal(dim, &Dim::ONE, "an axis that is removed")?;
        }
        let dim = c.graph.symbols.resolve(dim);
        if dim.is(1) {
            found.push(axis);
        } else if !c.graph.symbols.never_equal(&dim, &Dim::ONE) {
            let far = (&dim - &Dim::ONE).maximum(&(&Dim::ONE - &dim)).minimum(&Dim::ONE);
            c.graph.symbols.assume(&far, &Dim::ONE);
        }
    }
    Ok(found)
}

fn unsqueeze(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    if let Some(axes) = run_time_axes(c) {
        return Ok(vec![super::run_time_axes::unsqueeze(c, x, axes)?]);
    }
    let axes = axes_operand(c)?.ok_or_else(|| mismatch("axes are missing"))?;
    let axes = c.axes(&axes, c.rank(x) + axes.len())?;
    Ok(vec![c.unsqueeze(x, &axes)?])
}

fn expand(c: &mut Call) -> Built<Vec<Value>> {
    let (x, target) = c.pair()?;
    let source = c.dims(x);
    let wanted = match c.known(target) {
        Some(wanted) => wanted,
        None => return Ok(vec![expand_at_run_time(c, x, target)?]),
    };
    let rank = source.len().max(wanted.len());
    let extent =
        |dims: &[Dim], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(Dim::ONE, |at| dims[at].clone());
    let mut dims = Vec::with_capacity(rank);
    for axis in 0..rank {
        let (own, wanted) = (extent(&source, axis), extent(&wanted, axis));
        if let (Some(own), Some(wanted)) = (own.as_const(), wanted.as_const())
            && own != wanted
            && own != 1
            && wanted != 1
        {
            let message = format!("axis {axis} of extent {own} cannot become {wanted}");
            return Err(Diagnostic::new(&codes::E0301, message));
        }
        if let (Some(1), Some(2.. | 0)) = (c.graph.symbols.given(&own), c.graph.symbols.given(&wanted)) {
            c.must_equal(&own, &Dim::ONE, "an extent that is expanded")?;
        }
        if let (Some(2..), Some(1)) = (c.graph.symbols.given(&own), c.graph.symbols.given(&wanted)) {
            c.must_equal(&wanted, &Dim::ONE, "an extent that nothing is expanded to")?;
        }
        let (own, wanted) = (c.graph.symbols.resolve(&own), c.graph.symbols.resolve(&wanted));
        // What is never longer than 1 asks for no repetition; that it is 0 only where the operand is empty is checked when the program runs.
        let most = |dim: &Dim| dim.bounds(&c.graph.symbols).1;
        if !wanted.is(1) && !own.is(1) && most(&wanted) == Some(1) && most(&own).is_none_or(|most| most > 1) {
            let some = c.graph.symbols.minimum(&own, &Dim::ONE);
            c.graph.symbols.assume(&(&(&Dim::ONE - &wanted) * &some), &Dim::ZERO);
            dims.push(own);
            continue;
        }
        // A length that is not known to be 1 is expected to be the wanted one already.
        dims.push(if own.is(1) || (own.as_const().is_none() && !wanted.is(1)) { wanted } else { own });
    }
    Ok(vec![c.broadcast(x, dims)?])
}

/// The target is only seen when the program runs. So is whether an axis whose extent is a symbol is repeated: it is gathered.
fn expand_at_run_time(c: &mut Call, x: Value, target: Value) -> Built {
    let source = c.dims(x);
    let count = c.list_length(target, "shape")?;
    let rank = count.max(source.len());
    let new = rank - source.len();
    let mut own = vec![Dim::ONE; new];
    own.extend_from_slice(&source);
    let extents = c.dims_tensor(own.clone(), vec![rank])?;
    let mut wanted = c.convert(target, Element::I64)?;
    if rank > count {
        let ones = c.tensor(HostTensor::from_i64(&[rank - count], &vec![1; rank - count]))?;
        wanted = c.concat(&[ones, wanted], 0)?;
    }
    let one = c.integer(Element::I64, 1)?;
    let stretched = c.compare(CompareFunction::Eq, extents, one)?;
    let found = c.select(stretched, wanted, extents)?;
    let dims = c.shape_operand(found, "shape", Some(0))?;
    let mut y = x;
    for (axis, extent) in source.iter().enumerate().filter(|(_, extent)| extent.as_const().is_none()) {
        let last = c.dim_scalar(extent - &Dim::ONE)?;
        let positions = c.iota(Element::I64, vec![dims[new + axis].clone()], 0)?;
        let positions = c.binary(BinaryFunction::Min, positions, last)?;
        y = c.gather(y, positions, axis)?;
    }
    let known = |(own, dim): (&Dim, Dim)| own.as_size().filter(|&own| own != 1).map_or(dim, Dim::from);
    let dims = own.iter().zip(dims).map(known).collect();
    c.broadcast(y, dims)
}

pub(super) fn concat(c: &mut Call) -> Built<Vec<Value>> {
    let parts = c.all()?;
    let first = c.input(0)?;
    let axis = c.attributes.required_int("axis")?;
    let axis = c.axis(axis, c.rank(first))?;
    Ok(vec![c.concat(&parts, axis)?])
}

fn split(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let axis = c.attributes.int_or("axis", 0)?;
    let axis = c.axis(axis, c.rank(x))?;
    let outputs = c.outputs.len();
    let attribute = c.attributes.ints("split")?;
    let parts = c.attributes.int_or("num_outputs", outputs as i64)?;
    let read = attribute.is_none() && c.optional(1).is_some_and(|operand| c.known(operand).is_none());
    let extents: Vec<Dim> = match (attribute, c.optional(1)) {
        (Some(list), _) => list.iter().copied().map(Dim::from).collect(),
        (None, Some(operand)) => c.shape_operand(operand, "split", Some(0))?,
        (None, None) => even_split(&c.dim(x, axis), parts, outputs, c.attributes.has("num_outputs"))?,
    };
    if extents.len() != outputs {
        return Err(mismatch(format!("{} parts for {outputs} outputs", extents.len())));
    }
    let total = extents.iter().fold(Dim::ZERO, |sum, extent| &sum + extent);
    let whole = c.dim(x, axis);
    if read {
        // Not solved for a part: a length that is read is simpler than what is left of the others.
        c.graph.symbols.assume(&total, &whole);
    } else {
        c.must_equal(&total, &whole, "the sum of the parts")?;
    }
    c.split(x, axis, &extents)
}

/// Equal parts; the last one may be smaller where the number of parts is given explicitly.
fn even_split(whole: &Dim, parts: i64, outputs: usize, ragged: bool) -> Built<Vec<Dim>> {
    if parts != outputs as i64 || parts == 0 {
        return Err(mismatch(format!("{parts} parts for {outputs} outputs")));
    }
    let count = Dim::from(parts);
    let chunk = if ragged { whole.ceil_div(&count) } else { whole.floor_div(&count) };
    let mut extents = vec![chunk.clone(); outputs];
    if ragged {
        extents[outputs - 1] = whole - &(&chunk * &Dim::from(parts - 1));
    }
    Ok(extents)
}

fn tile(c: &mut Call) -> Built<Vec<Value>> {
    let (x, repeats) = c.pair()?;
    let repeats = c.shape_operand(repeats, "repeats", Some(0))?;
    let dims = c.dims(x);
    if repeats.len() != dims.len() {
        return Err(mismatch(format!("{} repeats for rank {}", repeats.len(), dims.len())));
    }
    Ok(vec![repeat(c, x, &repeats)?])
}

/// The tensor several times along each axis.
pub(super) fn repeat(c: &mut Call, x: Value, repeats: &[Dim]) -> Built {
    let dims = c.dims(x);
    let repeated = repeats.iter().filter(|repeat| !repeat.is(1)).count();
    if dims.len() + repeated > MAXIMUM_RANK {
        return repeat_one_by_one(c, x, repeats);
    }
    let (mut spread, mut wide, mut merged) = (Vec::new(), Vec::new(), Vec::new());
    for (dim, repeat) in dims.iter().zip(repeats) {
        // An axis that is not repeated needs no axis of its own: the rank stays small.
        if !repeat.is(1) {
            spread.push(Dim::ONE);
            wide.push(repeat.clone());
        }
        spread.push(dim.clone());
        wide.push(dim.clone());
        merged.push(dim * repeat);
    }
    let y = c.reshape(x, spread)?;
    let y = c.broadcast(y, wide)?;
    c.reshape(y, merged)
}

/// The same axis after axis, with the axes before and behind it taken as one each.
fn repeat_one_by_one(c: &mut Call, x: Value, repeats: &[Dim]) -> Built {
    let mut y = x;
    for (axis, repeat) in repeats.iter().enumerate().filter(|(_, repeat)| !repeat.is(1)) {
        let mut dims = c.dims(y);
        let (before, behind) = (product(&dims[..axis]), product(&dims[axis + 1..]));
        let z = c.reshape(y, vec![before.clone(), Dim::ONE, dims[axis].clone(), behind.clone()])?;
        let z = c.broadcast(z, vec![before, repeat.clone(), dims[axis].clone(), behind])?;
        dims[axis] = &dims[axis] * repeat;
        y = c.reshape(z, dims)?;
    }
    Ok(y)
}

fn trilu(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let upper = c.attributes.flag("upper", true)?;
    let rank = c.rank(x);
    if rank < 2 {
        return Err(mismatch("the operand must have at least two axes"));
    }
    let (rows, columns) = (c.dim(x, rank - 2), c.dim(x, rank - 1));
    let rows = c.iota(Element::I64, vec![rows, Dim::ONE], 0)?;
    let columns = c.iota(Element::I64, vec![Dim::ONE, columns], 1)?;
    let limit = match c.optional(1) {
        Some(k) => {
            let k = c.reshape(k, vec![])?;
            c.add(rows, k)?
        }
        None => rows,
    };
    let function = if upper { CompareFunction::Ge } else { CompareFunction::Le };
    let keep = c.compare(function, columns, limit)?;
    let element = c.element(x);
    let zero = c.integer(element, 0)?;
    Ok(vec![c.select(keep, x, zero)?])
}

/// Splits axes, permutes them, merges them again.
pub(super) fn shuffle(c: &mut Call, x: Value, split: Vec<Dim>, permutation: &[usize], merged: Vec<Dim>) -> Built {
    let y = c.reshape(x, split)?;
    let y = c.transpose(y, permutation)?;
    c.reshape(y, merged)
}

fn depth_to_space(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let block = Dim::from(c.attributes.required_int("blocksize")?);
    let mode = c.attributes.text_or("mode", "DCR")?;
    let [n, channels, h, w] = image(c, x)?;
    let depth = channels.floor_div(&(&block * &block));
    let merged = vec![n.clone(), depth.clone(), &h * &block, &w * &block];
    let (split, permutation) = match mode {
        "DCR" => (vec![n, block.clone(), block, depth, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => (vec![n, depth, block.clone(), block, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(unsupported(format!("mode `{other}`"))),
    };
    Ok(vec![shuffle(c, x, split, &permutation, merged)?])
}

fn space_to_depth(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let block = Dim::from(c.attributes.required_int("blocksize")?);
    let mode = c.attributes.text_or("mode", "DCR")?;
    let [n, channels, h, w] = image(c, x)?;
    let (h, w) = (h.floor_div(&block), w.floor_div(&block));
    let merged = vec![n.clone(), &channels * &(&block * &block), h.clone(), w.clone()];
    let split = vec![n, channels, h, block.clone(), w, block];
    let permutation = match mode {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return Err(unsupported(format!("mode `{other}`"))),
    };
    Ok(vec![shuffle(c, x, split, &permutation, merged)?])
}

fn image(c: &Call, x: Value) -> Built<[Dim; 4]> {
    <[Dim; 4]>::try_from(c.dims(x)).map_err(|dims| mismatch(format!("rank {} instead of 4", dims.len())))
}

fn reverse_sequence(c: &mut Call) -> Built<Vec<Value>> {
    let (x, lengths) = c.pair()?;
    let (batch, time) = (c.attributes.int_or("batch_axis", 1)?, c.attributes.int_or("time_axis", 0)?);
    let rank = c.rank(x);
    let (batch, time) = (c.axis(batch, rank)?, c.axis(time, rank)?);
    let mut line = vec![Dim::ONE; rank];
    line[time] = c.dim(x, time);
    let positions = c.iota(Element::I64, line, time)?;
    let mut column = vec![Dim::ONE; rank];
    column[batch] = c.dim(x, batch);
    let lengths = c.convert(lengths, Element::I64)?;
    let lengths = c.reshape(lengths, column)?;
    let inside = c.compare(CompareFunction::Lt, positions, lengths)?;
    let last = c.with_number(BinaryFunction::Sub, lengths, 1.0)?;
    let mirrored = c.sub(last, positions)?;
    let indices = c.select(inside, mirrored, positions)?;
    let dims = c.dims(x);
    let indices = c.broadcast(indices, dims)?;
    Ok(vec![c.op(Op::GatherElements { axis: time }, &[x, indices])?])
}
