//! Values of one row for all sequences that became a row for each.
//!
//! In: a node some of whose operands have the batch where they had an axis of 1, because positions are each sequence's own now. Out: the op
//! with attributes that say so. Always holds: the op works on each row alone, as it did on the only one, and rows of one sequence meet
//! only rows of the same; whatever else is refused.

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
            // Tables by heads have the rank of what they rotate (see `rope`).
            return self.one_batch(pairs);
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
                let fits = dims[axis].is(1) || dims[axis] == *batch;
                dims[axis] = batch.clone();
                (fits && dims.iter().filter(|dim| *dim == batch).count() == 1).then_some(())
            }
            Op::Reshape { dims } => {
                let fits = axes[0] == [0] && dims.first()?.is(1) && !dims.contains(batch);
                fits.then(|| dims[0] = batch.clone())
            }
            _ => None,
        }
    }

    /// Whether the batch is the same axis of all operands, aligned as elementwise ops align them.
    fn one_batch(&self, pairs: &[(Value, Value)]) -> Option<()> {
        let mut found = None;
        for &(old, new) in pairs {
            let dims = self.new.dims(new);
            let axes = match self.widened(old, new) {
                Some(axes) if axes.is_empty() => self.batches(dims)?,
                Some(axes) => axes,
                // A table with a row for each sequence (see `row_table`).
                None => vec![0],
            };
            for axis in axes {
                let behind = dims.len() - axis;
                if *found.get_or_insert(behind) != behind {
                    return None;
                }
            }
        }
        Some(())
    }

    /// The axis that is the batch of a value that always had one: the outermost of that length; `None` if a named batch is several axes.
    fn batches(&self, dims: &[Dim]) -> Option<Vec<usize>> {
        let batch = &self.roles.batch;
        let mut axes = (0..dims.len()).filter(|&axis| dims[axis] == *batch && !batch.is(1));
        let first = axes.next();
        let several = batch.as_const().is_none() && axes.next().is_some();
        (!several).then(|| first.into_iter().collect())
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
