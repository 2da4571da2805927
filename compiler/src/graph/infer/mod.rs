//! Types of results: for every op, from the types of its operands.
//!
//! In: an op and its operands in a graph. Out: the result types, and symbols that the results define; or a diagnostic that says
//! what was found and expected. Dims that must be equal are unified (leniently: see [`crate::ir::Symbols`]), so inference may teach
//! the graph's symbols something. Nothing here reads a constant's data.

mod control;
mod fused;
mod indexing;
mod layout;
mod windows;

use narae_isa::{Code, Diagnostic, Element, codes};

use super::attribute::Real;
use super::{Op, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols};

/// What an op's results are.
pub struct Inferred {
    /// One type per result.
    pub types: Vec<TensorType>,
    /// Symbols whose values the results give.
    pub definitions: Vec<(Symbol, ResultSymbol)>,
}

/// Which part of which result is the value of a symbol.
pub enum ResultSymbol {
    /// Element `index` of result `result`.
    Element {
        /// Position among the results.
        result: usize,
        /// Row-major position of the element.
        index: u64,
    },
    /// The extent of an axis of a result.
    Extent {
        /// Position among the results.
        result: usize,
        /// The axis.
        axis: u32,
    },
}

/// What inference of one op sees: operand types, resolved, and the table of symbols.
pub(super) struct Context<'a> {
    name: &'static str,
    types: Vec<TensorType>,
    symbols: &'a mut Symbols,
}

type Type = Result<TensorType, Diagnostic>;

/// The types of the results of `op` on operands of these types.
pub fn infer(op: &Op, operands: Vec<TensorType>, symbols: &mut Symbols) -> Result<Inferred, Diagnostic> {
    if !op.arity().allows(operands.len()) {
        let message =
            format!("`{}` takes the operands ({}), {} were given", op.name(), op.operand_names(), operands.len());
        return Err(Diagnostic::new(&codes::E0303, message));
    }
    let mut types = operands;
    types.iter_mut().for_each(|ty| symbols.resolve_all(&mut ty.dims));
    let cx = &mut Context { name: op.name(), types, symbols };
    let one = |ty: TensorType| vec![ty];
    let types = match op {
        Op::Constant { recipe } => {
            one(TensorType::new(recipe.element(), recipe.dims().iter().map(|&dim| dim.into()).collect()))
        }
        Op::Dims { dims, shape } => one(layout::dims(cx, dims, shape)?),
        Op::Iota { element, dims, axis } => one(layout::iota(cx, *element, dims, *axis)?),
        Op::Unary { function } => {
            let (element, dims) = (cx.element(0), cx.types[0].dims.clone());
            let result = function.result(element).ok_or_else(|| cx.wrong_type(function.name(), element))?;
            one(TensorType::new(result, dims))
        }
        Op::Binary { function } => {
            cx.same_elements()?;
            cx.accepts(function.domain().accepts(cx.element(0)), function.name())?;
            one(TensorType::new(cx.element(0), cx.broadcast_all(0)?))
        }
        Op::Compare { function } => {
            cx.same_elements()?;
            cx.accepts(function.domain().accepts(cx.element(0)), function.name())?;
            one(TensorType::new(Element::Bool, cx.broadcast_all(0)?))
        }
        Op::Select {} => {
            cx.expect_element(0, Element::Bool)?;
            if cx.element(1) != cx.element(2) {
                return Err(cx.mixed_types());
            }
            one(TensorType::new(cx.element(1), cx.broadcast_all(0)?))
        }
        Op::Convert { to, saturate: _ } => one(TensorType::new(*to, cx.types[0].dims.clone())),
        Op::Bits { from, to, element } => {
            cx.ensure(from.bits() == to.bits(), "the two types differ in width")?;
            one(TensorType::new(*element, cx.types[0].dims.clone()))
        }
        Op::Reduce { function, axes } => {
            cx.accepts(function.domain().accepts(cx.element(0)), function.name())?;
            one(layout::reduce(cx, axes)?)
        }
        Op::ArgReduce { function: _, axis, last: _ } => {
            let ty = layout::reduce(cx, &[*axis])?;
            one(TensorType::new(Element::I64, ty.dims))
        }
        Op::Cumulate { function, axis, .. } => {
            cx.accepts(function.domain().accepts(cx.element(0)), function.name())?;
            cx.axis(*axis, cx.rank(0))?;
            one(cx.types[0].clone())
        }
        Op::Softmax { axis, log: _ } => {
            cx.expect_float(0)?;
            cx.axis(*axis, cx.rank(0))?;
            one(cx.types[0].clone())
        }
        Op::Transpose { permutation } => one(layout::transpose(cx, permutation)?),
        Op::Reshape { dims } => one(layout::reshape(cx, dims)?),
        Op::Broadcast { dims } => one(layout::broadcast(cx, dims)?),
        Op::Slice { starts, steps, dims } => one(layout::slice(cx, starts, steps, dims)?),
        Op::Pad { before, dims, mode: _ } => one(layout::pad(cx, before, dims)?),
        Op::Concat { axis } => one(layout::concat(cx, *axis)?),
        Op::Gather { axis } => one(indexing::gather(cx, *axis)?),
        Op::GatherElements { axis } => one(indexing::gather_elements(cx, *axis)?),
        Op::GatherNd { batch } => one(indexing::gather_nd(cx, *batch)?),
        Op::ScatterElements { axis, function } => {
            cx.accepts(function.domain().accepts(cx.element(0)), function.name())?;
            one(indexing::scatter_elements(cx, *axis)?)
        }
        Op::ScatterNd { function } => {
            cx.accepts(function.domain().accepts(cx.element(0)), function.name())?;
            one(indexing::scatter_nd(cx)?)
        }
        Op::TopK { axis, k, .. } => indexing::top_k(cx, *axis, k)?,
        Op::NonZero {} => return Ok(indexing::non_zero(cx)),
        Op::MatMul {} => one(windows::matmul(cx)?),
        Op::MatMulInteger {} => one(windows::matmul_integer(cx)?),
        Op::Conv { strides, before, dilations, input_dilations, groups, dims } => {
            let lengths = [strides.len(), before.len(), dilations.len(), input_dilations.len(), dims.len()];
            one(windows::conv(cx, lengths, *groups, dims)?)
        }
        Op::Pool { kernel, strides, before, dilations, dims, function: _ } => {
            let lengths = [kernel.len(), strides.len(), before.len(), dilations.len(), dims.len()];
            one(windows::window(cx, lengths, dims, &[])?)
        }
        Op::Window { kernel, strides, before, dilations, dims } => {
            let lengths = [kernel.len(), strides.len(), before.len(), dilations.len(), dims.len()];
            one(windows::window(cx, lengths, dims, kernel)?)
        }
        Op::Quantize { to, axis, block } => one(fused::quantize(cx, *to, *axis, *block)?),
        Op::Dequantize { axis, block } => one(fused::dequantize(cx, *axis, *block)?),
        Op::Linear {} => one(fused::linear(cx)?),
        Op::RmsNorm { epsilon } | Op::LayerNorm { epsilon } => one(fused::norm(cx, *epsilon)?),
        Op::Rope { interleaved: _ } => one(fused::rope(cx)?),
        Op::KvAppend {} => one(fused::kv_append(cx)?),
        Op::Attention { bias, lengths, sinks, .. } => one(fused::attention(cx, [*bias, *lengths, *sinks])?),
        Op::Loop { trip, carried, invariant, symbols, body } => {
            control::repeat(cx, (*trip, *carried, *invariant), symbols, body)?
        }
        Op::While { trip, conditional, carried, symbols, body } => {
            return control::while_loop(cx, (trip, *conditional, *carried), symbols, body);
        }
        Op::If { symbols, then_body, else_body } => return control::conditional(cx, symbols, then_body, else_body),
    };
    if !types.iter().all(countable) {
        return Err(cx.refuse(&codes::E0303, "a result has more elements than 64 bits count"));
    }
    Ok(Inferred { types, definitions: Vec::new() })
}

/// Whether 64 bits count the elements that a tensor has along its axes of known extent. An axis of none is no excuse for the others: strides are
/// products of them.
fn countable(ty: &TensorType) -> bool {
    let mut known = ty.dims.iter().filter_map(Dim::as_const);
    known.try_fold(1i64, |count, extent| count.checked_mul(extent.max(1))).is_some()
}

impl Context<'_> {
    fn element(&self, operand: usize) -> Element {
        self.types[operand].element
    }

    fn rank(&self, operand: usize) -> usize {
        self.types[operand].dims.len()
    }

    fn dims(&self, operand: usize) -> &[Dim] {
        &self.types[operand].dims
    }

    /// A diagnostic that lists the operand types.
    fn refuse(&self, code: &'static Code, message: impl AsRef<str>) -> Diagnostic {
        let diagnostic = Diagnostic::new(code, format!("`{}`: {}", self.name, message.as_ref()));
        let types: Vec<String> = self.types.iter().take(8).map(|ty| self.show(ty)).collect();
        if types.is_empty() { diagnostic } else { diagnostic.note(format!("operands: {}", types.join(", "))) }
    }

    fn show(&self, ty: &TensorType) -> String {
        let dims: Vec<String> = ty.dims.iter().map(|dim| dim.display(self.symbols).to_string()).collect();
        format!("{}[{}]", ty.element, dims.join(", "))
    }

    fn wrong_type(&self, function: &str, element: Element) -> Diagnostic {
        self.refuse(&codes::E0203, format!("`{function}` is not defined for {element}"))
    }

    fn accepts(&self, accepted: bool, function: &str) -> Result<(), Diagnostic> {
        if accepted { Ok(()) } else { Err(self.wrong_type(function, self.element(0))) }
    }

    fn mixed_types(&self) -> Diagnostic {
        self.refuse(&codes::E0303, "operands must have the same element type")
    }

    fn same_elements(&self) -> Result<(), Diagnostic> {
        let first = self.element(0);
        if self.types.iter().all(|ty| ty.element == first) { Ok(()) } else { Err(self.mixed_types()) }
    }

    fn expect_element(&self, operand: usize, element: Element) -> Result<(), Diagnostic> {
        if self.element(operand) == element {
            return Ok(());
        }
        Err(self.refuse(&codes::E0303, format!("operand {operand} must be {element}")))
    }

    fn expect_float(&self, operand: usize) -> Result<(), Diagnostic> {
        if self.element(operand).is_float() {
            return Ok(());
        }
        Err(self.refuse(&codes::E0203, format!("operand {operand} must be of a float type")))
    }

    fn expect_index(&self, operand: usize) -> Result<(), Diagnostic> {
        if matches!(self.element(operand), Element::I32 | Element::I64) {
            return Ok(());
        }
        Err(self.refuse(&codes::E0303, format!("operand {operand} must be i32 or i64")))
    }

    fn axis(&self, axis: usize, rank: usize) -> Result<(), Diagnostic> {
        if axis < rank {
            return Ok(());
        }
        Err(self.refuse(&codes::E0303, format!("axis {axis} does not exist in rank {rank}")))
    }

    fn ensure(&self, condition: bool, message: &str) -> Result<(), Diagnostic> {
        if condition { Ok(()) } else { Err(self.refuse(&codes::E0303, message)) }
    }

    fn not_negative(&self, dims: &[Dim]) -> Result<(), Diagnostic> {
        match dims.iter().find(|dim| dim.as_const().is_some_and(|value| value < 0)) {
            Some(dim) => Err(self.refuse(&codes::E0301, format!("a dim would be {}", dim.display(self.symbols)))),
            None => Ok(()),
        }
    }

    /// Makes two dims equal; the result is the simpler one.
    fn unify(&mut self, left: &Dim, right: &Dim) -> Result<Dim, Diagnostic> {
        match self.symbols.unify(left, right) {
            Ok(()) => Ok(self.symbols.resolve(left)),
            Err(clash) => {
                let (left, right) = (clash.left.display(self.symbols), clash.right.display(self.symbols));
                Err(self.refuse(&codes::E0301, format!("the extents `{left}` and `{right}` must be equal")))
            }
        }
    }

    fn unify_all(&mut self, left: &[Dim], right: &[Dim]) -> Result<(), Diagnostic> {
        self.ensure(left.len() == right.len(), "ranks differ")?;
        for (left, right) in left.iter().zip(right) {
            self.unify(left, right)?;
        }
        Ok(())
    }

    /// The extent of two that broadcast: an extent of 1 yields; others must be equal.
    fn broadcast(&mut self, left: &Dim, right: &Dim) -> Result<Dim, Diagnostic> {
        if left == right || right.is(1) {
            return Ok(left.clone());
        }
        if left.is(1) {
            return Ok(right.clone());
        }
        // What is never longer than 1 is repeated; that it is not empty is checked when the program runs.
        for (short, other) in [(left, right), (right, left)] {
            // So is what the calls that will be made show to be 1, where the other is not.
            let given = (self.symbols.given(short), self.symbols.given(other));
            if let (Some(1), Some(2.. | 0)) = given {
                self.unify(short, &Dim::ONE)?;
                return Ok(other.clone());
            }
            if self.is_repeated(short, other) {
                self.symbols.assume(short, &Dim::ONE);
                return Ok(other.clone());
            }
        }
        self.unify(left, right)
    }

    /// Whether an extent is never longer than 1, and the other may be.
    fn is_repeated(&self, short: &Dim, other: &Dim) -> bool {
        let most = |dim: &Dim| dim.bounds(self.symbols).1;
        !short.is(1) && short != other && most(short) == Some(1) && most(other).is_none_or(|most| most > 1)
    }

    fn broadcast_dims(&mut self, left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>, Diagnostic> {
        let rank = left.len().max(right.len());
        let extent = |dims: &[Dim], axis: usize| match (axis + dims.len()).checked_sub(rank) {
            Some(at) => dims[at].clone(),
            None => Dim::ONE,
        };
        (0..rank).map(|axis| self.broadcast(&extent(left, axis), &extent(right, axis))).collect()
    }

    /// The dims of all operands from number `first` on, broadcast.
    fn broadcast_all(&mut self, first: usize) -> Result<Vec<Dim>, Diagnostic> {
        let mut dims = self.types[first].dims.clone();
        for operand in first + 1..self.types.len() {
            let other = self.types[operand].dims.clone();
            dims = self.broadcast_dims(&dims, &other)?;
        }
        Ok(dims)
    }

    /// Checks that operand `operand` broadcasts to `dims` without changing them.
    fn broadcasts_to(&mut self, operand: usize, dims: &[Dim]) -> Result<(), Diagnostic> {
        let own = self.types[operand].dims.clone();
        self.ensure(own.len() <= dims.len(), "an operand has too many axes")?;
        for (own, dim) in own.iter().zip(&dims[dims.len() - own.len()..]) {
            if self.is_repeated(own, dim) {
                self.symbols.assume(own, &Dim::ONE);
            } else if !own.is(1) {
                self.unify(own, dim)?;
            }
        }
        Ok(())
    }

    /// A symbol that a result of the op defines.
    fn fresh(&mut self, name: &str) -> Symbol {
        self.symbols.add(name, SymbolDefinition::Undefined)
    }
}
