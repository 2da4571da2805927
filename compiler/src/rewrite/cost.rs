//! What a term costs when it is chosen: nanoseconds at one nominal point, in whole numbers.
//!
//! In: a term whose children have types. Out: its own cost without its children's. Always holds: constant terms are free,
//! because recipes execute them when the image is written; a fused op costs less than the ops that it stands for. The weights of
//! the candidates' formats are not looked at here: formats are chosen after saturation (`compress/decide.rs`).

use super::analysis::{self, Space};
use super::node::{Head, Term};
use crate::graph::TensorType;
use crate::ir::Dim;

/// Every symbol has this value where costs are compared.
const NOMINAL_EXTENT: i64 = 64;
/// Filling and draining an engine, once per instruction.
const LAUNCH: u64 = 100;
/// A change of layout that later stages do by addressing.
const VIEW: u64 = 5;
/// Lanes of the vector engine per nanosecond.
const LANES: u64 = 1024;
/// Multiply-adds of a float product per nanosecond.
const PRODUCTS: u64 = 8192;
/// Bytes of memory per nanosecond.
const BANDWIDTH: u64 = 546;

/// Elements of a tensor at the nominal point.
fn elements(ty: &TensorType) -> u64 {
    let extent =
        |dim: &Dim| dim.eval(&|_| Some(NOMINAL_EXTENT)).and_then(|value| u64::try_from(value).ok()).unwrap_or(1);
    ty.dims.iter().map(extent).fold(1, u64::saturating_mul)
}

fn last(ty: &TensorType) -> u64 {
    let dims = ty.dims.last().cloned().into_iter().collect();
    elements(&TensorType::new(ty.element, dims))
}

/// The cost of a term in its class.
pub fn cost(space: &Space, class: egg::Id, term: &Term) -> u64 {
    let Some(facts) = analysis::facts(space, class) else { return 0 };
    if facts.constant {
        return 0;
    }
    let result = space.analysis.ty(facts.value);
    let operand = |index: usize| term.operands().get(index).and_then(|id| analysis::ty(space, *id));
    let wide = LAUNCH + elements(&result) / LANES;
    match &term.head {
        Head::Attribute(_) | Head::Value(_) | Head::Constant(_) => 0,
        Head::Unary(_) | Head::Binary(_) | Head::Compare(_) => wide,
        Head::Reduce(_) => LAUNCH + operand(0).map_or(0, |x| elements(&x)) / LANES,
        Head::Op("reshape" | "transpose" | "slice" | "broadcast") => VIEW,
        Head::Op("matmul") => {
            // It reads its right side from memory like a linear layer, and is always dearer than one: with few rows too.
            let depth = operand(0).map_or(1, |a| last(&a));
            let read = operand(1).map_or(0, |b| elements(&b)).saturating_mul(2) / BANDWIDTH;
            let products = elements(&result).saturating_mul(depth) / PRODUCTS;
            products.saturating_add(3 * LAUNCH + read)
        }
        Head::Op("linear") => {
            let weight = operand(1).map_or(0, |w| elements(&w));
            2 * LAUNCH + weight.saturating_mul(2) / BANDWIDTH
        }
        Head::Op("attention") => {
            let (q, k) = (operand(0).map_or(0, |q| elements(&q)), operand(1));
            let keys = k.as_ref().and_then(|k| k.dims.get(2).cloned()).unwrap_or(Dim::ONE);
            let keys = elements(&TensorType::new(result.element, vec![keys]));
            2 * LAUNCH + q.saturating_mul(keys.saturating_mul(2)) / PRODUCTS
        }
        Head::Op("softmax" | "rms_norm" | "layer_norm") => LAUNCH + elements(&result).saturating_mul(3) / LANES,
        Head::Op(_) => wide,
    }
}
