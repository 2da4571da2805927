//! Mixtures of experts of onnxruntime's domain.
//!
//! Every expert sees every token, and a token's result is the sum of the experts' results by its routing weights, which are zero for all
//! but `k`: nothing depends on the data. Choosing the tokens of each expert is left to later stages.

use narae_isa::{BinaryFunction, Element, HostTensor, ScatterFunction, UnaryFunction};

use super::source::constant_recipe;
use crate::compress::Recipe;
use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, Row, microsoft};

pub(super) const ROWS: &[Row] = &[microsoft("MoE", "float", moe), microsoft("QMoE", "float", quantized_moe)];

/// One projection of all experts.
struct Projection {
    /// `[E, N, K]`
    weight: Value,
    /// `[E, N]`
    bias: Option<Value>,
}

struct Experts {
    first: Projection,
    second: Projection,
    third: Option<Projection>,
}

fn moe(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(8)?;
    let hidden = {
        let x = c.input(0)?;
        c.dim(x, c.last_axis(x)?)
    };
    let projection = |c: &mut Call, weight: Value, bias: Option<Value>, inner: Option<&Dim>| -> Built<Projection> {
        // Older files hold the weights transposed; a square weight is taken to be of the newer kind.
        let flipped = inner.is_some_and(|inner| c.dim(weight, 2) != *inner && c.dim(weight, 1) == *inner);
        let weight = if flipped { c.transpose_last(weight)? } else { weight };
        Ok(Projection { weight, bias })
    };
    let (w1, w2, w3) = (c.input(2)?, c.input(4)?, c.optional(6));
    let (b1, b2, b3) = (c.optional(3), c.optional(5), c.optional(7));
    let first = projection(c, w1, b1, Some(&hidden))?;
    let outputs_last = c.dim(w2, 1) != hidden && c.dim(w2, 2) == hidden;
    let w2 = if outputs_last { c.transpose_last(w2)? } else { w2 };
    let second = projection(c, w2, b2, None)?;
    let third = match w3 {
        Some(weight) => Some(projection(c, weight, b3, Some(&hidden))?),
        None => None,
    };
    Ok(vec![mixture(c, Experts { first, second, third })?])
}

fn quantized_moe(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(15)?;
    let bits = c.attributes.int_or("expert_weight_bits", 4)?;
    let block =
        usize::try_from(c.attributes.int_or("block_size", 0)?).map_err(|_| mismatch("block_size is negative"))?;
    // How precisely activations may be rounded: they are not rounded at all.
    c.attributes.ignore(&["accuracy_level"]);
    let kind = c.attributes.text_or("quant_type", "int")?;
    if kind != "int" || c.attributes.int_or("weights_prepacked", -1)? == 1 {
        return Err(unsupported(format!(
            "codes of type `{kind}`, or in a layout of one runtime (weights_prepacked = 1)"
        )));
    }
    let projection = |c: &mut Call, at: usize, zeros: usize, own: &str| -> Built<Option<Projection>> {
        let bits = c.attributes.int_or(own, bits)?;
        let (Some(codes), bias) = (c.optional(at), c.optional(at + 2)) else { return Ok(None) };
        let (scales, zeros) = (c.input(at + 1)?, c.optional(zeros));
        Ok(Some(Projection { weight: decoded(c, codes, scales, zeros, (bits, block))?, bias }))
    };
    let missing = || mismatch("weights of the experts are missing");
    let first = projection(c, 2, 11, "fc1_expert_weight_bits")?.ok_or_else(missing)?;
    let second = projection(c, 5, 12, "fc2_expert_weight_bits")?.ok_or_else(missing)?;
    let third = projection(c, 8, 13, "fc3_expert_weight_bits")?;
    Ok(vec![mixture(c, Experts { first, second, third })?])
}

/// The weights `[E, N, K]` that packed codes `[E, N, K / codes per byte]` stand for.
fn decoded(c: &mut Call, codes: Value, scales: Value, zeros: Option<Value>, (bits, block): (i64, usize)) -> Built {
    let element = match bits {
        2 => Element::U2,
        4 => Element::U4,
        8 => Element::U8,
        other => return Err(unsupported(format!("codes of {other} bits"))),
    };
    let unpacked = |recipe: &Recipe| -> Built<Recipe> {
        let [experts, rows, bytes] = <[usize; 3]>::try_from(recipe.dims().to_vec())
            .map_err(|dims| mismatch(format!("codes of rank {} instead of 3", dims.len())))?;
        let columns = bytes.saturating_mul(8 / element.bits() as usize);
        if element == Element::U8 {
            return Ok(recipe.clone());
        }
        let flat = recipe.reshape(vec![recipe.count()])?;
        Recipe::unpack(&flat, element, vec![experts, rows, columns])
    };
    let all = unpacked(&constant_recipe(c, codes, "the experts' weight")?)?;
    let width = all.dims()[2];
    let codes = c.constant(all)?;
    let scales = if c.rank(scales) == 2 { c.unsqueeze(scales, &[2])? } else { scales };
    let zeros = match zeros {
        None => c.tensor(HostTensor::from_i64_as(element, &[1, 1, 1], &[1 << (bits - 1)]))?,
        Some(zeros) => {
            let recipe = constant_recipe(c, zeros, "the zero points")?;
            let recipe =
                if recipe.dims().len() == 2 { recipe.reshape([recipe.dims(), &[1]].concat())? } else { recipe };
            let all = c.constant(unpacked(&recipe)?)?;
            let blocks = c.dim(scales, 2);
            c.narrow(all, 2, Dim::ZERO, blocks)?
        }
    };
    let block = if block == 0 { width } else { block };
    c.op(Op::Dequantize { axis: 2, block }, &[codes, scales, zeros])
}

fn mixture(c: &mut Call, experts: Experts) -> Built {
    let (x, routing) = (c.input(0)?, c.input(1)?);
    let activation = c.attributes.text_or("activation_type", "relu")?;
    let fusion = c.attributes.int_or("swiglu_fusion", 0)?;
    let limit = c.attributes.float("swiglu_limit")?;
    let (alpha, beta) =
        (c.attributes.float_or("activation_alpha", 1.0)?, c.attributes.float_or("activation_beta", 0.0)?);
    let k = c.attributes.int_or("k", 1)?;
    let normalize = c.attributes.flag("normalize_routing_weights", false)?;
    if c.attributes.flag("use_sparse_mixer", false)? {
        return Err(unsupported("use_sparse_mixer"));
    }
    let dims = c.dims(x);
    let Some((hidden, leading)) = dims.split_last() else { return Err(mismatch("a scalar has no hidden axis")) };
    let tokens = super::shape::product(leading);
    let rows = c.reshape(x, vec![tokens, hidden.clone()])?;
    let weights = match c.optional(14) {
        Some(given) => given_weights(c, (routing, given), k, normalize)?,
        None => routing_weights(c, routing, k, normalize)?,
    };
    let one = project(c, rows, &experts.first)?;
    let rule = Swiglu { alpha, beta, limit, after: c.attributes.flag("swiglu_limit_after_activation", false)? };
    let inner = match (activation, &experts.third) {
        ("swiglu", None) => {
            let (gate, linear) = halves(c, one, fusion)?;
            swiglu(c, gate, linear, &rule)?
        }
        ("swiglu", Some(third)) => {
            let linear = project(c, rows, third)?;
            swiglu(c, one, linear, &rule)?
        }
        ("geglu", None) => {
            let (gate, linear) = halves(c, one, fusion)?;
            let gate = c.unary(UnaryFunction::GeluTanh, gate)?;
            c.mul(gate, linear)?
        }
        (name, third) => {
            let y = plain(c, one, name)?;
            match third {
                Some(third) => {
                    let linear = project(c, rows, third)?;
                    c.mul(y, linear)?
                }
                None => y,
            }
        }
    };
    let results = project(c, inner, &experts.second)?;
    // [E, T, H] by [T, E].
    let element = c.element(results);
    let weights = c.convert(weights, element)?;
    let weights = c.transpose_last(weights)?;
    let weights = c.unsqueeze(weights, &[2])?;
    let weighted = c.mul(results, weights)?;
    let sum = c.reduce(narae_isa::ReduceFunction::Sum, weighted, vec![0])?;
    c.reshape(sum, dims)
}

/// The weight of each expert for each token, `[T, E]`: softmax over the chosen ones if normalised, else over all.
fn routing_weights(c: &mut Call, logits: Value, k: i64, normalize: bool) -> Built {
    let rank = c.rank(logits);
    if rank != 2 || k < 1 {
        return Err(mismatch("the router gives one number per token and expert, and k is positive"));
    }
    let wide = c.convert(logits, Element::F32)?;
    let scores = if normalize { wide } else { c.softmax(wide, 1)? };
    let best = c.ops(Op::TopK { axis: 1, largest: true, sorted: true, k: Dim::from(k) }, &[scores])?;
    let chosen = if normalize { c.softmax(best[0], 1)? } else { best[0] };
    scattered(c, logits, best[1], chosen)
}

/// The given weight of each chosen expert, `[T, E]`; they sum to one if normalised.
fn given_weights(c: &mut Call, (logits, given): (Value, Value), k: i64, normalize: bool) -> Built {
    let best = c.ops(Op::TopK { axis: 1, largest: true, sorted: true, k: Dim::from(k) }, &[logits])?;
    c.expect_rank(given, 2, "the given weights")?;
    for (axis, own) in c.dims(logits).into_iter().enumerate() {
        c.extent_must_be(given, axis, &own, "an extent of the given weights")?;
    }
    let given = c.convert(given, Element::F32)?;
    let chosen = c.op(Op::GatherElements { axis: 1 }, &[given, best[1]])?;
    let chosen = if normalize {
        let sum = c.reduce(narae_isa::ReduceFunction::Sum, chosen, vec![1])?;
        c.div(chosen, sum)?
    } else {
        chosen
    };
    scattered(c, logits, best[1], chosen)
}

/// `chosen` at its experts, zero elsewhere: `[T, E]`.
fn scattered(c: &mut Call, logits: Value, experts: Value, chosen: Value) -> Built {
    let zero = c.scalar(Element::F32, 0.0)?;
    let dims = c.dims(logits);
    let zeros = c.broadcast(zero, dims)?;
    c.op(Op::ScatterElements { axis: 1, function: ScatterFunction::Replace }, &[zeros, experts, chosen])
}

/// `[T, K]` or `[E, T, K]` to `[E, T, N]`.
fn project(c: &mut Call, x: Value, projection: &Projection) -> Built {
    let element = c.element(x);
    let weight = c.convert(projection.weight, element)?;
    let flipped = c.transpose_last(weight)?;
    let x = if c.rank(x) == 2 { c.unsqueeze(x, &[0])? } else { x };
    let y = c.matmul(x, flipped)?;
    match projection.bias {
        Some(bias) => {
            let bias = c.unsqueeze(bias, &[1])?;
            c.add(y, bias)
        }
        None => Ok(y),
    }
}

/// Gate and linear part of a fused projection: alternating (1) or one after the other (2).
fn halves(c: &mut Call, x: Value, fusion: i64) -> Built<(Value, Value)> {
    let dims = c.dims(x);
    let half = dims[2].floor_div(&Dim::from(2i64));
    match fusion {
        1 => {
            let pairs = c.reshape(x, vec![dims[0].clone(), dims[1].clone(), half, Dim::from(2i64)])?;
            let parts = c.split(pairs, 3, &[Dim::ONE, Dim::ONE])?;
            Ok((c.squeeze(parts[0], &[3])?, c.squeeze(parts[1], &[3])?))
        }
        2 => {
            let parts = c.split(x, 2, &[half.clone(), half])?;
            Ok((parts[0], parts[1]))
        }
        other => Err(unsupported(format!("swiglu_fusion = {other} without a third projection"))),
    }
}

/// `g · sigmoid(alpha · g) · (l + beta)`.
struct Swiglu {
    alpha: f32,
    beta: f32,
    /// Bounds `g` above and `l` on both sides.
    limit: Option<f32>,
    /// Bounds `g · sigmoid(alpha · g)` instead of `g`.
    after: bool,
}

fn swiglu(c: &mut Call, gate: Value, linear: Value, rule: &Swiglu) -> Built {
    let limit = rule.limit.filter(|limit| limit.is_finite()).map(f64::from);
    let below = |c: &mut Call, x: Value, when: bool| match limit.filter(|_| when) {
        Some(limit) => c.with_number(BinaryFunction::Min, x, limit),
        None => Ok(x),
    };
    let gate = below(c, gate, !rule.after)?;
    let mut linear = below(c, linear, true)?;
    if let Some(limit) = limit {
        linear = c.with_number(BinaryFunction::Max, linear, -limit)?;
    }
    let slope = c.scale(gate, rule.alpha.into())?;
    let open = c.unary(UnaryFunction::Sigmoid, slope)?;
    let open = c.mul(gate, open)?;
    let open = below(c, open, rule.after)?;
    let shifted = if rule.beta == 0.0 { linear } else { c.with_number(BinaryFunction::Add, linear, rule.beta.into())? };
    c.mul(open, shifted)
}

fn plain(c: &mut Call, x: Value, name: &str) -> Built {
    match name {
        "identity" => Ok(x),
        "relu" => c.unary(UnaryFunction::Relu, x),
        // The kernels take the approximation by tanh.
        "gelu" => c.unary(UnaryFunction::GeluTanh, x),
        "silu" => c.unary(UnaryFunction::Silu, x),
        "relu2" => {
            let y = c.unary(UnaryFunction::Relu, x)?;
            c.mul(y, y)
        }
        other => Err(unsupported(format!("activation_type `{other}`"))),
    }
}
