//! Graph to tile: every graph op becomes instructions over views.
//!
//! In: a verified graph, the bounds of its symbols. Out: a [`Program`] in which inputs, outputs and constants have their
//! place and everything else is scratch. Layout ops cost nothing where a view can say them; the others become copies. A
//! `loop` of alike layers becomes one loop over tables of buffers: its body is lowered once.
//!
//! One file per family of ops: `elementwise`, `layout`, `reduction`, `indexing`, `matrix`, `windows`, `control`.

mod control;
mod elementwise;
mod experts;
mod indexing;
mod layout;
mod matrix;
mod reduction;
mod scope;
mod stateful;
mod windows;

use std::collections::BTreeMap;

use narae_isa::instructions::Inst;
use narae_isa::operand::{DescriptorRegister, ScalarRegister};
use narae_isa::{Diagnostic, Diagnostics, Element, codes};

use self::scope::Scope;
use crate::compress::Recipe;
use crate::graph::{Graph, NodeData, Op as GraphOp};
use crate::ir::{Dim, Symbol, Value};
use crate::tile::{Buffer, BufferData, Cause, Compute, Home, Op, PAGE_TOKENS, Program, View};

/// The result of lowering one op.
type Lowered = Result<(), Diagnostic>;

/// The greatest rank of a view in an instruction.
pub const MAXIMUM_RANK: usize = 8;

/// Lowers one graph to the program of one entry. All problems at once.
pub fn lower(graph: &Graph, name: &str) -> Result<Program, Diagnostics> {
    let program = Program { name: name.to_string(), symbols: graph.symbols.clone(), ..Program::default() };
    let mut lowering =
        Lowering { program, block: Vec::new(), constants: BTreeMap::new(), broken: None, cause: Cause::default() };
    let mut scope = Scope::new(graph, &[], &mut |symbol| symbol.into());
    lowering.name_extents(&mut scope, true);
    let symbols = &mut lowering.program.symbols;
    let claims = scope.read_claims(None, &mut |name, _| found(symbols, name));
    claims.iter().for_each(|(found, known)| symbols.assume(found, known));
    let mut problems = lowering.entry(&mut scope);
    problems.dedup();
    if let Some(symbol) = lowering.broken {
        lowering.block.insert(0, Op::Let { symbol, value: Dim::ZERO });
        lowering.program.symbols.assume(&symbol.into(), &Dim::ZERO);
    }
    lowering.program.body = lowering.block;
    Diagnostics::check(problems, lowering.program)
}

/// A program symbol for a length that is looked at only to be checked.
fn found(symbols: &mut crate::ir::Symbols, name: &str) -> Symbol {
    symbols.add_bounded(name, crate::ir::SymbolDefinition::Undefined, Some(0), None)
}

/// The state of lowering: the program so far and the block that ops are appended to.
struct Lowering {
    program: Program,
    block: Vec<Op>,
    constants: BTreeMap<Recipe, Buffer>,
    /// By how much lengths differ at most that bodies take to be equal; once there is one.
    broken: Option<Symbol>,
    cause: Cause,
}

/// Descriptor field number `index` of a template.
pub(crate) const fn d(index: u8) -> DescriptorRegister {
    match DescriptorRegister::new(index) {
        Some(register) => register,
        None => panic!("templates have few operands"),
    }
}

/// Scalar field number `index` of a template.
pub(crate) const fn r(index: u8) -> ScalarRegister {
    match ScalarRegister::new(index) {
        Some(register) => register,
        None => panic!("templates have few scalars"),
    }
}

impl Lowering {
    /// Lowers a whole graph with its inputs and outputs.
    fn entry(&mut self, scope: &mut Scope<'_>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let graph = scope.graph;
        for (index, port) in graph.inputs().iter().enumerate() {
            if let Some(state) = graph.states.iter().find(|state| state.input == index) {
                match self.state(scope, port.value, &state.name) {
                    Ok(view) => scope.set_view(port.value, view),
                    Err(problem) => problems.push(problem),
                }
                continue;
            }
            let dims = scope.value_dims(port.value);
            match self.allocate(graph.element(port.value), &dims, Home::Input(index), &port.name) {
                Ok(view) => scope.set_view(port.value, view),
                Err(problem) => problems.push(problem),
            }
        }
        let mut outputs = Vec::new();
        for (index, port) in graph.outputs().iter().enumerate() {
            if graph.states.iter().any(|state| state.output == index) {
                continue; // updated in place
            }
            let dims = scope.value_dims(port.value);
            match self.allocate(graph.element(port.value), &dims, Home::Output(index), &port.name) {
                Ok(view) => outputs.push((port.value, view)),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return problems;
        }
        outputs.iter().for_each(|(value, view)| scope.wish(*value, view.clone()));
        for port in graph.inputs() {
            self.read_symbols(scope, port.value);
        }
        problems.extend(self.nodes(scope));
        if problems.is_empty() {
            for (value, view) in outputs {
                self.deliver(scope, value, view);
            }
        }
        problems
    }

    /// Lowers all nodes of a graph or body in order.
    fn nodes(&mut self, scope: &mut Scope<'_>) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let graph = scope.graph;
        let skipped = experts::skipped(graph);
        for (_, node) in graph.nodes() {
            if node.results.iter().any(|value| skipped.contains(value)) {
                continue; // the products with experts read the constant itself
            }
            if node.operands.iter().any(|&operand| !scope.has_view(operand) && !skipped.contains(&operand)) {
                continue; // follows from a problem that was reported
            }
            let result = node.results.first().map_or(String::new(), |value| value.to_string());
            let graph_op = format!("{result} = {}", node.op.name()).into();
            self.cause = Cause { provenance: node.provenance.clone(), graph_op };
            let names = scope.names_to_set(node).into_iter();
            self.block.extend(names.map(|(symbol, value)| Op::Let { symbol, value }));
            match self.node(scope, node) {
                Ok(()) => node.results.iter().for_each(|&value| {
                    self.read_symbols(scope, value);
                    self.holds(scope, value);
                }),
                Err(problem) => problems.push(node.provenance.locate(problem)),
            }
        }
        problems
    }

    /// Says which tensors of the model the view of a value holds from here on.
    fn holds(&mut self, scope: &Scope<'_>, value: Value) {
        let tensors = scope.graph.names(value);
        if !tensors.is_empty() {
            self.block.push(Op::Holds { view: scope.view(value), tensors: tensors.to_vec() });
        }
    }

    /// The pages of a KV cache.
    fn state(&mut self, scope: &Scope<'_>, value: Value, name: &str) -> Result<View, Diagnostic> {
        let dims = scope.value_dims(value);
        let element = scope.graph.element(value);
        let pages = self.upper_bound(&dims[2], name)?.div_ceil(PAGE_TOKENS as u64);
        let mut room = dims.clone();
        room[2] = Dim::from(i64::try_from(pages * PAGE_TOKENS as u64).unwrap_or(i64::MAX));
        let dense = self.allocate(element, &room, Home::State(name.to_string()), name)?;
        Ok(View::paged(dense.buffer, element, &dims))
    }

    /// Puts a value where an output or a table wants it, unless it was made there.
    fn deliver(&mut self, scope: &Scope<'_>, value: Value, to: View) {
        let from = scope.view(value);
        if from != to {
            self.copy(to, from);
        }
    }

    /// A new buffer of these dims; its capacity follows from the bounds of the symbols.
    fn allocate(&mut self, element: Element, dims: &[Dim], home: Home, name: &str) -> Result<View, Diagnostic> {
        // Every dim has a bound of its own: it is a length of loops and moves.
        let extents = dims.iter().map(|dim| self.upper_bound(dim, name)).collect::<Result<Vec<u64>, _>>()?;
        let count = extents.iter().try_fold(1u64, |count, &extent| count.checked_mul(extent));
        // Whoever fills or reads a port looks at the bounds of each length alone.
        let port = matches!(home, Home::Input(_) | Home::Output(_));
        let assumed = if port { None } else { self.program.symbols.greatest_product(dims) };
        let assumed = assumed.and_then(|count| u64::try_from(count).ok());
        let count = [count, assumed].into_iter().flatten().min();
        let bytes = count.and_then(|count| count.checked_mul(element.bytes() as u64));
        let capacity = bytes.filter(|&bytes| bytes < 1 << 50).ok_or_else(|| {
            Diagnostic::new(&codes::E0402, format!("`{name}` may need more than {} TiB", 1 << 10))
                .tensor(name)
                .help("lower the maxima of the dynamic dims with --max or --max-…")
        })?;
        if Dim::product(dims.iter().skip(1)).is_invalid() {
            return Err(Diagnostic::new(&codes::E0403, format!("the dims of `{name}` are too complicated")));
        }
        let data = BufferData { home, capacity, element, dims: dims.to_vec(), name: name.to_string() };
        let buffer = self.program.buffers.push(data);
        Ok(View::dense(buffer, element, dims))
    }

    fn upper_bound(&self, dim: &Dim, name: &str) -> Result<u64, Diagnostic> {
        let (_, upper) = dim.bounds(&self.program.symbols);
        upper.map(|bound| u64::try_from(bound).unwrap_or(0)).ok_or_else(|| {
            let free: Vec<&str> = dim
                .symbols()
                .into_iter()
                .filter(|&symbol| self.program.symbols.data(symbol).upper.is_none())
                .map(|symbol| self.program.symbols.name(symbol))
                .collect();
            let dim: String = dim.display(&self.program.symbols).to_string().chars().take(200).collect();
            let free = free.first().unwrap_or(&"NAME");
            Diagnostic::new(&codes::E0302, format!("the dim `{dim}` of `{name}` has no maximum"))
                .tensor(name)
                .dim(*free)
                .help(format!("give a maximum, for example --max {free}=128, or --max '*=64' for all that have none"))
        })
    }

    /// Working memory for a tensor.
    fn scratch(&mut self, element: Element, dims: &[Dim]) -> Result<View, Diagnostic> {
        let name = match self.cause.provenance.origins() {
            [] => String::from("scratch"),
            [origin, ..] => origin.name.clone(),
        };
        self.allocate(element, dims, Home::Scratch, &name)
    }

    /// Where the result of an op goes: to where it is wanted, else to new working memory.
    fn result(&mut self, scope: &mut Scope<'_>, value: Value) -> Result<View, Diagnostic> {
        let view = match scope.target(value) {
            Some(view) => view,
            None => self.scratch(scope.graph.element(value), &scope.value_dims(value))?,
        };
        scope.set_view(value, view.clone());
        Ok(view)
    }

    /// Appends an instruction.
    fn compute(&mut self, inst: impl Into<Inst>, views: Vec<View>, scalars: Vec<Dim>) -> Lowered {
        if let Some(view) = views.iter().find(|view| view.rank() > MAXIMUM_RANK) {
            let message =
                format!("a tensor of rank {} is beyond the {MAXIMUM_RANK} axes of an instruction", view.rank());
            return Err(Diagnostic::new(&codes::E0403, message));
        }
        let cause = self.cause.clone();
        self.block.push(Op::Compute(Compute { inst: inst.into(), views, scalars, parameters: None, cause }));
        Ok(())
    }

    /// Appends a copy.
    fn copy(&mut self, to: View, from: View) {
        self.block.push(Op::Copy { to, from, cause: self.cause.clone() });
    }

    /// Sets the symbols whose values are elements of a value.
    fn read_symbols(&mut self, scope: &Scope<'_>, value: Value) {
        for (symbol, index) in scope.readers(value) {
            let view = scope.view(value);
            let from = match view.reshape(&[view.len()]) {
                Some(flat) => flat.select(0, &Dim::from(i64::try_from(index).unwrap_or(i64::MAX))),
                None => element(&view, index),
            };
            self.block.push(Op::Read { symbol, from });
        }
    }

    /// The view of a value, dense: itself, or a copy.
    fn dense(&mut self, view: View) -> Result<View, Diagnostic> {
        if view.is_dense() {
            return Ok(view);
        }
        let copy = self.scratch(view.element, &view.dims)?;
        self.copy(copy.clone(), view);
        Ok(copy)
    }

    /// A view under other dims: the same bytes where strides can say it, else a copy.
    fn reshaped(&mut self, view: &View, dims: &[Dim]) -> Result<View, Diagnostic> {
        if let Some(reshaped) = view.reshape(dims) {
            return Ok(reshaped);
        }
        let dense = self.dense(view.clone())?;
        Ok(dense.reshape(dims).expect("a dense view takes any dims of equal product"))
    }

    /// A view repeated to these dims, as numpy does. An extent that is 1 or 0, whatever its expression, is repeated like 1: that it
    /// is not 0 was assumed (see inference) and is checked when the program runs.
    fn repeated(&self, view: &View, dims: &[Dim]) -> View {
        let most = |dim: &Dim| dim.bounds(&self.program.symbols).1;
        let mut view = view.clone();
        let new = dims.len() - view.rank();
        for (own, wide) in view.dims.iter_mut().zip(&dims[new..]) {
            if own != wide && most(own) == Some(1) && most(wide).is_none_or(|most| most > 1) {
                *own = Dim::ONE;
            }
        }
        view.broadcast(dims)
    }

    /// A known tensor as bytes of the image. Equal recipes share their bytes.
    fn constant(&mut self, recipe: &Recipe) -> View {
        let dims: Vec<Dim> = recipe.dims().iter().map(|&dim| Dim::from(dim)).collect();
        let element = recipe.element();
        let provenance = &self.cause.provenance;
        let program = &mut self.program;
        let buffer = *self.constants.entry(recipe.clone()).or_insert_with(|| {
            let name = provenance.origins().first().map_or(String::from("constant"), |origin| origin.name.clone());
            let home = Home::Constant(recipe.clone());
            program.buffers.push(BufferData {
                home,
                capacity: recipe.bytes() as u64,
                element,
                dims: dims.clone(),
                name,
            })
        });
        View::dense(buffer, element, &dims)
    }

    /// Lowers one node: sets the views of its results.
    fn node(&mut self, scope: &mut Scope<'_>, node: &NodeData) -> Lowered {
        match &node.op {
            GraphOp::Constant { .. }
            | GraphOp::Dims { .. }
            | GraphOp::Transpose { .. }
            | GraphOp::Reshape { .. }
            | GraphOp::Broadcast { .. }
            | GraphOp::Slice { .. }
            | GraphOp::Pad { .. }
            | GraphOp::Concat { .. } => self.layout(scope, node),
            GraphOp::Iota { .. }
            | GraphOp::Unary { .. }
            | GraphOp::Binary { .. }
            | GraphOp::Compare { .. }
            | GraphOp::Select {}
            | GraphOp::Convert { .. }
            | GraphOp::Bits { .. }
            | GraphOp::Quantize { .. }
            | GraphOp::Dequantize { .. } => self.elementwise(scope, node),
            GraphOp::Reduce { .. }
            | GraphOp::ArgReduce { .. }
            | GraphOp::Cumulate { .. }
            | GraphOp::Softmax { .. }
            | GraphOp::RmsNorm { .. }
            | GraphOp::LayerNorm { .. }
            | GraphOp::Rope { .. } => self.reduction(scope, node),
            GraphOp::Gather { .. }
            | GraphOp::GatherElements { .. }
            | GraphOp::GatherNd { .. }
            | GraphOp::ScatterElements { .. }
            | GraphOp::ScatterNd { .. }
            | GraphOp::TopK { .. }
            | GraphOp::NonZero {} => self.indexing(scope, node),
            GraphOp::MatMul {}
            | GraphOp::MatMulInteger {}
            | GraphOp::Linear {}
            | GraphOp::Attention { .. }
            | GraphOp::KvAppend {} => self.matrix(scope, node),
            GraphOp::Conv { .. } | GraphOp::Pool { .. } | GraphOp::Window { .. } => self.windows(scope, node),
            GraphOp::Loop { .. } | GraphOp::While { .. } | GraphOp::If { .. } => self.control(scope, node),
        }
    }

    /// The scope of a body: its symbols become symbols of the program.
    fn body_scope<'g>(&mut self, body: &'g Graph, passed: &[Dim]) -> Scope<'g> {
        let mut scope = Scope::new(body, passed, &mut |symbol| self.own_symbol(body, symbol).into());
        self.name_extents(&mut scope, false);
        scope
    }

    /// Long extents become symbols that the program sets where they come to be. What is `always` set equals its extent in every run; a
    /// body, a branch for one, may not be run, and then its symbols mean nothing.
    fn name_extents(&mut self, scope: &mut Scope<'_>, always: bool) {
        let symbols = &mut self.program.symbols;
        scope.name_extents(&mut |dim| {
            let (lower, upper) = dim.bounds(symbols);
            let symbol = symbols.add_bounded("length", crate::ir::SymbolDefinition::Undefined, lower, upper);
            symbols.bound(symbol, Some(0), None);
            if always {
                symbols.assume(&symbol.into(), dim);
            }
            symbol
        });
    }

    /// The equations that a body takes for granted. They hold where it is run, so they are checked there: see [`Lowering::check`].
    fn claims(&mut self, inner: &mut Scope<'_>, passed: &[Dim]) -> Vec<(Dim, Dim)> {
        let symbols = &mut self.program.symbols;
        inner.read_claims(Some(passed), &mut |name, _| found(symbols, name))
    }

    /// Writes down by how much the sides of equations differ, behind what computes them; the runtime refuses a run that found a difference.
    fn check(&mut self, equations: Vec<(Dim, Dim)>) {
        for (left, right) in equations {
            if (&left - &right).is_invalid() {
                continue;
            }
            let add = || found(&mut self.program.symbols, "broken_assumption");
            let symbol = *self.broken.get_or_insert_with(add);
            let apart = (&left - &right).maximum(&(&right - &left));
            self.block.push(Op::Let { symbol, value: Dim::from(symbol).maximum(&apart) });
        }
    }

    /// A program symbol for a symbol of a body that is read at run time.
    fn own_symbol(&mut self, body: &Graph, symbol: Symbol) -> Symbol {
        let row = body.symbols.data(symbol);
        self.program.symbols.add_bounded(&row.name, crate::ir::SymbolDefinition::Undefined, row.lower, row.upper)
    }
}

/// The element of a view with this row-major position; its inner extents are known.
fn element(view: &View, index: u64) -> View {
    let sizes: Vec<usize> = view.dims.iter().map(|dim| dim.as_size().unwrap_or(1)).collect();
    let mut rest = usize::try_from(index).unwrap_or(usize::MAX);
    let mut at = vec![0; sizes.len()];
    for (place, &size) in at.iter_mut().zip(&sizes).rev() {
        *place = rest % size.max(1);
        rest /= size.max(1);
    }
    at.into_iter().fold(view.clone(), |view, at| view.select(0, &at.into()))
}
