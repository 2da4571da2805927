//! What lowering knows about one graph or body: where each value lives, and what its symbols are in the program.
//!
//! In: a graph whose symbols are its own. Out: dims in the program's symbols, views of values. Always holds: a value has
//! a view before any node that uses it is lowered.

use std::collections::BTreeMap;

use cranelift_entity::{EntityRef, SecondaryMap};

use crate::graph::ops::PadMode;
use crate::graph::{Definition, Graph, NodeData, Op};
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};
use crate::tile::View;

/// See the module's description.
pub(super) struct Scope<'g> {
    /// The graph or body.
    pub graph: &'g Graph,
    views: Vec<Option<View>>,
    /// Where a value should be put by the op that makes it, because an output or a table wants it there.
    targets: Vec<Option<View>>,
    symbols: SecondaryMap<Symbol, Option<Dim>>,
    /// Symbols whose value is an element of a value, by the index of the value.
    readers: Vec<Vec<(Symbol, u64)>>,
    /// Program symbols that are set to an extent of a value although inference knows what it is, by the index of the value: axis and symbol.
    claims: Vec<Vec<(usize, Symbol)>>,
    /// How often each value is used, by its index.
    uses: Vec<u32>,
    /// Program symbols that stand for long expressions, and whether they have been set yet.
    names: BTreeMap<Dim, (Symbol, bool)>,
}

/// Longer expressions get a symbol: products of them would be too long to work with.
const LONG: u32 = 8;

impl<'g> Scope<'g> {
    /// An empty scope; `passed` are the program's dims for the symbols that the enclosing op passes in, and `own`
    /// makes a program symbol of each other symbol.
    pub fn new(graph: &'g Graph, passed: &[Dim], own: &mut dyn FnMut(Symbol) -> Dim) -> Scope<'g> {
        let count = graph.value_count();
        let mut scope = Scope {
            graph,
            views: vec![None; count],
            targets: vec![None; count],
            symbols: SecondaryMap::new(),
            readers: vec![Vec::new(); count],
            claims: vec![Vec::new(); count],
            uses: graph.use_counts(),
            names: BTreeMap::new(),
        };
        for (symbol, row) in graph.symbols.iter() {
            if row.replacement.is_some() {
                continue;
            }
            if let SymbolDefinition::Data { value, index } = row.definition {
                scope.readers[value.index()].push((symbol, index));
            }
            scope.symbols[symbol] = Some(match row.definition {
                SymbolDefinition::Passed { index } => {
                    passed.get(index as usize).cloned().expect("a body is given all symbols that it names")
                }
                _ => own(symbol),
            });
        }
        scope
    }

    /// Reads the lengths that the model computes although inference knows what they are, so that this can be checked; `name` makes a
    /// symbol for one of which that is known. In a body, `passed` are the program's dims of what is passed in. The equations that are to
    /// be checked: what is found, and what is known.
    pub fn read_claims(
        &mut self,
        passed: Option<&[Dim]>,
        name: &mut dyn FnMut(&str, &Dim) -> Symbol,
    ) -> Vec<(Dim, Dim)> {
        let mut equations = Vec::new();
        for (symbol, row) in self.graph.symbols.iter() {
            let Some(known) = &row.replacement else { continue };
            let known = self.spelled(known);
            let found = match row.definition {
                SymbolDefinition::Data { value, index } => {
                    let found = name(&row.name, &known);
                    self.symbols[symbol] = Some(found.into());
                    self.readers[value.index()].push((symbol, index));
                    found.into()
                }
                SymbolDefinition::Extent { value, axis } => {
                    let found = name(&row.name, &known);
                    self.claims[value.index()].push((axis as usize, found));
                    found.into()
                }
                SymbolDefinition::Input { input, axis } if passed.is_some() => {
                    let found = name(&row.name, &known);
                    let value = self.graph.inputs()[input as usize].value;
                    self.claims[value.index()].push((axis as usize, found));
                    found.into()
                }
                SymbolDefinition::Passed { index } => {
                    let Some(found) = passed.and_then(|passed| passed.get(index as usize)) else { continue };
                    found.clone()
                }
                // Whoever runs the program finds these by the shapes of its inputs, or nobody does.
                SymbolDefinition::Input { .. } | SymbolDefinition::Undefined => continue,
            };
            equations.push((found, known));
        }
        if passed.is_some() {
            let open = self.graph.symbols.assumptions();
            equations.extend(open.map(|(left, right)| (self.spelled(left), self.spelled(right))));
        }
        equations.retain(|(found, known)| found != known);
        equations
    }

    /// Program symbols to be set to extents of a value, so that what is known of them can be checked: axis and symbol.
    pub fn claims(&self, value: Value) -> &[(usize, Symbol)] {
        &self.claims[value.index()]
    }

    /// Gives names to the long extents of values that the graph computes; `name` makes a symbol for one.
    pub fn name_extents(&mut self, name: &mut dyn FnMut(&Dim) -> Symbol) {
        // Who runs the program finds the symbols of inputs by their extents.
        let inputs: Vec<Dim> = self.graph.inputs().iter().flat_map(|port| self.value_dims(port.value)).collect();
        for (_, value) in self.graph.values() {
            for dim in &value.ty.dims {
                let dim = self.spelled(dim);
                if dim.size() > LONG && !self.names.contains_key(&dim) && !inputs.contains(&dim) {
                    let symbol = name(&dim);
                    self.names.insert(dim, (symbol, false));
                }
            }
        }
    }

    /// The names among the dims of a node that are not set yet, with what they stand for. They count as set from here on.
    pub fn names_to_set(&mut self, node: &NodeData) -> Vec<(Symbol, Dim)> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let mut dims: Vec<Dim> = node.results.iter().flat_map(|&value| self.graph.dims(value)).cloned().collect();
        node.op.visit_dims(&mut |dim| dims.push(dim.clone()));
        let mut found = Vec::new();
        for dim in dims {
            let dim = self.spelled(&dim);
            if let Some((symbol, set)) = self.names.get_mut(&dim)
                && !std::mem::replace(set, true)
            {
                found.push((*symbol, dim));
            }
        }
        found
    }

    /// A dim of this graph in the program's symbols, in full.
    fn spelled(&self, dim: &Dim) -> Dim {
        self.graph.symbols.resolve(dim).substitute(&|symbol| self.symbols[symbol].clone())
    }

    /// A dim of this graph in the program's symbols.
    pub fn dim(&self, dim: &Dim) -> Dim {
        let dim = self.spelled(dim);
        self.names.get(&dim).map_or(dim, |(symbol, _)| (*symbol).into())
    }

    /// Dims of this graph in the program's symbols.
    pub fn dims(&self, dims: &[Dim]) -> Vec<Dim> {
        dims.iter().map(|dim| self.dim(dim)).collect()
    }

    /// The dims of a value in the program's symbols.
    pub fn value_dims(&self, value: Value) -> Vec<Dim> {
        self.dims(self.graph.dims(value))
    }

    /// Whether a value is the new contents of a buffer that is kept between runs.
    pub fn is_state_output(&self, value: Value) -> bool {
        let outputs = self.graph.outputs();
        self.graph.states.iter().any(|state| outputs[state.output].value == value)
    }

    /// Whether the first operand of a node is a buffer of its own that nobody else uses, so that the node may change it.
    pub fn is_made_for(&self, node: &NodeData) -> bool {
        let operand = node.operands[0];
        let made = |(_, data): (_, &NodeData)| matches!(data.op, Op::Pad { mode: PadMode::Constant, .. });
        self.uses[operand.index()] == 1 && self.graph.defining(operand).is_some_and(made)
    }

    /// The program's symbol for one of this graph's own symbols.
    pub fn own(&self, symbol: Symbol) -> Option<Symbol> {
        self.symbols[symbol].as_ref().and_then(Dim::as_symbol)
    }

    /// Symbols whose values are elements of `value`: program symbol and position.
    pub fn readers(&self, value: Value) -> Vec<(Symbol, u64)> {
        let program = |&(symbol, index): &(Symbol, u64)| {
            let dim = self.symbols[symbol].as_ref().expect("every live symbol has a meaning in the program");
            (dim.as_symbol().expect("a symbol that is read at run time stays a symbol"), index)
        };
        self.readers[value.index()].iter().map(program).collect()
    }

    /// Where a value lives.
    pub fn view(&self, value: Value) -> View {
        self.views[value.index()].clone().expect("operands point backwards, so they have been lowered")
    }

    /// Whether a value has been lowered.
    pub fn has_view(&self, value: Value) -> bool {
        self.views[value.index()].is_some()
    }

    /// Says where a value lives.
    pub fn set_view(&mut self, value: Value, view: View) {
        self.views[value.index()] = Some(view);
    }

    /// Where a value should be put, if anybody has a wish.
    pub fn target(&self, value: Value) -> Option<View> {
        self.targets[value.index()].clone()
    }

    /// Wishes that a value be put somewhere. The wish moves on through reshapes and transposes to the op that computes.
    pub fn wish(&mut self, value: Value, view: View) {
        if let Some((_, node)) = self.graph.defining(value) {
            let source = match &node.op {
                Op::Transpose { permutation } => {
                    let mut inverse = vec![0; permutation.len()];
                    permutation.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
                    Some(view.transpose(&inverse))
                }
                Op::Reshape { .. } => view.reshape(&self.value_dims(node.operands[0])),
                Op::KvAppend {} if self.is_made_for(node) => Some(view.clone()),
                _ => None,
            };
            if let Some(source) = source {
                self.wish(node.operands[0], source);
                return;
            }
        }
        let target = &mut self.targets[value.index()];
        if target.is_none() && !matches!(self.graph.definition(value), Definition::Input(_)) {
            *target = Some(view);
        }
    }
}
