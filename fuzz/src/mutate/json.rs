//! JSON documents: members dropped, repeated and moved, numbers and texts replaced. What is no JSON is changed as text.

use serde_json::Value;

use super::{changes, seed, text};
use crate::random::Random;

/// A changed seed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let original = seed(random, seeds);
    match serde_json::from_slice::<Value>(original) {
        Ok(mut value) if !random.chance(10) => {
            let pool = pool(random, seeds);
            for _ in 0..changes(random) {
                change(random, &mut value, &pool);
            }
            serde_json::to_vec(&value).unwrap_or_default()
        }
        _ => text::mutate(random, seeds),
    }
}

/// Values of another seed, to put into this one.
fn pool(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<Value> {
    let other: Value = serde_json::from_slice(seed(random, seeds)).unwrap_or_default();
    let count = count(&other);
    (0..4).filter_map(|_| nth(&other, &mut random.below(count)).cloned()).collect()
}

/// How many values a value holds, itself included.
pub fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn nth<'a>(value: &'a Value, number: &mut usize) -> Option<&'a Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    children(value).find_map(|child| nth(child, number))
}

/// The value with this number in the order of the text.
fn nth_mut<'a>(value: &'a mut Value, number: &mut usize) -> Option<&'a mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|child| nth_mut(child, number)),
        Value::Object(members) => members.iter_mut().find_map(|(_, child)| nth_mut(child, number)),
        _ => None,
    }
}

/// One change somewhere; `pool` are values from elsewhere.
pub fn change(random: &mut Random, document: &mut Value, pool: &[Value]) {
    let count = count(document);
    let own = nth(document, &mut random.below(count)).cloned().unwrap_or_default();
    let mut number = random.below(count);
    let Some(place) = nth_mut(document, &mut number) else { return };
    match random.below(10) {
        0 => *place = own,
        1 if !pool.is_empty() => *place = random.pick(pool).clone(),
        2 => *place = other_kind(random),
        _ => change_value(random, place, own),
    }
}

fn other_kind(random: &mut Random) -> Value {
    match random.below(7) {
        0 => Value::Null,
        1 => Value::Bool(true),
        2 => Value::from(random.odd_number()),
        3 => Value::from(random.pick(&["", "x", "s0", "-1", "\u{FFFD}é", "\0"]).to_string()),
        4 => Value::Array(Vec::new()),
        5 => Value::Object(serde_json::Map::new()),
        _ => Value::from(random.next() as f64 / 1e3),
    }
}

/// A change that keeps the kind of a value.
fn change_value(random: &mut Random, place: &mut Value, own: Value) {
    match place {
        Value::Null | Value::Bool(_) => *place = Value::Bool(random.chance(2)),
        Value::Number(number) => {
            let near = number.as_i64().unwrap_or_default();
            *place = Value::from(match random.below(4) {
                0 => near.wrapping_add(1),
                1 => near.wrapping_sub(1),
                2 => near.wrapping_mul(random.below(5) as i64),
                _ => random.odd_number(),
            });
        }
        Value::String(string) => *string = text::change(random, string, &[]),
        Value::Array(items) => change_items(random, items, own),
        Value::Object(members) => change_members(random, members, own),
    }
}

fn change_items(random: &mut Random, items: &mut Vec<Value>, own: Value) {
    let at = random.below(items.len());
    match random.below(5) {
        0 if !items.is_empty() => drop(items.remove(at)),
        1 if !items.is_empty() => items.insert(at, items[at].clone()),
        2 if !items.is_empty() => {
            let other = random.below(items.len());
            items.swap(at, other);
        }
        3 => items.clear(),
        _ => items.push(own),
    }
}

fn change_members(random: &mut Random, members: &mut serde_json::Map<String, Value>, own: Value) {
    let keys: Vec<String> = members.keys().cloned().collect();
    if keys.is_empty() {
        members.insert(String::from("x"), own);
        return;
    }
    let (key, other) = (random.pick(&keys).clone(), random.pick(&keys).clone());
    match random.below(4) {
        0 => drop(members.remove(&key)),
        1 => drop(members.insert(key, own)),
        2 => {
            let value = members.get(&other).cloned().unwrap_or_default();
            members.insert(key, value);
        }
        _ => {
            let value = members.remove(&key).unwrap_or_default();
            members.insert(text::change(random, &key, &[]), value);
        }
    }
}
