//! The order of a graph's nodes.
//!
//! In: the nodes as the file has them, and which names are known before the first. Out: their numbers so that each comes after
//! the nodes whose outputs it uses: the file's own order where it is right (ONNX demands it), a stable topological one
//! otherwise. Always holds: a cycle is refused with the names of its nodes; a name is produced once.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use narae_isa::{Diagnostic, codes};
use onnx_protobuf::{GraphProto, NodeProto};

use super::attributes::{node_name, op_name};
use super::sparse;

/// The nodes' numbers in an order in which they can be imported.
pub fn order(nodes: &[NodeProto]) -> Result<Vec<usize>, Vec<Diagnostic>> {
    let mut producer: HashMap<&str, usize> = HashMap::with_capacity(nodes.len());
    let mut problems = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if let Some(first) = producer.insert(output, number) {
                let message =
                    format!("value `{output}` is defined twice, first by node `{}`", node_name(&nodes[first]));
                problems.push(Diagnostic::new(&codes::E0109, message).at_node(node_name(node), op_name(node)));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let in_order = nodes.iter().enumerate().all(|(number, node)| {
        let mut later = false;
        used_names(node, &mut |name| later |= producer.get(name).is_some_and(|&other| other >= number));
        !later
    });
    if in_order {
        return Ok((0..nodes.len()).collect());
    }
    let needs: Vec<BTreeSet<usize>> = nodes
        .iter()
        .map(|node| {
            let mut needs = BTreeSet::new();
            used_names(node, &mut |name| needs.extend(producer.get(name)));
            needs
        })
        .collect();
    sort(&needs).map_err(|cycle| vec![describe(nodes, &cycle)])
}

/// Calls `found` with every name that the node reads, those that its bodies take from outside included.
pub(super) fn used_names<'a>(node: &'a NodeProto, found: &mut dyn FnMut(&'a str)) {
    node.input.iter().filter(|name| !name.is_empty()).for_each(|name| found(name));
    for body in bodies(node) {
        free_names(body, found);
    }
}

/// The bodies among the attributes of a node.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Calls `found` with every name that a body takes from outside.
pub(super) fn free_names<'a>(body: &'a GraphProto, found: &mut dyn FnMut(&'a str)) {
    let inputs = body.input.iter().map(|input| input.name.as_str());
    let initializers = body.initializer.iter().map(|tensor| tensor.name.as_str());
    let sparse = body.sparse_initializer.iter().map(sparse::name);
    let outputs = body.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
    let own: HashSet<&str> = inputs.chain(initializers).chain(sparse).chain(outputs).collect();
    let mut outer = |name: &'a str| {
        if !own.contains(name) {
            found(name);
        }
    };
    body.node.iter().for_each(|node| used_names(node, &mut outer));
    body.output.iter().for_each(|output| outer(&output.name));
}

/// A stable topological order, or a cycle.
fn sort(needs: &[BTreeSet<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut missing: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    for (number, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|&other| users[other].push(number));
    }
    let mut ready: BinaryHeap<std::cmp::Reverse<usize>> =
        (0..needs.len()).filter(|&number| missing[number] == 0).map(std::cmp::Reverse).collect();
    let mut sorted = Vec::with_capacity(needs.len());
    while let Some(std::cmp::Reverse(number)) = ready.pop() {
        sorted.push(number);
        for &user in &users[number] {
            missing[user] -= 1;
            if missing[user] == 0 {
                ready.push(std::cmp::Reverse(user));
            }
        }
    }
    if sorted.len() == needs.len() {
        return Ok(sorted);
    }
    Err(cycle(needs, &missing))
}

/// Walks backwards through nodes that wait for each other until one comes up again.
fn cycle(needs: &[BTreeSet<usize>], missing: &[usize]) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut seen = vec![false; needs.len()];
    let mut at = missing.iter().position(|&count| count > 0);
    while let Some(number) = at {
        if seen[number] {
            let start = path.iter().position(|&other| other == number).unwrap_or(0);
            path.drain(..start);
            path.reverse();
            return path;
        }
        seen[number] = true;
        path.push(number);
        at = needs[number].iter().copied().find(|&other| missing[other] > 0);
    }
    path
}

fn describe(nodes: &[NodeProto], cycle: &[usize]) -> Diagnostic {
    let names: Vec<String> = cycle.iter().take(8).map(|&number| format!("`{}`", node_name(&nodes[number]))).collect();
    let more = if cycle.len() > 8 { format!(" and {} more", cycle.len() - 8) } else { String::new() };
    let message = format!("the graph has a cycle through {}{more}", names.join(" → "));
    let found = Diagnostic::new(&codes::E0108, message);
    match cycle.first() {
        Some(&first) => found.at_node(node_name(&nodes[first]), op_name(&nodes[first])),
        None => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let texts = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        NodeProto { name: name.into(), input: texts(inputs), output: texts(outputs), ..Default::default() }
    }

    #[test]
    fn right_order_stays_and_wrong_order_is_sorted() {
        let nodes = [node("a", &["x"], &["p"]), node("b", &["p", ""], &["q"])];
        assert_eq!(order(&nodes).unwrap(), [0, 1]);
        let nodes = [node("b", &["p"], &["q"]), node("a", &["x"], &["p"]), node("c", &["x"], &["r"])];
        assert_eq!(order(&nodes).unwrap(), [1, 0, 2]);
    }

    #[test]
    fn cycles_and_second_definitions_are_named() {
        let nodes = [node("a", &["q"], &["p"]), node("b", &["p"], &["q"])];
        let found = order(&nodes).unwrap_err();
        assert!(found[0].message.contains("`b` → `a`") || found[0].message.contains("`a` → `b`"), "{}", found[0]);
        let nodes = [node("a", &[], &["p"]), node("b", &[], &["p"])];
        assert_eq!(order(&nodes).unwrap_err()[0].code.id, "E0109");
    }
}
