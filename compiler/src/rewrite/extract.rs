//! One term per class, so that the whole of the roots is cheap.
//!
//! Shared parts count once: each class carries the set of classes that its best term needs (a bit per class), and the price of a
//! term is the sum over that set. The sweep repeats until nothing changes. Always holds: the chosen terms have no cycle, costs are whole
//! numbers, ties go to the first term of the class, and equal e-graphs give equal choices.

use std::collections::BTreeMap;

use egg::{Id, Language};
use narae_isa::{BinaryFunction, Element};

use super::analysis::{self, Data, Space};
use super::cost::cost;
use super::node::{Head, Term};
use super::numbers::has_exact_inverse;

/// The chosen term of each class that can be extracted.
pub type Choice = BTreeMap<Id, Term>;

/// A set of classes, one bit each.
type Set = Vec<u64>;

/// The state of a class during the sweep.
#[derive(Clone)]
struct Best {
    term: Term,
    own: u64,
    total: u64,
    set: Set,
}

/// Chooses terms among those that `allowed` lets pass.
pub fn extract(space: &Space, allowed: &dyn Fn(Id, &Term) -> bool) -> Choice {
    let mut classes: Vec<Id> = space.classes().map(|class| class.id).collect();
    classes.sort_unstable();
    let index: BTreeMap<Id, usize> = classes.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let words = classes.len().div_ceil(64);
    // The terms of each class, with their own cost and the positions of their children.
    let terms: Vec<Vec<Candidate<'_>>> = classes
        .iter()
        .map(|id| {
            let candidate = |term| Candidate {
                term,
                own: cost(space, *id, term),
                children: term.children().iter().map(|child| index[&space.find(*child)]).collect(),
            };
            space[*id].nodes.iter().filter(|term| allowed(*id, term)).map(candidate).collect()
        })
        .collect();
    let mut best: Vec<Option<Best>> = vec![None; classes.len()];
    // The sweep in which a class last changed; a class is looked at again only if a child changed since.
    let mut changed: Vec<usize> = vec![0; classes.len()];
    // Each sweep settles at least one class or ends; improvements strictly lower a total.
    for sweep in 1.. {
        let mut any = false;
        for (at, id) in classes.iter().enumerate() {
            for candidate in &terms[at] {
                if sweep > 1 && candidate.children.iter().all(|child| changed[*child] + 1 < sweep) {
                    continue;
                }
                let Some(priced) = price(space, *id, candidate, at, &best, words) else { continue };
                if best[at].as_ref().is_none_or(|known| priced.total < known.total) {
                    best[at] = Some(priced);
                    changed[at] = sweep;
                    any = true;
                }
            }
        }
        if !any {
            break;
        }
    }
    classes.into_iter().zip(best).filter_map(|(id, best)| best.map(|best| (id, best.term))).collect()
}

/// A term of a class.
struct Candidate<'a> {
    term: &'a Term,
    own: u64,
    children: Vec<usize>,
}

/// The price of a term with what is known of its children.
fn price(
    space: &Space,
    id: Id,
    candidate: &Candidate<'_>,
    at: usize,
    best: &[Option<Best>],
    words: usize,
) -> Option<Best> {
    let class = &space[id].data;
    if matches!(class, Data::Nothing) {
        return None;
    }
    let Candidate { term, own, children } = candidate;
    let (term, own) = (*term, *own);
    // Constants and attributes are free, so trees are enough for them: their depth is the price.
    let free = match class {
        Data::Attribute(_) => true,
        Data::Tensor(facts) => facts.constant,
        Data::Nothing => false,
    };
    let mut set = vec![0_u64; words];
    let mut total = if free { 1 } else { own };
    for child in children {
        let child = best[*child].as_ref()?;
        if free {
            total += child.total;
        } else {
            set.iter_mut().zip(&child.set).for_each(|(word, other)| *word |= other);
        }
    }
    if free {
        return Some(Best { term: term.clone(), own: 0, total, set: vec![] });
    }
    let bit = (at / 64, 1_u64 << (at % 64));
    if set[bit.0] & bit.1 != 0 {
        return None;
    }
    for (word, bits) in set.iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            let member = word * 64 + bits.trailing_zeros() as usize;
            total += best[member].as_ref().map_or(0, |member| member.own);
            bits &= bits - 1;
        }
    }
    set[bit.0] |= bit.1;
    Some(Best { term: term.clone(), own, total, set })
}

/// Whether a term is only a step on the way to a fused one, and worse than what the file says, so that it is not chosen itself:
///
/// - a product with a reciprocal that is not exact, where the file divides, and the product of two factors that the file multiplies with one after
///   the other: positions are computed so, and `floor(x / 49)` would lose 49 / 49;
/// - in 16 bits a matrix product that is scaled afterwards, where the file scales before: the product may overflow where the scaled one does not.
pub fn is_a_step(space: &Space, class: Id, term: &Term) -> bool {
    let Some(x) = analysis::multiple(space, term) else { return false };
    let terms = &space[class].nodes;
    let quotient = |other: &Term| match other.children[..] {
        [left, right] if other.head == Head::Binary(BinaryFunction::Div) && space.find(left) == x => {
            analysis::number(space, right)
        }
        _ => None,
    };
    let divides = |other: &Term| quotient(other).is_some_and(|number| !has_exact_inverse(number));
    let scales = |other: &Term| quotient(other).is_some() || analysis::multiple(space, other) == Some(x);
    let goes_on =
        |other: &Term| analysis::multiple(space, other).is_some_and(|y| y != x && space[y].nodes.iter().any(scales));
    let narrow = analysis::ty(space, class).is_some_and(|ty| matches!(ty.element, Element::F16 | Element::BF16));
    let is_product = |other: &Term| other.head == Head::Op("matmul");
    terms.iter().any(|other| divides(other) || goes_on(other) || (narrow && is_product(other)))
}

/// The total cost of what the roots need, each class once.
pub fn total(space: &Space, choice: &Choice, roots: &[Id]) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    let mut pending: Vec<Id> = roots.iter().map(|root| space.find(*root)).collect();
    let mut total = 0;
    while let Some(id) = pending.pop() {
        let Some(term) = choice.get(&id).filter(|_| seen.insert(id)) else { continue };
        total += cost(space, id, term);
        if analysis::facts(space, id).is_some_and(|facts| !facts.constant) {
            pending.extend(term.operands().iter().map(|child| space.find(*child)));
        }
    }
    total
}

/// Whether a term is a leaf of the region.
pub fn is_leaf(term: &Term) -> bool {
    matches!(term.head, Head::Attribute(_) | Head::Value(_) | Head::Constant(_))
}
