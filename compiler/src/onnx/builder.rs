//! Shorthand for appending graph ops, as the rows use it.
//!
//! In: values of the graph under construction. Out: new values. Always holds: what is the identity adds no node; every node carries the
//! provenance of the ONNX node that is being imported.

use std::cell::RefCell;

use narae_isa::{
    BinaryFunction, CompareFunction, Diagnostic, Element, HostTensor, Overflow, ReduceFunction, UnaryFunction, codes,
};

use crate::compress::Recipe;
use crate::graph::ops::PadMode;
use crate::graph::{Graph, Op, Provenance, Real};
use crate::ir::{Dim, Value};

/// The graph under construction and the ONNX node that it is being built for.
pub struct Builder {
    /// The graph.
    pub graph: Graph,
    /// Where new nodes come from.
    pub provenance: Provenance,
    /// The first axis that a row asked for and its operand does not have: the node is refused once its row is done.
    pub refused: RefCell<Option<Diagnostic>>,
}

/// A result or the problem with the node.
pub type Built<T = Value> = Result<T, Diagnostic>;

/// A problem with operands: their number, types, ranks or dims.
pub fn mismatch(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&codes::E0303, message)
}

/// An axis beyond the rank of an operand.
fn no_axis(axis: usize, rank: usize) -> Diagnostic {
    mismatch(format!("an operand of rank {rank} has no axis {axis}"))
}

/// More elements in a list of extents or axes than any tensor has axes.
const MOST_AXES: usize = 64;

/// Refuses an op whose own extents no integer counts.
fn counts(op: &Op) -> Built<()> {
    let mut invalid = false;
    op.visit_dims(&mut |dim| invalid |= dim.is_invalid());
    if invalid { Err(uncountable()) } else { Ok(()) }
}

/// An extent or a number of elements that is beyond 64 bits.
fn uncountable() -> Diagnostic {
    mismatch("an extent, or a number of elements, is beyond 2^63 - 1")
}

/// A form of an operator that is not supported.
pub fn unsupported(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&codes::E0202, message)
}

impl Builder {
    /// Appends an op with one result.
    pub fn op(&mut self, op: Op, operands: &[Value]) -> Built {
        counts(&op)?;
        let value = self.graph.add1(op, operands, &self.provenance)?;
        self.countable(&[value])?;
        Ok(value)
    }

    /// Appends an op with several results.
    pub fn ops(&mut self, op: Op, operands: &[Value]) -> Built<Vec<Value>> {
        counts(&op)?;
        let values = self.graph.add(op, operands, &self.provenance)?;
        self.countable(&values)?;
        Ok(values)
    }

    /// Refuses extents that no integer counts.
    fn countable(&self, values: &[Value]) -> Built<()> {
        let invalid = values.iter().any(|&value| self.graph.dims(value).iter().any(Dim::is_invalid));
        if invalid { Err(uncountable()) } else { Ok(()) }
    }

    /// The dims of a value, as far as they are known by now.
    pub fn dims(&self, value: Value) -> Vec<Dim> {
        let mut dims = self.graph.dims(value).to_vec();
        self.graph.symbols.resolve_all(&mut dims);
        dims
    }

    /// One dim of a value. An axis that the value does not have refuses the node.
    pub fn dim(&self, value: Value, axis: usize) -> Dim {
        match self.graph.dims(value).get(axis) {
            Some(dim) => self.graph.symbols.resolve(dim),
            None => {
                let problem = no_axis(axis, self.rank(value));
                self.refused.borrow_mut().get_or_insert(problem);
                Dim::invalid()
            }
        }
    }

    /// An error unless the value has this rank.
    pub fn expect_rank(&self, value: Value, rank: usize, what: &str) -> Built<()> {
        match self.rank(value) == rank {
            true => Ok(()),
            false => Err(mismatch(format!("{what} has rank {}, expected {rank}", self.rank(value)))),
        }
    }

    /// The rank of a value.
    pub fn rank(&self, value: Value) -> usize {
        self.graph.rank(value)
    }

    /// The element type of a value.
    pub fn element(&self, value: Value) -> Element {
        self.graph.element(value)
    }

    /// An axis that may count from the end.
    pub fn axis(&self, axis: i64, rank: usize) -> Built<usize> {
        let size = rank as i64;
        if (-size..size).contains(&axis) {
            return Ok(axis.rem_euclid(size) as usize);
        }
        Err(mismatch(format!("axis {axis} is outside of rank {rank}")))
    }

    /// Axes that may count from the end, sorted, each once.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Built<Vec<usize>> {
        let mut found = axes.iter().map(|&axis| self.axis(axis, rank)).collect::<Built<Vec<usize>>>()?;
        found.sort_unstable();
        if found.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(mismatch(format!("axes {axes:?} name an axis twice")));
        }
        Ok(found)
    }

    /// The elements of an integer tensor, where they are known as expressions of symbols.
    pub fn known(&self, value: Value) -> Option<Vec<Dim>> {
        self.graph.known_dims(value)
    }

    /// The elements of an integer tensor, where they are known numbers.
    pub fn known_ints(&self, value: Value) -> Option<Vec<i64>> {
        self.known(value)?.iter().map(Dim::as_const).collect()
    }

    /// The recipe of a constant, or of what is only moved or converted from one.
    pub fn recipe(&self, value: Value) -> Option<Recipe> {
        let (_, node) = self.graph.defining(value)?;
        let source = || self.recipe(node.operands[0]);
        let sizes = || self.graph.ty(value).sizes();
        match &node.op {
            Op::Constant { recipe } => Some(recipe.clone()),
            Op::Reshape { .. } => source()?.reshape(sizes()?).ok(),
            Op::Transpose { permutation } => source()?.transpose(permutation).ok(),
            Op::Convert { to, saturate } => Some(source()?.convert(*to, *saturate)),
            _ => None,
        }
    }

    /// The elements of a constant, if they are in memory or few.
    pub fn constant_values(&self, value: Value) -> Option<HostTensor> {
        let recipe = self.recipe(value)?;
        if recipe.bytes() > 1 << 16 {
            return None;
        }
        recipe.evaluate(&self.graph.sources).ok()
    }

    /// The elements of a one-dimensional integer tensor as dims: known ones, or symbols that are read when the program runs.
    pub fn shape_operand(&mut self, value: Value, name: &str, lower: Option<i64>) -> Built<Vec<Dim>> {
        if !self.element(value).is_integer() || self.rank(value) > 1 {
            return Err(mismatch(format!("{name} must be a list of integers")));
        }
        if let Some(dims) = self.known(value) {
            return Ok(dims);
        }
        let count = self.list_length(value, name)?;
        let value = self.convert(value, Element::I64)?;
        Ok(self.graph.data_symbols(value, count, name, (lower, None)))
    }

    /// The number of elements of a list with one number per axis, or of a scalar.
    pub fn list_length(&self, value: Value, name: &str) -> Built<usize> {
        let Some(dim) = self.dims(value).into_iter().next() else { return Ok(1) };
        let count =
            dim.as_size().ok_or_else(|| unsupported(format!("the number of elements of {name} is not known")))?;
        if count > MOST_AXES {
            return Err(mismatch(format!("{name} has {count} elements: no tensor has so many axes")));
        }
        Ok(count)
    }

    /// The last axis. A scalar has none, which refuses the node.
    pub fn last_axis(&self, value: Value) -> Built<usize> {
        self.rank(value).checked_sub(1).ok_or_else(|| mismatch("a scalar is given where an axis is needed"))
    }

    /// A scalar or a list of one element, as [`Builder::shape_operand`] takes a list.
    pub fn scalar_operand(&mut self, value: Value, name: &str, lower: Option<i64>) -> Built<Dim> {
        match <[Dim; 1]>::try_from(self.shape_operand(value, name, lower)?) {
            Ok([dim]) => Ok(dim),
            Err(dims) => Err(mismatch(format!("{name} must be one number, but has {}", dims.len()))),
        }
    }

    /// A constant tensor.
    pub fn tensor(&mut self, tensor: HostTensor) -> Built {
        self.graph.constant_tensor(tensor, &self.provenance)
    }

    /// A scalar constant of any element type.
    pub fn scalar(&mut self, element: Element, value: f64) -> Built {
        self.tensor(HostTensor::from_f64_as(element, &[], &[value]))
    }

    /// An integer scalar of any element type, exactly.
    pub fn integer(&mut self, element: Element, value: i64) -> Built {
        self.tensor(HostTensor::from_i64_as(element, &[], &[value]))
    }

    /// An `i64` tensor whose elements are dims.
    pub fn dims_tensor(&mut self, dims: Vec<Dim>, shape: Vec<usize>) -> Built {
        if let Some(values) = dims.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>() {
            return self.tensor(HostTensor::from_i64(&shape, &values));
        }
        self.op(Op::Dims { dims, shape }, &[])
    }

    /// An `i64` scalar that is a dim.
    pub fn dim_scalar(&mut self, dim: Dim) -> Built {
        self.dims_tensor(vec![dim], vec![])
    }

    /// A function of each element.
    pub fn unary(&mut self, function: UnaryFunction, x: Value) -> Built {
        self.op(Op::Unary { function }, &[x])
    }

    /// A function of two tensors of one element type.
    pub fn binary(&mut self, function: BinaryFunction, a: Value, b: Value) -> Built {
        let operands = self.stretched([a, b])?;
        self.op(Op::Binary { function }, &operands)
    }

    /// `a + b`
    pub fn add(&mut self, a: Value, b: Value) -> Built {
        self.binary(BinaryFunction::Add, a, b)
    }

    /// `a - b`
    pub fn sub(&mut self, a: Value, b: Value) -> Built {
        self.binary(BinaryFunction::Sub, a, b)
    }

    /// `a · b`
    pub fn mul(&mut self, a: Value, b: Value) -> Built {
        self.binary(BinaryFunction::Mul, a, b)
    }

    /// `a / b`
    pub fn div(&mut self, a: Value, b: Value) -> Built {
        self.binary(BinaryFunction::Div, a, b)
    }

    /// `x + bias` where there is a bias.
    pub fn add_optional(&mut self, x: Value, bias: Option<Value>) -> Built {
        bias.map_or(Ok(x), |bias| self.add(x, bias))
    }

    /// A function of a tensor and a number in the tensor's type.
    pub fn with_number(&mut self, function: BinaryFunction, x: Value, number: f64) -> Built {
        let scalar = self.scalar(self.element(x), number)?;
        self.binary(function, x, scalar)
    }

    /// `x · factor`, nothing if the factor is 1.
    pub fn scale(&mut self, x: Value, factor: f64) -> Built {
        if factor == 1.0 { Ok(x) } else { self.with_number(BinaryFunction::Mul, x, factor) }
    }

    /// A comparison of two tensors of one element type.
    pub fn compare(&mut self, function: CompareFunction, a: Value, b: Value) -> Built {
        let operands = self.stretched([a, b])?;
        self.op(Op::Compare { function }, &operands)
    }

    /// `a` where the condition holds, else `b`.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Built {
        let operands = self.stretched([condition, a, b])?;
        self.op(Op::Select {}, &operands)
    }

    /// The same values in another type; out of range wraps or becomes infinite.
    pub fn convert(&mut self, x: Value, to: Element) -> Built {
        if self.element(x) == to { Ok(x) } else { self.op(Op::Convert { to, saturate: false }, &[x]) }
    }

    /// Combines the elements along axes, which stay.
    pub fn reduce(&mut self, function: ReduceFunction, x: Value, axes: Vec<usize>) -> Built {
        if axes.is_empty() && matches!(function, ReduceFunction::Sum | ReduceFunction::Mean | ReduceFunction::Max) {
            return Ok(x);
        }
        self.op(Op::Reduce { function, axes }, &[x])
    }

    /// The same elements under other dims.
    pub fn reshape(&mut self, x: Value, dims: Vec<Dim>) -> Built {
        if self.dims(x) == dims { Ok(x) } else { self.op(Op::Reshape { dims }, &[x]) }
    }

    /// Without these axes, whose extents are 1.
    pub fn squeeze(&mut self, x: Value, axes: &[usize]) -> Built {
        let dims = self.dims(x);
        for &axis in axes {
            self.must_equal(&dims[axis], &Dim::ONE, "a squeezed axis")?;
        }
        let kept = dims.into_iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, dim)| dim).collect();
        self.reshape(x, kept)
    }

    /// With new axes of extent 1 at these (sorted) places of the result.
    pub fn unsqueeze(&mut self, x: Value, axes: &[usize]) -> Built {
        let mut dims = self.dims(x);
        for &axis in axes {
            if axis > dims.len() {
                return Err(mismatch(format!("an operand of rank {} gets no axis {axis}", self.rank(x))));
            }
            dims.insert(axis, Dim::ONE);
        }
        self.reshape(x, dims)
    }

    /// Two dims that have to be one.
    pub fn must_equal(&mut self, a: &Dim, b: &Dim, what: &str) -> Built<()> {
        self.graph.symbols.unify(a, b).map_err(|found| {
            let text = |dim: &Dim| dim.display(&self.graph.symbols).to_string();
            let message = format!("{what} must be {}, but is {}", text(&found.right), text(&found.left));
            Diagnostic::new(&codes::E0301, message)
        })
    }

    /// An extent of a value that has to be this one.
    pub fn extent_must_be(&mut self, value: Value, axis: usize, expected: &Dim, what: &str) -> Built<()> {
        let own = self.dim(value, axis);
        self.must_equal(&own, expected, what)
    }

    /// A length that has to be at least another one: what is known of an input's length then is; else the run is checked.
    pub fn at_least(&mut self, dim: &Dim, least: &Dim) {
        let symbols = &mut self.graph.symbols;
        if least.as_const().is_some() {
            symbols.learn_not_negative(&(dim - least));
        }
        symbols.assume_at_least(dim, least);
    }

    /// Repeats axes of extent 1, and adds leading axes.
    pub fn broadcast(&mut self, x: Value, dims: Vec<Dim>) -> Built {
        if self.dims(x) == dims { Ok(x) } else { self.op(Op::Broadcast { dims }, &[x]) }
    }

    /// Axis `i` of the result is axis `permutation[i]` of the operand.
    pub fn transpose(&mut self, x: Value, permutation: &[usize]) -> Built {
        if permutation.iter().enumerate().all(|(at, &axis)| at == axis) {
            return Ok(x);
        }
        self.op(Op::Transpose { permutation: permutation.to_vec() }, &[x])
    }

    /// The last two axes exchanged.
    pub fn transpose_last(&mut self, x: Value) -> Built {
        let rank = self.rank(x);
        if rank < 2 {
            return Err(mismatch(format!("a matrix is expected, the operand has rank {rank}")));
        }
        let mut permutation: Vec<usize> = (0..rank).collect();
        permutation.swap(rank - 1, rank - 2);
        self.transpose(x, &permutation)
    }

    /// Elements `start .. start + extent` along one axis. Where it is not known that they are there, the run is checked.
    pub fn narrow(&mut self, x: Value, axis: usize, start: Dim, extent: Dim) -> Built {
        let mut dims = self.dims(x);
        if axis >= dims.len() {
            return Err(no_axis(axis, dims.len()));
        }
        if start.is(0) && dims[axis] == extent {
            return Ok(x);
        }
        self.at_least(&extent, &Dim::ZERO);
        self.at_least(&dims[axis], &(&start + &extent));
        let mut starts = vec![Dim::ZERO; dims.len()];
        starts[axis] = start;
        dims[axis] = extent;
        let steps = vec![1; dims.len()];
        self.op(Op::Slice { starts, steps, dims }, &[x])
    }

    /// `x` cut along an axis into parts of these extents.
    pub fn split(&mut self, x: Value, axis: usize, extents: &[Dim]) -> Built<Vec<Value>> {
        let mut start = Dim::ZERO;
        let mut parts = Vec::with_capacity(extents.len());
        for extent in extents {
            parts.push(self.narrow(x, axis, start.clone(), extent.clone())?);
            start = &start + extent;
        }
        Ok(parts)
    }

    /// The operands one after the other along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Built {
        match parts {
            [one] => Ok(*one),
            _ => self.op(Op::Concat { axis }, parts),
        }
    }

    /// The rows of `x` along an axis at `indices`.
    pub fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Built {
        self.op(Op::Gather { axis }, &[x, indices])
    }

    /// `0, 1, 2, …` along an axis.
    pub fn iota(&mut self, element: Element, dims: Vec<Dim>, axis: usize) -> Built {
        self.op(Op::Iota { element, dims, axis }, &[])
    }

    /// Puts a value around a tensor.
    pub fn pad(&mut self, x: Value, value: Option<Value>, before: Vec<Dim>, dims: Vec<Dim>, mode: PadMode) -> Built {
        if self.dims(x) == dims && before.iter().all(|dim| dim.is(0)) {
            return Ok(x);
        }
        let operands: Vec<Value> = [x].into_iter().chain(value).collect();
        self.op(Op::Pad { before, dims, mode }, &operands)
    }

    /// The matrix product.
    pub fn matmul(&mut self, a: Value, b: Value) -> Built {
        self.op(Op::MatMul {}, &[a, b])
    }

    /// `e^x / Σ e^x`
    pub fn softmax(&mut self, x: Value, axis: usize) -> Built {
        self.op(Op::Softmax { axis, log: false }, &[x])
    }

    /// The normalisation by the root of the mean square along the last axis.
    pub fn rms_norm(&mut self, x: Value, gain: Option<Value>, epsilon: f64) -> Built {
        let operands: Vec<Value> = [x].into_iter().chain(gain).collect();
        self.op(Op::RmsNorm { epsilon: Real::new(epsilon) }, &operands)
    }

    /// The normalisation by mean and variance along the last axis.
    pub fn layer_norm(&mut self, x: Value, gain: Value, bias: Option<Value>, epsilon: f64) -> Built {
        let operands: Vec<Value> = [x, gain].into_iter().chain(bias).collect();
        self.op(Op::LayerNorm { epsilon: Real::new(epsilon) }, &operands)
    }

    /// A constant of the value's recipe, changed.
    pub fn constant(&mut self, recipe: Recipe) -> Built {
        self.graph.constant(recipe, &self.provenance)
    }

    /// The values of a tensor converted on the host, with saturation.
    pub fn convert_constant(&self, tensor: &HostTensor, to: Element) -> HostTensor {
        tensor.convert(to, Overflow::Saturate)
    }
}
