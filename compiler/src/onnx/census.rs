//! Which operators a model needs, with which element types, and what of it is missing.
//!
//! In: an opened model. Out: one line per operator and opset, in the order of domain and name, and every problem that an import finds.
//! Bodies and functions are counted where they are written, not where they are used; calls of the model's own functions are not
//! operators. The types are those of operands and results as far as they are known: declared, inferred on the way, or those of weights.

use std::collections::{BTreeMap, BTreeSet};

use narae_isa::{Diagnostic, Element};
use onnx_protobuf::{NodeProto, OperatorSetIdProto};

use super::attributes::domain;
use super::import::attempt;
use super::model::Model;
use super::ops::find;
use super::order::bodies;
use super::tensor::element;

/// One operator that a model uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The domain; empty for ONNX's own.
    pub domain: String,
    /// The operator.
    pub name: String,
    /// The opset in force where it is used, if the model says.
    pub opset: Option<i64>,
    /// How many nodes use it.
    pub count: usize,
    /// The element types of operands and results, as far as they are known.
    pub types: BTreeSet<Element>,
    /// Why it is not supported; nothing if there is a row for it.
    pub refusal: Option<String>,
}

/// What a model needs, and what is missing.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The operators.
    pub needs: Vec<Need>,
    /// Every problem: operators without a row, and nodes that ask for something that their row does not do.
    pub problems: Vec<Diagnostic>,
}

/// Looks at a whole model, whether it can be imported or not.
pub fn survey(model: &Model) -> Survey {
    let (graph, problems) = attempt(model);
    let mut types: BTreeMap<&str, Element> = BTreeMap::new();
    for (value, _) in graph.values() {
        types.extend(graph.names(value).iter().map(|named| (named.tensor.name.as_str(), graph.element(value))));
    }
    types.extend(graph.inputs().iter().map(|port| (port.name.as_str(), graph.element(port.value))));
    let weights = model.message.graph.iter().flat_map(|graph| &graph.initializer);
    types.extend(weights.filter_map(|weight| Some((weight.name.as_str(), element(weight.data_type).ok()?))));
    Survey { needs: count(model, &types), problems }
}

/// The operators of a model, without their types.
pub fn needs(model: &Model) -> Vec<Need> {
    count(model, &BTreeMap::new())
}

/// An operator: domain, name, opset.
type Key<'m> = (&'m str, &'m str, Option<i64>);

fn count(model: &Model, types: &BTreeMap<&str, Element>) -> Vec<Need> {
    let message = &model.message;
    let functions: BTreeSet<(&str, &str)> =
        message.functions.iter().map(|function| (domain(&function.domain), function.name.as_str())).collect();
    let mut counts: BTreeMap<Key<'_>, (usize, BTreeSet<Element>)> = BTreeMap::new();
    let mut pending: Vec<(&[NodeProto], &[OperatorSetIdProto])> = vec![(&message.graph.node, &message.opset_import)];
    for function in &message.functions {
        pending.push((&function.node, &function.opset_import));
    }
    while let Some((nodes, sets)) = pending.pop() {
        for node in nodes {
            let (own, name) = (domain(&node.domain), node.op_type.as_str());
            pending.extend(bodies(node).map(|body| (body.node.as_slice(), sets)));
            if !functions.contains(&(own, name)) {
                let opset = sets.iter().find(|set| domain(&set.domain) == own).map(|set| set.version);
                let (count, seen) = counts.entry((own, name, opset)).or_default();
                *count += 1;
                seen.extend(node.input.iter().chain(&node.output).filter_map(|name| types.get(name.as_str())));
            }
        }
    }
    let need = |((own, name, opset), (count, types)): (Key<'_>, (usize, BTreeSet<Element>))| Need {
        domain: own.to_string(),
        name: name.to_string(),
        opset,
        count,
        types,
        refusal: find(own, name, opset).err().map(|problem| problem.message),
    };
    counts.into_iter().map(need).collect()
}
