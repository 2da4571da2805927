//! One ONNX node as its row sees it, and the row itself.
//!
//! In: the node's operands, attributes, the opset in force. Out: what the row builds. Always holds: the row
//! cannot see names or protobuf; an attribute that it does not ask for is reported.

use std::ops::{Deref, DerefMut};

use narae_isa::Element;

use super::attributes::Attributes;
use super::builder::{Builder, Built, mismatch};
use super::import::Importer;
use crate::ir::Value;

/// One row of the operator table: an operator in a range of opsets.
pub struct Row {
    /// The domain; empty for ONNX's own.
    pub domain: &'static str,
    /// The operator.
    pub name: &'static str,
    /// First opset of this meaning that is supported.
    pub since: i64,
    /// Last opset of this meaning.
    pub until: i64,
    /// Which element types of the first operand, in words.
    pub types: &'static str,
    /// Builds the graph ops.
    pub build: fn(&mut Call) -> Built<Vec<Value>>,
}

/// An operator of ONNX's own domain.
pub const fn onnx(
    name: &'static str,
    since: i64,
    until: i64,
    types: &'static str,
    build: fn(&mut Call) -> Built<Vec<Value>>,
) -> Row {
    Row { domain: "", name, since, until, types, build }
}

/// An operator of onnxruntime's domain.
pub const fn microsoft(name: &'static str, types: &'static str, build: fn(&mut Call) -> Built<Vec<Value>>) -> Row {
    Row { domain: "com.microsoft", name, since: 1, until: NEWEST, types, build }
}

/// No last opset: the newest meaning.
pub const NEWEST: i64 = i64::MAX;

/// One node.
pub struct Call<'a, 'm> {
    /// The importer, for bodies and tensors.
    pub importer: &'a mut Importer<'m>,
    /// The attributes.
    pub attributes: Attributes<'m>,
    /// The operands; an omitted one is `None`.
    pub inputs: Vec<Option<Value>>,
    /// Which outputs the model uses: an omitted one is `false`.
    pub outputs: Vec<bool>,
    /// The opset of the operator's domain.
    pub opset: i64,
}

impl Deref for Call<'_, '_> {
    type Target = Builder;
    fn deref(&self) -> &Builder {
        &self.importer.builder
    }
}

impl DerefMut for Call<'_, '_> {
    fn deref_mut(&mut self) -> &mut Builder {
        &mut self.importer.builder
    }
}

impl Call<'_, '_> {
    /// Operand number `index`, which must be there.
    pub fn input(&self, index: usize) -> Built {
        self.optional(index).ok_or_else(|| mismatch(format!("operand {index} is missing")))
    }

    /// Operand number `index`, if it is there.
    pub fn optional(&self, index: usize) -> Option<Value> {
        self.inputs.get(index).copied().flatten()
    }

    /// At most so many operands.
    pub fn at_most(&self, count: usize) -> Built<()> {
        if self.inputs.iter().skip(count).all(Option::is_none) {
            return Ok(());
        }
        Err(mismatch(format!("{} operands, but at most {count} are known", self.inputs.len())))
    }

    /// Whether the model uses output number `index`.
    pub fn wants(&self, index: usize) -> bool {
        self.outputs.get(index).copied().unwrap_or(false)
    }

    /// Two operands and no more.
    pub fn pair(&self) -> Built<(Value, Value)> {
        self.at_most(2)?;
        Ok((self.input(0)?, self.input(1)?))
    }

    /// One operand and no more.
    pub fn single(&self) -> Built {
        self.at_most(1)?;
        self.input(0)
    }

    /// All operands, all there.
    pub fn all(&self) -> Built<Vec<Value>> {
        (0..self.inputs.len()).map(|index| self.input(index)).collect()
    }

    /// The elements of operand `index` as numbers, which must be known.
    pub fn known_list(&self, index: usize, name: &str) -> Built<Option<Vec<i64>>> {
        let Some(value) = self.optional(index) else { return Ok(None) };
        match self.known_ints(value) {
            Some(list) => Ok(Some(list)),
            None => Err(super::builder::unsupported(format!("{name} must be known when the model is compiled"))),
        }
    }

    /// The element type of the first operand.
    pub fn first_element(&self) -> Built<Element> {
        Ok(self.element(self.input(0)?))
    }
}
