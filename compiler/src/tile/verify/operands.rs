//! What each instruction demands of its operands: elements and dims.
//!
//! A rule is `(field, elements, dims)`. Dims are words: a name stands for one extent, `*name` for any number of them, `1` for itself;
//! equal names in one instruction are equal extents. The field `*` means all fields without a rule of their own.

use std::collections::BTreeMap;

use narae_isa::Element;
use narae_isa::instructions::Inst;
use narae_isa::operand::AxisSet;
use narae_isa::table::{Access, Operand};

use super::Corners;
use crate::ir::Dim;
use crate::tile::{Compute, Parameters, View};

/// What the elements of an operand are.
#[derive(Clone, Copy)]
enum Elements {
    /// Anything.
    Any,
    /// Integers.
    Integer,
    /// Floats.
    Float,
    /// Bool.
    Bool,
    /// The same type as the other operands that say so.
    Same,
    /// The same width as the other operands that say so.
    Width,
}

use Elements::{Any, Bool, Float, Integer, Same, Width};

type Rule = (&'static str, Elements, &'static str);

/// The rules of an instruction.
fn rules(inst: &Inst) -> &'static [Rule] {
    match inst {
        Inst::Unary(_)
        | Inst::Binary(_)
        | Inst::Convert(_)
        | Inst::Fill(_)
        | Inst::FillInteger(_)
        | Inst::Iota(_)
        | Inst::Softmax(_)
        | Inst::Norm(_)
        | Inst::Cumulate(_)
        | Inst::Quantize(_)
        | Inst::Dequantize(_) => &[("*", Any, "*i")],
        Inst::Compare(_) => &[("out", Bool, "*i"), ("*", Any, "*i")],
        Inst::Select(_) => &[("c", Bool, "*i"), ("*", Same, "*i")],
        Inst::Copy(_) | Inst::Transfer(_) => &[("*", Width, "*i")],
        Inst::Reduce(_) => &[("*", Any, "*_")],
        Inst::ArgReduce(_) => &[("out", Integer, "*_"), ("a", Any, "*_")],
        Inst::Rope(_) => &[("cos", Any, "*i c"), ("sin", Any, "*i c"), ("*", Any, "*i d")],
        Inst::LoadWeight(_) => &[("weight", Any, "n k")],
        Inst::GatherRows(_) => &[("out", Width, "n *r"), ("table", Width, "m *r"), ("index", Integer, "n")],
        Inst::ScatterRows(_) => &[("table", Width, "m *r"), ("a", Width, "n *r"), ("index", Integer, "n")],
        Inst::Append(_) => &[("cache", Any, "b h t d"), ("new", Any, "b h s d"), ("past", Integer, "b")],
        Inst::Linear(_) => &[("out", Any, "*l n"), ("x", Float, "*l k"), ("weight", Any, "n k"), ("bias", Any, "n")],
        Inst::Matmul(_) => {
            &[("out", Any, "*l m n"), ("a", Any, "*l m k"), ("b", Any, "*l k n"), ("bias", Any, "*l m n")]
        }
        Inst::MatmulInteger(_) => &[
            ("out", Integer, "*l m n"),
            ("a", Integer, "*l m k"),
            ("b", Integer, "*l k n"),
            ("a_zero", Integer, "*l m k"),
            ("b_zero", Integer, "*l k n"),
        ],
        Inst::Convolution(_) => &[
            ("out", Any, "n g m *p"),
            ("x", Any, "n g c *q"),
            ("w", Any, "g m c *r"),
            ("bias", Any, "g m"),
            ("x_zero", Integer, "n g c *q"),
            ("w_zero", Integer, "g m c *r"),
        ],
        Inst::Attend(_) => &[
            ("out", Any, "b h s v"),
            ("q", Any, "b h s d"),
            ("k", Any, "b g t d"),
            ("v", Any, "b g t v"),
            ("bias", Any, "b h s t"),
            ("past", Integer, "b"),
            ("keys", Integer, "b"),
            ("sinks", Any, "h"),
        ],
        Inst::Gather(_) => &[("out", Width, "*_"), ("a", Width, "*_"), ("index", Integer, "*_")],
        Inst::GatherElements(_) => &[("out", Width, "*j"), ("a", Width, "*_"), ("index", Integer, "*j")],
        Inst::GatherNd(_) => &[("out", Width, "*_"), ("a", Width, "*_"), ("index", Integer, "*_ q")],
        Inst::ScatterElements(_) => &[("out", Same, "*_"), ("index", Integer, "*j"), ("updates", Same, "*j")],
        Inst::ScatterNd(_) => &[("out", Same, "*_"), ("index", Integer, "*_ q"), ("updates", Same, "*_")],
        Inst::TopK(_) => &[("values", Same, "*o"), ("indices", Integer, "*o"), ("a", Same, "*_")],
        Inst::NonZero(_) => &[("indices", Integer, "r m"), ("count", Integer, "1"), ("a", Any, "*_")],
        Inst::Pool(_) => &[("out", Any, "n c *p"), ("indices", Integer, "n c *p"), ("a", Any, "n c *q")],
        Inst::Resize(_) => &[("out", Any, "*_"), ("a", Any, "*_"), ("scales", Float, "r"), ("roi", Float, "r2")],
        // The control unit's own instructions are no operations of programs; `check` refuses them.
        Inst::Halt(_)
        | Inst::Fence(_)
        | Inst::QueueSync(_)
        | Inst::LoadImmediate(_)
        | Inst::MoveScalar(_)
        | Inst::Alu(_)
        | Inst::AluImmediate(_)
        | Inst::Jump(_)
        | Inst::Branch(_)
        | Inst::BranchImmediate(_)
        | Inst::LoadScalar(_)
        | Inst::StoreScalar(_)
        | Inst::LoadDescriptor(_)
        | Inst::Mark(_) => &[],
    }
}

/// What is wrong with the numbering of the template's fields.
pub(super) fn numbering(compute: &Compute, operands: &[Operand]) -> Option<&'static str> {
    let (views, scalars) = (compute.views.len(), compute.scalars.len());
    let mut used = vec![false; views];
    for operand in operands {
        let index = operand.register.index();
        if operand.access == Access::Parameters {
            if index != views || compute.parameters.is_none() {
                return Some("the parameters do not stand behind the views");
            }
            let resize = matches!(compute.inst, Inst::Resize(_));
            if resize != matches!(compute.parameters, Some(Parameters::Resize(_))) {
                return Some("the parameters are those of another instruction");
            }
        } else {
            match used.get_mut(index) {
                Some(used) => *used = true,
                None => return Some("a descriptor field numbers a view that is not there"),
            }
        }
    }
    let has_parameters = operands.iter().any(|operand| operand.access == Access::Parameters);
    let registers = compute.inst.registers();
    if used.contains(&false) || has_parameters != compute.parameters.is_some() {
        Some("a view or the parameters are not an operand")
    } else if registers.iter().any(|(register, _)| register.index() >= scalars) {
        Some("a register field numbers a scalar that is not there")
    } else if (0..scalars).any(|scalar| !registers.iter().any(|(register, _)| register.index() == scalar)) {
        Some("a scalar is not an operand")
    } else {
        None
    }
}

/// What is wrong with the operands.
pub(super) fn check(inst: &Inst, operands: &[Operand], views: &[View], corners: &Corners<'_>) -> Vec<String> {
    let rules = rules(inst);
    if rules.is_empty() {
        return vec![format!("`{}` belongs to the control unit", inst.mnemonic())];
    }
    let mut match_ = Match { corners, extents: BTreeMap::new(), lists: BTreeMap::new(), same: None, width: None };
    let mut problems = Vec::new();
    let mut by_name = BTreeMap::new();
    for operand in operands.iter().filter(|operand| operand.access != Access::Parameters) {
        let view = &views[operand.register.index()];
        by_name.insert(operand.name, view);
        let rule = rules.iter().find(|rule| rule.0 == operand.name || rule.0 == "*");
        let Some(&(_, elements, dims)) = rule else {
            problems.push(format!("`{}` has no rule", operand.name));
            continue;
        };
        if !match_.elements(elements, view.element) {
            problems.push(format!(
                "the elements of `{}`, {}, are not what the row demands",
                operand.name,
                view.element.name()
            ));
        }
        if let Err(what) = match_.dims(dims, &view.dims) {
            problems.push(format!("the dims of `{}` do not fit `{dims}`: {what}", operand.name));
        }
    }
    let reduced = match inst {
        Inst::Reduce(row) => Some(row.axes),
        Inst::ArgReduce(row) => AxisSet::of(&[row.axis.index()]),
        _ => None,
    };
    if let (Some(axes), Some(out), Some(a)) = (reduced, by_name.get("out"), by_name.get("a")) {
        let fits = |axis: usize| match axes.contains(axis) {
            true => corners.may_equal(&out.dims[axis], &Dim::ONE),
            false => corners.may_equal(&out.dims[axis], &a.dims[axis]),
        };
        if out.rank() != a.rank() || !(0..out.rank()).all(fits) {
            problems.push("the result does not have the dims of the operand with 1 at the reduced axes".into());
        }
    }
    if let (Inst::Gather(row), Some(out), Some(a), Some(index)) =
        (inst, by_name.get("out"), by_name.get("a"), by_name.get("index"))
    {
        let axis = row.axis.index();
        let mut want = a.dims.clone();
        let fits = axis < want.len() && {
            want.splice(axis..=axis, index.dims.iter().cloned());
            want.len() == out.rank() && want.iter().zip(&out.dims).all(|(want, dim)| corners.may_equal(want, dim))
        };
        if !fits {
            problems.push(
                "the result does not have the dims of the operand with those of the index in place of the axis".into(),
            );
        }
    }
    problems
}

/// What names stand for so far.
struct Match<'a> {
    corners: &'a Corners<'a>,
    extents: BTreeMap<&'static str, Dim>,
    lists: BTreeMap<&'static str, Vec<Dim>>,
    same: Option<Element>,
    width: Option<usize>,
}

impl Match<'_> {
    fn elements(&mut self, rule: Elements, element: Element) -> bool {
        match rule {
            Any => true,
            Integer => element.is_integer(),
            Float => element.is_float(),
            Bool => element == Element::Bool,
            Same => *self.same.get_or_insert(element) == element,
            Width => *self.width.get_or_insert(element.bytes()) == element.bytes(),
        }
    }

    fn dims(&mut self, pattern: &'static str, dims: &[Dim]) -> Result<(), String> {
        let words: Vec<&'static str> = pattern.split(' ').collect();
        let single = words.iter().filter(|word| !word.starts_with('*')).count();
        let list = dims.len().checked_sub(single).filter(|&left| left == 0 || single < words.len());
        let Some(list) = list else { return Err(format!("there are {} axes", dims.len())) };
        let mut rest = dims;
        for word in words {
            let (these, others) = rest.split_at(if word.starts_with('*') { list } else { 1 });
            rest = others;
            self.word(word, these)?;
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str, these: &[Dim]) -> Result<(), String> {
        if word == "*_" {
            return Ok(());
        }
        let known = if word == "1" {
            vec![Dim::ONE]
        } else if word.starts_with('*') {
            self.lists.entry(word).or_insert_with(|| these.to_vec()).clone()
        } else {
            vec![self.extents.entry(word).or_insert_with(|| these[0].clone()).clone()]
        };
        let fits = known.len() == these.len() && known.iter().zip(these).all(|(a, b)| self.corners.may_equal(a, b));
        if fits { Ok(()) } else { Err(format!("`{word}` is {known:?} elsewhere and {these:?} here")) }
    }
}
