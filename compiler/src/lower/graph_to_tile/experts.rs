//! Products with weights that the data chooses: `x · w[index]` over coded matrices `[E, N, K]` (experts).
//!
//! In: a product whose right side is a gather along the first axis of a constant that is stored as codes. Out: for each index a choice
//! among the products with the weights of single experts: only the chosen one is streamed, and it stays codes. Always holds: an index out
//! of range is an error as it is for the gather; negative ones count from the end; the gather itself is not executed.

use std::collections::BTreeSet;

use cranelift_entity::EntityRef;
use narae_isa::instructions as isa;
use narae_isa::{CompareFunction, Diagnostic, Element, HostTensor};

use super::scope::Scope;
use super::{Lowered, Lowering, d};
use crate::compress::recipe::{Recipe, Step};
use crate::compress::stored;
use crate::graph::{Graph, NodeData, Op};
use crate::ir::{Dim, SymbolDefinition, Value};
use crate::tile::{Op as TileOp, View};

/// The experts of a product.
pub(super) struct Experts<'g> {
    /// All weights, one below the other: `[E · N, K]`.
    weights: &'g Recipe,
    /// How many there are.
    count: usize,
    /// Which are chosen.
    indices: Value,
    /// What is not executed: the values between the constant and the product.
    skipped: [Value; 3],
}

/// The experts that a node multiplies with, if it does.
pub(super) fn of<'g>(graph: &'g Graph, uses: &[u32], node: &NodeData) -> Option<Experts<'g>> {
    let Op::MatMul {} = node.op else { return None };
    let made = |value: Value| graph.defining(value).map(|(_, data)| data).filter(|_| uses[value.index()] == 1);
    let flipped = node.operands[1];
    let Op::Transpose { permutation } = &made(flipped)?.op else { return None };
    let rank = permutation.len();
    let swaps = rank >= 2
        && permutation.iter().enumerate().all(|(at, &axis)| match at {
            at if at + 2 == rank => axis + 1 == rank,
            at if at + 1 == rank => axis + 2 == rank,
            at => axis == at,
        });
    let gathered = made(flipped)?.operands[0];
    let Op::Gather { axis: 0 } = made(gathered)?.op else { return None };
    let [table, indices] = made(gathered)?.operands[..] else { return None };
    let Op::Reshape { .. } = made(table)?.op else { return None };
    let weights = graph.recipe(made(table)?.operands[0])?;
    let [count, _, _] = graph.ty(table).sizes()?[..] else { return None };
    let coded = weights.dims().len() == 2 && stored::storage(weights).planes() > 0 && chosen(weights).is_some();
    (swaps && coded && count > 0).then_some(Experts { weights, count, indices, skipped: [flipped, gathered, table] })
}

/// The values of a graph that no instruction makes, because only experts' products read them.
pub(super) fn skipped(graph: &Graph) -> BTreeSet<Value> {
    let uses = graph.use_counts();
    graph.nodes().filter_map(|(_, node)| of(graph, &uses, node)).flat_map(|experts| experts.skipped).collect()
}

/// The weight below conversions that a storage was chosen for.
fn chosen(weights: &Recipe) -> Option<(&Recipe, crate::compress::policy::Storage)> {
    match weights.step() {
        Step::Convert { source, .. } => chosen(source),
        Step::Store { source, storage } => Some((source, *storage)),
        _ => None,
    }
}

/// The rows of one expert, stored as all are.
fn one(weights: &Recipe, count: usize, number: usize) -> Result<Recipe, Diagnostic> {
    let (source, storage) = chosen(weights).expect("experts have a storage");
    let [rows, columns] = [source.dims()[0] / count, source.dims()[1]];
    let part = source.slice(&[number * rows, 0], &[1, 1], vec![rows, columns])?;
    Ok(part.store(storage).convert(weights.element(), true))
}

impl Lowering {
    /// One product per index.
    pub(super) fn expert_products(&mut self, scope: &mut Scope<'_>, node: &NodeData, experts: &Experts<'_>) -> Lowered {
        let (x, indices) = (scope.view(node.operands[0]), scope.view(experts.indices));
        let out = self.result(scope, node.results[0])?;
        let x = self.batched(&x, &out);
        // The numbers of the experts, looked up by the indices: that refuses what is out of range and counts from the end.
        let numbers: Vec<i64> = (0..experts.count as i64).collect();
        let table = self.constant(&Recipe::inline(HostTensor::from_i64(&[experts.count], &numbers)));
        let found = self.scratch(Element::I64, &indices.dims)?;
        let axis = super::reduction::instruction_axis(0)?;
        self.compute(
            isa::Gather { out: d(0), a: d(1), index: d(2), axis },
            vec![found.clone(), table, indices],
            vec![],
        )?;
        let lead = out.dims[..out.rank() - 2].to_vec();
        let found = self.repeated(&found, &lead);
        self.for_each_index(experts, &found, &x, &out)
    }

    /// Loops over all indices.
    fn for_each_index(&mut self, experts: &Experts<'_>, found: &View, x: &View, out: &View) -> Lowered {
        if found.rank() == 0 {
            return self.choose_expert(experts, (0, experts.count), found, x, out);
        }
        let last = found.dims[0].bounds(&self.program.symbols).1.map(|most| most.saturating_sub(1));
        let index = self.program.symbols.add_bounded("choice", SymbolDefinition::Undefined, Some(0), last);
        let at = Dim::from(index);
        let outer = std::mem::take(&mut self.block);
        let done = self.for_each_index(experts, &found.select(0, &at), &x.select(0, &at), &out.select(0, &at));
        let body = std::mem::replace(&mut self.block, outer);
        self.block.push(TileOp::For { index, trip: found.dims[0].clone(), condition: None, body, layers: false });
        done
    }

    /// The product with the expert whose number is `found`, one of `first..end`.
    fn choose_expert(
        &mut self,
        experts: &Experts<'_>,
        (first, end): (usize, usize),
        found: &View,
        x: &View,
        out: &View,
    ) -> Lowered {
        if end - first == 1 {
            let recipe = one(experts.weights, experts.count, first)?;
            let weight = self.weight_of(&recipe).expect("codes are streamed");
            self.compute(isa::LoadWeight { weight: d(0) }, vec![weight.clone()], vec![])?;
            let inst = isa::Linear { out: d(0), x: d(1), weight: d(2), bias: None, accumulate: false };
            return self.compute(inst, vec![out.clone(), x.clone(), weight], vec![]);
        }
        let middle = first + (end - first) / 2;
        let flag = self.scratch(Element::Bool, &[])?;
        let number = self.constant(&Recipe::inline(HostTensor::from_i64(&[], &[middle as i64])));
        let below = isa::Compare { function: CompareFunction::Lt, out: d(0), a: d(1), b: d(2) };
        self.apply(below.into(), flag.clone(), vec![found.clone(), number])?;
        let outer = std::mem::take(&mut self.block);
        let then = self.choose_expert(experts, (first, middle), found, x, out);
        let then_body = std::mem::take(&mut self.block);
        let other = self.choose_expert(experts, (middle, end), found, x, out);
        let else_body = std::mem::replace(&mut self.block, outer);
        self.block.push(TileOp::If { condition: flag, then_body, else_body });
        then.and(other)
    }
}
