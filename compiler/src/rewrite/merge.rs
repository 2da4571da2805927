//! Linear layers of one operand become one layer and slices of it: Q, K and V; gate and up.
//!
//! In: the e-graph of a recovered graph. Out: for each group of alike layers a merged alternative in it, and the groups whose merge is
//! cheaper. Always holds: only products with unmerged constant weights merge, each operand has at most one group, the parts are
//! concatenated in the order in which the roots reach them (so the order in the file does not matter), and a group merges as a
//! whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use egg::{Applier, Id, PatternAst, Rewrite, SearchMatches, Searcher, Subst, Symbol, Var};

use super::analysis::{self, Region, Space};
use super::cost::cost;
use super::extract::Choice;
use super::node::{Attr, Head, Term};
use crate::graph::attribute::Field;
use crate::ir::Dim;

/// The name of the law in reports.
pub const NAME: &str = "merge-linears";
/// Larger groups are not layers side by side (they would be all layers' keys over one encoder's output).
const MAXIMUM_GROUP: usize = 3;
const LINEAR: Head = Head::Op("linear");

/// Linear layers that share an operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their classes, in the order of the concatenation.
    pub members: Vec<Id>,
}

/// All groups of an e-graph. `mergeable` says whether two weights may be stored in one format.
pub fn groups(space: &Space, choice: &Choice, roots: &[Id], mergeable: &dyn Fn(&[Id]) -> bool) -> Vec<Group> {
    let order = reached(space, choice, roots);
    let mut by_operand: BTreeMap<Id, Vec<(usize, Id)>> = BTreeMap::new();
    for class in space.classes_for_op(&LINEAR).into_iter().flatten().collect::<BTreeSet<Id>>() {
        let Some(at) = order.get(&class) else { continue };
        if let Some(term) = linear_of(space, class).filter(|term| plain(space, term)) {
            by_operand.entry(space.find(term.children[0])).or_default().push((*at, class));
        }
    }
    let group = |mut members: Vec<(usize, Id)>| {
        members.sort_unstable();
        Group { members: members.into_iter().map(|(_, class)| class).collect() }
    };
    by_operand
        .into_values()
        .filter(|members| (2..=MAXIMUM_GROUP).contains(&members.len()))
        .map(group)
        .filter(|group| alike(space, &group.members) && mergeable(&group.members))
        .collect()
}

/// The order in which a walk from the roots, operands first, reaches the classes.
fn reached(space: &Space, choice: &Choice, roots: &[Id]) -> BTreeMap<Id, usize> {
    let mut order = BTreeMap::new();
    let mut pending: Vec<(Id, bool)> = roots.iter().rev().map(|root| (space.find(*root), false)).collect();
    let mut entered = BTreeSet::new();
    while let Some((id, leaving)) = pending.pop() {
        if leaving {
            let at = order.len();
            order.entry(id).or_insert(at);
        } else if entered.insert(id) {
            pending.push((id, true));
            let operands = choice.get(&id).map(Term::operands).unwrap_or_default();
            pending.extend(operands.iter().rev().map(|child| (space.find(*child), false)));
        }
    }
    order
}

fn linear_of(space: &Space, class: Id) -> Option<&Term> {
    space[class].nodes.iter().find(|term| term.head == LINEAR)
}

/// Whether a linear layer's weight and bias are constant and its operand is not.
fn plain(space: &Space, term: &Term) -> bool {
    let constant = |id: &Id| analysis::facts(space, *id).is_some_and(|facts| facts.constant);
    !constant(&term.children[0]) && term.children[1..].iter().all(constant)
}

/// Whether the layers have weights of one type and all or none have a bias.
fn alike(space: &Space, members: &[Id]) -> bool {
    let shape = |class: &Id| {
        let term = linear_of(space, *class)?;
        let weight = analysis::ty(space, term.children[1])?;
        Some((term.children.len(), weight.element, weight.dims[1].clone(), weight.dims[0].as_size().is_some()))
    };
    let shapes: Vec<_> = members.iter().map(shape).collect();
    shapes.iter().all(|shape| shape.is_some() && *shape == shapes[0])
}

/// Whether one wide product and its slices cost less than the products. Operand and weights are shared either way.
pub fn pays(space: &Space, group: &Group) -> bool {
    let separate: u64 =
        group.members.iter().filter_map(|id| linear_of(space, *id).map(|term| cost(space, *id, term))).sum();
    let slice = |id: &Id| space[*id].nodes.iter().find(|term| term.head == Head::Op("slice")).cloned();
    let Some(slices) = group.members.iter().map(slice).collect::<Option<Vec<Term>>>() else { return false };
    let Some(wide) = slices[0].children.last().map(|id| space.find(*id)) else { return false };
    let Some(product) = linear_of(space, wide) else { return false };
    let views: u64 = slices.iter().zip(&group.members).map(|(term, id)| cost(space, *id, term)).sum();
    cost(space, wide, product) + views < separate
}

/// The rewrite that adds the merged alternative of these groups.
pub fn rewrite(groups: Vec<Group>) -> Rewrite<Term, Region> {
    Rewrite::new(NAME, Groups(groups), Merged).expect("the merged side binds what the groups give")
}

/// Finds each group once, in the class of its first member.
struct Groups(Vec<Group>);

/// Unites each member with its slice of the merged product.
struct Merged;

impl Searcher<Term, Region> for Groups {
    fn search_eclass_with_limit(&self, space: &Space, class: Id, _: usize) -> Option<SearchMatches<'_, Term>> {
        let group = self.0.iter().find(|group| space.find(group.members[0]) == class)?;
        let mut subst = Subst::with_capacity(group.members.len());
        for (number, member) in (0..).zip(&group.members) {
            subst.insert(Var::from_u32(number), space.find(*member));
        }
        Some(SearchMatches { eclass: class, substs: vec![subst], ast: None })
    }

    fn vars(&self) -> Vec<Var> {
        vec![]
    }
}

impl Applier<Term, Region> for Merged {
    fn apply_one(
        &self,
        space: &mut Space,
        _: Id,
        subst: &Subst,
        _: Option<&PatternAst<Term>>,
        name: Symbol,
    ) -> Vec<Id> {
        let members: Vec<Id> = (0..).map_while(|number| subst.get(Var::from_u32(number)).copied()).collect();
        merge(space, &members, name).unwrap_or_default()
    }
}

/// The attribute of a field.
fn field(space: &mut Space, value: &impl Field) -> Option<Id> {
    let attribute = value.to_attribute(&space.analysis.names());
    Some(space.add(Term::attribute(Attr::from_attribute(&attribute)?)))
}

fn op(space: &mut Space, name: &'static str, children: Vec<Id>) -> Id {
    space.add(Term { head: Head::Op(name), children })
}

fn merge(space: &mut Space, members: &[Id], name: Symbol) -> Option<Vec<Id>> {
    let terms: Vec<Term> = members.iter().map(|id| linear_of(space, *id).cloned()).collect::<Option<_>>()?;
    if members.iter().any(|id| space[*id].nodes.iter().any(|term| term.head == Head::Op("slice"))) {
        return None;
    }
    let axis = field(space, &0_usize)?;
    let mut operands = vec![terms[0].children[0]];
    for part in 1..terms[0].children.len() {
        let parts = terms.iter().map(|term| term.children[part]);
        let children = std::iter::once(axis).chain(parts).collect();
        operands.push(op(space, "concat", children));
    }
    let wide = op(space, "linear", operands);
    let dims = analysis::ty(space, members[0])?.dims;
    let steps = field(space, &vec![1_i64; dims.len()])?;
    let mut start = Dim::ZERO;
    let mut changed = vec![];
    for id in members {
        let own = analysis::ty(space, *id)?.dims;
        let mut starts = vec![Dim::ZERO; dims.len()];
        *starts.last_mut()? = start.clone();
        start = &start + own.last()?;
        let (extents, starts) = (field(space, &own)?, field(space, &starts)?);
        let slice = op(space, "slice", vec![extents, starts, steps, wide]);
        if space.union_trusted(*id, slice, name) {
            changed.push(*id);
        }
    }
    Some(changed)
}
