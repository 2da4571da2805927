//! Precision: all float values of a graph become one type.
//!
//! In: a graph and the type that its floats are to have inside. Out: the same graph, retyped: values, constants and
//! conversions, bodies included. `f64` stays, because a model that asks for it means it. Inputs and outputs keep the types
//! that the model declares: conversions stand at the border, as nodes, so that those of a layer's cache roll with the layer.

use std::sync::Arc;

use narae_isa::{Diagnostic, Element};

use super::rebuild::{ValueMap, copy_node, finish};
use super::{Graph, Op, Port, Provenance};
use crate::ir::Value;

impl Graph {
    /// Gives every f32, f16 and bf16 value but the inputs and outputs the type `target`. Constants are rounded once; values
    /// beyond the range of `target` become its greatest finite value, so that a mask's large negative number stays a
    /// number. What is kept between runs has the type that its pass chose.
    pub fn set_precision(&mut self, target: Element) -> Result<(), Diagnostic> {
        let of = |ports: &[Port]| -> Vec<Element> { ports.iter().map(|port| self.element(port.value)).collect() };
        let (inputs, outputs) = (of(self.inputs()), of(self.outputs()));
        self.retype(target);
        self.convert_ports(&inputs, &outputs)
    }

    fn retype(&mut self, target: Element) {
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
                Op::Iota { element, .. } | Op::Bits { element, .. } => *element = retyped(*element, target),
                _ => {}
            }
            for body in node.op.regions_mut() {
                Arc::make_mut(body).retype(target);
            }
        }
    }

    /// The same graph with ports of these types, and conversions where that is not what is computed with.
    fn convert_ports(&mut self, inputs: &[Element], outputs: &[Element]) -> Result<(), Diagnostic> {
        let unchanged = |ports: &[Port], outside: &[Element]| {
            ports.iter().zip(outside).all(|(port, &element)| self.element(port.value) == element)
        };
        if unchanged(self.inputs(), inputs) && unchanged(self.outputs(), outputs) {
            return Ok(());
        }
        let mut new = self.rebuild();
        let mut map = ValueMap::new();
        for (index, (port, &outside)) in self.inputs().iter().zip(inputs).enumerate() {
            let value = new.inputs()[index].value;
            new.values[value].ty.element = outside;
            map[port.value] = Some(new.converted(value, self.element(port.value))?);
        }
        for (_, node) in self.nodes() {
            copy_node(self, &mut new, node, &mut map);
        }
        finish(self, &mut new, &map);
        for (index, &outside) in outputs.iter().enumerate() {
            new.outputs[index].value = new.converted(new.outputs[index].value, outside)?;
        }
        *self = new;
        Ok(())
    }

    /// A value in another type: itself, or a new node.
    fn converted(&mut self, value: Value, to: Element) -> Result<Value, Diagnostic> {
        if self.element(value) == to {
            return Ok(value);
        }
        self.add1(Op::Convert { to, saturate: false }, &[value], &Provenance::none())
    }
}

fn retyped(element: Element, target: Element) -> Element {
    match element {
        Element::F32 | Element::F16 | Element::BF16 => target,
        other => other,
    }
}
