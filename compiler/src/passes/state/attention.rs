//! Caches, attention over them, and rotary embeddings.
//!
//! In: nodes that append to a cache, attend over one, or rotate by tables. Out: the same for a past of each sequence's own. Always holds: a
//! mask disappears only if each of its elements is proven to be 0 where `past + i − j ≥ 0` (and `j` is within a window) and hidden
//! elsewhere.

use narae_isa::Diagnostic;

use super::build::{Builder, Counted};
use super::elements::{Element, Elements, is_hidden};
use super::refused;
use super::roles::{Cache, assumed};
use crate::graph::{NodeData, Op, Provenance, Real};
use crate::ir::{Dim, Value};

impl Builder<'_> {
    /// Whether keys and values are caches with new rows.
    pub(super) fn over_caches(&self, data: &NodeData) -> bool {
        let continued =
            |value: &Value| self.old.defining(*value).is_some_and(|(node, _)| self.appended.contains_key(&node));
        data.operands[1..3].iter().all(continued)
    }

    /// The operands of attention without bias and lengths.
    pub(super) fn kept_operands(&self, data: &NodeData) -> Vec<Value> {
        let Op::Attention { bias, lengths, sinks, .. } = data.op else { return data.operands.clone() };
        let mut kept = data.operands[..3].to_vec();
        if sinks {
            kept.push(data.operands[3 + usize::from(bias) + usize::from(lengths)]);
        }
        kept
    }

    pub(super) fn append(&mut self, cache: &Cache, data: &NodeData) -> Result<(), Diagnostic> {
        if let Some(&past) = data.operands.get(2).filter(|_| matches!(data.op, Op::KvAppend {}))
            && self.counted(past) != Some(Counted::Past)
        {
            return Err(refused("new rows are not proven to follow the past of their sequence"));
        }
        let (cache, new) = (self.mapped(cache.source)?, self.operand(cache.new, &data.provenance)?);
        let value = self.new.add1(Op::KvAppend {}, &[cache, new, self.past], &data.provenance)?;
        self.map[data.results[0]] = Some(value);
        Ok(())
    }

    /// Tables of one row of positions for all sequences get a row for each.
    pub(super) fn rope(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        // A table `[S, R / 2]` stands along the last two axes of four: the rows are the third.
        if self.old.rank(data.operands[0]) == 4 {
            for &table in &data.operands[1..] {
                self.row_table(table, &data.provenance)?;
            }
        }
        self.copy(data)
    }

    /// Rows of a table at positions `[S]`, for each sequence at its own: `[B, 1, S, R / 2]`.
    fn row_table(&mut self, table: Value, provenance: &Provenance) -> Result<(), Diagnostic> {
        let Some((_, node)) = self.old.defining(table).filter(|_| self.map[table].is_none()) else { return Ok(()) };
        // A lookup without a copy is one by a row of positions (see `node`).
        let Op::Gather { axis: 0 } = node.op else { return Ok(()) };
        if self.old.rank(table) != 2 {
            return Ok(());
        }
        let source = self.operand(node.operands[0], provenance)?;
        let positions = self.positions(provenance)?;
        let gathered = self.new.add1(Op::Gather { axis: 0 }, &[source, positions], provenance)?;
        let mut dims = self.new.dims(gathered).to_vec();
        dims.insert(1, Dim::ONE);
        let value = self.new.add1(Op::Reshape { dims }, &[gathered], provenance)?;
        self.map[table] = Some(value);
        Ok(())
    }

    /// Attention over caches.
    pub(super) fn attention(&mut self, data: &NodeData) -> Result<(), Diagnostic> {
        let Op::Attention { scale, causal, window, softcap, bias, lengths, sinks } = data.op else {
            unreachable!("only attention is over caches");
        };
        let mut rest = data.operands[3..].iter();
        let bias = if bias { rest.next().copied() } else { None };
        let lengths = if lengths { rest.next().copied() } else { None };
        if let Some(lengths) = lengths
            && self.counted(lengths) != Some(Counted::Past)
        {
            return Err(refused("the lengths of attention are not proven to be those of the past"));
        }
        let window = self.visible(bias, causal, window, data)?;
        let mut operands = vec![self.operand(data.operands[0], &data.provenance)?];
        operands.extend([self.mapped(data.operands[1])?, self.mapped(data.operands[2])?, self.past]);
        for &sinks in &self.kept_operands(data)[3..] {
            operands.push(self.operand(sinks, &data.provenance)?);
        }
        let softcap = Real::new(softcap.get());
        let op = Op::Attention { scale, causal: true, window, softcap, bias: false, lengths: true, sinks };
        let value = self.new.add1(op, &operands, &data.provenance)?;
        self.map[data.results[0]] = Some(value);
        Ok(())
    }

    /// The window of causal attention that shows the same as the flags and the bias (0: everything behind a token).
    fn visible(&self, bias: Option<Value>, causal: bool, window: usize, data: &NodeData) -> Result<usize, Diagnostic> {
        // A single token is behind nothing but itself.
        let causal = causal || self.roles.sequence.is(1);
        let Some(bias) = bias else {
            return if causal { Ok(window) } else { Err(refused("attention sees later tokens: it is not causal")) };
        };
        let (element, behind) = self.bias_element(bias, data);
        let unproven = || refused("the mask is not proven to be causal");
        match element {
            Element::Choice(parts, shown, hidden) if *shown == Element::Number(0.0) && is_hidden(&hidden) => {
                shown_by(&parts, &behind, causal).map(|shown| narrower(window, shown)).ok_or_else(unproven)
            }
            Element::Number(0.0) if causal => Ok(window),
            other => Err(unproven().note(format!("an element of the mask is {other:?}"))),
        }
    }

    /// An element of a bias, and how far its key is behind its query.
    fn bias_element(&self, bias: Value, data: &NodeData) -> (Element, Dim) {
        let inputs = |value: Value, indices: &[Dim]| assumed(self.old, self.roles, value, indices);
        let mut elements = Elements::new(self.old, self.roles, &inputs);
        let (q, k) = (self.dims(data.operands[0]), self.dims(data.operands[1]));
        let indices = elements.indices(&[q[0].clone(), q[1].clone(), q[2].clone(), k[2].clone()]);
        let behind = &(&self.roles.past + &indices[2]) - &indices[3];
        (elements.spread(bias, &indices), behind)
    }
}

/// The window of what is shown where all parts are at least 0, `behind ≥ 0` being one of them unless `causal` says it anyway.
fn shown_by(parts: &[Dim], behind: &Dim, causal: bool) -> Option<usize> {
    let rest: Vec<&Dim> = parts.iter().filter(|part| *part != behind).collect();
    if rest.len() == parts.len() && !causal {
        return None;
    }
    match rest[..] {
        [] => Some(0),
        // `width − 1 − behind ≥ 0`
        [part] => {
            let width = (part + behind).as_const()?.checked_add(1)?;
            usize::try_from(width).ok().filter(|width| *width > 0)
        }
        _ => None,
    }
}

/// The narrower of two windows, 0 being none.
fn narrower(a: usize, b: usize) -> usize {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}
