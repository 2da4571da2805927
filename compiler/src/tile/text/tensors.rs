//! The tensors of `tile.holds` as attributes: one dictionary each, `{iteration = 0, name = "h", node = "/mlp/Add", number = 7, op =
//! "Add"}`. What is printed parses back to the same.

use std::sync::Arc;

use crate::graph::Origin;
use crate::graph::attribute::Attribute;
use crate::graph::names::{Named, Tensor};

pub(super) fn print(tensors: &[Named]) -> Attribute {
    Attribute::List(tensors.iter().map(one).collect())
}

fn one(named: &Named) -> Attribute {
    let Tensor { number, name, node } = &*named.tensor;
    let text = |text: &str| Attribute::Text(text.to_string());
    let always = [
        ("name", text(name)),
        ("node", text(&node.name)),
        ("number", Attribute::Integer(i64::from(*number))),
        ("op", text(&node.op)),
    ];
    let iteration = named.iteration.map(|iteration| ("iteration", Attribute::Integer(i64::from(iteration))));
    Attribute::Dictionary(always.into_iter().chain(iteration).map(|(key, value)| (key.to_string(), value)).collect())
}

pub(super) fn parse(attribute: Option<&Attribute>) -> Result<Vec<Named>, String> {
    let Some(Attribute::List(list)) = attribute else { return Err("`tensors` must be a list".into()) };
    list.iter().map(named).collect()
}

fn named(attribute: &Attribute) -> Result<Named, String> {
    let Attribute::Dictionary(map) = attribute else { return Err("a tensor is a dictionary".into()) };
    let text = |key: &str| match map.get(key) {
        Some(Attribute::Text(text)) => Ok(text.clone()),
        _ => Err(format!("`{key}` of a tensor must be a string")),
    };
    let number = |key: &str| match map.get(key) {
        Some(Attribute::Integer(value)) => u32::try_from(*value).map_err(|_| format!("`{key}` is out of range")),
        _ => Err(format!("`{key}` of a tensor must be an integer")),
    };
    let node = Origin { name: text("node")?, op: text("op")? };
    let tensor = Arc::new(Tensor { number: number("number")?, name: text("name")?, node });
    Ok(Named { tensor, iteration: map.contains_key("iteration").then(|| number("iteration")).transpose()? })
}
