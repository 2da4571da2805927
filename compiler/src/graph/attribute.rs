//! Attributes: how a typed field of an op becomes text and comes back.
//!
//! A row of the op table has typed fields; each type implements [`Field`], which turns it into an [`Attribute`] (what the text form
//! knows) and back. Every `from_attribute(to_attribute(x)) == x`.

use std::sync::Arc;

use narae_isa::{
    BinaryFunction, CompareFunction, CumulateFunction, Element, ReduceFunction, ScatterFunction, UnaryFunction,
};

use super::Graph;
use crate::compress::Sources;
use crate::ir::{Dim, Symbols};

/// What the text form can say as an attribute; a region is a graph.
pub type Attribute = crate::ir::attribute::Attribute<Arc<Graph>>;

/// The names that attributes refer to.
pub struct Names<'a> {
    /// Symbols of the graph that holds the op.
    pub symbols: &'a Symbols,
    /// Files of recipes.
    pub sources: &'a Sources,
}

/// A type that can be a field of an op.
pub trait Field: Sized {
    /// Whether the field is a region.
    const IS_REGION: bool = false;
    /// The field as an attribute.
    fn to_attribute(&self, names: &Names) -> Attribute;
    /// The field from an attribute; the error says what was expected.
    fn from_attribute(attribute: &Attribute, names: &Names) -> Result<Self, String>;
    /// The region that the field is.
    fn as_region(&self) -> Option<&Arc<Graph>> {
        None
    }
    /// The region that the field is, to be replaced.
    fn as_region_mut(&mut self) -> Option<&mut Arc<Graph>> {
        None
    }
    /// Applies `f` to each dim of the field.
    fn map_dims(&mut self, _f: &mut dyn FnMut(&Dim) -> Dim) {}
    /// Shows each dim of the field.
    fn visit_dims(&self, _f: &mut dyn FnMut(&Dim)) {}
}

/// A floating-point attribute that can be compared and hashed: by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Real(u64);

impl Real {
    /// The attribute of a number.
    pub fn new(value: f64) -> Real {
        Real(value.to_bits())
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl From<f64> for Real {
    fn from(value: f64) -> Real {
        Real::new(value)
    }
}

impl From<f32> for Real {
    fn from(value: f32) -> Real {
        Real::new(f64::from(value))
    }
}

impl std::fmt::Debug for Real {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl Field for Real {
    fn to_attribute(&self, _: &Names) -> Attribute {
        Attribute::Float(self.get())
    }
    fn from_attribute(attribute: &Attribute, _: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::Float(value) => Ok(Real::new(*value)),
            _ => Err("a floating-point number".into()),
        }
    }
}

impl Field for i64 {
    fn to_attribute(&self, _: &Names) -> Attribute {
        Attribute::Integer(*self)
    }
    fn from_attribute(attribute: &Attribute, _: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::Integer(value) => Ok(*value),
            _ => Err("an integer".into()),
        }
    }
}

impl Field for usize {
    fn to_attribute(&self, _: &Names) -> Attribute {
        // Sizes come from dims that were checked to be i64.
        Attribute::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
    fn from_attribute(attribute: &Attribute, names: &Names) -> Result<Self, String> {
        usize::try_from(i64::from_attribute(attribute, names)?).map_err(|_| "an integer that is not negative".into())
    }
}

impl Field for bool {
    fn to_attribute(&self, _: &Names) -> Attribute {
        Attribute::Bool(*self)
    }
    fn from_attribute(attribute: &Attribute, _: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::Bool(value) => Ok(*value),
            _ => Err("true or false".into()),
        }
    }
}

impl Field for Dim {
    fn to_attribute(&self, names: &Names) -> Attribute {
        match self.as_const() {
            Some(value) => Attribute::Integer(value),
            None => Attribute::Text(self.display(names.symbols).to_string()),
        }
    }
    fn from_attribute(attribute: &Attribute, names: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::Integer(value) => Ok((*value).into()),
            Attribute::Text(text) => Dim::parse(text, &mut |name| names.symbols.find(name).map(Dim::from)),
            _ => Err("an integer or an expression of symbols in quotes".into()),
        }
    }
    fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
        *self = f(self);
    }
    fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        f(self);
    }
}

impl<T: Field> Field for Vec<T> {
    fn to_attribute(&self, names: &Names) -> Attribute {
        Attribute::List(self.iter().map(|item| item.to_attribute(names)).collect())
    }
    fn from_attribute(attribute: &Attribute, names: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::List(items) => items.iter().map(|item| T::from_attribute(item, names)).collect(),
            _ => Err("a list".into()),
        }
    }
    fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
        self.iter_mut().for_each(|item| item.map_dims(f));
    }
    fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        self.iter().for_each(|item| item.visit_dims(f));
    }
}

impl<T: Field> Field for Option<T> {
    fn to_attribute(&self, names: &Names) -> Attribute {
        match self {
            Some(item) => item.to_attribute(names),
            None => Attribute::Text("none".into()),
        }
    }
    fn from_attribute(attribute: &Attribute, names: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::Text(text) if text == "none" => Ok(None),
            _ => T::from_attribute(attribute, names).map(Some),
        }
    }
    fn map_dims(&mut self, f: &mut dyn FnMut(&Dim) -> Dim) {
        self.iter_mut().for_each(|item| item.map_dims(f));
    }
    fn visit_dims(&self, f: &mut dyn FnMut(&Dim)) {
        self.iter().for_each(|item| item.visit_dims(f));
    }
}

impl Field for Arc<Graph> {
    const IS_REGION: bool = true;
    fn to_attribute(&self, _: &Names) -> Attribute {
        Attribute::Region(self.clone())
    }
    fn from_attribute(attribute: &Attribute, _: &Names) -> Result<Self, String> {
        match attribute {
            Attribute::Region(graph) => Ok(graph.clone()),
            _ => Err("a region".into()),
        }
    }
    fn as_region(&self) -> Option<&Arc<Graph>> {
        Some(self)
    }
    fn as_region_mut(&mut self) -> Option<&mut Arc<Graph>> {
        Some(self)
    }
}

/// Fields whose text is a name out of a fixed list.
macro_rules! named_fields {
    ($($type:ty, $what:literal;)*) => {$(
        impl Field for $type {
            fn to_attribute(&self, _: &Names) -> Attribute {
                Attribute::Text(self.name().into())
            }
            fn from_attribute(attribute: &Attribute, _: &Names) -> Result<Self, String> {
                let name = match attribute { Attribute::Text(name) => Some(name.as_str()), _ => None };
                name.and_then(<$type>::from_name).ok_or_else(|| concat!("the name of ", $what).into())
            }
        }
    )*};
}

named_fields! {
    Element, "an element type";
    UnaryFunction, "a function of one operand";
    BinaryFunction, "a function of two operands";
    CompareFunction, "a comparison";
    ReduceFunction, "a reduction";
    CumulateFunction, "a running combination";
    ScatterFunction, "a way to combine updates";
    super::ops::PadMode, "a way to pad";
    super::ops::ArgFunction, "`min` or `max`";
    super::ops::PoolFunction, "`max` or `sum`";
}
