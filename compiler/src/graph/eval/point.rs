//! The values of symbols during one evaluation.
//!
//! In: the shapes of the inputs, the dims passed in from outside, and the tensors that define data symbols as they are computed.
//! Out: the value of any dim. A fact that contradicts what is known is a failure that names the symbol.

use narae_isa::{Diagnostic, HostTensor, codes};

use super::{Failure, failure};
use crate::graph::Graph;
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols};

/// The values of a graph's symbols, as far as they are known.
pub struct Point<'a> {
    symbols: &'a Symbols,
    values: Vec<Option<i64>>,
}

impl<'a> Point<'a> {
    /// A point where nothing is known.
    pub fn new(symbols: &'a Symbols) -> Point<'a> {
        Point { symbols, values: vec![None; symbols.len()] }
    }

    fn get(&self, symbol: Symbol) -> Option<i64> {
        let known = self.values[symbol.as_u32() as usize];
        known.or_else(|| self.symbols.data(symbol).replacement.as_ref()?.eval(&|inner| self.get(inner)))
    }

    /// The value of a dim, if its symbols are known.
    pub fn find(&self, dim: &Dim) -> Option<i64> {
        dim.eval(&|symbol| self.get(symbol))
    }

    /// The value of a dim.
    pub fn value(&self, dim: &Dim) -> Result<i64, Failure> {
        self.find(dim).ok_or_else(|| {
            failure(format!("the value of `{}` is not known here, or overflows", dim.display(self.symbols)))
        })
    }

    /// The value of a dim as a size.
    pub fn size(&self, dim: &Dim) -> Result<usize, Failure> {
        let value = self.value(dim)?;
        usize::try_from(value)
            .map_err(|_| failure(format!("the extent `{}` would be {value}", dim.display(self.symbols))))
    }

    /// The values of dims as sizes.
    pub fn sizes(&self, dims: &[Dim]) -> Result<Vec<usize>, Failure> {
        dims.iter().map(|dim| self.size(dim)).collect()
    }

    /// Learns the value of a symbol; bounds are checked.
    pub fn set(&mut self, symbol: Symbol, value: i64) -> Result<(), Diagnostic> {
        let row = self.symbols.data(symbol);
        if let Some(upper) = row.upper.filter(|&upper| value > upper) {
            let message = format!("`{}` is {value}, the maximum is {upper}", row.name);
            return Err(Diagnostic::new(&codes::E0604, message));
        }
        let known = self.get(symbol);
        let low = row.lower.is_some_and(|lower| value < lower);
        if low || known.is_some_and(|known| known != value) {
            let other = known.map_or_else(|| "less than it can be".to_string(), |known| format!("expected {known}"));
            return Err(Diagnostic::new(&codes::E0603, format!("`{}` is {value}, {other}", row.name)));
        }
        self.values[symbol.as_u32() as usize] = Some(value);
        Ok(())
    }

    /// Gives a symbol a new value, whatever it was: what programs do.
    pub fn assign(&mut self, symbol: Symbol, value: i64) {
        self.values[symbol.as_u32() as usize] = Some(value);
    }

    /// Learns what the shapes of the inputs say. Every dim is checked; symbols that stand in an expression are solved for.
    pub fn bind_inputs(&mut self, graph: &Graph, inputs: &[HostTensor]) -> Result<(), Diagnostic> {
        let ports = graph.inputs().iter().zip(inputs);
        self.bind_extents(ports.map(|(port, tensor)| (port.name.as_str(), graph.dims(port.value), tensor)))
    }

    /// The same for inputs that are given by name and dims.
    pub fn bind_extents<'t>(
        &mut self,
        inputs: impl Iterator<Item = (&'t str, &'t [Dim], &'t HostTensor)>,
    ) -> Result<(), Diagnostic> {
        let mut open: Vec<(&str, Dim, i64)> = Vec::new();
        for (name, dims, tensor) in inputs {
            for (dim, &extent) in dims.iter().zip(&tensor.dims) {
                open.push((name, self.symbols.resolve(dim), i64::try_from(extent).unwrap_or(i64::MAX)));
            }
        }
        loop {
            let before = open.len();
            let mut rest = Vec::new();
            for (name, dim, extent) in open {
                let known = dim.substitute(&|symbol| self.get(symbol).map(Dim::from));
                match (known.as_const(), known.solve(extent)) {
                    (Some(value), _) if value == extent => {}
                    (None, Some((symbol, value))) => {
                        self.set(symbol, value).map_err(|problem| problem.note(format!("from input `{name}`")))?;
                    }
                    (None, None) if !dim.symbols().is_empty() => rest.push((name, dim, extent)),
                    _ => {
                        let shown = dim.display(self.symbols).to_string();
                        let message = format!("input `{name}`: an extent is {extent}, expected `{shown}`");
                        let value = known.as_const().map(|value| format!("`{shown}` is {value}"));
                        let problem = Diagnostic::new(&codes::E0603, message);
                        return Err(value.into_iter().fold(problem, Diagnostic::note));
                    }
                }
            }
            if rest.is_empty() || rest.len() == before {
                return Ok(());
            }
            open = rest;
        }
    }

    /// Checks the equations that inference could not solve, as far as they are known.
    pub fn check_assumptions(&self) -> Result<(), Diagnostic> {
        for (left, right) in self.symbols.assumptions() {
            if let (Some(a), Some(b)) = (self.find(left), self.find(right))
                && a != b
            {
                let (left, right) = (left.display(self.symbols), right.display(self.symbols));
                let message = format!("the model needs `{left}` and `{right}` to be equal, but they are {a} and {b}");
                return Err(Diagnostic::new(&codes::E0603, message));
            }
        }
        Ok(())
    }

    /// Learns the dims that the enclosing op passes in.
    pub fn bind_passed(&mut self, passed: &[i64]) -> Result<(), Diagnostic> {
        let symbols = self.symbols;
        for (symbol, row) in symbols.iter() {
            if let SymbolDefinition::Passed { index } = row.definition
                && let Some(&value) = passed.get(index as usize)
            {
                self.set(symbol, value)?;
            }
        }
        Ok(())
    }
}
