//! `Einsum`: sums of products over named axes, as transposes, one matrix product per operand, and a sum.

use std::collections::BTreeMap;

use narae_isa::{BinaryFunction, CompareFunction, Element, ReduceFunction};

use super::shape::product;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch};
use crate::onnx::call::Call;

/// An axis: a letter, or number `-n` of the ellipsis (counted from its end).
type Label = i32;

pub(super) fn einsum(c: &mut Call) -> Built<Vec<Value>> {
    let operands = c.all()?;
    let equation: String =
        c.attributes.text("equation")?.unwrap_or("").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(right.to_string())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return Err(mismatch(format!("`{equation}` names {} operands, but there are {}", terms.len(), operands.len())));
    }
    let mut labelled = Vec::new();
    let mut widest = 0;
    for (term, &operand) in terms.iter().zip(&operands) {
        let labels =
            labels(term, c.rank(operand)).ok_or_else(|| mismatch(format!("`{term}` does not fit its operand")))?;
        widest = widest.max(labels.iter().filter(|&&label| label < 0).count());
        labelled.push(diagonals(c, operand, labels)?);
    }
    let output = match right {
        Some(right) => expand(&right, widest).ok_or_else(|| mismatch(format!("`{right}` is not a result")))?,
        None => implicit(&left, widest),
    };
    let mut remaining = labelled.into_iter();
    let Some(mut sum) = remaining.next() else { return Err(mismatch("there are no operands")) };
    let mut rest: Vec<(Value, Vec<Label>)> = remaining.collect();
    while !rest.is_empty() {
        let next = rest.remove(0);
        let needed: Vec<Label> =
            output.iter().copied().chain(rest.iter().flat_map(|(_, labels)| labels.clone())).collect();
        sum = contract(c, sum, next, &needed)?;
    }
    Ok(vec![finish(c, sum, &output)?])
}

/// The axes that a term names, for an operand of this rank.
fn labels(term: &str, rank: usize) -> Option<Vec<Label>> {
    let letters = term.replace("...", "").chars().count();
    let hidden = if term.contains("...") { rank.checked_sub(letters)? } else { 0 };
    let labels = expand(term, hidden)?;
    (labels.len() == rank).then_some(labels)
}

fn expand(term: &str, hidden: usize) -> Option<Vec<Label>> {
    let mut labels = Vec::new();
    let mut rest = term;
    while let Some(letter) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            labels.extend((1..=hidden as Label).rev().map(|number| -number));
            rest = after;
        } else if letter.is_ascii_alphabetic() {
            labels.push(letter as Label);
            rest = &rest[1..];
        } else {
            return None;
        }
    }
    Some(labels)
}

/// Without a result: the ellipsis, then the letters that occur once, in order.
fn implicit(left: &str, hidden: usize) -> Vec<Label> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    left.chars().filter(char::is_ascii_alphabetic).for_each(|letter| *counts.entry(letter).or_default() += 1);
    let ellipsis = (1..=hidden as Label).rev().map(|number| -number);
    ellipsis.chain(counts.into_iter().filter(|(_, count)| *count == 1).map(|(letter, _)| letter as Label)).collect()
}

/// Takes the diagonal where an operand names an axis twice: off it, elements are zeroed, and the axis is summed.
fn diagonals(c: &mut Call, mut x: Value, mut labels: Vec<Label>) -> Built<(Value, Vec<Label>)> {
    while let Some((first, second)) = twice(&labels) {
        let rank = labels.len();
        let line = |axis: usize, dims: &[Dim]| {
            let mut line = vec![Dim::ONE; rank];
            line[axis] = dims[axis].clone();
            line
        };
        let dims = c.dims(x);
        let (a, b) =
            (c.iota(Element::I64, line(first, &dims), first)?, c.iota(Element::I64, line(second, &dims), second)?);
        let same = c.compare(CompareFunction::Eq, a, b)?;
        let element = c.element(x);
        let zero = c.integer(element, 0)?;
        let y = c.select(same, x, zero)?;
        let sum = c.reduce(ReduceFunction::Sum, y, vec![second])?;
        x = c.squeeze(sum, &[second])?;
        labels.remove(second);
    }
    Ok((x, labels))
}

fn twice(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|first| {
        let second = (first + 1..labels.len()).find(|&second| labels[second] == labels[first])?;
        Some((first, second))
    })
}

type Term = (Value, Vec<Label>);

/// The product of two operands, summed over the axes that nobody needs any more.
fn contract(c: &mut Call, a: Term, b: Term, needed: &[Label]) -> Built<Term> {
    let a = drop_unneeded(c, a, &b.1, needed)?;
    let b = drop_unneeded(c, b, &a.1, needed)?;
    let shared: Vec<Label> = a.1.iter().copied().filter(|label| b.1.contains(label)).collect();
    let (batch, sum): (Vec<Label>, Vec<Label>) = shared.into_iter().partition(|label| needed.contains(label));
    let own = |labels: &[Label], other: &[Label]| -> Vec<Label> {
        labels.iter().copied().filter(|label| !other.contains(label)).collect()
    };
    let (left, right) = (own(&a.1, &b.1), own(&b.1, &a.1));
    let float = c.element(a.0).is_float();
    if sum.is_empty() || !float {
        return elementwise(c, a, b, (&batch, &left, &right, &sum));
    }
    let (a_groups, b_groups) = ([&batch[..], &left, &sum], [&batch[..], &sum, &right]);
    let (x, y) = (grouped(c, &a, &a_groups)?, grouped(c, &b, &b_groups)?);
    let z = c.matmul(x, y)?;
    let labels: Vec<Label> = [&batch[..], &left, &right].concat();
    let mut dims: Vec<Dim> = Vec::new();
    for &label in &labels {
        dims.push(extent(c, &[&a, &b], label)?);
    }
    Ok((c.reshape(z, dims)?, labels))
}

/// The extent of an axis; 1 only if all agree on it.
fn extent(c: &Call, terms: &[&Term], label: Label) -> Built<Dim> {
    let found = terms
        .iter()
        .filter_map(|(value, labels)| labels.iter().position(|&other| other == label).map(|axis| c.dim(*value, axis)));
    let found: Vec<Dim> = found.collect();
    let wide = found.iter().find(|dim| !dim.is(1)).or(found.first()).cloned();
    wide.ok_or_else(|| mismatch("an axis of the result is not named"))
}

fn drop_unneeded(c: &mut Call, term: Term, other: &[Label], needed: &[Label]) -> Built<Term> {
    let (value, labels) = term;
    let gone: Vec<usize> =
        (0..labels.len()).filter(|&axis| !other.contains(&labels[axis]) && !needed.contains(&labels[axis])).collect();
    if gone.is_empty() {
        return Ok((value, labels));
    }
    let sum = c.reduce(ReduceFunction::Sum, value, gone.clone())?;
    let value = c.squeeze(sum, &gone)?;
    let labels =
        labels.into_iter().enumerate().filter(|(axis, _)| !gone.contains(axis)).map(|(_, label)| label).collect();
    Ok((value, labels))
}

fn permuted(c: &mut Call, term: &Term, order: &[Label]) -> Built {
    let place = |label: &Label| term.1.iter().position(|other| other == label);
    let permutation: Option<Vec<usize>> = order.iter().map(place).collect();
    let permutation = permutation.ok_or_else(|| mismatch("an axis of the result is not named by an operand"))?;
    c.transpose(term.0, &permutation)
}

/// Axes in the order of the groups; the batch stays, each other group becomes one axis.
fn grouped(c: &mut Call, term: &Term, groups: &[&[Label]; 3]) -> Built {
    let order: Vec<Label> = groups.concat();
    let x = permuted(c, term, &order)?;
    let dims = c.dims(x);
    let (batch, rest) = dims.split_at(groups[0].len());
    let (middle, last) = rest.split_at(groups[1].len());
    let mut merged = batch.to_vec();
    merged.extend([product(middle), product(last)]);
    c.reshape(x, merged)
}

/// The same by broadcasting: outer products and integers.
fn elementwise(c: &mut Call, a: Term, b: Term, groups: (&[Label], &[Label], &[Label], &[Label])) -> Built<Term> {
    let (batch, left, right, sum) = groups;
    let all: Vec<Label> = [batch, left, right, sum].concat();
    let aligned = |c: &mut Call, term: &Term| -> Built {
        let own: Vec<Label> = all.iter().copied().filter(|label| term.1.contains(label)).collect();
        let x = permuted(c, term, &own)?;
        let missing: Vec<usize> = (0..all.len()).filter(|&axis| !term.1.contains(&all[axis])).collect();
        c.unsqueeze(x, &missing)
    };
    let (x, y) = (aligned(c, &a)?, aligned(c, &b)?);
    let mut z = c.binary(BinaryFunction::Mul, x, y)?;
    if !sum.is_empty() {
        let axes: Vec<usize> = (all.len() - sum.len()..all.len()).collect();
        z = c.reduce(ReduceFunction::Sum, z, axes.clone())?;
        z = c.squeeze(z, &axes)?;
    }
    Ok((z, [batch, left, right].concat()))
}

/// Sums what the result does not name and brings the axes into its order.
fn finish(c: &mut Call, term: Term, output: &[Label]) -> Built {
    let term = drop_unneeded(c, term, &[], output)?;
    permuted(c, &term, output)
}
