//! The language of the e-graph: the graph's own op table seen as terms.
//!
//! In: ops of the graph and patterns in text. Out: [`Term`]s, and ops again. A term's children are the op's attributes, in the
//! order of their names, and then its operands, so that a pattern can bind an attribute like any operand. The four
//! families of functions are heads of their own: `(mul a b)`, `(rsqrt x)`, `(reduce-mean [2] x)`, `(le a b)`.
//! Always holds: nothing here lists the ops a second time; an op that is new in the table is known here at once. Ops with regions
//! or with several results are no terms; they stay outside as opaque values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use egg::{FromOp, Id, Language};
use narae_isa::{BinaryFunction, CompareFunction, ReduceFunction, UnaryFunction};

use crate::graph::attribute::{Attribute, Names};
use crate::graph::ops;
use crate::graph::{Op, Real};

/// An attribute as a term: what a field of an op says in text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Attr {
    /// An integer.
    Integer(i64),
    /// A truth value.
    Bool(bool),
    /// A real number, compared by its bits.
    Real(Real),
    /// A name, or an expression of symbols.
    Text(Arc<str>),
    /// A list.
    List(Arc<[Attr]>),
}

/// What a term is, apart from its children.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Head {
    /// A function of one operand.
    Unary(UnaryFunction),
    /// A function of two operands.
    Binary(BinaryFunction),
    /// A comparison.
    Compare(CompareFunction),
    /// A reduction.
    Reduce(ReduceFunction),
    /// Any other op, by its name in the table.
    Op(&'static str),
    /// An attribute.
    Attribute(Attr),
    /// A value that the region does not look into, by its number in the analysis.
    Value(u32),
    /// A constant, by its number in the analysis.
    Constant(u32),
}

/// A node of the e-graph.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Term {
    /// What it is.
    pub head: Head,
    /// Attributes in the order of their names, then operands.
    pub children: Vec<Id>,
}

/// Text in a pattern that is no term.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TermError(String);

impl Attr {
    /// The attribute of a field.
    pub fn from_attribute(attribute: &Attribute) -> Option<Attr> {
        Some(match attribute {
            Attribute::Integer(value) => Attr::Integer(*value),
            Attribute::Bool(value) => Attr::Bool(*value),
            Attribute::Float(value) => Attr::Real(Real::new(*value)),
            Attribute::Text(text) => Attr::Text(text.as_str().into()),
            Attribute::List(items) => Attr::List(items.iter().map(Attr::from_attribute).collect::<Option<_>>()?),
            Attribute::Dictionary(_) | Attribute::Region(_) => return None,
        })
    }

    /// The field's attribute.
    pub fn to_attribute(&self) -> Attribute {
        match self {
            Attr::Integer(value) => Attribute::Integer(*value),
            Attr::Bool(value) => Attribute::Bool(*value),
            Attr::Real(value) => Attribute::Float(value.get()),
            Attr::Text(text) => Attribute::Text(text.to_string()),
            Attr::List(items) => Attribute::List(items.iter().map(Attr::to_attribute).collect()),
        }
    }

    /// A literal of a pattern: `-1`, `0.5`, `true`, `:f16`, `[0,2,1]`.
    fn parse(text: &str) -> Option<Attr> {
        if let Some(name) = text.strip_prefix(':') {
            return Some(Attr::Text(name.into()));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let items = inner.split(',').filter(|item| !item.is_empty());
            return items.map(Attr::parse).collect::<Option<Vec<_>>>().map(|items| Attr::List(items.into()));
        }
        match text {
            "true" => return Some(Attr::Bool(true)),
            "false" => return Some(Attr::Bool(false)),
            _ => {}
        }
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return None;
        }
        text.parse().map(Attr::Integer).ok().or_else(|| text.parse::<f64>().ok().map(|value| Attr::Real(value.into())))
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Integer(value) => write!(f, "{value}"),
            Attr::Bool(value) => write!(f, "{value}"),
            Attr::Real(value) => write!(f, "{value:?}"),
            Attr::Text(text) => write!(f, ":{}", text.replace(' ', "")),
            Attr::List(items) => {
                let items: Vec<String> = items.iter().map(Attr::to_string).collect();
                write!(f, "[{}]", items.join(","))
            }
        }
    }
}

/// How many attributes and operands the ops of the table have as terms.
fn signatures() -> &'static BTreeMap<&'static str, (usize, ops::Arity)> {
    static TABLE: OnceLock<BTreeMap<&'static str, (usize, ops::Arity)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        ops::manual()
            .into_iter()
            .map(|(name, operands, fields, _)| (name, (fields.len(), ops::arity(operands))))
            .collect()
    })
}

impl Head {
    /// The head of this name in a pattern.
    fn from_name(name: &str) -> Option<Head> {
        let unary = || UnaryFunction::from_name(name).map(Head::Unary);
        let binary = || BinaryFunction::from_name(name).map(Head::Binary);
        let compare = || CompareFunction::from_name(name).map(Head::Compare);
        let reduce = || ReduceFunction::from_name(name.strip_prefix("reduce-")?).map(Head::Reduce);
        let op = || ops::NAMES.iter().find(|known| **known == name).map(|known| Head::Op(known));
        unary().or_else(binary).or_else(compare).or_else(reduce).or_else(op)
    }

    /// Number of attributes among the children.
    pub fn attributes(&self) -> usize {
        match self {
            Head::Unary(_) | Head::Binary(_) | Head::Compare(_) => 0,
            Head::Reduce(_) => 1,
            Head::Op(name) => signatures().get(name).map_or(0, |(attributes, _)| *attributes),
            Head::Attribute(_) | Head::Value(_) | Head::Constant(_) => 0,
        }
    }

    /// Whether a term of this head may have so many children.
    fn allows(&self, children: usize) -> bool {
        match self {
            Head::Unary(_) => children == 1,
            Head::Binary(_) | Head::Compare(_) | Head::Reduce(_) => children == 2,
            Head::Op(name) => signatures().get(name).is_some_and(|(attributes, arity)| {
                children.checked_sub(*attributes).is_some_and(|operands| arity.allows(operands))
            }),
            Head::Attribute(_) | Head::Value(_) | Head::Constant(_) => children == 0,
        }
    }
}

impl Term {
    /// The head and the attributes of an op; `None` for ops that are no terms.
    pub fn of_op(op: &Op, names: &Names<'_>) -> Option<(Head, Vec<Attr>)> {
        match op {
            Op::Constant { .. } | Op::TopK { .. } | Op::NonZero {} => return None,
            Op::Unary { function } => return Some((Head::Unary(*function), vec![])),
            Op::Binary { function } => return Some((Head::Binary(*function), vec![])),
            Op::Compare { function } => return Some((Head::Compare(*function), vec![])),
            _ => {}
        }
        let mut attributes = op.attributes(names);
        let head = match op {
            Op::Reduce { function, .. } => {
                attributes.remove("function");
                Head::Reduce(*function)
            }
            _ => Head::Op(op.name()),
        };
        let attributes: Option<Vec<Attr>> = attributes.values().map(Attr::from_attribute).collect();
        Some((head, attributes?))
    }

    /// The op of a head with these attributes; the error says which attribute is wrong.
    pub fn to_op(head: &Head, attributes: &[Attr], names: &Names<'_>) -> Result<Op, String> {
        Ok(match head {
            Head::Unary(function) => Op::Unary { function: *function },
            Head::Binary(function) => Op::Binary { function: *function },
            Head::Compare(function) => Op::Compare { function: *function },
            Head::Reduce(function) => {
                let function = Attribute::Text(function.name().to_owned());
                let axes = attributes.first().map(Attr::to_attribute).ok_or("a reduction has axes")?;
                let map = BTreeMap::from([("axes".to_owned(), axes), ("function".to_owned(), function)]);
                Op::from_attributes("reduce", &map, names)?
            }
            Head::Op(name) => {
                let map =
                    keys(name).into_iter().zip(attributes).map(|(key, attr)| (key.to_owned(), attr.to_attribute()));
                Op::from_attributes(name, &map.collect(), names)?
            }
            Head::Attribute(_) | Head::Value(_) | Head::Constant(_) => return Err(format!("{head} is no op")),
        })
    }

    /// A leaf that is an attribute.
    pub fn attribute(attr: Attr) -> Term {
        Term { head: Head::Attribute(attr), children: vec![] }
    }

    /// The children that are operands.
    pub fn operands(&self) -> &[Id] {
        &self.children[self.head.attributes().min(self.children.len())..]
    }
}

/// The attributes of an op in the order in which they are children.
fn keys(name: &str) -> Vec<&'static str> {
    static TABLE: OnceLock<BTreeMap<&'static str, Vec<&'static str>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let sorted = |fields: Vec<(&'static str, &'static str)>| {
            let mut keys: Vec<&str> = fields.into_iter().map(|(key, _)| key).collect();
            keys.sort_unstable();
            keys
        };
        ops::manual().into_iter().map(|(name, _, fields, _)| (name, sorted(fields))).collect()
    });
    table.get(name).cloned().unwrap_or_default()
}

impl Language for Term {
    type Discriminant = Head;

    fn discriminant(&self) -> Head {
        self.head.clone()
    }

    fn matches(&self, other: &Term) -> bool {
        self.head == other.head && self.children.len() == other.children.len()
    }

    fn children(&self) -> &[Id] {
        &self.children
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.children
    }
}

impl FromOp for Term {
    type Error = TermError;

    fn from_op(op: &str, children: Vec<Id>) -> Result<Term, TermError> {
        let head = match Attr::parse(op) {
            Some(attr) => Head::Attribute(attr),
            None => Head::from_name(op).ok_or_else(|| TermError(format!("there is no op `{op}`")))?,
        };
        if !head.allows(children.len()) {
            let names = keys(op).join(", ");
            let found = children.len();
            return Err(TermError(format!(
                "`{op}` cannot have {found} children; its attributes are [{names}], then its operands"
            )));
        }
        Ok(Term { head, children })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Head::Unary(function) => f.write_str(function.name()),
            Head::Binary(function) => f.write_str(function.name()),
            Head::Compare(function) => f.write_str(function.name()),
            Head::Reduce(function) => write!(f, "reduce-{}", function.name()),
            Head::Op(name) => f.write_str(name),
            Head::Attribute(attr) => write!(f, "{attr}"),
            Head::Value(number) => write!(f, "value{number}"),
            Head::Constant(number) => write!(f, "constant{number}"),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(f)
    }
}
