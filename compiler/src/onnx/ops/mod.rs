//! THE table of ONNX operators, split by family: one row per operator and range of opsets.
//!
//! In: a domain, a name, an opset. Out: the row, whose `build` composes graph ops, or a diagnostic. A row whose meaning did not change
//! between opsets covers them all; where an operand was an attribute in an older opset, one `build` reads either. To add an
//! operator, add a row to its family. Always holds: no two rows of an operator overlap in opsets.

mod activation;
mod attention;
mod contrib_attention;
mod contrib_gqa;
mod contrib_kv_codes;
mod contrib_linear;
mod contrib_moe;
mod contrib_norm;
mod contrib_qlinear;
mod control;
mod convolution;
mod decide;
mod einsum;
mod elementwise;
mod indexing;
mod loops;
mod matrix;
mod normalization;
mod pad;
mod quantization;
pub(super) mod ranks;
mod recurrent;
mod reduce;
mod resize;
mod run_time_axes;
pub(super) mod sequence;
mod shape;
mod slice;
mod source;

use std::collections::HashMap;
use std::sync::LazyLock;

use narae_isa::{Diagnostic, codes};

use super::call::{NEWEST, Row};

/// All rows by family.
const FAMILIES: &[&[Row]] = &[
    source::ROWS,
    elementwise::ROWS,
    activation::ROWS,
    shape::ROWS,
    pad::ROWS,
    indexing::ROWS,
    reduce::ROWS,
    matrix::ROWS,
    normalization::ROWS,
    attention::ROWS,
    quantization::ROWS,
    contrib_qlinear::ROWS,
    convolution::ROWS,
    resize::ROWS,
    control::ROWS,
    sequence::ROWS,
    loops::ROWS,
    recurrent::ROWS,
    contrib_norm::ROWS,
    contrib_linear::ROWS,
    contrib_attention::ROWS,
    contrib_gqa::ROWS,
    contrib_moe::ROWS,
];

static INDEX: LazyLock<HashMap<(&str, &str), Vec<&Row>>> = LazyLock::new(|| {
    let mut index: HashMap<(&str, &str), Vec<&Row>> = HashMap::new();
    for row in rows() {
        index.entry((row.domain, row.name)).or_default().push(row);
    }
    index
});

/// All rows, in the order of the families.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row of an operator under an opset; a domain without one is taken to mean its newest.
pub fn find(domain: &str, name: &str, opset: Option<i64>) -> Result<&'static Row, Diagnostic> {
    let operator = if domain.is_empty() { name.to_string() } else { format!("{domain}::{name}") };
    let Some(rows) = INDEX.get(&(domain, name)) else {
        return Err(Diagnostic::new(&codes::E0201, format!("operator `{operator}` is not supported")));
    };
    let opset = opset.unwrap_or(NEWEST);
    let fitting = rows.iter().find(|row| (row.since..=row.until).contains(&opset));
    fitting.copied().ok_or_else(|| {
        let known: Vec<String> = rows.iter().map(|row| range(row.since, row.until)).collect();
        let message = format!("operator `{operator}` is known for opset {}, not {opset}", known.join(" and "));
        Diagnostic::new(&codes::E0204, message)
    })
}

/// `7-12` or `13+`.
pub fn range(since: i64, until: i64) -> String {
    if until == NEWEST { format!("{since}+") } else { format!("{since}-{until}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_operator_do_not_overlap() {
        for rows in INDEX.values() {
            for (at, a) in rows.iter().enumerate() {
                for b in &rows[at + 1..] {
                    assert!(a.until < b.since || b.until < a.since, "{}::{} overlaps", a.domain, a.name);
                }
            }
        }
    }
}
