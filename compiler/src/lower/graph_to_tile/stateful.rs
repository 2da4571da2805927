//! Loops with state and conditionals: bodies whose run, and whose results' extents, only the data decides.
//!
//! A result's extent that is not known outside is a symbol; the program sets it where it becomes known: at the end of a
//! branch, or after a loop.

use std::sync::Arc;

use narae_isa::instructions as isa;
use narae_isa::{Diagnostic, Element};

use super::scope::Scope;
use super::{Lowered, Lowering, d, r};
use crate::graph::{Graph, NodeData};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};
use crate::tile::{Op, View};

/// The fields of a loop with state, dims in the program's symbols.
pub(super) struct WhileFrame<'a> {
    pub trip: Dim,
    pub conditional: bool,
    pub carried: usize,
    pub passed: Vec<Dim>,
    pub body: &'a Arc<Graph>,
}

impl Lowering {
    /// Both branches are lowered, then the results get room for the larger one, and each branch delivers into it.
    pub(super) fn conditional(
        &mut self,
        scope: &mut Scope<'_>,
        node: &NodeData,
        passed: &[Dim],
        bodies: [&Arc<Graph>; 2],
    ) -> Lowered {
        let condition = scope.view(node.operands[0]);
        let operands: Vec<View> = node.operands[1..].iter().map(|&value| scope.view(value)).collect();
        let mut lowered = Vec::new();
        for body in bodies {
            let mut inner = self.body_scope(body, passed);
            for (port, view) in body.inputs().iter().zip(&operands) {
                inner.set_view(port.value, view.clone());
            }
            let outer = std::mem::take(&mut self.block);
            let claims = self.claims(&mut inner, passed);
            for (port, view) in body.inputs().iter().zip(&operands) {
                self.input_extents(&inner, port.value, &view.dims);
            }
            let problems = self.nodes(&mut inner);
            self.check(claims);
            let block = std::mem::replace(&mut self.block, outer);
            if let Some(first) = problems.into_iter().next() {
                return Err(first);
            }
            let outputs: Vec<View> = body.outputs().iter().map(|port| inner.view(port.value)).collect();
            lowered.push((block, outputs));
        }
        let results: Result<Vec<View>, Diagnostic> =
            node.results.iter().map(|&value| self.result(scope, value)).collect();
        let results = results?;
        let mut blocks = Vec::new();
        for (block, outputs) in lowered {
            let outer = std::mem::replace(&mut self.block, block);
            for ((&value, result), output) in node.results.iter().zip(&results).zip(outputs) {
                for (axis, symbol) in self.extents(scope, value) {
                    self.block.push(Op::Let { symbol, value: output.dims[axis].clone() });
                }
                // The extents that were just set are those of this branch's tensor.
                self.copy(View { dims: output.dims.clone(), ..result.clone() }, output);
            }
            blocks.push(std::mem::replace(&mut self.block, outer));
        }
        let else_body = blocks.pop().expect("there are two branches");
        let then_body = blocks.pop().expect("there are two branches");
        self.block.push(Op::If { condition, then_body, else_body });
        Ok(())
    }

    /// Carried values live in buffers that every iteration updates; stacked results are written at the loop's index.
    pub(super) fn while_loop(&mut self, scope: &mut Scope<'_>, node: &NodeData, frame: &WhileFrame<'_>) -> Lowered {
        let (body, first) = (frame.body, usize::from(frame.conditional));
        // A loop that nothing limits but its condition has no last iteration; only what it stacks needs one.
        let last = frame.trip.bounds(&self.program.symbols).1.map(|most| most.saturating_sub(1));
        let index = self.program.symbols.add_bounded("iteration", SymbolDefinition::Undefined, Some(0), last);
        let mut inner = self.body_scope(body, &frame.passed);
        let claims = self.claims(&mut inner, &frame.passed);
        let counter = self.scratch(Element::I64, &[])?;
        inner.set_view(body.inputs()[0].value, counter.clone());
        let mut homes = Vec::new();
        for (position, port) in body.inputs()[1..].iter().enumerate() {
            let from = scope.view(node.operands[first + position]);
            if position >= frame.carried {
                inner.set_view(port.value, from.clone());
                self.input_extents(&inner, port.value, &from.dims);
                continue;
            }
            self.input_extents(&inner, port.value, &from.dims);
            let home = self.home(&inner, port.value, body.outputs()[first + position].value)?;
            self.copy(View::dense_like(&home, &from.dims), from);
            inner.set_view(port.value, home.clone());
            homes.push((port.value, home));
        }
        let condition = if frame.conditional {
            let flag = self.scratch(Element::Bool, &[])?;
            self.copy(flag.clone(), scope.view(node.operands[0]));
            Some(flag)
        } else {
            None
        };
        let mut stacks = Vec::new();
        for &value in &node.results[frame.carried..] {
            // Where nothing is stacked, extents that nobody knows are zero.
            for (_, symbol) in self.extents(scope, value) {
                self.block.push(Op::Let { symbol, value: Dim::ZERO });
            }
            let dims = scope.value_dims(value);
            let mut room = dims.clone();
            room[0] = Dim::from(i64::try_from(self.upper_bound(&frame.trip, "a loop")?).unwrap_or(i64::MAX));
            let all = self.scratch(scope.graph.element(value), &room)?;
            scope.set_view(value, all.slice(0, &Dim::ZERO, &dims[0], 1));
            stacks.push(all);
        }
        let outer = std::mem::take(&mut self.block);
        let fill = isa::FillInteger { out: d(0), value: 0, rs: Some(r(0)) };
        let row = counter.reshape(&[Dim::ONE]).expect("a scalar is dense");
        self.compute(fill, vec![row], vec![index.into()])?;
        for port in body.inputs() {
            self.read_symbols(&inner, port.value);
        }
        let problems = self.nodes(&mut inner);
        self.check(claims);
        let finished = match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => self.end_iteration(scope, node, frame, &inner, index, &homes, &stacks, condition.as_ref()),
        };
        let block = std::mem::replace(&mut self.block, outer);
        finished?;
        // A count beyond its maximum must not reach other memory before the runtime refuses it.
        let trip = match frame.trip.bounds(&self.program.symbols).1 {
            Some(most) if frame.trip.as_const().is_none() => frame.trip.minimum(&Dim::from(most)),
            _ => frame.trip.clone(),
        };
        self.block.push(Op::For { index, trip, condition, body: block, layers: false });
        for (&value, (port, home)) in node.results[..frame.carried].iter().zip(&homes) {
            let dims = inner.value_dims(*port);
            for (axis, symbol) in self.extents(scope, value) {
                self.block.push(Op::Let { symbol, value: dims[axis].clone() });
            }
            scope.set_view(value, View::dense_like(home, &scope.value_dims(value)));
        }
        Ok(())
    }

    /// Room for a carried value as every iteration finds it and leaves it.
    fn home(&mut self, inner: &Scope<'_>, input: Value, output: Value) -> Result<View, Diagnostic> {
        let (before, after) = (inner.value_dims(input), inner.value_dims(output));
        let mut room = Vec::with_capacity(before.len());
        for (before, after) in before.iter().zip(&after) {
            let most = self.upper_bound(before, "a carried value")?.max(self.upper_bound(after, "a carried value")?);
            room.push(Dim::from(i64::try_from(most).unwrap_or(i64::MAX)));
        }
        let all = self.scratch(inner.graph.element(input), &room)?;
        Ok(View::dense_like(&all, &before))
    }

    /// Stores stacked results, then moves the new carried values, their extents and the condition.
    #[allow(clippy::too_many_arguments, reason = "the state of one loop, used in one place")]
    fn end_iteration(
        &mut self,
        scope: &Scope<'_>,
        node: &NodeData,
        frame: &WhileFrame<'_>,
        inner: &Scope<'_>,
        index: Symbol,
        homes: &[(Value, View)],
        stacks: &[View],
        condition: Option<&View>,
    ) -> Lowered {
        let outputs: Vec<View> = frame.body.outputs().iter().map(|port| inner.view(port.value)).collect();
        let first = usize::from(frame.conditional);
        let carried = first + frame.carried;
        let index = Dim::from(index);
        for ((stack, from), &value) in stacks.iter().zip(&outputs[carried..]).zip(&node.results[frame.carried..]) {
            for (axis, symbol) in self.extents(scope, value) {
                let value = if axis == 0 { &index + &Dim::ONE } else { from.dims[axis - 1].clone() };
                self.block.push(Op::Let { symbol, value });
            }
            // The extents that were just set are those of this iteration's tensor.
            let dims: Vec<Dim> = stack.dims.iter().take(1).chain(&from.dims).cloned().collect();
            self.copy(View::dense_like(stack, &dims).select(0, &index), from.clone());
        }
        // New values first to working memory: one may be the old value of another.
        let mut news = Vec::new();
        for from in &outputs[first..carried] {
            let copy = self.scratch(from.element, &from.dims)?;
            self.copy(copy.clone(), from.clone());
            news.push(copy);
        }
        if let Some(flag) = condition {
            self.copy(flag.clone(), outputs[0].clone());
        }
        for ((port, home), new) in homes.iter().zip(news) {
            self.copy(View::dense_like(home, &new.dims), new.clone());
            self.input_extents(inner, *port, &new.dims);
        }
        Ok(())
    }

    /// Sets the symbols that a body's input defines by its own extents.
    pub(super) fn input_extents(&mut self, inner: &Scope<'_>, value: Value, dims: &[Dim]) {
        let body = inner.graph;
        for &(axis, symbol) in inner.claims(value) {
            self.block.push(Op::Let { symbol, value: dims[axis].clone() });
        }
        for (axis, dim) in body.dims(value).iter().enumerate() {
            let Some(symbol) = dim.as_symbol() else { continue };
            let own = matches!(body.symbols.data(symbol).definition, SymbolDefinition::Input { .. });
            let Some(symbol) = inner.own(symbol).filter(|_| own) else { continue };
            self.block.push(Op::Let { symbol, value: dims[axis].clone() });
        }
    }

    /// The axes of a result whose extents are symbols that the op sets, or that are checked.
    fn extents(&self, scope: &Scope<'_>, value: Value) -> Vec<(usize, Symbol)> {
        let graph = scope.graph;
        let dims = graph.dims(value).iter().enumerate();
        let own = dims.filter_map(|(axis, dim)| {
            let symbol = dim.as_symbol()?;
            match graph.symbols.data(symbol).definition {
                SymbolDefinition::Extent { value: of, axis: at } if of == value && at as usize == axis => {
                    scope.own(symbol).map(|symbol| (axis, symbol))
                }
                _ => None,
            }
        });
        own.chain(scope.claims(value).iter().copied()).collect()
    }
}
