//! The only module that knows egg: laws recover what the exporter spelled out.
//!
//! In: a graph of primitives as an exporter wrote it. Out: the same graph with norms, rotary embeddings, attention, gated MLPs and
//! linear layers as single ops, products of one operand merged, and a report of what happened. The road: [`region`] reads the
//! graph into an e-graph, [`rules`] saturate it, [`extract`] chooses, [`region`] writes it back; then [`merge`] does the same once
//! more with what was recovered. Always holds: the new graph computes the old one's values up to the order of rounding; the same
//! graph gives the same result on any machine; a law that does not come to an end is left out, and a note names it.

pub mod analysis;
mod conditions;
mod cost;
pub mod explain;
pub mod extract;
mod fold;
pub mod law;
pub mod merge;
pub mod node;
mod numbers;
pub mod region;
pub mod rules;
pub mod saturate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narae_isa::Diagnostic;

pub use self::explain::{RegionReport, Report};
use self::law::Law;
use self::node::Term;
use self::region::Cut;
use self::saturate::{Bounds, Outcome, saturate};
use crate::compress::policy::{Policy, Role, Storage};
use crate::graph::{Graph, NodeData, Op};
use crate::ir::Value;

/// What recovery may do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether laws run at all (`-O0` runs none).
    pub laws: bool,
    /// The laws; [`rules::laws`] are all there are.
    pub rules: fn() -> Vec<Law>,
    /// Laws that are left out.
    pub without: BTreeSet<String>,
    /// Whether linear layers of one operand merge.
    pub merge: bool,
    /// What `--quant` asks for: layers that it stores differently stay apart.
    pub policy: Policy,
    /// How far a law may go before it is left out.
    pub bounds: Bounds,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            laws: true,
            rules: rules::laws,
            without: BTreeSet::new(),
            merge: true,
            policy: Policy::None,
            bounds: Bounds::default(),
        }
    }
}

/// Recovers the ops of the chip in a graph and in all bodies inside of it.
pub fn recover(graph: &mut Graph, options: &Options) -> Result<Report, Diagnostic> {
    let mut report = Report::default();
    let name = graph.name.clone();
    recover_region(graph, &name, &BTreeSet::new(), options, &mut report)?;
    Ok(report)
}

fn recover_region(
    graph: &mut Graph,
    name: &str,
    constants: &BTreeSet<Value>,
    options: &Options,
    report: &mut Report,
) -> Result<(), Diagnostic> {
    let mut own = RegionReport { name: name.to_owned(), ..RegionReport::default() };
    own.nodes.0 = graph.node_count();
    if options.laws {
        apply_laws(graph, constants, options, &mut own)?;
        if options.merge {
            merge_linears(graph, constants, &options.policy, &mut own)?;
        }
    }
    own.nodes.1 = graph.node_count();
    own.ops = explain::histogram(graph);
    own.layers = explain::layers(graph);
    report.regions.push(own);
    let bodies: Vec<_> =
        graph.nodes().filter(|(_, node)| !node.op.regions().is_empty()).map(|(node, _)| node).collect();
    for node in bodies {
        let mut op = graph.node(node).op.clone();
        for (number, body) in op.regions_mut().into_iter().enumerate() {
            let inner = Arc::make_mut(body);
            // Layers are rolled after recovery, so a body here is the model's own loop or branch and has no weights of its own inputs.
            recover_region(inner, &format!("{name}/{node}.{number}"), &BTreeSet::new(), options, report)?;
        }
        graph.replace_op(node, op);
    }
    Ok(())
}

/// Runs all laws and rebuilds the graph from the cheapest terms.
fn apply_laws(
    graph: &mut Graph,
    constants: &BTreeSet<Value>,
    options: &Options,
    report: &mut RegionReport,
) -> Result<(), Diagnostic> {
    let (cut, outcome) = saturated(graph, constants, options, report);
    report.iterations = outcome.rounds;
    report.laws = outcome.applied;
    report.saturated = (cut.space.total_number_of_nodes(), cut.space.number_of_classes());
    let clashes = &cut.space.analysis.clashes;
    debug_assert!(clashes.is_empty(), "laws made ill-typed terms in `{}`: {clashes:#?}", report.name);
    report.notes.extend(clashes.iter().map(|clash| format!("a law was refused: {clash}")));
    let choice = extract::extract(&cut.space, &|class, term| !extract::is_a_step(&cut.space, class, term));
    *graph = cut.rebuild(graph, &choice)?;
    Ok(())
}

/// The e-graph with all that the laws add. A law that reaches a bound is left out, and the others start again.
fn saturated(
    graph: &Graph,
    constants: &BTreeSet<Value>,
    options: &Options,
    report: &mut RegionReport,
) -> (Cut, Outcome) {
    let mut without = options.without.clone();
    loop {
        let mut cut = Cut::new(graph, constants);
        let laws = (options.rules)().into_iter().filter(|law| !without.contains(law.name));
        let laws: Vec<_> = laws.map(Law::rewrite).collect();
        let outcome = saturate(&mut cut.space, &laws, &options.bounds);
        let Some(reached) = &outcome.reached else { return (cut, outcome) };
        report.notes.push(format!(
            "the law `{}` was left out of `{}`, because it came to no end ({}): the program is right, but less optimised",
            reached.law, report.name, reached.bound
        ));
        // Without a law there is nothing that could reach a bound.
        assert!(without.insert(reached.law.clone()), "the law `{}` was left out and reached a bound", reached.law);
    }
}

/// Merges products of one operand where that is cheaper.
fn merge_linears(
    graph: &mut Graph,
    constants: &BTreeSet<Value>,
    policy: &Policy,
    report: &mut RegionReport,
) -> Result<(), Diagnostic> {
    let mut cut = Cut::new(graph, constants);
    let plain = extract::extract(&cut.space, &|_, _| true);
    let formats = formats(graph, &cut, policy);
    let mergeable = |members: &[egg::Id]| members.iter().all(|member| formats.get(member) == formats.get(&members[0]));
    let groups = merge::groups(&cut.space, &plain, &cut.roots(), &mergeable);
    if groups.is_empty() {
        return Ok(());
    }
    let rewrite = merge::rewrite(groups.clone());
    let found = rewrite.search(&cut.space);
    rewrite.apply(&mut cut.space, &found);
    cut.space.rebuild();
    let merged: Vec<_> = groups.into_iter().filter(|group| merge::pays(&cut.space, group)).collect();
    report.laws.insert(merge::NAME.to_owned(), merged.len());
    let members: BTreeSet<_> = merged.iter().flat_map(|group| &group.members).map(|id| cut.space.find(*id)).collect();
    let allowed = |class: egg::Id, term: &Term| match &term.head {
        node::Head::Op("linear") => !members.contains(&class),
        _ => true,
    };
    let choice = extract::extract(&cut.space, &allowed);
    *graph = cut.rebuild(graph, &choice)?;
    Ok(())
}

/// What the patterns of `--quant` ask for, by the class of each linear layer that they name.
fn formats(graph: &Graph, cut: &Cut, policy: &Policy) -> BTreeMap<egg::Id, Storage> {
    let format = |node: &NodeData| {
        let weight =
            graph.defining(node.operands[1]).map(|(_, weight)| weight.provenance.origins()).unwrap_or_default();
        let origins = node.provenance.origins().iter().chain(weight);
        let names: Vec<&str> = origins.map(|origin| origin.name.as_str()).collect();
        policy.find(Role::Linear, &names).map(|(_, storage)| storage)
    };
    graph
        .nodes()
        .filter(|(_, node)| matches!(node.op, Op::Linear {}))
        .filter_map(|(_, node)| Some((cut.class(node.results[0]), format(node)?)))
        .collect()
}
