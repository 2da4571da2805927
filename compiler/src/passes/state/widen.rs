//! Values of one row for all sequences that became a row for each.
//!
//! In: a node some of whose operands have the batch where they had an axis of 1, because positions are each sequence's own now. Out: the op
//! with attributes that say so. Always holds: the op works on each row alone, as it did on the only one, and rows of one sequence meet
//! only rows of the same; whatever else is refused.

use std::collections::BTreeSet;
use std::mem::replace;

use narae_isa::Diagnostic;

use super::build::Builder;
use super::refused;
use crate::graph::{NodeData, Op};
use crate::ir::{Dim, Value};

impl Builder<'_> {
    /// Adapts an op to operands that have a row for each sequence.
    pub(super) fn widen(&self, data: &NodeData, op: &mut Op, operands: &[Value]) -> Result<(), Diagnostic> {
        let pairs: Vec<(Value, Value)> = data.operands.iter().copied().zip(operands.iter().copied()).collect();
        if pairs.iter().all(|&(old, new)| self.widened(old, new).is_some_and(|axes| axes.is_empty())) {
            return Ok(());
        }
        if self.by_rows(data, op, &pairs).is_some() {
            return Ok(());
        }
        let name = data.op.name();
        Err(refused(format!("`{name}` works on the positions of all sequences at once, and each has its own")))
    }

    /// Changes the op so that it does for each row what it did for one; `None` if it does not work by rows.
    fn by_rows(&self, data: &NodeData, op: &mut Op, pairs: &[(Value, Value)]) -> Option<()> {
        let batch = &self.roles.batch;
        if matches!(op, Op::Rope { .. }) {
            // Tables by heads have the rank of what they rotate (see `rope`). The row of a batch of one is in nobody's way.
            return if batch.is(1) { Some(()) } else { self.one_batch(pairs) };
        }
        let axes: Vec<Vec<usize>> = pairs.iter().map(|&(old, new)| self.widened(old, new)).collect::<Option<_>>()?;
        let rank = |operand: usize| self.old.rank(data.operands[operand]);
        let spared = |axis: usize| axes.iter().all(|axes| !axes.contains(&axis));
        match op {
            Op::Unary { .. } | Op::Binary { .. } | Op::Compare { .. } | Op::Select {} | Op::Convert { .. } => {
                self.one_batch(pairs)
            }
            Op::Transpose { .. } => Some(()),
            Op::Concat { axis } => self.one_batch(pairs).filter(|()| spared(*axis)),
            Op::Gather { .. } => {
                axes[0].is_empty().then_some(()).filter(|()| !self.dims(data.operands[0]).contains(batch))
            }
            Op::MatMul {} => {
                let outer = |(axes, operand): (&Vec<usize>, usize)| axes.iter().all(|axis| axis + 2 < rank(operand));
                self.one_batch(pairs).filter(|()| axes.iter().zip(0..).all(outer))
            }
            // The part of an axis of 1 that has an element is the whole, wherever it starts.
            Op::Slice { starts: _, steps, dims } => {
                let whole = |&axis: &usize| steps[axis] == 1 && dims[axis].is(1);
                axes[0].iter().all(whole).then(|| axes[0].iter().for_each(|&axis| dims[axis] = batch.clone()))
            }
            Op::Broadcast { dims } => {
                let [axis] = axes[0][..] else { return None };
                let axis = dims.len() - rank(0) + axis;
                // Where the only row was repeated, it was for the sequences: a number may say that of something else.
                let repeated = replace(&mut dims[axis], batch.clone());
                let fits = repeated.is(1) || (batch.as_symbol().is_some() && repeated == *batch);
                (fits && dims.iter().filter(|dim| *dim == batch).count() == 1).then_some(())
            }
            Op::Reshape { dims } => {
                let fits = axes[0] == [0] && dims.first()?.is(1) && !dims.contains(batch);
                fits.then(|| dims[0] = batch.clone())
            }
            _ => None,
        }
    }

    /// Whether the batch is the same axis of all operands, aligned as elementwise ops align them, and meets nothing else there: an extent
    /// that was repeated for the only row would otherwise be paired with the sequences.
    fn one_batch(&self, pairs: &[(Value, Value)]) -> Option<()> {
        let mut placed = Vec::with_capacity(pairs.len());
        for &(old, new) in pairs {
            placed.push((self.new.dims(new), self.batch_axes(old, new)?));
        }
        // Axes are counted from the last.
        let behind = placed.iter().find_map(|(dims, axes)| Some(dims.len() - axes.first()?))?;
        let fits = |(dims, axes): &(&[Dim], Vec<usize>)| {
            let place = dims.len().checked_sub(behind);
            match axes[..] {
                [] => place.is_none_or(|axis| dims[axis].is(1)),
                [axis] => place == Some(axis),
                _ => false,
            }
        };
        placed.iter().all(fits).then_some(())
    }

    /// The axes that are the batch of an operand; `None` if that cannot be told.
    fn batch_axes(&self, old: Value, new: Value) -> Option<Vec<usize>> {
        match self.widened(old, new) {
            Some(axes) if axes.is_empty() => self.batches(new),
            Some(axes) => Some(axes),
            // A table with a row for each sequence (see `row_table`).
            None => Some(vec![0]),
        }
    }

    /// The axis that is the batch of a value that always had one; `None` if a named batch is several axes. A batch that is a number is the
    /// outermost axis of that length, and only where sequences differ: other things have lengths too.
    fn batches(&self, value: Value) -> Option<Vec<usize>> {
        let dims = self.new.dims(value);
        let mut axes = (0..dims.len()).filter(|&axis| dims[axis] == self.roles.batch);
        let first = axes.next().into_iter().collect();
        if self.roles.batch.as_symbol().is_none() {
            return Some(if self.hangs_on_inputs(value) { first } else { vec![] });
        }
        axes.next().is_none().then_some(first)
    }

    /// Whether a value of the new graph is made from an input; what is not is the same for all sequences.
    fn hangs_on_inputs(&self, value: Value) -> bool {
        let (mut open, mut seen) = (vec![value], BTreeSet::from([value]));
        while let Some(value) = open.pop() {
            let Some((_, node)) = self.new.defining(value) else { return true };
            open.extend(node.operands.iter().filter(|&&operand| seen.insert(operand)));
        }
        false
    }

    /// The axes of 1 in which a value now has the batch; `None` if its rank changed.
    fn widened(&self, old: Value, new: Value) -> Option<Vec<usize>> {
        let before: Vec<Dim> = self.dims(old);
        let after = self.new.dims(new);
        // Nothing but the batch comes where there was one row.
        let widened = |&axis: &usize| before[axis].is(1) && !after[axis].is(1);
        (before.len() == after.len()).then(|| (0..after.len()).filter(widened).collect())
    }
}
