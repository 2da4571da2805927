//! The parts of a program that its report tells apart: what comes before the layers, each layer, what comes after.
//!
//! In: the parts of a timing (markers of the program's loops over layers), or the names of nodes. Out: names of groups, and which group
//! everything belongs to. Always: groups stand in the order in which they run; everything has one.

use super::observe::Node;
use crate::timing::Timing;

/// The pass of a loop over layers, and how many passes the loop has.
pub type Pass = Option<(usize, usize)>;

/// Groups by the markers of loops over layers: names, the group of each part of the timing, the pass of each part.
pub fn by_marker(timing: &Timing) -> (Vec<String>, Vec<usize>, Vec<Pass>) {
    let runs: Vec<_> = timing.parts.chunk_by(|a, b| a.layer.is_some() == b.layer.is_some()).collect();
    let loops = runs.iter().filter(|run| run[0].layer.is_some()).count();
    let (mut names, mut group_of_part, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = 0;
    for run in runs {
        for (number, part) in run.iter().enumerate() {
            match part.layer {
                Some(layer) => names.push(layer_name(loops, seen, layer)),
                None if number == 0 => names.push(between(loops, seen).to_string()),
                None => {}
            }
            passes.push(part.layer.map(|_| (number, run.len())));
            group_of_part.push(names.len() - 1);
        }
        seen += usize::from(run[0].layer.is_some());
    }
    (names, group_of_part, passes)
}

fn layer_name(loops: usize, number: usize, layer: i64) -> String {
    if loops > 1 { format!("loop {}, layer {layer}", number + 1) } else { format!("layer {layer}") }
}

/// What lies outside of loops, after `seen` of them.
fn between(loops: usize, seen: usize) -> &'static str {
    match (loops, seen) {
        (0, _) => "whole program",
        (_, 0) => "before",
        (loops, seen) if seen == loops => "after",
        _ => "between",
    }
}

/// Groups by the numbers in names of nodes (`/encoder/layer.0/output`), for programs without loops over layers: names, and the group
/// of each of the places in program order. What has no number belongs to what runs at that time. Nothing if no name has a number.
pub fn by_name(nodes_of: &[Option<usize>], nodes: &[Node]) -> Option<(Vec<String>, Vec<usize>)> {
    let number_of = |node: &Option<usize>| node.and_then(|index| numbered(&nodes[index].name));
    let last = nodes_of.iter().rposition(|node| number_of(node).is_some())?;
    let mut names = vec!["before".to_string()];
    let mut current = 0;
    let mut groups = Vec::with_capacity(nodes_of.len());
    for (index, node) in nodes_of.iter().enumerate() {
        let name = if index > last { Some("after".to_string()) } else { number_of(node) };
        if let Some(name) = name {
            current = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
        }
        groups.push(current);
    }
    Some((names, groups))
}

/// The first number that is a step of a node's path, with the step before it: `layer.0` of `/encoder/layer.0/output/dense/MatMul`.
fn numbered(name: &str) -> Option<String> {
    let steps: Vec<&str> = name.split(['/', '.']).collect();
    let found = steps
        .windows(2)
        .find(|pair| !pair[0].is_empty() && !pair[1].is_empty() && pair[1].bytes().all(|byte| byte.is_ascii_digit()));
    found.map(|pair| format!("{}.{}", pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_by_name() {
        let node = |name: &str| Node { name: name.to_string(), operator: "MatMul".to_string(), fused: 0 };
        let nodes = [node("/embed"), node("/h.0/a"), node("/h.0/b"), node("/h.1/a"), node("/head")];
        let order = [None, Some(0), Some(1), None, Some(2), Some(3), Some(1), Some(4), None];
        let (names, groups) = by_name(&order, &nodes).unwrap();
        assert_eq!(names, ["before", "h.0", "h.1", "after"]);
        assert_eq!(groups, [0, 0, 1, 1, 1, 2, 1, 3, 3]);
        assert_eq!(by_name(&[Some(0), None], &nodes), None);
        assert_eq!(numbered("/q_proj_1/MatMul"), None);
        assert_eq!(numbered("model.layers.17.mlp"), Some("layers.17".to_string()));
    }
}
