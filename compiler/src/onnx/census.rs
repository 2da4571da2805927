//! Which operators a model needs, and which of them have a row.
//!
//! In: an opened model. Out: one line per operator and opset, in the order of domain and name. Bodies and functions are counted where they
//! are written, not where they are used; calls of the model's own functions are not operators.

use std::collections::{BTreeMap, BTreeSet};

use onnx_protobuf::{NodeProto, OperatorSetIdProto};

use super::attributes::domain;
use super::model::Model;
use super::ops::find;
use super::order::bodies;

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
    /// Why it is not supported; nothing if there is a row for it.
    pub refusal: Option<String>,
}

/// The operators of a model.
pub fn needs(model: &Model) -> Vec<Need> {
    let message = &model.message;
    let functions: BTreeSet<(&str, &str)> =
        message.functions.iter().map(|function| (domain(&function.domain), function.name.as_str())).collect();
    let mut counts: BTreeMap<(&str, &str, Option<i64>), usize> = BTreeMap::new();
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
                *counts.entry((own, name, opset)).or_default() += 1;
            }
        }
    }
    let need = |((own, name, opset), count): ((&str, &str, Option<i64>), usize)| Need {
        domain: own.to_string(),
        name: name.to_string(),
        opset,
        count,
        refusal: find(own, name, opset).err().map(|problem| problem.message),
    };
    counts.into_iter().map(need).collect()
}
