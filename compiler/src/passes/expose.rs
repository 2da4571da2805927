//! Weights where `--quant` finds them: every product with a known matrix becomes a linear layer.
//!
//! In: a graph, recovered or not, and the policy. Out: the same graph, in which products with a weight on the right, on the left, in
//! batches (`[E, K, N]`), and convolutions with windows of one element are linear layers over slices and changes of layout, if the policy
//! would store their weight as codes. Bodies of loops and branches included. Always holds: the values are the same up to the order of
//! sums; a product that cannot be written so stays as it is, and the accounting says why its weight stays plain.

use std::sync::Arc;

use narae_isa::{Diagnostic, Element};

use crate::compress::Recipe;
use crate::compress::policy::{Policy, Role};
use crate::graph::rebuild::{ValueMap, copy_node, finish, mapped};
use crate::graph::{Graph, NodeData, Op, Provenance};
use crate::ir::{Dim, Node, Value};

/// Batches of weights with more matrices stay one product.
const MOST_MATRICES: usize = 256;

/// The pass.
pub fn expose(graph: &mut Graph, policy: &Policy) -> Result<(), Diagnostic> {
    if *policy == Policy::None {
        return Ok(());
    }
    bodies(graph, policy)?;
    let old = std::mem::take(graph);
    let mut new = old.rebuild();
    let mut map = ValueMap::new();
    for (port, copy) in old.inputs().iter().zip(new.inputs().to_vec()) {
        map[port.value] = Some(copy.value);
    }
    for (_, data) in old.nodes() {
        let mut step = Step { old: &old, new: &mut new, map: &map, data, policy };
        match step.exposed().map_err(|problem| data.provenance.locate(problem))? {
            Some(value) => map[data.results[0]] = Some(value),
            None => copy_node(&old, &mut new, data, &mut map),
        }
    }
    finish(&old, &mut new, &map);
    *graph = new;
    Ok(())
}

fn bodies(graph: &mut Graph, policy: &Policy) -> Result<(), Diagnostic> {
    let with_bodies = |graph: &Graph| -> Vec<Node> {
        graph.nodes().filter(|(_, node)| !node.op.regions().is_empty()).map(|(node, _)| node).collect()
    };
    for node in with_bodies(graph) {
        let mut op = graph.node(node).op.clone();
        for body in op.regions_mut() {
            expose(Arc::make_mut(body), policy)?;
        }
        graph.replace_op(node, op);
    }
    Ok(())
}

/// One node that is looked at.
struct Step<'a> {
    old: &'a Graph,
    new: &'a mut Graph,
    map: &'a ValueMap,
    data: &'a NodeData,
    policy: &'a Policy,
}

impl Step<'_> {
    fn exposed(&mut self) -> Result<Option<Value>, Diagnostic> {
        match &self.data.op {
            Op::MatMul {} => match (self.weight(0), self.weight(1)) {
                (None, Some(weight)) => self.product(0, &weight, Side::Right),
                (Some(weight), None) => self.product(1, &weight, Side::Left),
                _ => self.experts(),
            },
            Op::Conv { .. } => self.convolution(),
            _ => Ok(None),
        }
    }

    /// The constant operand that the policy would code.
    fn weight(&self, operand: usize) -> Option<Recipe> {
        let (_, constant) = self.old.defining(self.data.operands[operand])?;
        let Op::Constant { recipe } = &constant.op else { return None };
        let float = matches!(recipe.element(), Element::F32 | Element::F16 | Element::BF16);
        let origins = self.data.provenance.origins().iter().chain(constant.provenance.origins());
        let names: Vec<&str> = origins.map(|origin| origin.name.as_str()).collect();
        let coded = match self.policy {
            Policy::None => false,
            Policy::Auto => true,
            Policy::Patterns(_) | Policy::Format(_) => self.policy.find(Role::Linear, &names).is_some(),
        };
        (float && coded && recipe.dims().len() >= 2).then(|| recipe.clone())
    }

    /// A product with matrices that an index chooses among: the weights stand one below the other as rows of one matrix.
    fn experts(&mut self) -> Result<Option<Value>, Diagnostic> {
        let right = self.data.operands[1];
        let Some((_, gather)) = self.old.defining(right) else { return Ok(None) };
        let Op::Gather { axis: 0 } = gather.op else { return Ok(None) };
        let own = Step { data: gather, old: self.old, new: self.new, map: self.map, policy: self.policy };
        let Some(recipe) = own.weight(0) else { return Ok(None) };
        let [count, inputs, outputs] = *recipe.dims() else { return Ok(None) };
        if inputs < 2 || count == 0 || count > MOST_MATRICES {
            return Ok(None);
        }
        let rows = recipe.transpose(&[0, 2, 1])?.reshape(vec![count * outputs, inputs])?;
        let provenance =
            self.old.defining(gather.operands[0]).map_or_else(Provenance::none, |(_, data)| data.provenance.clone());
        let rows = self.new.constant(rows, &provenance)?;
        let dims = [count, outputs, inputs].map(Dim::from).to_vec();
        let table = self.new.add1(Op::Reshape { dims }, &[rows], &gather.provenance)?;
        let index = mapped(self.map, gather.operands[1]);
        let chosen = self.new.add1(Op::Gather { axis: 0 }, &[table, index], &gather.provenance)?;
        let flipped = self.flipped(chosen)?;
        let x = mapped(self.map, self.data.operands[0]);
        self.add(Op::MatMul {}, &[x, flipped]).map(Some)
    }

    /// A product with one matrix or a batch of them.
    fn product(&mut self, other: usize, weight: &Recipe, side: Side) -> Result<Option<Value>, Diagnostic> {
        let x = mapped(self.map, self.data.operands[other]);
        let rank = self.old.rank(self.data.results[0]);
        let (own, dims) = (self.new.rank(x), weight.dims().to_vec());
        let (lead, matrix) = dims.split_at(dims.len() - 2);
        // The sum over one element multiplies numbers; there is no matrix to code.
        if matrix[if side == Side::Right { 0 } else { 1 }] < 2 {
            return Ok(None);
        }
        let batched: Vec<usize> = (0..lead.len()).filter(|axis| lead[*axis] != 1).collect();
        let [axis] = batched[..] else {
            if !batched.is_empty() || own < rank {
                return Ok(None);
            }
            let weight = side.linear_weight(&weight.reshape(matrix.to_vec())?)?;
            return self.linear(x, weight, side).map(Some);
        };
        let count = lead[axis];
        let axis = rank - dims.len() + axis;
        let x = self.with_rank(x, rank)?;
        let extent = self.new.dims(x)[axis].as_const();
        if count > MOST_MATRICES || count == 0 || !extent.is_some_and(|extent| extent == 1 || extent == count as i64) {
            return Ok(None);
        }
        let flat = weight.reshape(vec![count, matrix[0], matrix[1]])?;
        let mut parts = Vec::with_capacity(count);
        for number in 0..count {
            let one = flat.slice(&[number, 0, 0], &[1, 1, 1], vec![1, matrix[0], matrix[1]])?;
            let weight = side.linear_weight(&one.reshape(matrix.to_vec())?)?;
            let part = if extent == Some(1) { x } else { self.cut(x, axis, number)? };
            parts.push(self.linear(part, weight, side)?);
        }
        self.add(Op::Concat { axis }, &parts).map(Some)
    }

    /// The product of `x` with one weight `[N, K]`; of a weight on the left the operand and the result are flipped.
    fn linear(&mut self, x: Value, weight: Recipe, side: Side) -> Result<Value, Diagnostic> {
        let weight = self.new.constant(weight, &self.constant_provenance(side))?;
        match side {
            Side::Right => self.add(Op::Linear {}, &[x, weight]),
            Side::Left => {
                let flipped = self.flipped(x)?;
                let result = self.add(Op::Linear {}, &[flipped, weight])?;
                self.flipped(result)
            }
        }
    }

    fn constant_provenance(&self, side: Side) -> Provenance {
        let operand = if side == Side::Right { 1 } else { 0 };
        self.old
            .defining(self.data.operands[operand])
            .map_or_else(Provenance::none, |(_, data)| data.provenance.clone())
    }

    /// A convolution whose window is one element: a linear layer over the channels.
    fn convolution(&mut self) -> Result<Option<Value>, Diagnostic> {
        let Op::Conv { strides, before, input_dilations, groups, dims, .. } = &self.data.op else { return Ok(None) };
        let Some(weight) = self.weight(1) else { return Ok(None) };
        let x = mapped(self.map, self.data.operands[0]);
        let input = self.new.dims(x).to_vec();
        let spatial = &input[2..];
        let plain = *groups == 1
            && weight.dims()[2..].iter().all(|extent| *extent == 1)
            && before.iter().all(|pad| pad.is(0))
            && input_dilations.iter().all(|spread| *spread == 1);
        let fits = |axis: usize| match strides[axis] {
            1 => dims[axis] == spatial[axis],
            stride => {
                let last = dims[axis].as_size().map(|count| count.saturating_sub(1) * stride);
                last.zip(spatial[axis].as_size()).is_some_and(|(last, extent)| last < extent)
            }
        };
        if !plain || weight.dims()[1] < 2 || !(0..spatial.len()).all(fits) {
            return Ok(None);
        }
        let x = match strides.iter().all(|stride| *stride == 1) {
            true => x,
            false => {
                let starts = vec![Dim::ZERO; input.len()];
                let steps = [1, 1].into_iter().chain(strides.iter().map(|stride| *stride as i64)).collect();
                let dims = input[..2].iter().chain(dims).cloned().collect();
                self.add(Op::Slice { starts, steps, dims }, &[x])?
            }
        };
        let rank = input.len();
        let last: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        let back: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let channels_last = self.add(Op::Transpose { permutation: last }, &[x])?;
        let matrix = weight.reshape(vec![weight.dims()[0], weight.dims()[1]])?;
        let weight = self.new.constant(matrix, &self.constant_provenance(Side::Right))?;
        let bias = self.data.operands.get(2).map(|&bias| mapped(self.map, bias));
        let operands: Vec<Value> = [channels_last, weight].into_iter().chain(bias).collect();
        let result = self.add(Op::Linear {}, &operands)?;
        self.add(Op::Transpose { permutation: back }, &[result]).map(Some)
    }

    /// A value with axes of 1 before its own.
    fn with_rank(&mut self, x: Value, rank: usize) -> Result<Value, Diagnostic> {
        let own = self.new.dims(x).to_vec();
        if own.len() == rank {
            return Ok(x);
        }
        let dims = vec![Dim::ONE; rank - own.len()].into_iter().chain(own).collect();
        self.add(Op::Reshape { dims }, &[x])
    }

    /// One position along an axis, which stays with extent 1.
    fn cut(&mut self, x: Value, axis: usize, number: usize) -> Result<Value, Diagnostic> {
        let mut dims = self.new.dims(x).to_vec();
        let mut starts = vec![Dim::ZERO; dims.len()];
        (starts[axis], dims[axis]) = (Dim::from(number), Dim::ONE);
        self.add(Op::Slice { starts, steps: vec![1; dims.len()], dims }, &[x])
    }

    /// The last two axes exchanged.
    fn flipped(&mut self, x: Value) -> Result<Value, Diagnostic> {
        let rank = self.new.rank(x);
        let mut permutation: Vec<usize> = (0..rank).collect();
        permutation.swap(rank - 2, rank - 1);
        self.add(Op::Transpose { permutation }, &[x])
    }

    fn add(&mut self, op: Op, operands: &[Value]) -> Result<Value, Diagnostic> {
        self.new.add1(op, operands, &self.data.provenance)
    }
}

/// Where the weight stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    /// The weight as `[N, K]`.
    fn linear_weight(self, matrix: &Recipe) -> Result<Recipe, Diagnostic> {
        match self {
            Side::Right => matrix.transpose(&[1, 0]),
            Side::Left => Ok(matrix.clone()),
        }
    }
}
