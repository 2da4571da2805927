//! The living definition of every op: plain, and obviously right.
//!
//! In: a graph and host tensors for its inputs. Out: its outputs, or every value. Symbols are bound from the shapes of the
//! inputs and from data symbols' tensors as they are computed; every computed shape is checked against the inferred one. Float
//! sums run in f64 and round once, so results are at least as good as those of any order of f32 sums. Results never
//! depend on threads or on the host's instruction set.

mod control;
pub(crate) mod elementwise;
mod fused;
pub(crate) mod indexing;
pub(crate) mod layout;
mod point;
mod products;
mod reduce;
pub(crate) mod strided;
mod windows;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use cranelift_entity::SecondaryMap;
use narae_isa::{Diagnostic, Element, HostTensor, Overflow, codes};

pub use self::point::Point;
use super::names::Tensor;
use super::{Graph, NodeData, Op};
use crate::compress::{Sources, recipe};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};

/// Data that an op cannot work on: an index out of range, an extent that contradicts another.
#[derive(Debug)]
pub struct Failure(String);

/// A failure, said in a sentence.
fn failure(message: String) -> Failure {
    Failure(message)
}

impl Failure {
    /// The failure as a diagnostic.
    pub fn into_diagnostic(self) -> Diagnostic {
        Diagnostic::new(&codes::E0603, self.0)
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Diagnostic {
        failure.into_diagnostic()
    }
}

/// Evaluates a graph: outputs by name from inputs by name.
pub fn evaluate(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
) -> Result<BTreeMap<String, HostTensor>, Diagnostic> {
    let inputs = inputs_in_order(graph, inputs)?;
    let outputs = Evaluator::new(graph).run(inputs)?;
    Ok(graph.outputs().iter().map(|port| port.name.clone()).zip(outputs).collect())
}

/// Sees the values of a graph that are tensors of the ONNX file, as they are computed. An error ends the evaluation.
pub trait Watch {
    /// The tensor has this value.
    fn tensor(&mut self, tensor: &Arc<Tensor>, value: &HostTensor) -> Result<(), Diagnostic>;
}

/// Evaluates a graph while somebody watches: outputs by name from inputs by name.
pub fn evaluate_watched(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    watch: &mut dyn Watch,
) -> Result<BTreeMap<String, HostTensor>, Diagnostic> {
    let inputs = inputs_in_order(graph, inputs)?;
    let mut run = Run::new(graph, inputs, &[], None, Some(Watching { watch, iteration: None }))?;
    run.nodes()?;
    let outputs = run.outputs()?;
    Ok(graph.outputs().iter().map(|port| port.name.clone()).zip(outputs).collect())
}

/// Somebody who watches, and the iteration of the loop of alike layers that is evaluated.
struct Watching<'w> {
    watch: &'w mut dyn Watch,
    iteration: Option<u32>,
}

/// Evaluates a graph and keeps every value, for comparisons.
pub fn evaluate_all(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
) -> Result<SecondaryMap<Value, Option<HostTensor>>, Diagnostic> {
    let inputs = inputs_in_order(graph, inputs)?;
    let mut run = Run::new(graph, inputs, &[], None, None)?;
    run.keep = true;
    run.nodes()?;
    Ok(run.tensors)
}

fn inputs_in_order(graph: &Graph, inputs: &BTreeMap<String, HostTensor>) -> Result<Vec<HostTensor>, Diagnostic> {
    let find = |port: &super::Port| {
        inputs
            .get(&port.name)
            .cloned()
            .ok_or_else(|| Diagnostic::new(&codes::E0601, format!("the input `{}` is missing", port.name)))
    };
    graph.inputs().iter().map(find).collect()
}

/// Evaluates one graph many times; constants are executed once and kept.
pub struct Evaluator<'a> {
    graph: &'a Graph,
    constants: SecondaryMap<Value, Option<HostTensor>>,
}

impl<'a> Evaluator<'a> {
    /// An evaluator of a graph.
    pub fn new(graph: &'a Graph) -> Evaluator<'a> {
        Evaluator { graph, constants: SecondaryMap::new() }
    }

    /// The outputs in the graph's order, from the inputs in the graph's order.
    pub fn run(&mut self, inputs: Vec<HostTensor>) -> Result<Vec<HostTensor>, Diagnostic> {
        let mut run = Run::new(self.graph, inputs, &[], Some(&mut self.constants), None)?;
        run.nodes()?;
        run.outputs()
    }
}

/// Evaluates the body of a loop or conditional.
fn run_body(
    body: &Graph,
    inputs: Vec<HostTensor>,
    passed: &[i64],
    watching: Option<Watching<'_>>,
) -> Result<Vec<HostTensor>, Diagnostic> {
    let mut run = Run::new(body, inputs, passed, None, watching)?;
    run.nodes()?;
    run.outputs()
}

/// One evaluation in progress.
struct Run<'a, 'c> {
    graph: &'a Graph,
    point: Point<'a>,
    tensors: SecondaryMap<Value, Option<HostTensor>>,
    constants: Option<&'c mut SecondaryMap<Value, Option<HostTensor>>>,
    /// How often each value is still needed.
    pending: Vec<u32>,
    /// Symbols that a value defines.
    defines: BTreeMap<Value, Vec<Symbol>>,
    keep: bool,
    watching: Option<Watching<'c>>,
}

impl<'a, 'c> Run<'a, 'c> {
    fn new(
        graph: &'a Graph,
        inputs: Vec<HostTensor>,
        passed: &[i64],
        constants: Option<&'c mut SecondaryMap<Value, Option<HostTensor>>>,
        watching: Option<Watching<'c>>,
    ) -> Result<Run<'a, 'c>, Diagnostic> {
        check_inputs(graph, &inputs)?;
        let mut point = Point::new(&graph.symbols);
        point.bind_passed(passed)?;
        point.bind_inputs(graph, &inputs)?;
        let mut defines: BTreeMap<Value, Vec<Symbol>> = BTreeMap::new();
        for (symbol, row) in graph.symbols.iter() {
            if let SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } = row.definition {
                defines.entry(value).or_default().push(symbol);
            }
        }
        let pending = graph.use_counts();
        let tensors = SecondaryMap::new();
        let mut run = Run { graph, point, tensors, constants, pending, defines, keep: false, watching };
        for (port, tensor) in graph.inputs().iter().zip(inputs) {
            run.define(port.value, tensor)?;
        }
        run.point.check_assumptions()?;
        run.show(&graph.inputs().iter().map(|port| port.value).collect::<Vec<_>>())?;
        Ok(run)
    }

    fn nodes(&mut self) -> Result<(), Diagnostic> {
        for (_, node) in self.graph.nodes() {
            self.node(node).map_err(|problem| node.provenance.locate(problem))?;
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeData) -> Result<(), Diagnostic> {
        let constant = matches!(node.op, Op::Constant { .. });
        if let (true, Some(constants)) = (constant, self.constants.as_mut()) {
            let value = node.results[0];
            if constants[value].is_none() {
                constants[value] = Some(evaluate_op(&node.op, &[], &self.point, &self.graph.sources)?.remove(0));
            }
            if self.defines.contains_key(&value) {
                let tensor = constants[value].clone().expect("it was just put there");
                self.define(value, tensor)?;
            }
            return Ok(());
        }
        let mut watching = self.watching.take();
        let results = {
            let operands: Vec<&HostTensor> = node.operands.iter().map(|&value| self.tensor(value)).collect();
            match (&node.op, &mut watching) {
                (Op::Loop { trip, carried, invariant, symbols, body }, Some(watching)) => {
                    let passed = control::passed(symbols, &self.point)?;
                    let watch = &mut *watching.watch;
                    control::repeat((*trip, *carried, *invariant), &passed, body, &operands, Some(watch))?
                }
                _ => evaluate_node(node, &operands, &self.point, self.graph)?,
            }
        };
        self.watching = watching;
        assert!(results.len() == node.results.len(), "`{}` yields as many tensors as results", node.op.name());
        for (&value, tensor) in node.results.iter().zip(results) {
            self.define(value, tensor)?;
        }
        for (&value, tensor) in node.results.iter().map(|value| (value, self.tensor(*value))) {
            self.check_shape(node, value, tensor)?;
        }
        self.show(&node.results)?;
        if !self.keep {
            self.release(&node.operands);
        }
        Ok(())
    }

    /// Shows values that have names to who watches.
    fn show(&mut self, values: &[Value]) -> Result<(), Diagnostic> {
        let Some(watching) = &mut self.watching else { return Ok(()) };
        for &value in values {
            let Some(tensor) = &self.tensors[value] else { continue };
            let here = self.graph.names(value).iter().filter(|named| named.iteration == watching.iteration);
            for named in here {
                watching.watch.tensor(&named.tensor, tensor)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, operands: &[Value]) {
        for &operand in operands {
            let pending = &mut self.pending[operand.as_u32() as usize];
            *pending -= 1;
            if *pending == 0 {
                self.tensors[operand] = None;
            }
        }
    }

    fn tensor(&self, value: Value) -> &HostTensor {
        let cached = self.constants.as_ref().and_then(|constants| constants.get(value)?.as_ref());
        let computed = self.tensors.get(value).and_then(Option::as_ref);
        cached.or(computed).expect("operands point backwards and live until their last use")
    }

    /// Stores a value and learns the symbols that it defines.
    fn define(&mut self, value: Value, tensor: HostTensor) -> Result<(), Diagnostic> {
        let mut learnt = false;
        for &symbol in self.defines.get(&value).map_or(&[][..], Vec::as_slice) {
            let known = match self.graph.symbols.data(symbol).definition {
                SymbolDefinition::Data { index, .. } => {
                    let index = usize::try_from(index).ok().filter(|&index| index < tensor.len());
                    index.map(|index| tensor.get_i64(index))
                }
                SymbolDefinition::Extent { axis, .. } => {
                    tensor.dims.get(axis as usize).and_then(|&extent| i64::try_from(extent).ok())
                }
                SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } | SymbolDefinition::Undefined => None,
            };
            if let Some(known) = known {
                self.point.set(symbol, known)?;
                learnt = true;
            }
        }
        if learnt {
            self.point.check_assumptions()?;
        }
        self.tensors[value] = Some(tensor);
        Ok(())
    }

    fn check_shape(&self, node: &NodeData, value: Value, tensor: &HostTensor) -> Result<(), Diagnostic> {
        let ty = self.graph.ty(value);
        let fits = ty.element == tensor.element
            && ty.dims.len() == tensor.dims.len()
            && ty.dims.iter().zip(&tensor.dims).all(|(dim, &extent)| {
                self.point.find(dim).is_none_or(|expected| usize::try_from(expected) == Ok(extent))
            });
        if fits {
            return Ok(());
        }
        let dims: Vec<String> = ty.dims.iter().map(|dim| dim.display(&self.graph.symbols).to_string()).collect();
        let found = format!("{}{:?}", tensor.element, tensor.dims);
        let expected = format!("{}[{}]", ty.element, dims.join(", "));
        Err(failure(format!("the result of `{}` is {found}, expected {expected}", node.op.name())).into())
    }

    fn outputs(mut self) -> Result<Vec<HostTensor>, Diagnostic> {
        let outputs = self.graph.outputs();
        let values = outputs.iter().map(|port| self.tensor(port.value).clone()).collect();
        self.tensors.clear();
        Ok(values)
    }
}

fn check_inputs(graph: &Graph, inputs: &[HostTensor]) -> Result<(), Diagnostic> {
    for (port, tensor) in graph.inputs().iter().zip(inputs) {
        let ty = graph.ty(port.value);
        if ty.element != tensor.element {
            let message = format!("input `{}` is {}, expected {}", port.name, tensor.element, ty.element);
            return Err(Diagnostic::new(&codes::E0602, message));
        }
        if ty.dims.len() != tensor.dims.len() {
            let message = format!("input `{}` has {} axes, expected {}", port.name, tensor.dims.len(), ty.dims.len());
            return Err(Diagnostic::new(&codes::E0603, message));
        }
    }
    Ok(())
}

/// Ops with bodies need the types of their results; all others need only their operands.
fn evaluate_node(
    node: &NodeData,
    operands: &[&HostTensor],
    point: &Point,
    graph: &Graph,
) -> Result<Vec<HostTensor>, Diagnostic> {
    match &node.op {
        Op::Loop { trip, carried, invariant, symbols, body } => {
            let passed = control::passed(symbols, point)?;
            control::repeat((*trip, *carried, *invariant), &passed, body, operands, None)
        }
        Op::While { trip, conditional, carried, symbols, body } => {
            let rule = control::WhileRule { trip: point.value(trip)?, conditional: *conditional, carried: *carried };
            let passed = control::passed(symbols, point)?;
            let empty = |index: usize| {
                // Nothing was stacked: extents that nobody knows are zero.
                let ty = graph.ty(node.results[index]);
                let sizes: Vec<usize> = ty
                    .dims
                    .iter()
                    .map(|dim| point.find(dim).and_then(|v| usize::try_from(v).ok()).unwrap_or(0))
                    .collect();
                Ok(HostTensor::zeros(ty.element, &sizes))
            };
            control::while_loop(&rule, &passed, body, operands, &empty)
        }
        Op::If { symbols, then_body, else_body } => {
            let passed = control::passed(symbols, point)?;
            let holds = operands[0].bytes.first().is_some_and(|&byte| byte != 0);
            let inputs = operands[1..].iter().map(|&tensor| tensor.clone()).collect();
            run_body(if holds { then_body } else { else_body }, inputs, &passed, None)
        }
        op => evaluate_op(op, operands, point, &graph.sources),
    }
}

/// The results of an op without bodies.
pub fn evaluate_op(
    op: &Op,
    operands: &[&HostTensor],
    point: &Point,
    sources: &Sources,
) -> Result<Vec<HostTensor>, Diagnostic> {
    let at = |index: usize| operands[index];
    let values = |dims: &[Dim]| -> Result<Vec<i64>, Failure> { dims.iter().map(|dim| point.value(dim)).collect() };
    let one = |tensor: HostTensor| Ok(vec![tensor]);
    match op {
        Op::Constant { recipe } => one(recipe.evaluate(sources)?),
        Op::Dims { dims, shape } => one(HostTensor::from_i64(shape, &values(dims)?)),
        Op::Iota { element, dims, axis } => one(layout::iota(*element, &checked(point.sizes(dims)?, *element)?, *axis)),
        Op::Unary { function } => one(elementwise::unary(*function, at(0))),
        Op::Binary { function } => one(elementwise::binary(*function, at(0), at(1))?),
        Op::Compare { function } => one(elementwise::comparison(*function, at(0), at(1))?),
        Op::Select {} => one(elementwise::select(at(0), at(1), at(2))?),
        Op::Convert { to, saturate } => one(elementwise::convert(at(0), *to, *saturate)),
        Op::Bits { from, to, element } => one(elementwise::bits(at(0), (*from, *to), *element)),
        Op::Reduce { function, axes } => one(reduce::reduce(*function, at(0), axes)),
        Op::ArgReduce { function, axis, last } => one(reduce::arg_reduce(*function, at(0), *axis, *last)),
        Op::Cumulate { function, axis, exclusive, reverse } => {
            one(reduce::cumulate(*function, at(0), *axis, *exclusive, *reverse))
        }
        Op::Softmax { axis, log } => one(reduce::softmax(at(0), *axis, *log)),
        Op::Transpose { permutation } => one(layout::transpose(at(0), permutation)),
        Op::Reshape { dims } => {
            let sizes = point.sizes(dims)?;
            let from = at(0).dims.clone();
            let reshaped = at(0).clone().reshape(&sizes);
            one(reshaped.ok_or_else(|| failure(format!("{from:?} cannot be reshaped to {sizes:?}")))?)
        }
        Op::Broadcast { dims } => one(layout::broadcast(at(0), &checked(point.sizes(dims)?, at(0).element)?)?),
        Op::Slice { starts, steps, dims } => one(layout::slice(at(0), &values(starts)?, steps, &point.sizes(dims)?)?),
        Op::Pad { before, dims, mode } => {
            let sizes = checked(point.sizes(dims)?, at(0).element)?;
            one(layout::pad(at(0), operands.get(1).copied(), &values(before)?, &sizes, *mode)?)
        }
        Op::Concat { axis } => one(layout::concat(operands, *axis)),
        Op::Gather { axis } => one(indexing::gather(at(0), at(1), *axis)?),
        Op::GatherElements { axis } => one(indexing::gather_elements(at(0), at(1), *axis)?),
        Op::GatherNd { batch } => one(indexing::gather_nd(at(0), at(1), *batch)?),
        Op::ScatterElements { axis, function } => {
            one(indexing::scatter_elements([at(0), at(1), at(2)], *axis, *function)?)
        }
        Op::ScatterNd { function } => one(indexing::scatter_nd([at(0), at(1), at(2)], *function)?),
        Op::TopK { axis, largest, sorted: _, k } => {
            let k = point.size(k)?;
            if k > at(0).dims[*axis] {
                return Err(failure(format!("{k} of {} elements are wanted", at(0).dims[*axis])).into());
            }
            Ok(reduce::top_k(at(0), *axis, *largest, k))
        }
        Op::NonZero {} => Ok(indexing::non_zero(at(0))),
        Op::MatMul {} => one(products::matmul(at(0), at(1))?),
        Op::MatMulInteger {} => one(products::matmul_integer([at(0), at(1), at(2), at(3)])?),
        Op::Conv { strides, before, dilations, input_dilations, groups, dims } => {
            let (before, sizes) = (values(before)?, point.sizes(dims)?);
            let (before, sizes, groups) = (before.as_slice(), sizes.as_slice(), *groups);
            let rule = products::Convolution { strides, before, dilations, input_dilations, groups, sizes };
            one(products::conv(at(0), at(1), operands.get(2).copied(), &rule))
        }
        Op::Pool { function, kernel, strides, before, dilations, dims } => {
            let (before, sizes) = (&values(before)?, &point.sizes(dims)?);
            one(windows::pool(*function, at(0), &windows::Windows { kernel, strides, before, dilations, sizes }))
        }
        Op::Window { kernel, strides, before, dilations, dims } => {
            let (before, sizes) = (&values(before)?, &point.sizes(dims)?);
            let rule = windows::Windows { kernel, strides, before, dilations, sizes };
            one(windows::window(at(0), operands.get(1).copied(), &rule))
        }
        Op::Quantize { to, axis, block } => {
            one(elementwise::quantize(at(0), at(1), operands.get(2).copied(), *to, (*axis, *block)))
        }
        Op::Dequantize { axis, block } => {
            one(elementwise::dequantize(at(0), at(1), operands.get(2).copied(), (*axis, *block)))
        }
        Op::Linear {} => one(products::linear(at(0), at(1), operands.get(2).copied())?),
        Op::RmsNorm { epsilon } => one(fused::rms_norm(at(0), operands.get(1).copied(), epsilon.get())),
        Op::LayerNorm { epsilon } => {
            one(fused::layer_norm(at(0), operands.get(1).copied(), operands.get(2).copied(), epsilon.get()))
        }
        Op::KvAppend {} => one(fused::kv_append([at(0), at(1), at(2)])?),
        Op::Rope { interleaved } => one(fused::rope([at(0), at(1), at(2)], *interleaved)?),
        Op::Attention { scale, causal, window, softcap, bias, lengths, sinks } => {
            let mut rest = operands[3..].iter().copied();
            let mut next = |given: &bool| if *given { rest.next() } else { None };
            let extras = fused::AttentionExtras { bias: next(bias), lengths: next(lengths), sinks: next(sinks) };
            let (scale, softcap) = (scale.get(), softcap.get());
            let rule = fused::AttentionRule { scale, causal: *causal, window: *window, softcap };
            one(fused::attention([at(0), at(1), at(2)], &extras, &rule)?)
        }
        Op::Loop { .. } | Op::While { .. } | Op::If { .. } => {
            unreachable!("ops with bodies are evaluated by `evaluate_node`")
        }
    }
}

/// The largest tensor that the evaluator makes out of nothing.
const MAXIMUM_BYTES: usize = 1 << 36;

fn checked(sizes: Vec<usize>, element: Element) -> Result<Vec<usize>, Failure> {
    let bytes = narae_isa::tensor::element_count(&sizes).and_then(|count| count.checked_mul(element.bytes()));
    match bytes {
        Some(bytes) if bytes <= MAXIMUM_BYTES => Ok(sizes),
        _ => Err(failure(format!("a tensor of {sizes:?} is too large"))),
    }
}

/// The dims of tensors that broadcast against each other.
fn broadcast_sizes(tensors: &[&HostTensor]) -> Result<Vec<usize>, Failure> {
    let mut dims: Cow<[usize]> = Cow::Borrowed(&tensors[0].dims);
    for tensor in &tensors[1..] {
        let joined = recipe::broadcast_sizes(&dims, &tensor.dims);
        dims = Cow::Owned(joined.ok_or_else(|| failure(format!("{dims:?} and {:?} do not broadcast", tensor.dims)))?);
    }
    Ok(dims.into_owned())
}

/// A float tensor from f32 values, each rounded once.
fn f32_tensor(element: Element, dims: &[usize], values: &[f32]) -> HostTensor {
    if element == Element::F32 {
        return HostTensor::from_f32(dims, values);
    }
    let mut out = HostTensor::zeros(element, dims);
    for (bytes, value) in out.bytes.chunks_exact_mut(element.bytes()).zip(values) {
        element.store_f32(*value, Overflow::Wrap, bytes);
    }
    out
}
