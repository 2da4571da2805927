//! Loops and conditionals.
//!
//! The loop of alike layers is lowered once: what differs between layers (weights, past and present tensors) becomes a
//! table of buffers that the loop's index selects from, what is carried becomes one buffer that the body updates.

use std::sync::Arc;

use narae_isa::Diagnostic;

use super::scope::Scope;
use super::stateful::WhileFrame;
use super::{Lowered, Lowering};
use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};
use crate::tile::{self, Buffer, BufferData, Home, View};

impl Lowering {
    pub(super) fn control(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        match &node.op {
            Op::Loop { trip, carried, invariant, symbols, body } => {
                let passed = scope.dims(symbols);
                self.layers(scope, node, *trip, *carried, *invariant, &passed, body)
            }
            Op::While { trip, conditional, carried, symbols, body } => {
                let frame = WhileFrame {
                    trip: scope.dim(trip),
                    conditional: *conditional,
                    carried: *carried,
                    passed: scope.dims(symbols),
                    body,
                };
                self.while_loop(scope, node, &frame)
            }
            Op::If { symbols, then_body, else_body } => {
                let passed = scope.dims(symbols);
                self.conditional(scope, node, &passed, [then_body, else_body])
            }
            other => unreachable!("`{}` has no body", other.name()),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "these are the fields of the op")]
    fn layers(
        &mut self,
        scope: &mut Scope<'_>,
        node: &NodeData,
        trip: usize,
        carried: usize,
        invariant: usize,
        passed: &[Dim],
        body: &Arc<Graph>,
    ) -> Lowered {
        let index = self.program.symbols.add_bounded(
            "layer",
            SymbolDefinition::Undefined,
            Some(0),
            Some(i64::try_from(trip).unwrap_or(i64::MAX) - 1),
        );
        let mut inner = self.body_scope(body, passed);
        let claims = self.claims(&mut inner, passed);
        let inputs = body.inputs();
        for (port, &value) in inputs.iter().zip(&node.operands[..carried]) {
            let from = scope.view(value);
            let state = self.scratch(from.element, &from.dims)?;
            self.copy(state.clone(), from);
            inner.set_view(port.value, state);
        }
        for (port, &value) in inputs[carried..carried + invariant].iter().zip(&node.operands[carried..]) {
            inner.set_view(port.value, scope.view(value));
        }
        for (number, port) in inputs[carried + invariant..].iter().enumerate() {
            let first = carried + invariant + number * trip;
            let members: Vec<View> =
                node.operands[first..first + trip].iter().map(|&value| scope.view(value)).collect();
            let view = self.table(index, members)?;
            inner.set_view(port.value, view);
        }
        let mut stores = Vec::new();
        for (number, port) in body.outputs()[carried..].iter().enumerate() {
            let first = carried + number * trip;
            if scope.is_state_output(node.results[first]) {
                continue; // updated in place
            }
            let members: Result<Vec<View>, Diagnostic> =
                node.results[first..first + trip].iter().map(|&value| self.stored_result(scope, value)).collect();
            let view = self.table(index, members?)?;
            inner.wish(port.value, view.clone());
            stores.push((port.value, view));
        }
        let outer = std::mem::take(&mut self.block);
        for port in inputs {
            let dims = inner.view(port.value).dims;
            self.input_extents(&inner, port.value, &dims);
        }
        let problems = self.nodes(&mut inner);
        self.check(claims);
        if let Some(first) = problems.into_iter().next() {
            self.block = outer;
            return Err(first);
        }
        for (value, view) in stores {
            self.deliver(&inner, value, view);
        }
        self.carry(&inner, body, carried)?;
        let block = std::mem::replace(&mut self.block, outer);
        let trip_dim = Dim::from(trip);
        self.block.push(tile::Op::For { index, trip: trip_dim, condition: None, body: block, layers: true });
        for (port, &value) in inputs[..carried].iter().zip(&node.results) {
            scope.set_view(value, inner.view(port.value));
        }
        Ok(())
    }

    /// Moves the new carried values to where the next iteration expects them; all are read before any is overwritten
    /// that another still needs.
    fn carry(&mut self, inner: &Scope<'_>, body: &Graph, carried: usize) -> Lowered {
        let homes: Vec<View> = body.inputs()[..carried].iter().map(|port| inner.view(port.value)).collect();
        let mut news: Vec<View> = body.outputs()[..carried].iter().map(|port| inner.view(port.value)).collect();
        for (position, new) in news.iter_mut().enumerate() {
            let clobbered =
                homes.iter().enumerate().any(|(other, home)| other != position && home.buffer == new.buffer);
            if clobbered {
                let copy = self.scratch(new.element, &new.dims)?;
                self.copy(copy.clone(), new.clone());
                *new = copy;
            }
        }
        for (home, new) in homes.into_iter().zip(news) {
            if home != new {
                self.copy(home, new);
            }
        }
        Ok(())
    }

    /// Where a per-iteration result goes: where it is wanted if that is a whole dense buffer, else to working memory.
    fn stored_result(&mut self, scope: &mut Scope<'_>, value: Value) -> Result<View, Diagnostic> {
        if let Some(view) = scope.target(value)
            && view.is_dense()
            && view.offset.is(0)
        {
            scope.set_view(value, view.clone());
            return Ok(view);
        }
        let name = self.cause.provenance.origins().first().map_or(String::from("result"), |origin| origin.name.clone());
        let view = self.allocate(scope.graph.element(value), &scope.value_dims(value), Home::Dram, &name)?;
        scope.set_view(value, view.clone());
        Ok(view)
    }

    /// One view that means another buffer in each iteration. Members that are not whole dense buffers are copied.
    fn table(&mut self, index: Symbol, members: Vec<View>) -> Result<View, Diagnostic> {
        if members.iter().all(|member| *member == members[0]) {
            return Ok(members[0].clone());
        }
        let whole: Result<Vec<View>, Diagnostic> =
            members.into_iter().map(|member| self.whole_buffer(member)).collect();
        let whole = whole?;
        // All are laid out alike: dense, or as the pages of a cache.
        let first = whole[0].clone();
        let buffers: Vec<Buffer> = whole.iter().map(|view| view.buffer).collect();
        let name = self.program.buffers[buffers[0]].name.clone();
        Ok(self.chosen_by(index, buffers, name, first))
    }

    /// A view of whichever of the buffers, which are laid out as `first` is, the loop's index chooses.
    fn chosen_by(&mut self, index: Symbol, members: Vec<Buffer>, name: String, first: View) -> View {
        let capacity = members.iter().map(|&buffer| self.program.buffers[buffer].capacity).max().unwrap_or(0);
        let buffer = self.program.buffers.push(BufferData {
            home: Home::Table { index, members },
            capacity,
            element: first.element,
            dims: first.dims.clone(),
            name,
        });
        View { buffer, ..first }
    }

    /// A view that is all of a buffer in LPDDR: itself, or a copy.
    fn whole_buffer(&mut self, member: View) -> Result<View, Diagnostic> {
        let state = matches!(self.program.buffers[member.buffer].home, Home::State(_));
        if state || (member.is_dense() && member.offset.is(0) && self.lives_in_dram(&member)) {
            return Ok(member);
        }
        let copy = self.allocate(member.element, &member.dims, Home::Dram, "member of a table")?;
        self.copy(copy.clone(), member);
        Ok(copy)
    }

    fn lives_in_dram(&self, view: &View) -> bool {
        match &self.program.buffers[view.buffer].home {
            Home::Input(_) | Home::Output(_) | Home::Constant(_) | Home::Dram | Home::State(_) | Home::Weight(_) => {
                true
            }
            Home::Sram | Home::Scratch | Home::Table { .. } => false,
        }
    }

    /// The table of weights behind a table of constants `[outputs, inputs]`; `None` if some member is not a constant.
    pub(super) fn table_of_weights(&mut self, view: &View) -> Option<View> {
        let Home::Table { index, members } = &self.program.buffers[view.buffer].home else { return None };
        let (index, members) = (*index, members.clone());
        let recipes: Option<Vec<_>> = members
            .iter()
            .map(|&member| match &self.program.buffers[member].home {
                Home::Constant(recipe) => Some(recipe.clone()),
                _ => None,
            })
            .collect();
        let weights: Option<Vec<View>> = recipes?.iter().map(|recipe| self.weight_of(recipe)).collect();
        let weights = weights?;
        let first = weights[0].clone();
        if weights.iter().all(|weight| weight.buffer == first.buffer) {
            return Some(first);
        }
        let name = self.program.buffers[view.buffer].name.clone();
        Some(self.chosen_by(index, weights.iter().map(|weight| weight.buffer).collect(), name, first))
    }
}
