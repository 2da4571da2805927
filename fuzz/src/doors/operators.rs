//! The sweep over operators: one node of any operator in the table, with ranks, dims, element types, attributes and missing operands that
//! mostly make sense and often do not.
//!
//! In: choices. Out: what importing, compiling and running say. `operators.txt` holds what ONNX and onnxruntime say of each operator
//! (`operators.py` writes it). Always holds: tensors are small.

use std::sync::LazyLock;

use narae::compiler::onnx::{Limits, Model, import};

use super::running;
use super::writing::{Dim, Message, model, tensor, value};
use crate::Outcome;
use crate::random::{Choices, Random};

/// An operand of an operator.
#[derive(Clone, Copy, Debug)]
struct Operand {
    /// A bit for each type number of ONNX.
    types: u32,
    optional: bool,
    repeated: bool,
}

/// One meaning of an operator.
#[derive(Debug)]
struct Schema {
    domain: &'static str,
    name: &'static str,
    since: i64,
    operands: Vec<Operand>,
    results: usize,
    attributes: Vec<(&'static str, &'static str)>,
}

static SCHEMAS: LazyLock<Vec<Schema>> =
    LazyLock::new(|| include_str!("../../operators.txt").lines().filter_map(schema).collect());

fn schema(line: &'static str) -> Option<Schema> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[domain, name, since, operands, results, attributes] = words.as_slice() else { return None };
    let list = |text: &'static str| text.split(',').filter(|item| *item != "-");
    let operand = |text: &str| Operand {
        types: u32::from_str_radix(text.trim_end_matches(['?', '*']), 16).unwrap_or(2),
        optional: text.ends_with('?'),
        repeated: text.ends_with('*'),
    };
    Some(Schema {
        domain: if domain == "-" { "" } else { domain },
        name,
        since: since.parse().ok()?,
        operands: list(operands).map(operand).collect(),
        results: results.parse().ok()?,
        attributes: list(attributes).filter_map(|item| item.split_once(':')).collect(),
    })
}

/// Values of attributes that are texts.
const WORDS: &[&str] = &[
    "NOTSET",
    "SAME_UPPER",
    "SAME_LOWER",
    "VALID",
    "constant",
    "reflect",
    "edge",
    "wrap",
    "nearest",
    "linear",
    "cubic",
    "half_pixel",
    "asymmetric",
    "align_corners",
    "pytorch_half_pixel",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
    "half_pixel_symmetric",
    "round_prefer_floor",
    "round_prefer_ceil",
    "floor",
    "ceil",
    "bilinear",
    "bicubic",
    "add",
    "mul",
    "min",
    "max",
    "none",
    "DCR",
    "CRD",
    "ij,jk->ik",
    "...i,ij->...j",
    "ii->i",
    "ij->ji",
    "bhqd,bhkd->bhqk",
    "i,i",
    "->",
    "ij,jk",
    "Tanh",
    "Relu",
    "Sigmoid",
    "forward",
    "reverse",
    "bidirectional",
    "gelu",
    "silu",
    "swiglu",
    "relu",
    "identity",
    "tanh",
    "Clip",
    "LeakyRelu",
    "zeros",
    "border",
    "reflection",
    "PER_TENSOR",
    "PER_CHANNEL",
    "NONE",
    "circular",
    "stretch",
    "not_larger",
    "not_smaller",
    "gated",
    "delta",
    "",
    "é",
];

/// New choices.
pub fn mutate(random: &mut Random, _: &[Vec<u8>]) -> Vec<u8> {
    (0..24 + random.below(120)).map(|_| random.next() as u8).collect()
}

/// What is decided once for all operands of a node.
struct Plan {
    kind: u32,
    dims: Vec<i64>,
    dynamic: bool,
    seed: u64,
}

impl Plan {
    fn new(choices: &mut Choices<'_>) -> Plan {
        let kind = *choices.pick(&[1, 1, 1, 1, 10, 7, 6, 9, 16, 11, 3, 2, 12, 13, 17, 21, 22]);
        let rank = *choices.pick(&[2, 3, 4, 3, 2, 1, 4, 0, 5, 1, 2, 3, 6, 8, 9]);
        let dims = (0..rank).map(|_| *choices.pick(&[2, 3, 4, 1, 4, 8, 2, 5, 0, 16])).collect();
        Plan { kind, dims, dynamic: choices.chance(3), seed: choices.seed() }
    }

    /// The element type of an operand: the plan's where it fits, seldom a wrong one.
    fn kind(&self, choices: &mut Choices<'_>, operand: Operand) -> u32 {
        let fitting: Vec<u32> = (1..32).filter(|kind| operand.types >> kind & 1 == 1).collect();
        if choices.chance(24) || fitting.is_empty() {
            return 1 + choices.below(24) as u32;
        }
        if fitting.contains(&self.kind) && !choices.chance(12) { self.kind } else { *choices.pick(&fitting) }
    }

    /// The dims of an operand: mostly those of all others, or nearly.
    fn dims(&self, choices: &mut Choices<'_>, kind: u32) -> Vec<i64> {
        let integers = matches!(kind, 6 | 7) && self.kind != kind;
        match choices.below(if integers { 10 } else { 12 }) {
            0 if integers => vec![],
            1..=5 if integers => vec![*choices.pick(&[1, 2, 3, self.dims.len() as i64, self.dims.len() as i64 * 2])],
            0 => self.dims.iter().map(|dim| if choices.chance(2) { 1 } else { *dim }).collect(),
            1 => self.dims.get(1..).unwrap_or_default().to_vec(),
            2 => self.dims.last().copied().into_iter().collect(),
            3 => self.dims.iter().rev().copied().collect(),
            4 => (0..choices.below(5)).map(|_| *choices.pick(&[1, 2, 3, 4, 8])).collect(),
            5 => self.dims.get(1).copied().into_iter().collect(),
            6 => vec![],
            _ => self.dims.clone(),
        }
    }
}

/// The model of these choices.
pub fn export(bytes: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(bytes);
    let schema = &SCHEMAS[choices.below(SCHEMAS.len())];
    let plan = Plan::new(&mut choices);
    let mut node = Message::default().bytes(3, "node").bytes(4, schema.name).bytes(7, schema.domain);
    let mut graph = Message::default().bytes(2, "g");
    for (index, operand) in operands(&mut choices, schema).into_iter().enumerate() {
        let name = format!("x{index}");
        let Some(operand) = operand else {
            node = node.bytes(1, "");
            continue;
        };
        node = node.bytes(1, &name);
        graph = declare(&mut choices, &plan, operand, &name, index, graph);
    }
    let results = if choices.chance(3) { schema.results.max(1) } else { 1 };
    for index in 0..results {
        let name = if index > 0 && choices.chance(3) { String::new() } else { format!("y{index}") };
        node = node.bytes(2, &name);
        if !name.is_empty() {
            graph = graph.bytes(12, Message::default().bytes(1, &name).0);
        }
    }
    for (name, kind) in &schema.attributes {
        if choices.chance(2) {
            node = node.bytes(5, attribute(&mut choices, &plan, name, kind).0);
        }
    }
    let own = if schema.domain.is_empty() { schema.since } else { 17 };
    model(graph.bytes(1, node.0), &[("", own.max(7)), (schema.domain, schema.since)][..1 + usize::from(own == 17)])
}

/// Which operands are there: an omitted one is `None`.
fn operands(choices: &mut Choices<'_>, schema: &Schema) -> Vec<Option<Operand>> {
    let mut found = Vec::new();
    for operand in &schema.operands {
        let missing = if operand.optional { choices.chance(2) } else { choices.chance(40) };
        found.push((!missing).then_some(*operand));
        if operand.repeated {
            found.extend(vec![Some(*operand); choices.below(3)]);
        }
    }
    if choices.chance(24) {
        found.extend(schema.operands.first().map(|operand| Some(*operand)));
    }
    while found.last().is_some_and(Option::is_none) && !choices.chance(16) {
        found.pop();
    }
    found
}

/// An operand as an input of the graph or as a constant.
fn declare(
    choices: &mut Choices<'_>,
    plan: &Plan,
    operand: Operand,
    name: &str,
    index: usize,
    graph: Message,
) -> Message {
    let kind = plan.kind(choices, operand);
    let dims = plan.dims(choices, kind);
    let constant = match kind {
        6 | 7 => choices.chance(2),
        _ => index > 0 && choices.chance(3),
    };
    if constant {
        let mut random = Random::new(plan.seed ^ index as u64);
        return graph.bytes(5, tensor(&mut random, name, kind, &dims).0);
    }
    let named = |axis: usize, dim: &i64| match plan.dynamic && *dim == plan.dims.first().copied().unwrap_or(-1) {
        true => Dim::Named(if axis == 0 { "batch" } else { "n" }),
        false => Dim::Is(*dim),
    };
    let dims: Vec<Dim> = dims.iter().enumerate().map(|(axis, dim)| named(axis, dim)).collect();
    let shape = (!choices.chance(40)).then_some(dims.as_slice());
    graph.bytes(11, value(name, kind, shape).0)
}

const NUMBERS: &[i64] = &[1, 0, 2, -1, 3, 4, 1, 2, -2, 7, 8, 10, 16, 100, i64::MAX, i64::MIN];
const REALS: &[f32] = &[1.0, 0.0, 0.5, -1.0, 1e-5, 2.0, f32::NAN, f32::INFINITY, 1e30, -0.0, 1e-40];

fn attribute(choices: &mut Choices<'_>, plan: &Plan, name: &str, kind: &str) -> Message {
    let message = Message::default().bytes(1, name);
    let rank = plan.dims.len();
    let lengths = [rank.saturating_sub(2), rank, 2 * rank.saturating_sub(2), 1, 2, 3, 2 * rank, 0];
    let length = *choices.pick(&lengths);
    match kind {
        "i" => message.number(20, 2).number(3, *choices.pick(NUMBERS)),
        "f" => message.number(20, 1).float(2, *choices.pick(REALS)),
        "s" => message.number(20, 3).bytes(4, choices.pick(WORDS)),
        "ii" => (0..length).fold(message.number(20, 7), |message, _| message.number(8, *choices.pick(&NUMBERS[..12]))),
        "ff" => (0..length).fold(message.number(20, 6), |message, _| message.float(7, *choices.pick(REALS))),
        "ss" => (0..length).fold(message.number(20, 8), |message, _| message.bytes(9, choices.pick(WORDS))),
        "t" => {
            let mut random = Random::new(plan.seed);
            let dims = plan.dims(choices, 7);
            message.number(20, 4).bytes(5, tensor(&mut random, "t", plan.kind, &dims).0)
        }
        "g" => message.number(20, 5).bytes(6, body(choices, plan).0),
        _ => message.number(20, choices.below(15) as i64),
    }
}

/// A body for `If`, `Loop`, `Scan`: a few inputs that go through.
fn body(choices: &mut Choices<'_>, plan: &Plan) -> Message {
    let mut graph = Message::default().bytes(2, "body");
    let dims: Vec<Dim> = plan.dims.iter().map(|dim| Dim::Is(*dim)).collect();
    let (inputs, outputs) = (choices.below(4), 1 + choices.below(3));
    for index in 0..inputs {
        let kind = *choices.pick(&[plan.kind, 7, 9]);
        graph = graph.bytes(11, value(&format!("b{index}"), kind, (!choices.chance(3)).then_some(&dims)).0);
    }
    for index in 0..outputs {
        let from = *choices.pick(&["b0", "b1", "x0", "x1", "b2"]);
        let operator = *choices.pick(&["Identity", "Abs", "Not", "Shape"]);
        let name = format!("c{index}");
        graph = graph.bytes(1, Message::default().bytes(1, from).bytes(2, &name).bytes(4, operator).0);
        graph = graph.bytes(12, Message::default().bytes(1, &name).0);
    }
    graph
}

/// Imports, compiles, runs.
pub fn run(bytes: &[u8]) -> Outcome {
    let graph = import(&Model::from_bytes(export(bytes), &Limits::default())?)?;
    running::compile_and_run(graph, running::number(bytes))
}
