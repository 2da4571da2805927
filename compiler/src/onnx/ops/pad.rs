//! `Pad` and `CenterCropPad`: what is put around a tensor, or cut off from it.
//!
//! In: a tensor and numbers of elements for the ends of its axes, known or only seen when the program runs. Out: the tensor with other extents.
//! Always holds: first it is cut, then padded; extents that the program computes are read as lengths.

use narae_isa::{BinaryFunction, Element, ScatterFunction, UnaryFunction};

use crate::graph::Op;
use crate::graph::ops::PadMode;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] =
    &[onnx("Pad", 2, NEWEST, "any", pad), onnx("CenterCropPad", 18, NEWEST, "any", center_crop_pad)];

/// What happens to an axis: elements are cut off at its ends, then others are put there.
#[derive(Clone)]
struct Border {
    /// Cut off in front.
    cut: Dim,
    /// Left after cutting.
    kept: Dim,
    /// Put in front.
    put: Dim,
    /// There in the end.
    whole: Dim,
}

impl Border {
    fn none(extent: Dim) -> Border {
        Border { cut: Dim::ZERO, kept: extent.clone(), put: Dim::ZERO, whole: extent }
    }

    /// By how many elements to put in front and behind, or to cut off where they are below zero.
    fn of(c: &Call, extent: &Dim, front: &Dim, back: &Dim) -> Border {
        let positive = |dim: &Dim| c.graph.symbols.maximum(dim, &Dim::ZERO);
        let negative = |dim: &Dim| positive(&(&Dim::ZERO - dim));
        let (cut, put) = (negative(front), positive(front));
        let kept = &(extent - &cut) - &negative(back);
        let whole = &(&kept + &put) + &positive(back);
        Border { cut, kept, put, whole }
    }

    /// Put behind.
    fn behind(&self) -> Dim {
        &(&self.whole - &self.put) - &self.kept
    }

    /// Learns how long the axis must be for what is put to be there at all: ONNX gives it no meaning otherwise.
    fn learn(&self, c: &mut Call, mode: PadMode) {
        for count in [&self.put, &self.behind()] {
            let least = match (mode, count.as_const()) {
                (PadMode::Reflect, Some(1..)) => count + &Dim::ONE,
                (PadMode::Edge | PadMode::Wrap, Some(1..)) => Dim::ONE,
                _ => continue,
            };
            c.graph.symbols.learn_not_negative(&(&self.kept - &least));
        }
    }

    /// Whether what is left is known to have all elements that are repeated, each at most once.
    fn is_long_enough(&self, c: &Call, mode: PadMode) -> bool {
        let more = Dim::from(i64::from(mode == PadMode::Reflect));
        let fits = |count: &Dim| match mode {
            PadMode::Edge if !count.is(0) => c.graph.symbols.compare(&Dim::ONE, &self.kept) == Some(true),
            _ => count.is(0) || c.graph.symbols.compare(&(count + &more), &self.kept) == Some(true),
        };
        fits(&self.put) && fits(&self.behind())
    }

    /// For each element of the padded axis, which element of the cut one it is. The axis has elements if anything is put; the runtime
    /// refuses it otherwise.
    fn sources(&self, c: &mut Call, mode: PadMode) -> Built {
        let one_of = c.graph.symbols.minimum(&self.kept, &Dim::ONE);
        let put = &self.put + &self.behind();
        c.graph.symbols.assume(&(&put * &(&Dim::ONE - &one_of)), &Dim::ZERO);
        let places = c.iota(Element::I64, vec![self.whole.clone()], 0)?;
        let first = c.dim_scalar(self.put.clone())?;
        let places = c.sub(places, first)?;
        let last = &self.kept - &Dim::ONE;
        match mode {
            PadMode::Edge => {
                let (zero, last) = (c.integer(Element::I64, 0)?, c.dim_scalar(last)?);
                let places = c.binary(BinaryFunction::Max, places, zero)?;
                c.binary(BinaryFunction::Min, places, last)
            }
            PadMode::Reflect => {
                let there_and_back = c.graph.symbols.maximum(&(&last + &last), &Dim::ONE);
                let period = c.dim_scalar(there_and_back)?;
                let there = c.binary(BinaryFunction::Mod, places, period)?;
                let back = c.sub(period, there)?;
                c.binary(BinaryFunction::Min, there, back)
            }
            PadMode::Wrap | PadMode::Constant => {
                let period = c.graph.symbols.maximum(&self.kept, &Dim::ONE);
                let period = c.dim_scalar(period)?;
                c.binary(BinaryFunction::Mod, places, period)
            }
        }
    }
}

fn pad(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let x = c.input(0)?;
    let rank = c.rank(x);
    let mode = match c.attributes.text_or("mode", "constant")? {
        "constant" => PadMode::Constant,
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        "wrap" => PadMode::Wrap,
        other => return Err(unsupported(format!("mode `{other}`"))),
    };
    if let Some(axes) = c.optional(3).filter(|&axes| c.known_ints(axes).is_none()) {
        return Ok(vec![pad_axes_at_run_time(c, x, axes, mode)?]);
    }
    let axes = match c.known_list(3, "axes")? {
        Some(axes) => axes.iter().map(|&axis| c.axis(axis, rank)).collect::<Built<Vec<usize>>>()?,
        None => (0..rank).collect(),
    };
    let extents: Vec<Dim> = axes.iter().map(|&axis| c.dim(x, axis)).collect();
    let (found, value) = if c.opset < 11 {
        let pads = c.attributes.ints("pads")?.ok_or_else(|| mismatch("pads are missing"))?;
        let value = c.attributes.float_or("value", 0.0)?;
        let pads: Vec<Dim> = pads.iter().copied().map(Dim::from).collect();
        let element = c.element(x);
        (known_borders(c, &extents, &pads)?, Some(c.scalar(element, value.into())?))
    } else {
        let pads = c.input(1)?;
        let found = match c.known(pads) {
            Some(pads) => known_borders(c, &extents, &pads)?,
            None => {
                let count = Dim::from(axes.len());
                let parts = c.split(pads, 0, &[count.clone(), count])?;
                run_time_borders(c, &extents, parts[0], parts[1])?
            }
        };
        (found, c.optional(2))
    };
    let value = fill_value(c, value, mode)?;
    let mut borders: Vec<Border> = c.dims(x).into_iter().map(Border::none).collect();
    axes.into_iter().zip(found).for_each(|(axis, border)| borders[axis] = border);
    Ok(vec![pad_or_crop(c, x, value, borders, mode)?])
}

fn known_borders(c: &mut Call, extents: &[Dim], pads: &[Dim]) -> Built<Vec<Border>> {
    if pads.len() != 2 * extents.len() {
        return Err(mismatch(format!("{} pads for {} axes", pads.len(), extents.len())));
    }
    let (front, back) = pads.split_at(extents.len());
    for ((extent, front), back) in extents.iter().zip(front).zip(back) {
        let cut = [front, back].into_iter().filter_map(Dim::as_const).filter(|&pad| pad < 0).sum::<i64>();
        if cut < 0 {
            c.at_least(extent, &Dim::from(-cut));
        }
    }
    Ok(extents.iter().zip(front).zip(back).map(|((extent, front), back)| Border::of(c, extent, front, back)).collect())
}

/// The scalar that is put, where the mode needs one.
fn fill_value(c: &mut Call, value: Option<Value>, mode: PadMode) -> Built<Option<Value>> {
    value.filter(|_| mode == PadMode::Constant).map(|value| c.reshape(value, vec![])).transpose()
}

/// The borders of axes whose numbers are only seen when the program runs: it computes the extents and reads them.
fn run_time_borders(c: &mut Call, extents: &[Dim], front: Value, back: Value) -> Built<Vec<Border>> {
    let zero = c.integer(Element::I64, 0)?;
    let positive = |c: &mut Call, x: Value| c.binary(BinaryFunction::Max, x, zero);
    let negative = |c: &mut Call, x: Value| {
        let turned = c.unary(UnaryFunction::Neg, x)?;
        c.binary(BinaryFunction::Max, turned, zero)
    };
    let all = c.dims_tensor(extents.to_vec(), vec![extents.len()])?;
    let (cut, cut_back) = (negative(c, front)?, negative(c, back)?);
    let (put, put_back) = (positive(c, front)?, positive(c, back)?);
    let kept = c.sub(all, cut)?;
    let kept = c.sub(kept, cut_back)?;
    let whole = c.add(kept, put)?;
    let whole = c.add(whole, put_back)?;
    let mut read = |value: Value, name: &str| c.shape_operand(value, name, Some(0));
    let (cuts, cuts_back) = (read(cut, "cut")?, read(cut_back, "cut_behind")?);
    let (puts, puts_back) = (read(put, "pad")?, read(put_back, "pad_behind")?);
    let (kepts, wholes) = (read(kept, "kept")?, read(whole, "padded")?);
    let border = |axis: usize| {
        let [cut, kept, put, whole] = [&cuts, &kepts, &puts, &wholes].map(|list| list[axis].clone());
        c.graph.symbols.assume(&(&(&cut + &kept) + &cuts_back[axis]), &extents[axis]);
        c.graph.symbols.assume(&(&(&put + &kept) + &puts_back[axis]), &whole);
        Border { cut, kept, put, whole }
    };
    Ok((0..extents.len()).map(border).collect())
}

/// The axes are only seen when the program runs: the numbers are put where they belong.
fn pad_axes_at_run_time(c: &mut Call, x: Value, axes: Value, mode: PadMode) -> Built {
    let rank = c.rank(x);
    let (pads, count) = (c.input(1)?, c.dim(axes, 0));
    let zero = c.integer(Element::I64, 0)?;
    let axes = c.convert(axes, Element::I64)?;
    let mut lists = Vec::new();
    for part in c.split(pads, 0, &[count.clone(), count])? {
        let all = c.broadcast(zero, vec![Dim::from(rank)])?;
        let function = ScatterFunction::Replace;
        lists.push(c.op(Op::ScatterElements { axis: 0, function }, &[all, axes, part])?);
    }
    let value = c.optional(2);
    let value = fill_value(c, value, mode)?;
    let extents = c.dims(x);
    let borders = run_time_borders(c, &extents, lists[0], lists[1])?;
    pad_or_crop(c, x, value, borders, mode)
}

/// Cuts off and puts on; one border per axis.
fn pad_or_crop(c: &mut Call, x: Value, value: Option<Value>, borders: Vec<Border>, mode: PadMode) -> Built {
    let of =
        |part: &dyn Fn(&Border) -> &Dim| -> Vec<Dim> { borders.iter().map(|border| part(border).clone()).collect() };
    let mut y = x;
    let dims = of(&|border| &border.kept);
    if c.dims(x) != dims {
        let starts = of(&|border| &border.cut);
        y = c.op(Op::Slice { starts, steps: vec![1; borders.len()], dims }, &[y])?;
    }
    if mode == PadMode::Constant {
        return c.pad(y, value, of(&|border| &border.put), of(&|border| &border.whole), mode);
    }
    // Axes that are surely long enough are put together of pieces; of the others every element looks for its source.
    let (mut put, mut whole) = (of(&|border| &border.put), of(&|border| &border.whole));
    borders.iter().for_each(|border| border.learn(c, mode));
    for (axis, border) in borders.iter().enumerate() {
        if border.is_long_enough(c, mode) {
            continue;
        }
        let sources = border.sources(c, mode)?;
        y = c.gather(y, sources, axis)?;
        (put[axis], whole[axis]) = (Dim::ZERO, border.whole.clone());
    }
    c.pad(y, None, put, whole, mode)
}

fn center_crop_pad(c: &mut Call) -> Built<Vec<Value>> {
    let (x, target) = c.pair()?;
    let rank = c.rank(x);
    let axes = match c.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|&axis| c.axis(axis, rank)).collect::<Built<Vec<usize>>>()?,
        None => (0..rank).collect(),
    };
    if c.rank(target) != 1 || !c.dim(target, 0).is(axes.len() as i64) {
        return Err(mismatch(format!("there must be as many sizes as axes, {}", axes.len())));
    }
    let extents: Vec<Dim> = axes.iter().map(|&axis| c.dim(x, axis)).collect();
    let found = match c.known(target) {
        Some(wanted) => extents.iter().zip(&wanted).map(|(extent, wanted)| centred(c, extent, wanted)).collect(),
        None => run_time_centred(c, &extents, target)?,
    };
    let mut borders: Vec<Border> = c.dims(x).into_iter().map(Border::none).collect();
    axes.into_iter().zip(found).for_each(|(axis, border)| borders[axis] = border);
    Ok(vec![pad_or_crop(c, x, None, borders, PadMode::Constant)?])
}

/// Padding and cropping both leave the smaller half in front.
fn centred(c: &Call, extent: &Dim, wanted: &Dim) -> Border {
    let missing = wanted - extent;
    let half = |dim: &Dim| c.graph.symbols.maximum(dim, &Dim::ZERO).floor_div(&Dim::from(2i64));
    let front = &half(&missing) - &half(&(&Dim::ZERO - &missing));
    Border::of(c, extent, &front, &(&missing - &front))
}

/// The same with sizes that are only seen when the program runs.
fn run_time_centred(c: &mut Call, extents: &[Dim], target: Value) -> Built<Vec<Border>> {
    let wanted = c.convert(target, Element::I64)?;
    let all = c.dims_tensor(extents.to_vec(), vec![extents.len()])?;
    let missing = c.sub(wanted, all)?;
    // Division of integers rounds towards zero, which is the smaller half on either side.
    let front = c.with_number(BinaryFunction::Div, missing, 2.0)?;
    let back = c.sub(missing, front)?;
    run_time_borders(c, extents, front, back)
}
