//! How many axes operands must have where their row reads axes by number: one table for the operators whose operands have layouts.
//!
//! In: an operator and its operands. Out: nothing, or what is wrong. Always holds: a row listed here meets only operands of these ranks;
//! operators that take any rank are not listed. To add one, add the ranks that the ONNX text (or onnxruntime's) gives.

use crate::ir::Value;
use crate::onnx::builder::{Builder, Built, mismatch};

/// The ranks that an operand may have.
#[derive(Clone, Copy)]
enum Rank {
    /// One of these.
    Is(&'static [usize]),
    /// So many at least.
    From(usize),
    /// That of another operand.
    Like(usize),
}

use Rank::{From, Is, Like};

/// An operator by domain and name, with the operands that have a layout.
type Row = (&'static str, &'static str, &'static [(usize, Rank)]);

const MICROSOFT: &str = "com.microsoft";

const RANKS: &[Row] = &[
    ("", "Attention", &[(0, Is(&[3, 4])), (1, Like(0)), (2, Like(0)), (4, Is(&[4])), (5, Is(&[4])), (6, Is(&[1]))]),
    ("", "Conv", &[(0, From(3)), (1, Like(0)), (2, Is(&[1]))]),
    ("", "ConvInteger", &[(0, From(3)), (1, Like(0))]),
    ("", "ConvTranspose", &[(0, From(3)), (1, Like(0)), (2, Is(&[1]))]),
    (
        "",
        "LinearAttention",
        &[(0, Is(&[3])), (1, Is(&[3])), (2, Is(&[3])), (3, Is(&[4])), (4, Is(&[3])), (5, Is(&[3]))],
    ),
    ("", "QLinearConv", &[(0, From(3)), (3, Like(0)), (8, Is(&[1]))]),
    ("", "RotaryEmbedding", &[(0, Is(&[3, 4]))]),
    (MICROSOFT, "Attention", &[(0, Is(&[3])), (1, Is(&[2])), (2, Is(&[1])), (4, Is(&[5]))]),
    (MICROSOFT, "FusedConv", &[(0, From(3)), (1, Like(0)), (2, Is(&[1]))]),
    (MICROSOFT, "GatherBlockQuantized", &[(0, From(1)), (2, Like(0)), (3, Like(0))]),
    (
        MICROSOFT,
        "GroupQueryAttention",
        &[(0, Is(&[3])), (1, Is(&[3])), (2, Is(&[3])), (3, Is(&[4])), (4, Is(&[4])), (10, Is(&[4]))],
    ),
    (
        MICROSOFT,
        "MultiHeadAttention",
        &[(0, Is(&[3, 4, 5])), (1, Is(&[3, 4, 5])), (2, Is(&[3, 4])), (3, Is(&[1])), (6, Is(&[4])), (7, Is(&[4]))],
    ),
    (
        MICROSOFT,
        "MoE",
        &[(0, From(2)), (2, Is(&[3])), (3, Is(&[2])), (4, Is(&[3])), (5, Is(&[2])), (6, Is(&[3])), (7, Is(&[2]))],
    ),
    (MICROSOFT, "QAttention", &[(0, Is(&[3])), (1, Is(&[2])), (2, Is(&[1])), (8, Is(&[5]))]),
    (MICROSOFT, "QGemm", &[(0, Is(&[2])), (3, Is(&[2])), (6, Is(&[0, 1, 2]))]),
    (MICROSOFT, "RotaryEmbedding", &[(0, Is(&[3, 4])), (2, Is(&[2])), (3, Is(&[2]))]),
];

/// An error unless every operand has a rank that its operator knows.
pub(in crate::onnx) fn check(builder: &Builder, domain: &str, name: &str, operands: &[Option<Value>]) -> Built<()> {
    let row = RANKS.iter().find(|(own, operator, _)| (*own, *operator) == (domain, name));
    let given = |index: usize| operands.get(index).copied().flatten().map(|value| builder.rank(value));
    for (index, rank) in row.map_or(&[][..], |(_, _, ranks)| ranks) {
        let Some(found) = given(*index) else { continue };
        let (fits, expected) = match rank {
            Is(ranks) => (ranks.contains(&found), listed(ranks)),
            From(least) => (found >= *least, format!("{least} or more")),
            Like(other) => match given(*other) {
                Some(like) => (found == like, format!("{like}, as operand {other}")),
                None => continue,
            },
        };
        if !fits {
            return Err(mismatch(format!("operand {index} has {found} axes, expected {expected}")));
        }
    }
    Ok(())
}

fn listed(ranks: &[usize]) -> String {
    let words: Vec<String> = ranks.iter().map(usize::to_string).collect();
    words.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for an operator that does not exist would guard nothing.
    #[test]
    fn every_operator_has_a_row_that_builds_it() {
        for (domain, name, _) in RANKS {
            assert!(super::super::rows().any(|row| (row.domain, row.name) == (*domain, *name)), "{domain}::{name}");
        }
    }
}
