//! Tests of keeping caches on the chip: small decoders with every kind of mask, position and cache, made to do the same for each
//! sequence as the model does for that sequence alone, or refused with the reason.

mod elements;
mod graphs;
mod grid;
mod guards;
mod heads;
mod masks;
mod positions;
mod roles;
mod rows;

use std::collections::BTreeMap;

use narae_isa::{
    BinaryFunction, CompareFunction, CumulateFunction, Element as Type, HostTensor, ReduceFunction, UnaryFunction,
};

use super::{Options, keep_state};
use crate::compress::Sources;
use crate::graph::attribute::Real;
use crate::graph::eval::evaluate;
use crate::graph::testing::Random;
use crate::graph::verify::verify;
use crate::graph::{Graph, Op, Provenance, TensorType};
use crate::ir::{Dim, SymbolDefinition, Value};

const HEADS: usize = 4;
const GROUPS: usize = 2;
const WIDTH: usize = 4;
const MODEL: usize = 8;
const VOCABULARY: usize = 11;

/// A decoder under construction: one layer whose parts a test may replace.
struct Decoder {
    graph: Graph,
    random: Random,
    batch: Dim,
    sequence: Dim,
    past: Dim,
    ids: Value,
    keys: Value,
    values: Value,
}

impl Decoder {
    fn new() -> Decoder {
        Decoder::with_tokens(None)
    }

    /// With a fixed number of tokens in a call.
    fn with_tokens(tokens: Option<usize>) -> Decoder {
        let mut graph = Graph::new("decoder", Sources::new());
        let mut length =
            |name: &str, input, axis| Dim::from(graph.symbols.add(name, SymbolDefinition::Input { input, axis }));
        let (batch, past) = (length("batch", 0, 0), length("past", 1, 2));
        let sequence = tokens.map_or_else(|| length("seq", 0, 1), Dim::from);
        let ids = graph.add_input("input_ids", TensorType::new(Type::I64, vec![batch.clone(), sequence.clone()]));
        let cache = TensorType::new(Type::F32, vec![batch.clone(), GROUPS.into(), past.clone(), WIDTH.into()]);
        let keys = graph.add_input("past.key", cache.clone());
        let values = graph.add_input("past.value", cache);
        Decoder { graph, random: Random::new(5), batch, sequence, past, ids, keys, values }
    }

    fn add(&mut self, op: Op, operands: &[Value]) -> Value {
        let name = format!("node{}", self.graph.node_count());
        self.graph.add1(op, operands, &Provenance::new(name, "Test")).expect("the decoder is well typed")
    }

    fn constant(&mut self, tensor: HostTensor) -> Value {
        self.graph.constant_tensor(tensor, &Provenance::none()).expect("a constant")
    }

    fn weight(&mut self, dims: &[usize]) -> Value {
        let tensor = self.random.tensor(Type::F32, dims);
        self.constant(tensor)
    }

    fn input(&mut self, name: &str, element: Type, dims: Vec<Dim>) -> Value {
        self.graph.add_input(name, TensorType::new(element, dims))
    }

    fn total(&self) -> Dim {
        &self.past + &self.sequence
    }

    fn iota(&mut self, dims: Vec<Dim>, axis: usize) -> Value {
        self.add(Op::Iota { element: Type::I64, dims, axis }, &[])
    }

    fn integer(&mut self, dim: Dim) -> Value {
        self.add(Op::Dims { dims: vec![dim], shape: vec![] }, &[])
    }

    fn binary(&mut self, function: BinaryFunction, a: Value, b: Value) -> Value {
        self.add(Op::Binary { function }, &[a, b])
    }

    fn compare(&mut self, function: CompareFunction, a: Value, b: Value) -> Value {
        self.add(Op::Compare { function }, &[a, b])
    }

    fn reshape(&mut self, value: Value, dims: Vec<Dim>) -> Value {
        self.add(Op::Reshape { dims }, &[value])
    }

    fn convert(&mut self, value: Value, to: Type) -> Value {
        self.add(Op::Convert { to, saturate: false }, &[value])
    }

    /// The position of each query, `[S, 1]`.
    fn queries(&mut self) -> Value {
        let (sequence, past) = (self.sequence.clone(), self.past.clone());
        let (steps, past) = (self.iota(vec![sequence, Dim::ONE], 0), self.integer(past));
        self.binary(BinaryFunction::Add, past, steps)
    }

    /// The position of each key, `[T]`.
    fn key_positions(&mut self) -> Value {
        let total = self.total();
        self.iota(vec![total], 0)
    }

    /// `shown` where the condition holds, else `hidden`.
    fn select(&mut self, condition: Value, shown: f32, hidden: f32) -> Value {
        let (shown, hidden) =
            (self.constant(HostTensor::scalar_f32(shown)), self.constant(HostTensor::scalar_f32(hidden)));
        self.add(Op::Select {}, &[condition, shown, hidden])
    }

    /// `j <= past + i`, `[S, T]`.
    fn causal(&mut self) -> Value {
        let (keys, queries) = (self.key_positions(), self.queries());
        self.compare(CompareFunction::Le, keys, queries)
    }

    /// `[B, S, E]` of the ids.
    fn embedded(&mut self) -> Value {
        let table = self.weight(&[VOCABULARY, MODEL]);
        self.add(Op::Gather { axis: 0 }, &[table, self.ids])
    }

    /// `[B, heads, S, D]` of `[B, S, E]`.
    fn heads(&mut self, x: Value, heads: usize) -> Value {
        let weight = self.weight(&[heads * WIDTH, MODEL]);
        let flat = self.add(Op::Linear {}, &[x, weight]);
        let dims = vec![self.batch.clone(), self.sequence.clone(), heads.into(), WIDTH.into()];
        let split = self.reshape(flat, dims);
        self.add(Op::Transpose { permutation: vec![0, 2, 1, 3] }, &[split])
    }

    fn append(&mut self, past: Value, new: Value) -> Value {
        self.add(Op::Concat { axis: 2 }, &[past, new])
    }

    /// `[B, S, E]` of `[B, H, S, D]`.
    fn joined(&mut self, heads: Value) -> Value {
        let rows = self.add(Op::Transpose { permutation: vec![0, 2, 1, 3] }, &[heads]);
        let flat = self.reshape(rows, vec![self.batch.clone(), self.sequence.clone(), (HEADS * WIDTH).into()]);
        let weight = self.weight(&[MODEL, HEADS * WIDTH]);
        self.add(Op::Linear {}, &[flat, weight])
    }

    fn logits(&mut self, x: Value) -> Value {
        let (gain, head) = (self.weight(&[MODEL]), self.weight(&[VOCABULARY, MODEL]));
        let normed = self.add(Op::RmsNorm { epsilon: Real::new(1e-5) }, &[x, gain]);
        self.add(Op::Linear {}, &[normed, head])
    }

    fn outputs(&mut self, logits: Value, keys: Value, values: Value) {
        self.graph.add_output("logits", logits);
        self.graph.add_output("present.key", keys);
        self.graph.add_output("present.value", values);
    }

    /// Attention over the caches with this bias; the rest of the layer and the head. `turn` rotates queries and keys.
    fn finish(self, bias: Option<Value>) -> Graph {
        self.finish_with(bias, Flags::default(), |_, x| x)
    }

    fn finish_with(
        mut self,
        bias: Option<Value>,
        flags: Flags,
        mut turn: impl FnMut(&mut Decoder, Value) -> Value,
    ) -> Graph {
        let x = self.embedded();
        let (q, k, v) = (self.heads(x, HEADS), self.heads(x, GROUPS), self.heads(x, GROUPS));
        let (q, k) = (turn(&mut self, q), turn(&mut self, k));
        let (keys, values) = (self.append(self.keys, k), self.append(self.values, v));
        let sinks = flags.sinks.then(|| self.weight(&[HEADS]));
        let operands: Vec<Value> =
            [Some(q), Some(keys), Some(values), bias, flags.lengths, sinks].into_iter().flatten().collect();
        let attended = self.add(flags.op(bias.is_some()), &operands);
        let mixed = self.joined(attended);
        let sum = self.binary(BinaryFunction::Add, x, mixed);
        let logits = self.logits(sum);
        self.outputs(logits, keys, values);
        self.graph
    }
}

/// The attributes of attention.
#[derive(Clone, Copy, Default)]
struct Flags {
    causal: bool,
    window: usize,
    softcap: f64,
    sinks: bool,
    lengths: Option<Value>,
}

impl Flags {
    fn op(self, bias: bool) -> Op {
        Op::Attention {
            scale: Real::new(0.5),
            causal: self.causal,
            window: self.window,
            softcap: Real::new(self.softcap),
            bias,
            lengths: self.lengths.is_some(),
            sinks: self.sinks,
        }
    }
}

/// Attention that sees what is before a token and the token.
fn causal() -> Flags {
    Flags { causal: true, ..Flags::default() }
}

/// The rest of the decoder behind `x [B, S, E]`.
fn attend(mut decoder: Decoder, x: Value) -> Graph {
    let (q, k, v) = (decoder.heads(x, HEADS), decoder.heads(x, GROUPS), decoder.heads(x, GROUPS));
    let (keys, values) = (decoder.append(decoder.keys, k), decoder.append(decoder.values, v));
    let attended = decoder.add(causal().op(false), &[q, keys, values]);
    let mixed = decoder.joined(attended);
    let logits = decoder.logits(mixed);
    decoder.outputs(logits, keys, values);
    decoder.graph
}

/// A decoder whose embedding is multiplied by the sum of some integers.
fn times(integers: impl Fn(&mut Decoder) -> Value) -> Graph {
    let mut decoder = Decoder::new();
    let integers = integers(&mut decoder);
    let float = decoder.convert(integers, Type::F32);
    let axes = (0..decoder.graph.rank(float)).collect();
    let sum = decoder.add(Op::Reduce { function: ReduceFunction::Sum, axes }, &[float]);
    let scalar = decoder.reshape(sum, vec![]);
    decoder.finish_with(None, causal(), move |decoder, x| decoder.binary(BinaryFunction::Mul, x, scalar))
}

/// A decoder with one more input that the logits use.
fn with_input(name: &str, element: Type, dims: impl Fn(&Decoder) -> Vec<Dim>) -> Graph {
    times(|decoder| {
        let dims = dims(decoder);
        decoder.input(name, element, dims)
    })
}

/// The tokens that a cache holds in these tests.
const ROOM: usize = 24;

fn kept_with(graph: &Graph, all_logits: bool) -> Result<Graph, String> {
    let most = |_: &Graph, _| None;
    let options = Options { all_logits, capacity: Some(ROOM as i64), most: &most, usual: (2048, 1), element: None };
    let mut kept = graph.clone();
    keep_state(&mut kept, &options).map_err(|problem| {
        assert_eq!(problem.code.id, "E0409", "{problem:?}");
        problem.message
    })?;
    verify(&kept).unwrap_or_else(|problems| panic!("a kept graph is a graph: {problems}"));
    for (value, data) in kept.values() {
        assert!(data.ty.dims.iter().all(|dim| kept.symbols.resolve(dim) == *dim), "{value} has one name for a length");
    }
    Ok(kept)
}

/// The graph that keeps its caches and gives all logits.
fn kept(graph: &Graph) -> Graph {
    kept_with(graph, true).unwrap_or_else(|problem| panic!("{problem}"))
}

/// The only attention of a graph: causal, window.
fn attention(graph: &Graph) -> (bool, usize) {
    let mut found = graph.nodes().filter_map(|(_, node)| match node.op {
        Op::Attention { causal, window, bias: false, lengths: true, .. } => Some((causal, window)),
        _ => None,
    });
    let only = found.next().expect("there is attention over caches");
    assert_eq!(found.next(), None);
    only
}

/// Why a graph is refused.
fn refusal(graph: &Graph) -> String {
    match kept_with(graph, true) {
        Err(problem) => problem,
        Ok(_) => panic!("the graph is taken, and must not be"),
    }
}

/// The inputs of one sequence for the model as it is: mask of ones, positions from the past on.
fn alone(
    graph: &Graph,
    ids: &[i64],
    caches: &BTreeMap<String, HostTensor>,
    past: usize,
) -> BTreeMap<String, HostTensor> {
    let tensor = |name: &str, element: Type, rank: usize| match name {
        "input_ids" => HostTensor::from_i64(&[1, ids.len()], ids),
        "position_ids" => {
            let positions: Vec<i64> = (past..past + ids.len()).map(|at| at as i64).collect();
            HostTensor::from_i64_as(element, &[1, ids.len()], &positions)
        }
        name if name.contains("mask") => {
            let count = past + ids.len();
            let dims = [vec![1; rank - 1], vec![count]].concat();
            HostTensor::from_i64_as(element, &dims, &vec![1; count])
        }
        name => caches[name].clone(),
    };
    let port = |port: &crate::graph::Port| {
        (port.name.clone(), tensor(&port.name, graph.element(port.value), graph.rank(port.value)))
    };
    graph.inputs().iter().map(port).collect()
}

/// Rows `from..to` along axis 2 of `[B, G, T, D]`, of one sequence.
fn rows(cache: &HostTensor, item: usize, from: usize, to: usize) -> Vec<f64> {
    let [_, groups, length, width] = cache.dims[..] else { panic!("a cache has four axes") };
    let at = |group: usize, row: usize| ((item * groups + group) * length + row) * width;
    (0..groups)
        .flat_map(|group| (from..to).map(move |row| at(group, row)))
        .flat_map(|start| (start..start + width).map(|index| cache.get_f64(index)))
        .collect()
}

/// Random past rows for every cache of a model, and the same in a cache with room.
fn pasts(graph: &Graph, lengths: &[usize]) -> (Vec<BTreeMap<String, HostTensor>>, BTreeMap<String, HostTensor>) {
    let mut random = Random::new(17);
    let mut each = vec![BTreeMap::new(); lengths.len()];
    let mut all = BTreeMap::new();
    for port in graph.inputs().iter().filter(|port| graph.rank(port.value) == 4 && graph.element(port.value).is_float())
    {
        let dims = graph.dims(port.value);
        let [groups, width] = [1, 3].map(|axis| dims[axis].as_size().expect("fixed"));
        let mut whole = random.tensor(Type::F32, &[lengths.len(), groups, ROOM, width]);
        for (item, &past) in lengths.iter().enumerate() {
            let own = random.tensor(Type::F32, &[1, groups, past, width]);
            for (group, row, column) in (0..groups)
                .flat_map(|group| (0..past).flat_map(move |row| (0..width).map(move |column| (group, row, column))))
            {
                let from = (group * past + row) * width + column;
                let to = ((item * groups + group) * ROOM + row) * width + column;
                whole.set_f64(to, own.get_f64(from));
            }
            each[item].insert(port.name.clone(), own);
        }
        all.insert(port.name.clone(), whole);
    }
    (each, all)
}

fn close(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-4, "{what}: {worst} apart: {got:?} and {want:?}");
}

/// The model as it is, each sequence alone, against the graph with kept caches, all together.
fn same(model: &Graph, kept: &Graph, tokens: usize, lengths: &[usize]) {
    let (each, mut inputs) = pasts(model, lengths);
    let ids: Vec<i64> = (0..tokens * lengths.len()).map(|at| (at * 7 + 3) as i64 % VOCABULARY as i64).collect();
    inputs.insert("input_ids".into(), HostTensor::from_i64(&[lengths.len(), tokens], &ids));
    let past: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
    inputs.insert(super::PAST.into(), HostTensor::from_i64(&[lengths.len()], &past));
    let got = evaluate(kept, &inputs).expect("the kept graph runs");
    for (item, &length) in lengths.iter().enumerate() {
        let own = &ids[item * tokens..(item + 1) * tokens];
        let want = evaluate(model, &alone(model, own, &each[item], length)).expect("the model runs");
        for (name, want) in &want {
            let what = format!("{name} of sequence {item}, past {length}");
            let got = &got[name];
            if want.rank() == 4 {
                close(&what, &rows(got, item, 0, length + tokens), &want.to_f64_vec());
            } else {
                let (rows, all) = (got.len() / lengths.len(), want.to_f64_vec());
                let got: Vec<f64> = (item * rows..(item + 1) * rows).map(|index| got.get_f64(index)).collect();
                close(&what, &got, &all[all.len() - rows..]);
            }
        }
    }
}

/// The model with kept caches computes the same: one and several sequences, with equal and different pasts, one and several tokens.
fn agrees(model: &Graph) -> Graph {
    for all_logits in [true, false] {
        let kept = kept_with(model, all_logits).unwrap_or_else(|problem| panic!("{problem}"));
        let fixed = model.dims(model.inputs()[0].value)[1].as_size();
        for (tokens, lengths) in [(4, &[0][..]), (1, &[7]), (3, &[2, 9]), (1, &[5, 0]), (5, &[4, 1, 13])] {
            same(model, &kept, fixed.unwrap_or(tokens), lengths);
        }
    }
    kept(model)
}
