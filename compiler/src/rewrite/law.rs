//! A law: a name, two patterns, conditions, and an example of the tensors that it speaks of.
//!
//! In: text. Out: an `egg` rewrite. The left pattern is searched; conditions look at what its variables stand for and may bind
//! further variables (an epsilon read from a constant, a permutation composed of two); then the right pattern is made and united
//! with the left. Always holds: both sides have one type, or the law does not apply; every law terminates by its form or by its
//! conditions; the example (`on`) lets one generic test compare both sides under the evaluator on random tensors.

use egg::{Applier, Id, Pattern, PatternAst, Rewrite, Searcher, Subst, Symbol, Var};
use narae_isa::HostTensor;

use super::analysis::{self, Region, Space};
use super::node::{Attr, Head, Term};
use crate::compress::Recipe;
use crate::graph::TensorType;
use crate::graph::attribute::{Attribute, Field};
use crate::ir::Dim;

/// A rewrite rule with everything that is said about it.
pub struct Law {
    /// A short name in kebab-case.
    pub name: &'static str,
    /// What is searched.
    pub left: &'static str,
    /// What it equals.
    pub right: &'static str,
    /// Predicates, which may also bind variables of the right side.
    pub conditions: Vec<Condition>,
    /// Example tensors, for the generic test.
    pub example: &'static str,
}

/// A named predicate over a match.
pub type Condition = Box<dyn Fn(&mut Match<'_>) -> Option<()> + Send + Sync>;

/// What the variables of a left side stand for.
pub struct Match<'a> {
    /// The e-graph.
    pub space: &'a mut Space,
    /// The class that the left side was found in.
    pub class: Id,
    subst: Subst,
}

/// A law of these two sides.
pub fn law(name: &'static str, left: &'static str, right: &'static str) -> Law {
    Law { name, left, right, conditions: vec![], example: "" }
}

impl Law {
    /// A further condition.
    #[must_use]
    pub fn when(mut self, condition: impl Fn(&mut Match<'_>) -> Option<()> + Send + Sync + 'static) -> Law {
        self.conditions.push(Box::new(condition));
        self
    }

    /// The example of the generic test; see `tests.rs` for its grammar.
    #[must_use]
    pub fn on(mut self, example: &'static str) -> Law {
        self.example = example;
        self
    }

    /// The rewrite.
    pub fn rewrite(self) -> Rewrite<Term, Region> {
        let parse = |text: &str| -> Pattern<Term> {
            text.parse()
                .unwrap_or_else(|error| panic!("the law `{}` has an unreadable side `{text}`: {error}", self.name))
        };
        let (left, right) = (parse(self.left), parse(self.right));
        let applier = LawApplier { right, conditions: self.conditions };
        Rewrite::new(self.name, left, applier).unwrap_or_else(|error| panic!("the law `{}`: {error}", self.name))
    }
}

/// Makes the right side where the conditions hold.
struct LawApplier {
    right: Pattern<Term>,
    conditions: Vec<Condition>,
}

impl Applier<Term, Region> for LawApplier {
    fn apply_one(
        &self,
        space: &mut Space,
        class: Id,
        subst: &Subst,
        ast: Option<&PatternAst<Term>>,
        name: Symbol,
    ) -> Vec<Id> {
        let mut found = Match { space, class, subst: subst.clone() };
        if self.conditions.iter().any(|condition| condition(&mut found).is_none()) {
            return vec![];
        }
        let (subst, space) = (found.subst, found.space);
        let right = space.add_instantiation(&self.right.ast, &subst);
        let same = match (analysis::ty(space, class), analysis::ty(space, right)) {
            (Some(left), Some(right)) => left == right,
            _ => false,
        };
        if !same {
            let (left, right) = (analysis::ty(space, class), analysis::ty(space, right));
            // Lengths that are equal only because the model needs them to be stay the ones that the file names.
            let assumed = |(left, right): (&TensorType, &TensorType)| space.analysis.assumed_equal(left, right);
            if !left.as_ref().zip(right.as_ref()).is_some_and(assumed) {
                space.analysis.clashes.push(format!("`{name}`: {left:?} became {right:?}"));
            }
            return vec![];
        }
        match ast {
            // Only the instantiation of both patterns carries the reason into explanations.
            Some(ast) => {
                let (class, changed) = space.union_instantiations(ast, &self.right.ast, &subst, name);
                if changed { vec![class] } else { vec![] }
            }
            None if space.union_trusted(class, right, name) => vec![class],
            None => vec![],
        }
    }
}

impl Match<'_> {
    /// The class of a variable, written `?x`.
    pub fn get(&self, name: &str) -> Id {
        self.subst[variable(name)]
    }

    /// The type of a tensor variable.
    pub fn ty(&self, name: &str) -> Option<TensorType> {
        analysis::ty(self.space, self.get(name))
    }

    /// The type of the left side.
    pub fn result(&self) -> Option<TensorType> {
        analysis::ty(self.space, self.class)
    }

    /// The number that all elements of a tensor variable are.
    pub fn number(&self, name: &str) -> Option<f64> {
        analysis::number(self.space, self.get(name))
    }

    /// Whether the left side is known to be the variable, or the variable times a number.
    pub fn is_multiple_of(&self, name: &str) -> bool {
        let (own, x) = (self.space.find(self.class), self.space.find(self.get(name)));
        own == x || self.space[own].nodes.iter().any(|term| analysis::multiple(self.space, term) == Some(x))
    }

    /// Whether a variable is known to be something times a number.
    pub fn is_multiple(&self, name: &str) -> bool {
        self.space[self.get(name)].nodes.iter().any(|term| analysis::multiple(self.space, term).is_some())
    }

    /// Whether the left side is known to be a tensor and the same behind it.
    pub fn is_doubled(&self) -> bool {
        let doubled = |term: &Term| term.head == Head::Op("concat") && term.children[1] == term.children[2];
        self.space[self.space.find(self.class)].nodes.iter().any(doubled)
    }

    /// Whether a tensor of some dims broadcasts to other dims and widens none of them.
    pub fn broadcasts_into(&self, own: &[Dim], other: &[Dim]) -> bool {
        let Some(outer) = other.len().checked_sub(own.len()) else { return false };
        own.iter().zip(&other[outer..]).all(|(own, other)| own.is(1) || self.same(own, other))
    }

    /// Whether a tensor variable is constant.
    pub fn constant(&self, name: &str) -> bool {
        analysis::facts(self.space, self.get(name)).is_some_and(|facts| facts.constant)
    }

    /// The value of an attribute variable.
    pub fn field<T: Field>(&self, name: &str) -> Option<T> {
        let attr = analysis::attribute(self.space, self.get(name))?.to_attribute();
        T::from_attribute(&attr, &self.space.analysis.names()).ok()
    }

    /// Whether two dims are equal.
    pub fn same(&self, left: &Dim, right: &Dim) -> bool {
        self.space.analysis.same(left, right)
    }

    /// Whether two lists of dims are equal.
    pub fn same_all(&self, left: &[Dim], right: &[Dim]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(left, right)| self.same(left, right))
    }

    /// Binds a variable to a class.
    pub fn bind(&mut self, name: &str, class: Id) {
        self.subst.insert(variable(name), class);
    }

    /// Binds a variable to an attribute.
    pub fn bind_field(&mut self, name: &str, field: &impl Field) -> Option<()> {
        let attribute: Attribute = field.to_attribute(&self.space.analysis.names());
        let class = self.space.add(Term::attribute(Attr::from_attribute(&attribute)?));
        self.bind(name, class);
        Some(())
    }

    /// Binds a variable to a constant.
    pub fn bind_constant(&mut self, name: &str, tensor: HostTensor) {
        let term = self.space.analysis.constant(&Recipe::inline(tensor));
        let class = self.space.add(term);
        self.bind(name, class);
    }

    /// The recipe of a variable that is a constant leaf.
    pub fn recipe(&self, name: &str) -> Option<Recipe> {
        let class = &self.space[self.get(name)];
        class.nodes.iter().find_map(|term| match term.head {
            Head::Constant(number) => Some(self.space.analysis.recipe(number).clone()),
            _ => None,
        })
    }

    /// Binds a variable to a constant with this recipe.
    pub fn bind_recipe(&mut self, name: &str, recipe: &Recipe) {
        let term = self.space.analysis.constant(recipe);
        let class = self.space.add(term);
        self.bind(name, class);
    }

    /// Binds a variable to what a pattern makes.
    pub fn bind_pattern(&mut self, name: &str, pattern: &str) {
        let pattern: Pattern<Term> =
            pattern.parse().unwrap_or_else(|error| panic!("the pattern `{pattern}` is unreadable: {error}"));
        let class = self.space.add_instantiation(&pattern.ast, &self.subst);
        self.bind(name, class);
    }
}

/// A variable of a pattern.
fn variable(name: &str) -> Var {
    name.parse().unwrap_or_else(|error| panic!("`{name}` is no variable of a pattern: {error}"))
}

/// All classes in which the searcher finds something, for tests.
pub fn matches(searcher: &impl Searcher<Term, Region>, space: &Space) -> usize {
    searcher.n_matches(space)
}
