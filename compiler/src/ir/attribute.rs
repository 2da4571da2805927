//! Attributes: what the text form of every dialect can say beside names and types.
//!
//! `R` is what a dialect makes of a region that is a field of an operation; a region is printed as such, never among the attributes.

use std::collections::BTreeMap;

/// What the text form can say as an attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum Attribute<R> {
    /// A 64-bit integer.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A double.
    Float(f64),
    /// A quoted string.
    Text(String),
    /// `[a, b, …]`.
    List(Vec<Attribute<R>>),
    /// `{key = value, …}`.
    Dictionary(Dictionary<R>),
    /// A region of the operation: it is printed as such and not among the attributes.
    Region(R),
}

/// Named attributes, sorted.
pub type Dictionary<R> = BTreeMap<String, Attribute<R>>;
