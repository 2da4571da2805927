//! Every byte of the weight section, accounted for: what it is, its format, why, and what it costs.
//!
//! In: the constants that were placed, the decisions about weights with the recipes that came of them, and the graphs of the entries. Out: one
//! decision per constant: those that were made, with the bytes that their weights really take, and one more for each constant that
//! nobody decided about, with the reason why it stays as it is; last what alignment takes. Always holds: the bytes of all
//! decisions are the bytes of the section.

use std::collections::BTreeMap;

use super::decide::{Candidate, Decision};
use super::policy::Storage;
use super::recipe::{Recipe, Step};
use super::stored;
use crate::graph::{Graph, NodeData, Op};
use crate::ir::Value;

/// A constant of the section.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// Its elements.
    pub recipe: &'a Recipe,
    /// The format in which the matrix unit streams it; `None` for dense elements.
    pub format: Option<String>,
    /// Its name.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: u64,
}

/// The account of a section of `total` bytes.
pub fn account(
    placed: &[Placed<'_>],
    total: u64,
    decisions: &[Decision],
    recipes: &[Recipe],
    graphs: &[&Graph],
) -> Vec<Decision> {
    let mut by_recipe: BTreeMap<&Recipe, Vec<usize>> = BTreeMap::new();
    for (at, recipe) in recipes.iter().enumerate() {
        by_recipe.entry(core(recipe)).or_default().push(at);
    }
    let uses = uses(graphs);
    let (mut taken, mut parts) = (vec![false; decisions.len()], vec![0_u64; decisions.len()]);
    let mut all: Vec<Decision> = Vec::new();
    for item in placed {
        let found = by_recipe.get(core(item.recipe)).map(Vec::as_slice).unwrap_or_default();
        match found.first() {
            Some(&first) => {
                found.iter().for_each(|&at| taken[at] = true);
                let others = found[1..].iter().flat_map(|&at| decisions[at].names.iter());
                all.push(with_bytes(&decisions[first], others, item));
            }
            None => match part_of(item.recipe).and_then(|whole| by_recipe.get(&whole)?.first().copied()) {
                Some(at) => parts[at] += item.bytes,
                None => all.push(undecided(item, uses.get(core(item.recipe)))),
            },
        }
    }
    for ((decision, _), &bytes) in decisions.iter().zip(&taken).zip(&parts).filter(|((_, taken), _)| !**taken) {
        let mut decision = decision.clone();
        decision.chosen.bytes = bytes;
        decision.reason.push_str(match bytes {
            0 => "; nothing reads it, so it is not in the image",
            _ => "; in parts, among which the program chooses",
        });
        all.push(decision);
    }
    let sum: u64 = placed.iter().map(|item| item.bytes).sum();
    if total > sum {
        all.push(row(
            "alignment",
            vec!["(between constants)".to_owned()],
            [1, (total - sum) as usize],
            "none",
            total - sum,
            "constants start at whole lines and pages".to_owned(),
        ));
    }
    all
}

/// A recipe without the conversions above a storage that was chosen.
fn core(recipe: &Recipe) -> &Recipe {
    let mut below = recipe;
    while let Step::Convert { source, .. } | Step::Reshape(source) = below.step() {
        below = source;
    }
    if matches!(below.step(), Step::Store { .. }) { below } else { recipe }
}

/// The stored weight that rows of are stored on their own, if that is what the recipe is (experts).
fn part_of(recipe: &Recipe) -> Option<Recipe> {
    let Step::Store { source, storage } = core(recipe).step() else { return None };
    let Step::Slice { source: whole, .. } = source.step() else { return None };
    (whole.dims().len() == 2).then(|| whole.store(*storage))
}

/// A decision as it came out.
fn with_bytes<'a>(decision: &Decision, others: impl Iterator<Item = &'a String>, item: &Placed<'_>) -> Decision {
    let mut decision = decision.clone();
    for name in others {
        if !decision.names.contains(name) {
            decision.names.push(name.clone());
        }
    }
    decision.chosen.bytes = item.bytes;
    if item.format.is_none() && decision.chosen.storage != item.recipe.element().name() {
        let element = item.recipe.element().name();
        decision.reason.push_str(&format!(
            "; read as a tensor, so its {} values stand in the image as {element}",
            decision.chosen.storage
        ));
        decision.chosen.storage = element.to_owned();
    }
    decision
}

/// A constant that nobody decided about.
fn undecided(item: &Placed<'_>, used: Option<&Used>) -> Decision {
    let recipe = item.recipe;
    let coded = (recipe.dims().len() == 2)
        .then(|| stored::storage(recipe))
        .filter(|own| matches!(own, Storage::Carried { .. }));
    let storage = match (&item.format, coded) {
        (Some(format), _) => format.clone(),
        (None, _) => recipe.element().name().to_owned(),
    };
    let (role, reason) = used
        .map_or(("constant", "the compiler's own: lengths, tables of addresses and numbers".to_owned()), |used| {
            (used.role, used.reason.clone())
        });
    let names = used.map_or_else(|| vec![item.name.to_owned()], |used| used.names.clone());
    let columns = recipe.dims().last().copied().unwrap_or(1);
    row(role, names, [recipe.count() / columns.max(1), columns], &storage, item.bytes, reason)
}

fn row(role: &str, names: Vec<String>, shape: [usize; 2], storage: &str, bytes: u64, reason: String) -> Decision {
    Decision {
        names,
        role: role.to_owned(),
        layer: None,
        shape,
        chosen: Candidate { storage: storage.to_owned(), bytes, time_ns: 0, error: 0.0 },
        others: vec![],
        reason,
        lambda: None,
    }
}

/// What a constant is used for.
struct Used {
    role: &'static str,
    names: Vec<String>,
    reason: String,
}

/// The first use of each constant of the graphs and of their bodies.
fn uses<'a>(graphs: &[&'a Graph]) -> BTreeMap<&'a Recipe, Used> {
    let mut found = BTreeMap::new();
    for graph in graphs {
        uses_in(graph, &mut found);
    }
    found
}

fn uses_in<'a>(graph: &'a Graph, found: &mut BTreeMap<&'a Recipe, Used>) {
    for (_, node) in graph.nodes() {
        for (at, &value) in node.operands.iter().enumerate() {
            let Some(recipe) = graph.recipe(value) else { continue };
            if found.contains_key(core(recipe)) {
                continue;
            }
            let (user, operand, inside) = user(graph, node, at);
            let (role, reason) = purpose(inside, user, operand, recipe);
            let origins = |node: &NodeData| -> Vec<String> {
                node.provenance.origins().iter().map(|origin| origin.name.clone()).collect()
            };
            let mut names = origins(user);
            names.extend(graph.defining(value).into_iter().flat_map(|(_, constant)| origins(constant)));
            names.dedup();
            found.insert(core(recipe), Used { role, names, reason });
        }
        node.op.regions().into_iter().for_each(|body| uses_in(body, found));
    }
}

/// Who reads an operand: the node, or, where a loop of alike layers hands it to its body, the first reader there.
fn user<'a>(graph: &'a Graph, node: &'a NodeData, at: usize) -> (&'a NodeData, usize, &'a Graph) {
    let Op::Loop { trip, carried, invariant, body, .. } = &node.op else { return (node, at, graph) };
    let shared = carried + invariant;
    let input = at.checked_sub(shared).map_or(at, |number| shared + number / (*trip).max(1));
    let Some(port) = body.inputs().get(input) else { return (node, at, graph) };
    let reader = body.nodes().find_map(|(_, inner)| {
        let operand = inner.operands.iter().position(|value: &Value| *value == port.value)?;
        Some((inner, operand))
    });
    reader.map_or((node, at, graph), |(inner, operand)| (inner, operand, body))
}

/// What a constant is to the node that reads it, and why it stays as it is.
fn purpose(graph: &Graph, node: &NodeData, operand: usize, recipe: &Recipe) -> (&'static str, String) {
    if !recipe.element().is_float() {
        return (
            "integers",
            "integers and truth values stay as they are: indices, lengths, codes of the file".to_owned(),
        );
    }
    let say = |role, reason: &str| (role, reason.to_owned());
    match (&node.op, operand) {
        (Op::Conv { groups, .. }, 1) => {
            let window: Vec<String> = recipe.dims().iter().skip(2).map(usize::to_string).collect();
            let window = window.join(" x ");
            match *groups {
                1 if recipe.dims().iter().skip(2).any(|extent| *extent > 1) => (
                    "convolution",
                    format!(
                        "a convolution with a window of {window} reads plain weights: codes for windows beyond 1 come with the planner"
                    ),
                ),
                1 => say(
                    "convolution",
                    "a convolution reads plain weights unless --quant asks for codes and its window of 1 has no padding",
                ),
                groups => ("convolution", format!("a convolution in {groups} groups reads plain weights")),
            }
        }
        (Op::Conv { .. }, 2) | (Op::Linear {}, 2) => say("bias", "a bias is added as it is"),
        (Op::RmsNorm { .. } | Op::LayerNorm { .. }, _) => say("norm", "gain and bias of a norm stay as they are"),
        (Op::Gather { .. } | Op::GatherElements { .. } | Op::GatherNd { .. }, 0) => {
            say("table", "a table from which the program picks rows at run time holds plain numbers")
        }
        (Op::MatMul {}, _) => {
            let both = node.operands.iter().all(|&value| graph.recipe(value).is_some());
            match both {
                true => say("product", "both sides of the product are known, and none is a layer's weight"),
                false => say(
                    "product",
                    "--quant asks for no codes here, or the product is over one element or broadcasts its matrices",
                ),
            }
        }
        (Op::Quantize { .. } | Op::Dequantize { .. }, _) => {
            say("scale", "scales and zero points of the file stay as they are")
        }
        (Op::Attention { .. }, _) => say("attention", "a mask, sinks or known keys stay as they are"),
        (Op::Rope { .. }, _) => say("table", "a table of a rotary embedding stays exact"),
        (op, _) => ("constant", format!("an operand of `{}` is read as it is", op.name())),
    }
}
