//! Precision: the float values of a graph become one narrow type, but for those that would not survive it.
//!
//! In: a graph and the type that its floats are to have inside. Out: the same graph, retyped: values, constants and conversions, bodies
//! included; and a list of what stayed wide (f32), each with the reason. `f64` stays, because a model that asks for it means it. Inputs and
//! outputs keep the types that the model declares. Three files: `demand.rs` walks backwards from ops that need exact operands (sines,
//! softmax, divisors), `plan.rs` walks forwards from values that 16 bits cannot hold (counts, squares, sums, constants beyond the
//! range), `write.rs` writes the graph with conversions where both meet. Always holds: a value that the file keeps in the target type is
//! never widened; a finite number that is narrowed stays finite; infinities of small constants stay infinities.

mod constants;
mod demand;
mod plan;
#[cfg(test)]
mod tests;
mod write;

use narae_isa::{Diagnostic, Element};
use serde::{Deserialize, Serialize};

use super::{Graph, Port};
use crate::ir::Node;

/// Why a value stays wide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reason {
    Angle,
    Rotation,
    Counted,
    Index,
    Scores,
    Exponent,
    Divisor,
    Growth,
    Accumulation,
    Range,
    Scale,
    Carried,
    Output,
}

impl Reason {
    /// The reason in a sentence.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Reason::Angle => "its sine or cosine is taken: 16 bits cannot say where in a turn a large angle lies",
            Reason::Rotation => "it is the cosine or sine of a rotary embedding",
            Reason::Counted => "it is made from integers (positions, lengths): bf16 counts to 256, f16 to 2048",
            Reason::Index => "it becomes an integer or is rounded to one",
            Reason::Scores => {
                "it is a score or mask before a softmax: least numbers of f32 and sums of masks do not fit"
            }
            Reason::Exponent => "its exponential or logarithm is taken",
            Reason::Divisor => "something is divided by it or by its root: a small number must not become 0",
            Reason::Growth => "a power, exponential or quotient, which may be beyond 16 bits",
            Reason::Accumulation => "a sum over an axis: it may be beyond 16 bits and would lose small addends",
            Reason::Range => "a constant of it is beyond the range of 16 bits",
            Reason::Scale => "it is the scale of codes",
            Reason::Output => "it ends in an output that the model declares f32",
            Reason::Carried => "it is carried by a loop or comes out of a branch",
        }
    }
}

/// What stayed wide for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Why.
    pub reason: String,
    /// The ONNX nodes whose results are computed wide.
    pub names: Vec<String>,
}

/// Which types a graph's inputs and outputs get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ports {
    /// As the model declares them.
    Declared,
    /// Wide: bodies of loops with state, and branches.
    Wide,
    /// Narrow: bodies of alike layers.
    Narrow,
}

/// What a graph is retyped to, and what was found while doing so.
struct Retype {
    target: Element,
    kept: Vec<(Reason, String)>,
}

impl Graph {
    /// Gives every f32, f16 and bf16 value but the inputs and outputs the type `target`, or f32 where `target` would not do; says what
    /// stayed wide and why. What is kept between runs has the type that its pass chose.
    pub fn set_precision(&mut self, target: Element) -> Result<Vec<Kept>, Diagnostic> {
        let mut retype = Retype { target, kept: vec![] };
        *self = write::rewritten(self, &mut retype, Ports::Declared)?;
        Ok(grouped(retype.kept))
    }

    /// Whether a node must be computed wide: what feeds its result or its reader from it is no weight to be rounded.
    pub(crate) fn wide_nodes(&self) -> impl Fn(Node) -> Option<Reason> + use<> {
        let plan = plan::Plan::new(self, Element::F16, Ports::Declared);
        move |node| plan.compute[node]
    }
}

/// Whether a value may change its type at all.
fn is_retyped(element: Element, target: Element) -> bool {
    matches!(element, Element::F32 | Element::F16 | Element::BF16) && element != target
}

/// The list by reasons, names in the order of the graph.
fn grouped(all: Vec<(Reason, String)>) -> Vec<Kept> {
    let mut reasons: Vec<Reason> = all.iter().map(|(reason, _)| *reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let names = |reason: Reason| {
        let mut names: Vec<String> = Vec::new();
        for (_, name) in all.iter().filter(|(own, _)| *own == reason) {
            if names.last() != Some(name) {
                names.push(name.clone());
            }
        }
        names
    };
    reasons.into_iter().map(|reason| Kept { reason: reason.text().to_owned(), names: names(reason) }).collect()
}

/// The elements of ports.
fn elements(graph: &Graph, ports: &[Port]) -> Vec<Element> {
    ports.iter().map(|port| graph.element(port.value)).collect()
}
