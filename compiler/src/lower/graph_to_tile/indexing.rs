//! Indexing: gathers, scatters, top-k and nonzero.

use narae_isa::instructions as isa;

use super::reduction::instruction_axis;
use super::scope::Scope;
use super::{Lowered, Lowering, d};
use crate::graph::{NodeData, Op};
use crate::ir::Dim;
use crate::tile::{Home, View};

impl Lowering {
    pub(super) fn indexing(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        match &node.op {
            Op::Gather { axis } => self.gather(scope, node, *axis),
            Op::GatherElements { axis } => {
                let axis = instruction_axis(*axis)?;
                let views = self.result_and_operands(scope, node)?;
                self.compute(isa::GatherElements { out: d(0), a: d(1), index: d(2), axis }, views, vec![])
            }
            Op::GatherNd { batch } => {
                let batch = instruction_axis(*batch)?;
                let views = self.result_and_operands(scope, node)?;
                self.compute(isa::GatherNd { out: d(0), a: d(1), index: d(2), batch }, views, vec![])
            }
            Op::ScatterElements { axis, function } => {
                let axis = instruction_axis(*axis)?;
                let views = self.updated(scope, node)?;
                let inst = isa::ScatterElements { function: *function, out: d(0), index: d(1), updates: d(2), axis };
                self.compute(inst, views, vec![])
            }
            Op::ScatterNd { function } => {
                let views = self.updated(scope, node)?;
                let inst = isa::ScatterNd { function: *function, out: d(0), index: d(1), updates: d(2) };
                self.compute(inst, views, vec![])
            }
            Op::TopK { axis, largest, .. } => {
                let axis = instruction_axis(*axis)?;
                let a = scope.view(node.operands[0]);
                let values = self.result(scope, node.results[0])?;
                let indices = self.result(scope, node.results[1])?;
                let inst = isa::TopK { values: Some(d(0)), indices: Some(d(1)), a: d(2), axis, smallest: !*largest };
                self.compute(inst, vec![values, indices, a], vec![])
            }
            Op::NonZero {} => self.non_zero(scope, node),
            other => unreachable!("`{}` is not an indexing op", other.name()),
        }
    }

    fn result_and_operands(
        &mut self,
        scope: &mut Scope<'_>,
        node: &NodeData,
    ) -> Result<Vec<View>, narae_isa::Diagnostic> {
        let mut views = vec![self.result(scope, node.results[0])?];
        views.extend(node.operands.iter().map(|&value| scope.view(value)));
        Ok(views)
    }

    /// Rows of a table that stays in LPDDR are fetched by the activation DMA; anything else is gathered in SRAM.
    fn gather(&mut self, scope: &mut Scope<'_>, node: &NodeData, axis: usize) -> Lowered {
        let views = self.result_and_operands(scope, node)?;
        let (out, table, index) = (&views[0], &views[1], &views[2]);
        let in_dram =
            matches!(self.program.buffers[table.buffer].home, Home::Constant(_) | Home::Input(_) | Home::Dram);
        if axis == 0 && in_dram && table.rank() >= 2 {
            let count = index.len();
            let mut rows = vec![count.clone()];
            rows.extend(table.dims[1..].iter().cloned());
            let flat_index = self.reshaped(&index.clone(), &[count])?;
            if let Some(flat_out) = out.reshape(&rows) {
                let inst = isa::GatherRows { out: d(0), table: d(1), index: d(2) };
                return self.compute(inst, vec![flat_out, table.clone(), flat_index], vec![]);
            }
        }
        let axis = instruction_axis(axis)?;
        self.compute(isa::Gather { out: d(0), a: d(1), index: d(2), axis }, views, vec![])
    }

    /// A copy of the first operand in the result, then the other operands.
    fn updated(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Result<Vec<View>, narae_isa::Diagnostic> {
        let views = self.result_and_operands(scope, node)?;
        let [out, x, index, updates] = <[View; 4]>::try_from(views).expect("a scatter has three operands");
        self.copy(out.clone(), x);
        Ok(vec![out, index, updates])
    }

    /// The coordinates are written into a buffer for as many as there can be; their number is read into a symbol, and
    /// the result is the part of the buffer that it says.
    fn non_zero(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        let a = scope.view(node.operands[0]);
        let element = scope.graph.element(node.results[0]);
        let dims = scope.value_dims(node.results[0]);
        let most = Dim::from(i64::try_from(self.upper_bound(&a.len(), "nonzero")?).unwrap_or(i64::MAX));
        let all = self.scratch(element, &[dims[0].clone(), most])?;
        // The instruction leaves the rest of the buffer as it was; that must be something, should the buffer move between memories.
        let fill = isa::FillInteger { out: d(0), value: 0, rs: None };
        self.compute(fill, View::simplify_together(&[&all]), vec![])?;
        let count = self.result(scope, node.results[1])?;
        let count_row = count.reshape(&[Dim::ONE]).expect("a scalar is dense");
        self.compute(isa::NonZero { indices: d(0), count: d(1), a: d(2) }, vec![all.clone(), count_row, a], vec![])?;
        scope.set_view(node.results[0], all.slice(1, &Dim::ZERO, &dims[1], 1));
        Ok(())
    }
}
