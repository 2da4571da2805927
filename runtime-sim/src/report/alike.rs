//! Alike nodes: those of alike layers, which the same instructions of a loop implement. In: costs by node. Out: [`Alike`], the greatest share of time
//! first. Always: the sums of all are the sums of the nodes; nodes that no loop has in common stand alone.

use super::Cost;

/// Nodes that the same instructions implement, one in each pass of a loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Alike {
    /// Their sums; the name has `*` where their names differ.
    pub cost: Cost,
    /// How many they are.
    pub nodes: usize,
}

/// Puts alike nodes together.
pub fn alike(nodes: &[Cost]) -> Vec<Alike> {
    let mut found: Vec<Alike> = Vec::new();
    for node in nodes {
        let same = |other: &&mut Alike| node.instruction.is_some() && other.cost.instruction == node.instruction;
        match found.iter_mut().find(same) {
            Some(other) => other.add(node),
            None => found.push(Alike { cost: node.clone(), nodes: 1 }),
        }
    }
    found.sort_by(|a, b| b.cost.cycles.total_cmp(&a.cost.cycles));
    found
}

impl Alike {
    fn add(&mut self, node: &Cost) {
        let sum = &mut self.cost;
        sum.name = common(&sum.name, &node.name);
        sum.instructions += node.instructions;
        sum.cycles += node.cycles;
        sum.share += node.share;
        sum.occupied_cycles += node.occupied_cycles;
        sum.bytes_read += node.bytes_read;
        sum.bytes_written += node.bytes_written;
        sum.weight_bytes += node.weight_bytes;
        sum.operations += node.operations;
        sum.joules += node.joules;
        self.nodes += 1;
    }
}

/// What two names begin and end with, and `*` between: `/h.*/mlp` of `/h.1/mlp` and `/h.12/mlp`. The first name may have its `*` already.
fn common(a: &str, b: &str) -> String {
    let (head, tail) = a.split_once('*').unwrap_or((a, a));
    let same = |a: char, b: char| a == b;
    let head: String = head.chars().zip(b.chars()).take_while(|(a, b)| same(*a, *b)).map(|pair| pair.0).collect();
    let rest = b.strip_prefix(head.as_str()).unwrap_or(b);
    let tail = tail.strip_prefix(head.as_str()).unwrap_or(tail);
    let tail: Vec<char> =
        tail.chars().rev().zip(rest.chars().rev()).take_while(|(a, b)| same(*a, *b)).map(|pair| pair.0).collect();
    format!("{head}*{}", tail.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_alike_nodes() {
        let all = |names: &[&str]| names[1..].iter().fold(names[0].to_string(), |sum, name| common(&sum, name));
        assert_eq!(all(&["/h.11/mlp/MatMul_1", "/h.3/mlp/MatMul_1", "/h.1/mlp/MatMul_1"]), "/h.*/mlp/MatMul_1");
        assert_eq!(all(&["/mlp/up/MatMul", "/mlp/up_1/MatMul", "/mlp/up_2/MatMul"]), "/mlp/up*/MatMul");
        assert_eq!(all(&["/h.10/mlp", "/h.11/mlp"]), "/h.1*/mlp");
        assert_eq!(all(&["a", "b"]), "*");
        assert_eq!(all(&["node", "node_1"]), "node*");
    }

    #[test]
    fn the_sums_stay() {
        let node = |name: &str, instruction, cycles| Cost { name: name.into(), instruction, cycles, ..Cost::default() };
        let nodes = [node("/h.0/up", Some(4), 3.0), node("/head", Some(9), 5.0), node("/h.1/up", Some(4), 3.0)];
        let rest = [node("control", None, 1.0), node("moves", None, 1.0)];
        let found = alike(&[nodes.as_slice(), rest.as_slice()].concat());
        let names: Vec<(&str, usize)> = found.iter().map(|one| (one.cost.name.as_str(), one.nodes)).collect();
        assert_eq!(names, [("/h.*/up", 2), ("/head", 1), ("control", 1), ("moves", 1)]);
        assert_eq!(found.iter().map(|one| one.cost.cycles).sum::<f64>(), 13.0);
    }
}
