//! From a model to a graph.
//!
//! In: an opened [`Model`]. Out: a [`Graph`] whose inputs and outputs are the model's, in which every ONNX op has become graph ops, by
//! its row for its opset. Functions are inlined, conditionals with known conditions are decided. Always holds: all problems
//! of the model come in one report, each at its node; a node whose operands already failed is not reported again;
//! nothing depends on the data of an input.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use narae_isa::{Diagnostic, Diagnostics, codes};
use onnx_protobuf::{FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, SparseTensorProto, TensorProto};

use super::attributes::{Attributes, Bindings, domain, node_name, op_name};
use super::builder::{Builder, Built};
use super::call::Call;
use super::claims::{self, Doubts};
use super::files::ExternalFiles;
use super::inputs::{Place, declare_inputs};
use super::model::Model;
use super::ops;
use super::order::{bodies, order};
use super::outputs::{declare_outputs, note_declarations};
use super::sparse;
use super::tensor::recipe;
use crate::bounds::{Maxima, Shapes};
use crate::graph::names::{Named, Tensor};
use crate::graph::verify::refused;
use crate::graph::{Graph, Origin, Provenance};
use crate::ir::Value;

/// The newest opset of ONNX's own domain whose changes the rows know.
pub const NEWEST_OPSET: i64 = 28;

/// Imports the model.
pub fn import(model: &Model) -> Result<Graph, Diagnostics> {
    import_for(model, &Maxima::default())
}

/// Imports the model; what was said of lengths decides branches and shapes, and which names of dims are believed.
pub fn import_for(model: &Model, said: &Maxima) -> Result<Graph, Diagnostics> {
    finish(trusted(model, said, false))
}

/// Imports the model; the graph says which tensors of the file its values are.
pub fn import_with_names(model: &Model, said: &Maxima) -> Result<Graph, Diagnostics> {
    finish(trusted(model, said, true))
}

/// The graph as far as it goes, with names, and all problems: for reports on a model that cannot be imported.
pub(super) fn attempt(model: &Model) -> (Graph, Vec<Diagnostic>) {
    let said = Maxima::default();
    let importer = trusted(model, &said, true);
    (importer.builder.graph, importer.problems)
}

/// The import that believes as much of the names of dims as neither the inputs that will be given nor the graph contradicts.
fn trusted<'m>(model: &'m Model, said: &'m Maxima, names: bool) -> Importer<'m> {
    let run = |doubts: Doubts| {
        let mut importer = Importer::new(model, said);
        importer.doubts = doubts;
        if names {
            importer.builder.graph.keep_names();
        }
        importer.run();
        importer
    };
    let calls: Vec<Shapes> = said.shapes.iter().chain(&said.given).cloned().collect();
    let doubts = model.message.graph.as_ref().map(|graph| claims::contradicted(graph, &calls)).unwrap_or_default();
    let mut first = run(doubts);
    claims::note(&mut first, "the inputs");
    for doubts in claims::suspects(&first) {
        let mut second = run(doubts);
        if claims::better(&second, &first) {
            claims::note(&mut second, "the nodes");
            return second;
        }
    }
    first
}

fn finish(importer: Importer<'_>) -> Result<Graph, Diagnostics> {
    Diagnostics::check(importer.problems, importer.builder.graph)
}

/// What a name stands for: a value, or the result of a node that could not be imported.
pub(super) type Known = Option<Value>;

/// The names of one graph, function or body.
#[derive(Default)]
pub(super) struct Scope<'m> {
    pub(super) names: HashMap<&'m str, Known>,
    /// Parameters of a function for which its call has no operand.
    pub(super) omitted: BTreeSet<&'m str>,
    /// Whether names of enclosing scopes are hidden.
    pub(super) opaque: bool,
}

/// Opset per domain.
type Opsets<'m> = Rc<BTreeMap<&'m str, i64>>;

/// The state of an import.
pub struct Importer<'m> {
    pub(super) model: &'m Model,
    /// What the user said of lengths.
    pub(super) said: &'m Maxima,
    /// Names of dims that are not believed.
    pub(super) doubts: Doubts,
    /// The named dims of the inputs that are not fixed.
    pub(super) places: Vec<Place<'m>>,
    pub(super) external: ExternalFiles,
    /// The graph under construction.
    pub builder: Builder,
    pub(super) scopes: Vec<Scope<'m>>,
    pub(super) problems: Vec<Diagnostic>,
    /// The parts of sequences, by the values that name them.
    pub(super) sequences: HashMap<Value, Vec<Value>>,
    functions: HashMap<(&'m str, &'m str, &'m str), &'m FunctionProto>,
    opsets: Opsets<'m>,
    bindings: Rc<Bindings<'m>>,
    /// Names of the enclosing function calls, for provenance.
    calls: Vec<String>,
    pub(super) nesting: usize,
    /// Tensors named so far.
    named: u32,
}

impl<'m> Importer<'m> {
    fn new(model: &'m Model, said: &'m Maxima) -> Importer<'m> {
        let sources = model.sources.clone();
        let name = model.message.graph.as_ref().map_or("", |graph| graph.name.as_str());
        let functions =
            model.message.functions.iter().map(|function| {
                ((domain(&function.domain), function.name.as_str(), function.overload.as_str()), function)
            });
        Importer {
            model,
            said,
            doubts: Doubts::new(),
            places: Vec::new(),
            external: ExternalFiles::new(&sources, model.path.as_deref(), model.limits.hard_links),
            builder: Builder {
                graph: Graph::new(name, sources),
                provenance: Provenance::none(),
                refused: RefCell::default(),
            },
            scopes: vec![Scope::default()],
            problems: Vec::new(),
            sequences: HashMap::new(),
            functions: functions.collect(),
            opsets: Rc::new(opsets(&model.message.opset_import)),
            bindings: Rc::default(),
            calls: Vec::new(),
            nesting: 0,
            named: 0,
        }
    }

    fn run(&mut self) {
        self.read();
        self.problems = once_per_file(std::mem::take(&mut self.problems));
    }

    fn read(&mut self) {
        let Some(graph) = self.model.message.graph.as_ref() else {
            self.problems.push(Diagnostic::new(&codes::E0111, "the model has no graph"));
            return;
        };
        if !self.check_opsets() || !self.check_functions() {
            return;
        }
        self.initializers(graph);
        declare_inputs(self, graph);
        self.nodes(&graph.node);
        declare_outputs(self, graph);
        self.builder.graph.resolve_symbols();
        self.look_again();
        note_declarations(self, graph);
    }

    /// What later nodes say of lengths may contradict what an earlier one needs.
    fn look_again(&mut self) {
        let graph = &self.builder.graph;
        if self.problems.is_empty() && graph.symbols.iter().any(|(_, row)| row.replacement.is_some()) {
            self.problems.extend(refused(graph));
        }
    }

    fn check_opsets(&mut self) -> bool {
        let found = self.opsets.get("").copied();
        let needed = self.model.message.graph.node.iter().any(|node| domain(&node.domain).is_empty());
        let problem = match found {
            None if needed => Diagnostic::new(&codes::E0204, "the model does not say which opset of ai.onnx it uses"),
            Some(version) if !(1..=NEWEST_OPSET).contains(&version) => {
                Diagnostic::new(&codes::E0204, format!("opset {version} of ai.onnx; 7 to {NEWEST_OPSET} are known"))
            }
            _ => return true,
        };
        let path = self.model.sources.path(self.model.file).display().to_string();
        self.problems.push(problem.at_file(path));
        false
    }

    /// Refuses functions that call themselves, nest too deep, or would grow to too many nodes, before any is inlined.
    fn check_functions(&mut self) -> bool {
        let path = self.model.sources.path(self.model.file).display().to_string();
        if self.functions.len() != self.model.message.functions.len() {
            self.problems.push(Diagnostic::new(&codes::E0109, "a function is defined twice").at_file(path));
            return false;
        }
        let mut sizes = HashMap::new();
        match self.inlined_size(&self.model.message.graph.node, &mut sizes, 0) {
            Ok(size) if size <= self.model.limits.inlined_nodes => true,
            Ok(_) => {
                let limit = self.model.limits.inlined_nodes;
                let message = format!("more than {limit} nodes once functions are inlined");
                self.problems.push(Diagnostic::new(&codes::E0105, message).at_file(path));
                false
            }
            Err(problem) => {
                self.problems.push(problem);
                false
            }
        }
    }

    /// How many nodes these become when functions are inlined. A function that is being counted has no size yet.
    fn inlined_size(
        &self,
        nodes: &'m [NodeProto],
        sizes: &mut HashMap<*const FunctionProto, Option<usize>>,
        depth: usize,
    ) -> Built<usize> {
        let mut total = 0usize;
        for node in nodes {
            let place = |problem: Diagnostic| problem.at_node(node_name(node), op_name(node));
            let key = (domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
            let mut size = 1;
            if let Some(&function) = self.functions.get(&key) {
                if depth >= self.model.limits.nesting {
                    return Err(place(Diagnostic::new(&codes::E0105, format!("functions nested deeper than {depth}"))));
                }
                size = match sizes.get(&std::ptr::from_ref(function)) {
                    Some(Some(size)) => *size,
                    Some(None) => {
                        let message = format!("function `{}` calls itself", function.name);
                        return Err(place(Diagnostic::new(&codes::E0108, message)));
                    }
                    None => {
                        sizes.insert(function, None);
                        let size = self.inlined_size(&function.node, sizes, depth + 1)?;
                        sizes.insert(function, Some(size));
                        size
                    }
                };
            }
            for body in bodies(node) {
                size = size.saturating_add(self.inlined_size(&body.node, sizes, depth)?);
            }
            total = total.saturating_add(size);
        }
        Ok(total)
    }

    /// Makes constants of the initializers of a graph or body.
    pub(super) fn initializers(&mut self, graph: &'m GraphProto) {
        for tensor in &graph.sparse_initializer {
            self.builder.provenance = Provenance::new(sparse::name(tensor), "initializer");
            let value = self.sparse_constant(tensor);
            self.initializer(sparse::name(tensor), value);
        }
        for tensor in &graph.initializer {
            let value = self.constant(tensor);
            self.initializer(&tensor.name, value);
        }
    }

    fn initializer(&mut self, name: &'m str, value: Built) {
        let value = match value {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problems.push(locate(problem, name, "initializer"));
                None
            }
        };
        self.define(name, value, "initializer");
    }

    /// A constant of a sparse tensor of the file, which is written out.
    pub(super) fn sparse_constant(&mut self, tensor: &SparseTensorProto) -> Built {
        let recipe = sparse::recipe(self.model, &mut self.external, tensor)?;
        self.builder.constant(recipe)
    }

    /// A constant of a tensor of the file.
    pub(super) fn constant(&mut self, tensor: &TensorProto) -> Built {
        let recipe = recipe(self.model, &mut self.external, tensor)?;
        self.builder.provenance = Provenance::new(tensor.name.as_str(), "initializer");
        self.builder.constant(recipe)
    }

    /// Gives a name its meaning, once.
    pub(super) fn define(&mut self, name: &'m str, value: Known, what: &str) {
        let scope = self.scopes.last_mut().expect("there is always a scope");
        if scope.names.insert(name, value).is_some() {
            let message = format!("value `{name}` is defined twice");
            self.problems.push(Diagnostic::new(&codes::E0109, message).at_node(name, what));
        }
    }

    /// What a name stands for here.
    pub(super) fn lookup(&self, name: &str) -> Option<Known> {
        for scope in self.scopes.iter().rev() {
            if let Some(found) = scope.names.get(name) {
                return Some(*found);
            }
            if scope.opaque {
                break;
            }
        }
        None
    }

    /// Whether a name is a parameter for which the call of the function has no operand.
    pub(super) fn is_omitted(&self, name: &str) -> bool {
        self.omitted().any(|omitted| omitted == name)
    }

    /// The parameters in sight for which the call of the function has no operand.
    pub(super) fn omitted(&self) -> impl Iterator<Item = &'m str> {
        let outermost = self.scopes.iter().rposition(|scope| scope.opaque).unwrap_or(0);
        self.scopes[outermost..].iter().flat_map(|scope| scope.omitted.iter().copied())
    }

    /// Imports nodes in an order in which each comes after what it uses.
    pub(super) fn nodes(&mut self, nodes: &'m [NodeProto]) {
        match order(nodes) {
            Ok(order) => order.into_iter().for_each(|number| self.node(&nodes[number])),
            Err(found) => {
                self.problems.extend(found);
                nodes.iter().for_each(|node| self.outputs(node, None));
            }
        }
    }

    fn node(&mut self, node: &'m NodeProto) {
        let name = match self.calls.last() {
            Some(call) => format!("{call}/{}", node_name(node)),
            None => node_name(node).to_string(),
        };
        let results = match self.build(node, &name) {
            Ok(results) => results,
            Err(problem) => {
                let problem = locate(problem, &name, &op_name(node));
                let problem = match self.opset(domain(&node.domain)) {
                    Some(version) if problem.code.id.starts_with("E02") => problem.note(format!("opset {version}")),
                    _ => problem,
                };
                self.problems.push(problem);
                None
            }
        };
        self.outputs(node, results.as_deref());
        if self.builder.graph.keeps_names() {
            self.name_tensors(node, &name, results.as_deref().unwrap_or_default());
        }
    }

    /// Says which tensors of the file the results of a node are.
    fn name_tensors(&mut self, node: &NodeProto, name: &str, results: &[Value]) {
        let origin = Origin { name: name.to_string(), op: op_name(node) };
        let prefix = self.calls.last().map(|call| format!("{call}/")).unwrap_or_default();
        for (output, &value) in node.output.iter().zip(results).filter(|(output, _)| !output.is_empty()) {
            let tensor = Tensor { number: self.named, name: format!("{prefix}{output}"), node: origin.clone() };
            self.named += 1;
            self.builder.graph.name(value, Named { tensor: Arc::new(tensor), iteration: None });
        }
    }

    /// Names the results; without any, the outputs are known to have failed.
    fn outputs(&mut self, node: &'m NodeProto, results: Option<&[Value]>) {
        for (index, output) in node.output.iter().enumerate().filter(|(_, output)| !output.is_empty()) {
            let value = results.and_then(|results| results.get(index)).copied();
            if results.is_some() && value.is_none() {
                let message = format!("output {index} (`{output}`) of this operator is not supported");
                self.problems.push(Diagnostic::new(&codes::E0202, message).at_node(node_name(node), op_name(node)));
            }
            self.define(output, value, &node.op_type);
        }
    }

    /// `None` if an operand already failed.
    fn build(&mut self, node: &'m NodeProto, name: &str) -> Built<Option<Vec<Value>>> {
        let attributes = Attributes::new(node, &self.bindings);
        let key = (domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
        let function = self.functions.get(&key).copied();
        let opset = self.opset(key.0);
        let row = if function.is_none() { Some(ops::find(key.0, key.1, opset)?) } else { None };
        let mut inputs = Vec::with_capacity(node.input.len());
        let mut failed = false;
        for input in &node.input {
            inputs.push(match input.as_str() {
                "" => None,
                input if self.is_omitted(input) => None,
                input => match self.lookup(input) {
                    Some(Some(value)) => Some(value),
                    Some(None) => {
                        failed = true;
                        None
                    }
                    None => return Err(undefined(input, "an operand")),
                },
            });
        }
        if failed {
            return Ok(None);
        }
        if let Some(function) = function {
            return self.call(function, name, &attributes, &inputs);
        }
        let sequence = |value: &Known| value.is_some_and(|value| self.sequences.contains_key(&value));
        if inputs.iter().any(sequence) && !ops::sequence::takes_sequences(&node.op_type) {
            return Err(no_sequence("a Sequence is an operand of this operator"));
        }
        self.builder.provenance = Provenance::new(name, op_name(node));
        let outputs = node.output.iter().map(|output| !output.is_empty()).collect();
        let Some(row) = row else { return Ok(None) };
        ops::ranks::check(&self.builder, key.0, key.1, &inputs)?;
        let mut call = Call { importer: self, attributes, inputs, outputs, opset: opset.unwrap_or(1) };
        let built = (row.build)(&mut call);
        // What a row did with an axis that is not there means nothing, whether it failed for that or went on.
        if let Some(problem) = call.refused.take() {
            return Err(problem);
        }
        let results = built?;
        match call.attributes.unread().as_slice() {
            [] => Ok(Some(results)),
            unread => {
                let message = format!("attribute `{}` of this operator is not known", unread.join("`, `"));
                Err(Diagnostic::new(&codes::E0202, message))
            }
        }
    }

    /// The opset of a domain that is in force.
    fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.get(domain).copied()
    }

    /// Inlines a function.
    fn call(
        &mut self,
        function: &'m FunctionProto,
        name: &str,
        attributes: &Attributes<'m>,
        inputs: &[Known],
    ) -> Built<Option<Vec<Value>>> {
        let mut scope = Scope { opaque: true, ..Scope::default() };
        for (index, parameter) in function.input.iter().enumerate() {
            match inputs.get(index).copied().flatten() {
                Some(value) => drop(scope.names.insert(parameter, Some(value))),
                None => drop(scope.omitted.insert(parameter)),
            }
        }
        let mut bindings: Bindings =
            function.attribute_proto.iter().map(|value| (value.name.as_str(), value)).collect();
        bindings.extend(attributes.bindings());
        let mut inner = opsets(&function.opset_import);
        self.opsets.iter().for_each(|(&domain, &version)| {
            inner.entry(domain).or_insert(version);
        });
        let opsets = std::mem::replace(&mut self.opsets, Rc::new(inner));
        let bindings = std::mem::replace(&mut self.bindings, Rc::new(bindings));
        self.calls.push(name.to_string());
        self.nesting += 1;
        self.scopes.push(scope);
        let before = self.problems.len();
        self.nodes(&function.node);
        let results: Vec<Option<Known>> = function.output.iter().map(|output| self.lookup(output)).collect();
        self.scopes.pop();
        self.nesting -= 1;
        self.calls.pop();
        self.bindings = bindings;
        self.opsets = opsets;
        if let Some(missing) = results.iter().position(Option::is_none)
            && self.problems.len() == before
        {
            return Err(undefined(&function.output[missing], "an output of the function"));
        }
        Ok(results.into_iter().map(Option::flatten).collect())
    }
}

pub(super) fn no_sequence(message: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0203, message).note("sequences do not exist on the chip")
}

fn opsets(list: &[OperatorSetIdProto]) -> BTreeMap<&str, i64> {
    list.iter().map(|set| (domain(&set.domain), set.version)).collect()
}

pub(super) fn undefined(name: &str, what: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0108, format!("`{name}`, {what}, is not defined by any node, input or initializer"))
}

/// The problem at this node, unless it already names a place.
fn locate(problem: Diagnostic, name: &str, op: &str) -> Diagnostic {
    if problem.place.is_some() { problem } else { problem.at_node(name, op) }
}

/// A file that cannot be opened is one problem, however many tensors lie in it.
fn once_per_file(problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut found: Vec<(Diagnostic, usize)> = Vec::new();
    for problem in problems {
        let is_file = [codes::E0106.id, codes::E0107.id, codes::E0114.id].contains(&problem.code.id);
        let same = |(other, _): &&mut (Diagnostic, usize)| {
            is_file && (other.code.id, &other.message) == (problem.code.id, &problem.message)
        };
        match found.iter_mut().find(same) {
            Some((_, more)) => *more += 1,
            None => found.push((problem, 0)),
        }
    }
    let said = |(problem, more): (Diagnostic, usize)| match more {
        0 => problem,
        more => problem.note(format!("{more} more tensors lie in the same file")),
    };
    found.into_iter().map(said).collect()
}
