//! The retyped graph: every node in its type, conversions where a reader wants the other one.
//!
//! In: a graph and its plan. Out: the graph anew. A value of the old graph may be there twice, narrow and wide; the second is made from the
//! first when somebody wants it, with saturation where that narrows. A conversion between floats that the file wrote disappears: its result
//! is its operand. Always holds: both forms of a value mean the same tensor; ports have the types that were asked for.

use std::sync::Arc;

use cranelift_entity::SecondaryMap;
use narae_isa::format::FloatKind;
use narae_isa::{Diagnostic, Element};

use super::plan::Plan;
use super::{Ports, Retype, constants, elements, is_retyped};
use crate::compress::policy::Storage;
use crate::compress::{Recipe, Step};
use crate::graph::rebuild::{ValueMap, finish};
use crate::graph::{Graph, NodeData, Op, Provenance, TensorType};
use crate::ir::{Node, Value};

/// What stands in for a float of the file that stays wide.
const WIDE: Element = Element::F32;

/// The graph in another type.
pub(super) fn rewritten(old: &Graph, retype: &mut Retype, ports: Ports) -> Result<Graph, Diagnostic> {
    let target = retype.target;
    let port = |element: Element| match ports {
        Ports::Wide if is_retyped(element, target) => WIDE,
        Ports::Narrow if is_retyped(element, target) => target,
        Ports::Declared | Ports::Wide | Ports::Narrow => element,
    };
    let mut new = old.rebuild();
    for (at, element) in elements(old, old.inputs()).into_iter().enumerate() {
        let value = new.inputs[at].value;
        new.values[value].ty.element = port(element);
    }
    let outputs: Vec<Element> = elements(old, old.outputs()).into_iter().map(port).collect();
    let plan = Plan::new(old, target, ports);
    let mut writer = Writer { old, new, plan, retype, forms: SecondaryMap::new() };
    writer.inputs()?;
    for (node, data) in old.nodes() {
        writer.node(node, data)?;
    }
    writer.outputs(&outputs)
}

/// The values of the new graph that an old one is; one that is not retyped is in the first place.
#[derive(Clone, Copy, Default)]
struct Forms {
    narrow: Option<Value>,
    wide: Option<Value>,
}

/// What a reader wants of an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Narrow,
    Wide,
    /// Whatever is there, the wide form first.
    Any,
}

struct Writer<'a> {
    old: &'a Graph,
    new: Graph,
    plan: Plan,
    retype: &'a mut Retype,
    forms: SecondaryMap<Value, Forms>,
}

impl Writer<'_> {
    fn is_retyped(&self, value: Value) -> bool {
        is_retyped(self.old.element(value), self.retype.target)
    }

    /// Inputs, in the types that they were given. One in another narrow type than the target is there as a wide value only.
    fn inputs(&mut self) -> Result<(), Diagnostic> {
        for (port, copy) in self.old.inputs().iter().zip(self.new.inputs().to_vec()) {
            let wide = self.is_retyped(port.value) && self.new.element(copy.value) != self.retype.target;
            self.forms[port.value] = match wide {
                true => Forms { wide: Some(self.converted(copy.value, WIDE)?), narrow: None },
                false => Forms { narrow: Some(copy.value), wide: None },
            };
        }
        Ok(())
    }

    /// Outputs, each in its type, and what symbols mean.
    fn outputs(mut self, elements: &[Element]) -> Result<Graph, Diagnostic> {
        let old = self.old;
        let mut delivered = Vec::with_capacity(elements.len());
        for (port, &element) in old.outputs().iter().zip(elements) {
            let want = if element == self.retype.target { Want::Narrow } else { Want::Any };
            let value = self.form(port.value, want)?;
            // What the file says of a port is what overflows there.
            delivered.push(self.convert(value, element, false)?);
        }
        let mut map = ValueMap::new();
        for (value, _) in old.values() {
            map[value] = self.forms[value].wide.or(self.forms[value].narrow);
        }
        finish(old, &mut self.new, &map);
        for (index, value) in delivered.into_iter().enumerate() {
            self.new.outputs[index].value = value;
        }
        Ok(self.new)
    }

    fn node(&mut self, node: Node, data: &NodeData) -> Result<(), Diagnostic> {
        if matches!(data.op, Op::Constant { .. }) && self.is_retyped(data.results[0]) {
            return Ok(()); // written where somebody wants it, in the type that is wanted
        }
        let reason = self.plan.compute[node];
        if let Op::Convert { .. } = data.op
            && self.forwards(data)?
        {
            return Ok(());
        }
        if let (Some(reason), Some(origin)) = (reason, data.provenance.origins().first()) {
            self.retype.kept.push((reason, origin.name.clone()));
        }
        let own = if reason.is_some() { Want::Wide } else { Want::Narrow };
        let mut operands = Vec::with_capacity(data.operands.len());
        for (at, &value) in data.operands.iter().enumerate() {
            operands.push(match (&data.op, at) {
                // The weight of a layer is not looked at: its storage says what becomes of it.
                (Op::Linear {}, 1) => self.weight(value, own)?,
                _ => self.form(value, want(&data.op, at, own))?,
            });
        }
        let element = if reason.is_some() { WIDE } else { self.retype.target };
        let op = self.op(data, element)?;
        let types = data.results.iter().map(|&value| {
            let TensorType { element: old, dims } = self.old.ty(value).clone();
            TensorType::new(if self.is_retyped(value) { element } else { old }, dims)
        });
        let results = self.new.push(op, operands, types.collect(), data.provenance.clone());
        for (&value, result) in data.results.iter().zip(results) {
            let wide = self.is_retyped(value) && reason.is_some();
            self.forms[value] = match wide {
                true => Forms { wide: Some(result), narrow: None },
                false => Forms { narrow: Some(result), wide: None },
            };
        }
        Ok(())
    }

    /// A conversion between floats of the file: the result is the operand, in whatever form.
    fn forwards(&mut self, data: &NodeData) -> Result<bool, Diagnostic> {
        let (from, to) = (data.operands[0], data.results[0]);
        let plain = |value| matches!(self.old.element(value), Element::F32 | Element::F16 | Element::BF16);
        if !plain(from) || !plain(to) {
            return Ok(false);
        }
        self.forms[to] = match (self.is_retyped(from), self.is_retyped(to)) {
            (true, true) if self.old.recipe(from).is_none() => self.forms[from],
            (true, true) => Forms { wide: Some(self.form(from, Want::Wide)?), narrow: None },
            _ => Forms { narrow: Some(self.form(from, Want::Narrow)?), wide: None },
        };
        Ok(true)
    }

    /// The op with its own types and bodies changed.
    fn op(&mut self, data: &NodeData, element: Element) -> Result<Op, Diagnostic> {
        let mut op = data.op.clone();
        let retyped = self.is_retyped(data.results[0]);
        match &mut op {
            Op::Convert { to: own, .. }
            | Op::Quantize { to: own, .. }
            | Op::Iota { element: own, .. }
            | Op::Bits { element: own, .. }
                if retyped =>
            {
                *own = element;
            }
            _ => {}
        }
        let ports = if matches!(op, Op::Loop { .. }) { Ports::Narrow } else { Ports::Wide };
        for body in op.regions_mut() {
            *body = Arc::new(rewritten(body, self.retype, ports)?);
        }
        Ok(op)
    }

    /// A value in the form that a reader wants.
    fn form(&mut self, value: Value, want: Want) -> Result<Value, Diagnostic> {
        let forms = self.forms[value];
        let plain = if self.is_retyped(value) { None } else { forms.narrow };
        let found = match want {
            Want::Narrow => forms.narrow,
            Want::Wide => forms.wide,
            Want::Any => forms.wide.or(forms.narrow),
        };
        if let Some(found) = plain.or(found) {
            return Ok(found);
        }
        let to = if want == Want::Narrow { self.retype.target } else { WIDE };
        let made = match (self.old.recipe(value), forms.narrow.or(forms.wide)) {
            (Some(recipe), _) => {
                let recipe = match want {
                    Want::Narrow => constants::narrowed(recipe, &self.old.sources, to),
                    Want::Wide | Want::Any => recipe.convert(to, false),
                };
                self.constant(value, recipe)?
            }
            (None, Some(other)) => self.converted(other, to)?,
            (None, None) => unreachable!("operands point backwards, and every node was written"),
        };
        match want {
            Want::Narrow => self.forms[value].narrow = Some(made),
            Want::Wide | Want::Any => self.forms[value].wide = Some(made),
        }
        Ok(made)
    }

    /// The weight of a linear layer: as wide as its storage.
    fn weight(&mut self, value: Value, want: Want) -> Result<Value, Diagnostic> {
        let Some(recipe) = self.old.recipe(value).filter(|_| self.is_retyped(value)) else {
            return self.form(value, want);
        };
        let chosen_wide = matches!(recipe.step(), Step::Store { storage: Storage::Float(FloatKind::F32), .. });
        if want != Want::Narrow || chosen_wide {
            return self.form(value, Want::Wide);
        }
        if let Some(narrow) = self.forms[value].narrow {
            return Ok(narrow);
        }
        let made = self.constant(value, recipe.convert(self.retype.target, true))?;
        self.forms[value].narrow = Some(made);
        Ok(made)
    }

    fn constant(&mut self, old: Value, recipe: Recipe) -> Result<Value, Diagnostic> {
        let provenance = self.old.defining(old).map_or_else(Provenance::none, |(_, data)| data.provenance.clone());
        self.new.constant(recipe, &provenance)
    }

    /// A value in another type: itself, or a new node. What is narrowed stays finite.
    fn converted(&mut self, value: Value, to: Element) -> Result<Value, Diagnostic> {
        self.convert(value, to, to != WIDE)
    }

    fn convert(&mut self, value: Value, to: Element, saturate: bool) -> Result<Value, Diagnostic> {
        if self.new.element(value) == to {
            return Ok(value);
        }
        self.new.add1(Op::Convert { to, saturate }, &[value], &Provenance::none())
    }
}

/// What a node that computes in the form `own` wants of its operand number `at`.
fn want(op: &Op, at: usize, own: Want) -> Want {
    match (op, at) {
        (Op::Rope { .. }, 1 | 2) | (Op::Attention { bias: true, .. }, 3) | (Op::KvAppend {}, 1) => Want::Any,
        (Op::Quantize { .. } | Op::NonZero {} | Op::ArgReduce { .. } | Op::Bits { .. }, _) => Want::Any,
        (Op::Unary { function }, _) if function.result(Element::F32) == Some(Element::Bool) => Want::Any,
        // To integers, bools and f64: conversions between narrower floats never come here.
        (Op::Convert { .. }, _) => Want::Any,
        (Op::While { .. } | Op::If { .. }, _) => Want::Wide,
        _ => own,
    }
}
