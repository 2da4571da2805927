//! The form of a report as a JSON Schema, and as the tables of `docs/report.md`.
//!
//! In: the types of the report with their documentation. Out: a schema; Markdown. Always: both follow from the types, so a key without
//! documentation cannot exist (the compiler warns), and tests keep the files in `docs/` equal to what is generated here.

use std::fmt::Write as _;

use serde_json::Value;

use super::Report;

/// The JSON Schema (draft 2020-12) of a report. Objects have no other keys than these.
pub fn schema() -> Value {
    let mut value = schemars::schema_for!(Report).to_value();
    close(&mut value);
    value["title"] = "Report of a timed run of Narae".into();
    value
}

/// Forbids unknown keys of every object with named ones.
fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.contains_key("properties") && map.get("type").is_some_and(|kind| kind == "object") {
                map.entry("additionalProperties").or_insert(false.into());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The tables of `docs/report.md`: the report itself, then every kind of object in it.
pub fn tables() -> String {
    let schema = schema();
    let mut out = table("The report", &schema);
    if let Some(Value::Object(definitions)) = schema.get("$defs") {
        for (name, definition) in definitions {
            out += &table(&format!("`{name}`"), definition);
        }
    }
    out
}

fn table(title: &str, object: &Value) -> String {
    let mut out = format!("### {title}\n\n");
    let text = |value: &Value| value.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    let _ = writeln!(out, "{}\n", text(object));
    if let Some(Value::Object(properties)) = object.get("properties") {
        out += "| key | type | meaning |\n|---|---|---|\n";
        for (key, property) in properties {
            let _ = writeln!(out, "| `{key}` | {} | {} |", kind(property), text(property));
        }
        out.push('\n');
    }
    for variant in object.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let name = variant.get("const").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(out, "- `{name}`: {}", text(variant));
    }
    if object.get("oneOf").is_some() {
        out.push('\n');
    }
    out
}

/// The type of a key in words.
fn kind(property: &Value) -> String {
    if let Some(name) = property.get("$ref").and_then(Value::as_str) {
        return format!("`{}`", name.trim_start_matches("#/$defs/"));
    }
    if let Some(several) = property.get("anyOf").and_then(Value::as_array) {
        return several.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    match property.get("type") {
        Some(Value::String(name)) if name == "array" => match property.get("items") {
            Some(items) => format!("array of {}", kind(items)),
            None => "pair of numbers".to_string(),
        },
        Some(Value::String(name)) if name == "object" => match property.get("additionalProperties") {
            Some(inner @ Value::Object(_)) => format!("object of {}", kind(inner)),
            _ => "object".to_string(),
        },
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_string(),
    }
}
