//! Precision: all float values of a graph become one type.
//!
//! In: a graph and the type that its floats are to have inside. Out: the same graph, retyped in place: values, constants
//! and conversions, bodies included. `f64` stays, because a model that asks for it means it. The types that inputs and
//! outputs have for the outside are returned; whoever lowers the graph converts at the border.

use std::sync::Arc;

use narae_isa::Element;

use super::{Graph, Op};

/// The element types of inputs and outputs as the model declares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortElements {
    /// One per input.
    pub inputs: Vec<Element>,
    /// One per output.
    pub outputs: Vec<Element>,
}

impl Graph {
    /// The element types of the ports as they are now.
    pub fn port_elements(&self) -> PortElements {
        let of = |ports: &[super::Port]| ports.iter().map(|port| self.element(port.value)).collect();
        PortElements { inputs: of(self.inputs()), outputs: of(self.outputs()) }
    }

    /// Gives every f32, f16 and bf16 value the type `target`. Constants are rounded once; values beyond the range of
    /// `target` become its greatest finite value, so that a mask's large negative number stays a number.
    pub fn set_precision(&mut self, target: Element) -> PortElements {
        let ports = self.port_elements();
        for (_, value) in self.values.iter_mut() {
            value.ty.element = retyped(value.ty.element, target);
        }
        for (_, node) in self.nodes.iter_mut() {
            match &mut node.op {
                Op::Constant { recipe } => {
                    let to = retyped(recipe.element(), target);
                    if to != recipe.element() {
                        *recipe = recipe.convert(to, to == Element::F16);
                    }
                }
                Op::Convert { to, .. } | Op::Quantize { to, .. } => *to = retyped(*to, target),
                Op::Iota { element, .. } => *element = retyped(*element, target),
                _ => {}
            }
            for body in node.op.regions_mut() {
                Arc::make_mut(body).set_precision(target);
            }
        }
        ports
    }
}

fn retyped(element: Element, target: Element) -> Element {
    match element {
        Element::F32 | Element::F16 | Element::BF16 => target,
        other => other,
    }
}
