//! `narae ops`: the ONNX operators that Narae knows, printed from the importer's rows; with a model, what that model needs and what of
//! it is missing, all at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use narae::settings;
use narae_compiler::onnx::ops::{range, rows};
use narae_compiler::onnx::{Model, Need, Survey, survey};
use narae_isa::Diagnostics;
use serde_json::{Value, json};

use super::reading::ReadOptions;
use super::{Outcome, Voice, output};

/// What to look at, and how to print.
#[derive(clap::Args)]
pub struct Arguments {
    /// A model (.onnx): print what it needs and what is missing instead of all that there is
    model: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    read: ReadOptions,
}

/// Prints one line an operator and range of opsets, or one an operator that the model uses.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    let Some(path) = &arguments.model else {
        let text = if arguments.json { json() } else { human() };
        return output::to_stdout(text.as_bytes());
    };
    let path = &settings::model_file(path)?;
    let found = survey(&Model::open(path, &arguments.read.limits()?)?);
    let text = if arguments.json { survey_json(path, &found) } else { survey_human(path, &found) };
    output::to_stdout(text.as_bytes())?;
    if found.problems.is_empty() {
        voice.say("nothing is missing");
        return Ok(());
    }
    Err(Diagnostics(found.problems))
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
    let rows: Vec<Value> = all
        .into_iter()
        .map(|(domain, name, since, until, types)| {
            let until = (until < i64::MAX).then_some(until);
            json!({ "domain": domain, "operator": name, "since": since, "until": until, "types": types })
        })
        .collect();
    format!("{:#}\n", Value::from(rows))
}

fn survey_human(path: &Path, found: &Survey) -> String {
    let nodes: usize = found.needs.iter().map(|need| need.count).sum();
    let missing = found.needs.iter().filter(|need| need.refusal.is_some()).count();
    let mut out = format!("{}: {nodes} nodes of {} operators, {missing} of them not supported\n", path.display(), found.needs.len());
    let width = |text: fn(&Need) -> usize, least| found.needs.iter().map(text).max().unwrap_or(0).max(least);
    let (name, domain) = (width(|need| need.name.len(), 8), width(|need| domain_name(&need.domain).len(), 6));
    let types = width(|need| types(need).len(), 5);
    let _ = writeln!(out, "{:<name$}  {:<domain$}  opset  nodes  {:<types$}  supported", "operator", "domain", "types");
    for need in &found.needs {
        let opset = need.opset.map_or("?".to_string(), |opset| opset.to_string());
        let supported = need.refusal.as_ref().map_or("yes".to_string(), |reason| format!("no: {reason}"));
        let _ = writeln!(
            out,
            "{:<name$}  {:<domain$}  {opset:>5}  {:>5}  {:<types$}  {supported}",
            need.name,
            domain_name(&need.domain),
            need.count,
            self::types(need),
        );
    }
    out
}

fn types(need: &Need) -> String {
    need.types.iter().map(|element| element.name()).collect::<Vec<_>>().join(" ")
}

fn survey_json(path: &Path, found: &Survey) -> String {
    let need = |need: &Need| {
        let types: Vec<&str> = need.types.iter().map(|element| element.name()).collect();
        json!({ "operator": need.name, "domain": domain_name(&need.domain), "opset": need.opset, "nodes": need.count,
                "types": types, "supported": need.refusal.is_none(), "reason": need.refusal })
    };
    let operators: Vec<Value> = found.needs.iter().map(need).collect();
    let problems: Vec<Value> = found.problems.iter().map(narae_isa::Diagnostic::to_json).collect();
    let value = json!({ "model": path.display().to_string(), "operators": operators, "problems": problems });
    format!("{value:#}\n")
}
