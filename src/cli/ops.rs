//! `narae ops`: the ONNX operators that Narae knows, printed from the importer's rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use narae_compiler::onnx::ops::{range, rows};

use super::{Outcome, Voice, output};

/// How to print.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints one line an operator and range of opsets.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let text = if arguments.json { json() } else { human() };
    output::to_stdout(text.as_bytes())
}

fn domain_name(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}

fn human() -> String {
    let mut by_domain: BTreeMap<&str, Vec<(&str, String, &str)>> = BTreeMap::new();
    for row in rows() {
        by_domain.entry(domain_name(row.domain)).or_default().push((row.name, range(row.since, row.until), row.types));
    }
    let mut out = String::new();
    for (domain, mut rows) in by_domain {
        rows.sort();
        let _ = writeln!(out, "{domain}: {} rows (operator, opsets, types)", rows.len());
        for (name, opsets, types) in rows {
            let _ = writeln!(out, "  {name:<36} {opsets:<8} {types}");
        }
    }
    out
}

fn json() -> String {
    let mut all: Vec<_> = rows().map(|row| (domain_name(row.domain), row.name, row.since, row.until, row.types)).collect();
    all.sort();
    let rows: Vec<serde_json::Value> = all
        .into_iter()
        .map(|(domain, name, since, until, types)| {
            let until = (until < i64::MAX).then_some(until);
            serde_json::json!({ "domain": domain, "operator": name, "since": since, "until": until, "types": types })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}
