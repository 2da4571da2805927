//! Folding: what is known becomes a constant, small tensors at once, weights as recipes.
//!
//! Weights are never read here: an op on a large constant only makes its recipe longer. Quantized weights stay codes and
//! scales (`dequantize` is never folded), because the formats of the chip hold them as they are.

use narae_isa::tensor::element_count;
use narae_isa::{Diagnostic, Element, HostTensor, Overflow};

use crate::compress::{Recipe, Step};
use crate::graph::eval::{Point, evaluate_op};
use crate::graph::{Graph, Op, Provenance};
use crate::ir::{Dim, Value};

/// Constants up to this many bytes are computed at once.
const SMALL: usize = 64 << 10;
/// Constants up to this many bytes are read into memory, so that rules see their values.
const TINY: usize = 256;

/// Whether an op is a weight. Weights that happen to be equal stay apart: the layers that they belong to would not be alike any
/// more (a model whose weights are windows of one pool has such pairs).
pub(super) fn is_weight(op: &Op) -> bool {
    matches!(op, Op::Constant { recipe } if recipe.count() >= 1024)
}

/// A small integer tensor whose contents are known: the op that makes it, and the type to convert it to.
pub(super) fn contents(graph: &Graph, op: &Op, value: Value) -> Option<(Op, Option<Element>)> {
    let dims = graph.known_dims(value)?;
    let shape = graph.ty(value).sizes()?;
    let element = graph.element(value);
    let numbers: Option<Vec<i64>> = dims.iter().map(Dim::as_const).collect();
    match numbers {
        Some(numbers) => {
            let tensor = HostTensor::from_i64(&shape, &numbers).convert(element, Overflow::Wrap);
            Some((Op::Constant { recipe: Recipe::inline(tensor) }, None))
        }
        // A conversion of `dims` is as simple as it gets.
        None if matches!(op, Op::Dims { .. } | Op::Convert { .. }) => None,
        None => Some((Op::Dims { dims, shape }, (element != Element::I64).then_some(element))),
    }
}

/// The results of an op on small constants.
pub(super) fn evaluated(
    graph: &Graph,
    op: &Op,
    operands: &[Value],
    results: &[Value],
    provenance: &Provenance,
) -> Result<Option<Vec<Recipe>>, Diagnostic> {
    let foldable = match op {
        // Repeating and counting is cheaper on the chip than storing.
        Op::Constant { .. } | Op::Dims { .. } | Op::Iota { .. } | Op::Broadcast { .. } | Op::Dequantize { .. } => false,
        Op::Loop { .. } | Op::While { .. } | Op::If { .. } | Op::NonZero {} => false,
        _ => !operands.is_empty(),
    };
    let bytes = |value: &Value| {
        let sizes = graph.ty(*value).sizes()?;
        element_count(&sizes)?.checked_mul(graph.element(*value).bytes())
    };
    let small = |values: &[Value]| values.iter().all(|value| bytes(value).is_some_and(|bytes| bytes <= SMALL));
    if !foldable || !small(operands) || !small(results) {
        return Ok(None);
    }
    let recipes: Option<Vec<&Recipe>> = operands.iter().map(|&value| graph.recipe(value)).collect();
    let Some(recipes) = recipes else { return Ok(None) };
    let mut tensors = Vec::with_capacity(recipes.len());
    for recipe in recipes {
        tensors.push(recipe.evaluate(&graph.sources).map_err(|problem| provenance.locate(problem))?);
    }
    let operands: Vec<&HostTensor> = tensors.iter().collect();
    // A node that fails on its constants fails when the program runs, if it runs.
    let folded = evaluate_op(op, &operands, &Point::new(&graph.symbols), &graph.sources).ok();
    Ok(folded.map(|tensors| tensors.into_iter().map(Recipe::inline).collect()))
}

/// An op on large constants as a longer recipe; a tiny constant in a file as one in memory.
pub(super) fn as_recipe(
    graph: &Graph,
    op: &Op,
    operands: &[Value],
    provenance: &Provenance,
) -> Result<Option<Recipe>, Diagnostic> {
    if let Op::Constant { recipe } = op {
        let tiny = recipe.bytes() <= TINY && !matches!(recipe.step(), Step::Inline(_));
        return match tiny {
            true => recipe.evaluate(&graph.sources).map(|tensor| Some(Recipe::inline(tensor))),
            false => Ok(None),
        }
        .map_err(|problem| provenance.locate(problem));
    }
    let recipes: Option<Vec<Recipe>> = operands.iter().map(|&value| graph.recipe(value).cloned()).collect();
    let Some(recipes) = recipes.filter(|recipes| !recipes.is_empty()) else { return Ok(None) };
    let shallow = recipes.iter().all(|recipe| recipe.depth() < Recipe::MAXIMUM_DEPTH);
    let large = recipes.iter().any(|recipe| recipe.bytes() > SMALL);
    if !shallow || !large {
        return Ok(None);
    }
    let sizes = |dims: &[Dim]| -> Option<Vec<usize>> { dims.iter().map(Dim::as_size).collect() };
    let one = &recipes[0];
    let made = match op {
        Op::Transpose { permutation } => Some(one.transpose(permutation)),
        Op::Reshape { dims } => sizes(dims).map(|dims| one.reshape(dims)),
        Op::Slice { starts, steps, dims } => {
            sizes(starts).zip(sizes(dims)).map(|(starts, dims)| one.slice(&starts, steps, dims))
        }
        Op::Concat { axis } => Some(Recipe::concat(&recipes, *axis)),
        Op::Convert { to, saturate } => Some(Ok(one.convert(*to, *saturate))),
        Op::Unary { function } => Some(one.unary(*function)),
        Op::Binary { function } if grows_little(one, &recipes[1]) => Some(Recipe::binary(*function, one, &recipes[1])),
        _ => None,
    };
    // What a recipe refuses is refused by inference with a better message.
    Ok(made.and_then(Result::ok))
}

/// Whether broadcasting two weights against each other makes nothing much larger than the larger one.
fn grows_little(left: &Recipe, right: &Recipe) -> bool {
    let joined = crate::compress::recipe::broadcast_sizes(left.dims(), right.dims());
    joined.is_some_and(|dims| element_count(&dims).is_some_and(|count| count <= left.count().max(right.count())))
}
