//! The table of symbols: names, what defines each, bounds, and what was learnt about them.
//!
//! Exporters declare the same length under several names, so equality of dims is *lenient*: when an operation needs two
//! dims to be equal, [`Symbols::unify`] solves the equation for a symbol where it can and remembers the substitution and a note
//! for the user; where it cannot, the equation is an assumption that is checked when the program runs. Only equations without
//! any solution are errors. Substitutions never form a cycle; [`Symbols::resolve`] applies them all.

use cranelift_entity::{EntityRef, PrimaryMap};
use std::collections::{BTreeMap, BTreeSet};

use super::dim::Extremes;
use super::interval::{self, Interval};
use super::polynomial::{Atom, Polynomial};
use super::{Dim, Symbol, Value};

/// What gives a symbol its value when the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymbolDefinition {
    /// The extent of axis `axis` of graph input number `input`.
    Input {
        /// Position in the graph's list of inputs.
        input: u32,
        /// Axis of that input.
        axis: u32,
    },
    /// Element number `index`, row-major, of an integer tensor of the graph.
    Data {
        /// The integer tensor.
        value: Value,
        /// Row-major position of the element.
        index: u64,
    },
    /// The extent of axis `axis` of a tensor whose dims are only known once it was computed.
    Extent {
        /// The tensor.
        value: Value,
        /// Its axis.
        axis: u32,
    },
    /// In the body of a loop or conditional: number `index` of the dims that the enclosing op passes in.
    Passed {
        /// Position in the enclosing op's `symbols`.
        index: u32,
    },
    /// Nothing yet. A graph that still uses such a symbol fails verification.
    Undefined,
}

/// One row of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct SymbolData {
    /// Unique in its table; an identifier.
    pub name: String,
    /// Where the value comes from.
    pub definition: SymbolDefinition,
    /// The least value, if limited.
    pub lower: Option<i64>,
    /// The greatest value, if limited.
    pub upper: Option<i64>,
    /// What the symbol turned out to be, in other symbols.
    pub replacement: Option<Dim>,
    /// What it is in the calls that will be made, where they agree.
    pub given: Option<i64>,
}

/// Two dims that must be equal and cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// One side, resolved.
    pub left: Dim,
    /// The other side, resolved.
    pub right: Dim,
}

/// The table of the symbols of one graph.
#[derive(Clone, Default, Debug)]
pub struct Symbols {
    table: PrimaryMap<Symbol, SymbolData>,
    by_name: BTreeMap<String, Symbol>,
    /// Equations that hold if the model is right, but could not be solved for a symbol.
    assumptions: BTreeSet<(Dim, Dim)>,
    /// Sentences for the user: which names turned out equal.
    notes: Vec<String>,
    replaced: usize,
}

impl Symbols {
    /// A new symbol for an extent: never negative. The name is made an identifier and unique.
    pub fn add(&mut self, name: &str, definition: SymbolDefinition) -> Symbol {
        self.add_bounded(name, definition, Some(0), None)
    }

    /// A new symbol with bounds.
    pub fn add_bounded(
        &mut self,
        name: &str,
        definition: SymbolDefinition,
        lower: Option<i64>,
        upper: Option<i64>,
    ) -> Symbol {
        let name = self.unique_name(name);
        let symbol = self.table.push(SymbolData {
            name: name.clone(),
            definition,
            lower,
            upper,
            replacement: None,
            given: None,
        });
        self.by_name.insert(name, symbol);
        symbol
    }

    fn unique_name(&self, name: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' };
        let mut base: String = name.chars().map(word).collect();
        if !base.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            base.insert(0, '_');
        }
        if !self.by_name.contains_key(&base) {
            return base;
        }
        // The table's length only grows, so the first try is nearly always free.
        let numbers = self.table.len()..;
        let free = numbers.map(|number| format!("{base}_{number}")).find(|name| !self.by_name.contains_key(name));
        free.unwrap_or(base)
    }

    /// The symbol of a name.
    pub fn find(&self, name: &str) -> Option<Symbol> {
        self.by_name.get(name).copied()
    }

    /// The name of a symbol.
    pub fn name(&self, symbol: Symbol) -> &str {
        &self.table[symbol].name
    }

    /// The row of a symbol.
    pub fn data(&self, symbol: Symbol) -> &SymbolData {
        &self.table[symbol]
    }

    /// Whether the symbol belongs to this table.
    pub fn contains(&self, symbol: Symbol) -> bool {
        self.table.is_valid(symbol)
    }

    /// Number of symbols, replaced ones included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no symbols.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All symbols in the order of their creation.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &SymbolData)> {
        self.table.iter()
    }

    /// Sets what defines a symbol.
    pub fn define(&mut self, symbol: Symbol, definition: SymbolDefinition) {
        self.table[symbol].definition = definition;
    }

    /// Narrows the bounds of a symbol.
    pub fn bound(&mut self, symbol: Symbol, lower: Option<i64>, upper: Option<i64>) {
        let row = &mut self.table[symbol];
        row.lower = [row.lower, lower].into_iter().flatten().max();
        row.upper = [row.upper, upper].into_iter().flatten().min();
    }

    /// Says what a symbol is in the calls that will be made: it decides nothing but what only a run could tell.
    pub fn give(&mut self, symbol: Symbol, value: i64) {
        self.table[symbol].given = Some(value);
    }

    /// What a dim is in the calls that will be made, if they say so.
    pub fn given(&self, dim: &Dim) -> Option<i64> {
        self.resolve(dim).eval(&|symbol| self.table[symbol].given)
    }

    /// Learns that a dim is never negative in a run that makes sense: a lower bound for the length of an input that it depends on. The
    /// runtime refuses shorter inputs.
    pub fn learn_not_negative(&mut self, dim: &Dim) {
        let dim = self.resolve(dim);
        let Some(polynomial) = dim.polynomial().map(|found| found.into_owned()) else { return };
        let constant = polynomial.constant_term();
        let rest: Vec<_> = polynomial.terms.iter().filter(|(monomial, _)| !monomial.is_empty()).collect();
        let [(monomial, coefficient)] = rest.as_slice() else { return };
        let [(atom, 1)] = monomial.as_slice() else { return };
        let Some(below) = super::dim::floor_div(constant, *coefficient).filter(|_| *coefficient > 0) else { return };
        // atom >= -constant / coefficient, rounded up.
        let least = &Dim::ZERO - &Dim::from(below);
        match atom {
            Atom::Symbol(symbol) if matches!(self.table[*symbol].definition, SymbolDefinition::Input { .. }) => {
                self.bound(*symbol, least.as_const(), None);
            }
            Atom::FloorDiv(a, n) if n.as_const().is_some_and(|n| n > 0) => {
                self.learn_not_negative(&(a - &(n * &least)))
            }
            Atom::Min(a, b) => {
                self.learn_not_negative(&(a - &least));
                self.learn_not_negative(&(b - &least));
            }
            Atom::Symbol(_) | Atom::FloorDiv(..) | Atom::Mod(..) | Atom::Max(..) => {}
        }
    }

    /// What was learnt, in sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Tells the user something about lengths.
    pub fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }

    /// Equations that must hold at run time and could not be solved.
    pub fn assumptions(&self) -> impl Iterator<Item = &(Dim, Dim)> {
        self.assumptions.iter()
    }

    /// Equations that cannot hold within the bounds.
    pub fn contradictions(&self) -> impl Iterator<Item = &(Dim, Dim)> {
        self.assumptions.iter().filter(|(left, right)| self.never_equal(left, right))
    }

    /// Adds an equation that is checked when the program runs.
    pub fn assume(&mut self, left: &Dim, right: &Dim) {
        self.assumptions.insert((left.clone(), right.clone()));
    }

    /// Adds that a dim is at least another one, unless that is known.
    pub fn assume_at_least(&mut self, dim: &Dim, least: &Dim) {
        if self.compare(least, dim) != Some(true) {
            let missing = self.minimum(&(dim - least), &Dim::ZERO);
            self.assume(&missing, &Dim::ZERO);
        }
    }

    /// From which value on a dim is known: 0 if inputs decide it, no value if a symbol of it is not defined yet.
    fn known_from(&self, dim: &Dim) -> usize {
        let mut last = 0;
        dim.any_symbol(&mut |symbol| {
            let from = match self.table[symbol].definition {
                SymbolDefinition::Input { .. } | SymbolDefinition::Passed { .. } => 0,
                SymbolDefinition::Data { value, .. } | SymbolDefinition::Extent { value, .. } => value.index() + 1,
                SymbolDefinition::Undefined => usize::MAX,
            };
            last = last.max(from);
            false
        });
        last
    }

    /// The dim with everything that was learnt put in; extremes that what was learnt decides are gone.
    pub fn resolve(&self, dim: &Dim) -> Dim {
        if self.replaced == 0 || dim.as_const().is_some() {
            return dim.clone();
        }
        let mut dim = dim.clone();
        let extremes = Extremes {
            minimum: &|a: &Dim, b: &Dim| self.minimum(a, b),
            maximum: &|a: &Dim, b: &Dim| self.maximum(a, b),
        };
        // Every round follows one replacement of each symbol; there are no cycles, so `replaced` rounds are enough.
        for _ in 0..=self.replaced {
            if !dim.any_symbol(&mut |symbol| self.table[symbol].replacement.is_some()) {
                break;
            }
            dim = dim.substitute_with(&|symbol| self.table[symbol].replacement.clone(), &extremes);
        }
        dim
    }

    /// Resolves in place.
    pub fn resolve_all(&self, dims: &mut [Dim]) {
        if self.replaced > 0 {
            dims.iter_mut().for_each(|dim| *dim = self.resolve(dim));
        }
    }

    /// Declares a symbol to be a dim: `--dim name=N`, or a fact found by a pass.
    pub fn replace(&mut self, symbol: Symbol, dim: &Dim) -> Result<(), Contradiction> {
        self.unify(&symbol.into(), dim)
    }

    /// Declares what a symbol is, as it was written down before. Refused where it would make a cycle.
    pub fn restore(&mut self, symbol: Symbol, dim: &Dim) -> bool {
        let resolved = self.resolve(dim);
        let cycle = resolved.any_symbol(&mut |other| other == symbol);
        let fits = !cycle && !resolved.is_invalid() && self.table[symbol].replacement.is_none();
        if fits {
            self.table[symbol].replacement = Some(dim.clone());
            self.replaced += 1;
        }
        fits
    }

    /// Makes two dims equal, or says that they cannot be.
    pub fn unify(&mut self, left: &Dim, right: &Dim) -> Result<(), Contradiction> {
        if left == right {
            return Ok(());
        }
        let (left, right) = (self.resolve(left), self.resolve(right));
        let contradiction = || Contradiction { left: left.clone(), right: right.clone() };
        let difference = &left - &right;
        if difference.is(0) || self.spelled_alike(&difference).is(0) {
            return Ok(());
        }
        let (lower, upper) = difference.bounds(self);
        if difference.is_invalid() && !left.is_invalid() && !right.is_invalid() {
            // Too complicated to solve: left to the run.
            self.assume(&left, &right);
            return Ok(());
        }
        if difference.is_invalid() || lower.is_some_and(|l| l > 0) || upper.is_some_and(|u| u < 0) {
            return Err(contradiction());
        }
        let Some(solution) = self.solve(&left, &right, &difference) else {
            return Err(contradiction());
        };
        match solution {
            Some((symbol, value)) => self.substitute(symbol, value, &left, &right),
            None => {
                self.assume(&left, &right);
                Ok(())
            }
        }
    }

    /// The dim with all extremes in one spelling, so that `n - min(1, n)` and `max(n - 1, 0)` are seen to be one number.
    fn spelled_alike(&self, dim: &Dim) -> Dim {
        dim.spelled_alike(&|a, b| self.minimum(a, b))
    }

    /// Solves `difference = 0`: `None` if there is no integer solution, `Some(None)` if no symbol stands alone.
    fn solve(&self, left: &Dim, right: &Dim, difference: &Dim) -> Option<Option<(Symbol, Dim)>> {
        let polynomial = difference.polynomial()?.into_owned();
        let constant = polynomial.constant_term();
        let unknown = polynomial.add_scaled(&Polynomial::constant(constant), -1)?;
        let divisor = i64::try_from(unknown.content()).ok()?;
        if divisor == 0 || constant % divisor != 0 {
            return None;
        }
        let reduced = polynomial.split_multiples(divisor).0;
        let reduced_dim = Dim::from_polynomial(Some(reduced.clone()));
        let mut candidates: Vec<(u8, Symbol, i64)> = Vec::new();
        for (monomial, coefficient) in &reduced.terms {
            if let [(Atom::Symbol(symbol), 1)] = monomial.as_slice()
                && coefficient.abs() == 1
                && occurrences(&reduced_dim, *symbol) == 1
                && self.known_from(&reduced_dim) <= self.known_from(&(*symbol).into())
            {
                let bare = left.as_symbol() == Some(*symbol) || right.as_symbol() == Some(*symbol);
                candidates.push((self.rank(*symbol, bare), *symbol, *coefficient));
            }
        }
        candidates.sort_unstable();
        // c*s + rest = 0 with c = ±1, so s = -c*rest.
        let solutions = candidates.into_iter().rev().map(|(_, symbol, coefficient)| {
            let rest = &reduced_dim - &(&Dim::from(coefficient) * &symbol.into());
            (symbol, &rest * &Dim::from(-coefficient))
        });
        Some(solutions.into_iter().find(|(symbol, value)| self.may_stand_for(*symbol, value)))
    }

    /// Whether a dim says all that is known of a symbol. A length that the run decides has its own limit; a sum of several such
    /// lengths does not show it any more.
    fn may_stand_for(&self, symbol: Symbol, value: &Dim) -> bool {
        let decided = |symbol: Symbol| {
            matches!(self.table[symbol].definition, SymbolDefinition::Data { .. } | SymbolDefinition::Extent { .. })
        };
        let simple = value.as_const().is_some() || value.as_symbol().is_some();
        simple || !decided(symbol) || !value.any_symbol(&mut |other| decided(other))
    }

    /// Which symbol to eliminate: undefined ones first, then one that stands bare, then the newest.
    fn rank(&self, symbol: Symbol, bare: bool) -> u8 {
        let undefined = matches!(self.table[symbol].definition, SymbolDefinition::Undefined);
        u8::from(undefined) * 2 + u8::from(bare)
    }

    fn substitute(&mut self, symbol: Symbol, value: Dim, left: &Dim, right: &Dim) -> Result<(), Contradiction> {
        let (lower, upper) = value.bounds(self);
        let row = &self.table[symbol];
        let too_low = row.lower.zip(upper).is_some_and(|(least, value)| value < least);
        let too_high = row.upper.zip(lower).is_some_and(|(most, value)| value > most);
        if too_low || too_high || value.is_invalid() {
            return Err(Contradiction { left: left.clone(), right: right.clone() });
        }
        let (lower, upper) = (row.lower, row.upper);
        if !matches!(row.definition, SymbolDefinition::Undefined) {
            let note = format!("`{}` is `{}`", row.name, value.display(self));
            self.notes.push(note);
        }
        if let Some(other) = value.as_symbol() {
            self.bound(other, lower, upper);
        }
        self.table[symbol].replacement = Some(value);
        self.replaced += 1;
        Ok(())
    }

    /// The least and the greatest value of a symbol.
    pub fn interval(&self, symbol: Symbol) -> Interval {
        let row = &self.table[symbol];
        match &row.replacement {
            Some(value) => interval::of_dim(value, &|symbol| self.interval(symbol)),
            None => (row.lower, row.upper),
        }
    }

    /// The greatest product of some dims, by the bounds of each, or by what the product is assumed to equal.
    pub fn greatest_product(&self, dims: &[Dim]) -> Option<i64> {
        let product = self.resolve(&Dim::product(dims));
        if product.as_const().is_some() {
            return product.as_const();
        }
        let equal = self.assumptions.iter().filter_map(|(left, right)| {
            let (left, right) = (self.resolve(left), self.resolve(right));
            let other = if left == product { Some(right) } else { (right == product).then_some(left) };
            other?.bounds(self).1
        });
        equal.chain(product.bounds(self).1).min()
    }

    /// The smaller dim, decided by bounds where they tell.
    pub fn minimum(&self, a: &Dim, b: &Dim) -> Dim {
        match self.compare(a, b) {
            Some(true) => a.clone(),
            Some(false) => b.clone(),
            None => a.minimum(b),
        }
    }

    /// The larger dim, decided by bounds where they tell.
    pub fn maximum(&self, a: &Dim, b: &Dim) -> Dim {
        match self.compare(a, b) {
            Some(true) => b.clone(),
            Some(false) => a.clone(),
            None => a.maximum(b),
        }
    }

    /// `Some(true)` if `a <= b` at every point, `Some(false)` if `a >= b` at every point.
    pub fn compare(&self, a: &Dim, b: &Dim) -> Option<bool> {
        let (lower, upper) = (a - b).bounds(self);
        if upper.is_some_and(|u| u <= 0) {
            Some(true)
        } else if lower.is_some_and(|l| l >= 0) {
            Some(false)
        } else {
            None
        }
    }

    /// Whether two dims are known to differ at every point.
    pub fn never_equal(&self, a: &Dim, b: &Dim) -> bool {
        let (lower, upper) = (a - b).bounds(self);
        upper.is_some_and(|u| u < 0) || lower.is_some_and(|l| l > 0)
    }

    /// The symbol with this number; tables are dense.
    pub fn nth(&self, index: usize) -> Option<Symbol> {
        (index < self.table.len()).then(|| Symbol::new(index))
    }
}

/// How often a symbol occurs, inside atoms included.
fn occurrences(dim: &Dim, wanted: Symbol) -> usize {
    let mut count = 0;
    dim.any_symbol(&mut |symbol| {
        count += usize::from(symbol == wanted);
        false
    });
    count
}
