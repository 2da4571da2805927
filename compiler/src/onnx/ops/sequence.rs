//! Sequences whose length is known when the model is imported: exporters write them where they split a tensor and take the parts again.
//!
//! A sequence does not exist on the machine. Here it is a list of values that the importer keeps beside the graph, named by an empty
//! tensor that nobody else may use; what needs an element that only the run knows is refused.

use narae_isa::{Diagnostic, Element, HostTensor, codes};

use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::{Call, NEWEST, Row, onnx};

pub(super) const ROWS: &[Row] = &[
    onnx("SequenceEmpty", 11, NEWEST, "any", |c| {
        c.attributes.ignore(&["dtype"]);
        named(c, vec![])
    }),
    onnx("SequenceConstruct", 11, NEWEST, "any", |c| {
        let parts = c.all()?;
        named(c, parts)
    }),
    onnx("SequenceInsert", 11, NEWEST, "any", insert),
    onnx("SequenceErase", 11, NEWEST, "any", erase),
    onnx("SequenceAt", 11, NEWEST, "any", at),
    onnx("SequenceLength", 11, NEWEST, "any", length),
    onnx("SplitToSequence", 11, NEWEST, "any", split),
    onnx("ConcatFromSequence", 11, NEWEST, "any", concat),
];

/// The operators that take sequences as operands.
pub(in crate::onnx) fn takes_sequences(operator: &str) -> bool {
    matches!(
        operator,
        "SequenceInsert" | "SequenceErase" | "SequenceAt" | "SequenceLength" | "ConcatFromSequence" | "Identity"
    )
}

fn unknown(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&codes::E0202, message)
        .note("a Sequence does not exist on the chip: only those whose parts are known can be followed")
}

/// A name for a sequence.
fn named(c: &mut Call, parts: Vec<Value>) -> Built<Vec<Value>> {
    let name = c.tensor(HostTensor::zeros(Element::Bool, &[0]))?;
    c.importer.sequences.insert(name, parts);
    Ok(vec![name])
}

fn parts(c: &Call) -> Built<Vec<Value>> {
    let parts = c.importer.sequences.get(&c.input(0)?).cloned();
    parts.ok_or_else(|| unknown("the Sequence is not made of known parts"))
}

/// The position that operand `index` says, counted from the front; `most` if there is none.
fn position(c: &Call, index: usize, count: usize, most: usize) -> Built<usize> {
    let Some(value) = c.optional(index) else { return Ok(most) };
    let [position] = c.known_ints(value).ok_or_else(|| unknown("a position in a Sequence is computed"))?[..] else {
        return Err(mismatch("a position must be one number"));
    };
    let counted = if position < 0 { position + count as i64 } else { position };
    usize::try_from(counted)
        .ok()
        .filter(|&at| at <= most)
        .ok_or_else(|| mismatch(format!("position {position} of a Sequence of {count}")))
}

fn insert(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let mut list = parts(c)?;
    let at = position(c, 2, list.len(), list.len())?;
    list.insert(at, c.input(1)?);
    named(c, list)
}

fn erase(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let mut list = parts(c)?;
    let last = list.len().checked_sub(1).ok_or_else(|| mismatch("the Sequence is empty"))?;
    list.remove(position(c, 1, list.len(), last)?);
    named(c, list)
}

fn at(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let list = parts(c)?;
    let last = list.len().checked_sub(1).ok_or_else(|| mismatch("the Sequence is empty"))?;
    Ok(vec![list[position(c, 1, list.len(), last)?]])
}

fn length(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(1)?;
    let count = parts(c)?.len();
    Ok(vec![c.integer(Element::I64, count as i64)?])
}

/// Parts of given extents, or of one extent each; without either parts of extent 1, whose axis goes unless it is kept.
fn split(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(2)?;
    let x = c.input(0)?;
    let axis = c.attributes.int_or("axis", 0)?;
    let axis = c.axis(axis, c.rank(x))?;
    let keep = c.attributes.flag("keepdims", true)?;
    let whole = c.dim(x, axis).as_const();
    let in_steps = |step: i64| -> Built<Vec<Dim>> {
        let whole =
            whole.ok_or_else(|| unknown("a tensor is split into a Sequence along an axis of unknown extent"))?;
        if step < 1 || whole / step > 1 << 12 {
            return Err(mismatch(format!("{whole} in parts of {step}")));
        }
        let count = (whole + step - 1) / step;
        Ok((0..count).map(|part| Dim::from(step.min(whole - part * step))).collect())
    };
    let extents = match c.optional(1) {
        None => in_steps(1)?,
        Some(extents) => {
            let known = c.known(extents).ok_or_else(|| unknown("the parts of a Sequence have computed extents"))?;
            match (c.rank(extents), known[..].first().and_then(Dim::as_const)) {
                (0, Some(step)) => in_steps(step)?,
                (0, None) => return Err(unknown("the parts of a Sequence have a computed extent")),
                _ => known,
            }
        }
    };
    let drop = c.optional(1).is_none() && !keep;
    let mut list = c.split(x, axis, &extents)?;
    if drop {
        list = list.into_iter().map(|part| c.squeeze(part, &[axis])).collect::<Built<_>>()?;
    }
    named(c, list)
}

fn concat(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(1)?;
    let list = parts(c)?;
    let (axis, stack) = (c.attributes.required_int("axis")?, c.attributes.flag("new_axis", false)?);
    let first = *list.first().ok_or_else(|| mismatch("the Sequence is empty"))?;
    let axis = c.axis(axis, c.rank(first) + usize::from(stack))?;
    let list = match stack {
        true => list.into_iter().map(|part| c.unsqueeze(part, &[axis])).collect::<Built<Vec<_>>>()?,
        false => list,
    };
    Ok(vec![c.concat(&list, axis)?])
}
