//! The attributes of one node: typed reading, and the promise that none is ignored.
//!
//! In: the node's attributes, and for a node inside a function the attributes that the function was called with. Out: values of
//! the type that the row asks for, or a diagnostic. Always holds: an attribute that a row never asked for is an
//! error ([`Attributes::unread`]), so that no meaning is dropped in silence.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use narae_isa::{Diagnostic, codes};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto};

/// What a function was called with: attribute name to value.
pub type Bindings<'m> = BTreeMap<&'m str, &'m AttributeProto>;

/// What messages call a node: its name, or that of its first output.
pub fn node_name(node: &NodeProto) -> &str {
    if !node.name.is_empty() {
        return &node.name;
    }
    node.output.iter().find(|output| !output.is_empty()).map_or("(unnamed)", String::as_str)
}

/// What messages call a node's operator: with its domain where that is not ONNX's own.
pub fn op_name(node: &NodeProto) -> String {
    match domain(&node.domain) {
        "" => node.op_type.clone(),
        domain => format!("{domain}::{}", node.op_type),
    }
}

/// A domain in its short spelling: ONNX's own is empty.
pub fn domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// The attributes of one node.
pub struct Attributes<'m> {
    values: BTreeMap<&'m str, &'m AttributeProto>,
    read: RefCell<BTreeSet<String>>,
}

impl<'m> Attributes<'m> {
    /// Those of `node`, with references to the enclosing function's attributes looked up in `bindings`.
    pub fn new(node: &'m NodeProto, bindings: &Bindings<'m>) -> Attributes<'m> {
        let mut values = BTreeMap::new();
        for attribute in &node.attribute {
            let value = match attribute.ref_attr_name.as_str() {
                "" => Some(attribute),
                reference => bindings.get(reference).copied(),
            };
            // A function's parameter without a value means the operator's own default.
            if let Some(value) = value {
                values.insert(attribute.name.as_str(), value);
            }
        }
        Attributes { values, read: RefCell::default() }
    }

    /// All of them, for a function that is called with them.
    pub fn bindings(&self) -> Bindings<'m> {
        self.values.clone()
    }

    /// Whether the node has the attribute.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn find(&self, name: &str, kind: AttributeType) -> Result<Option<&'m AttributeProto>, Diagnostic> {
        let Some(&attribute) = self.values.get(name) else { return Ok(None) };
        self.read.borrow_mut().insert(name.to_string());
        if attribute.type_.enum_value() == Ok(kind) {
            return Ok(Some(attribute));
        }
        let found = attribute.type_.enum_value().map_or("of an unknown type".to_string(), |found| format!("{found:?}"));
        Err(Diagnostic::new(&codes::E0303, format!("attribute `{name}` must be {kind:?}, but is {found}")))
    }

    /// Notes that the attribute is known and means nothing here.
    pub fn ignore(&self, names: &[&str]) {
        self.read.borrow_mut().extend(names.iter().map(|name| name.to_string()));
    }

    /// An integer, if given.
    pub fn int(&self, name: &str) -> Result<Option<i64>, Diagnostic> {
        Ok(self.find(name, AttributeType::INT)?.map(|attribute| attribute.i))
    }

    /// An integer, or what it is by default.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, Diagnostic> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A flag, or what it is by default.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Diagnostic> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }

    /// A float, if given.
    pub fn float(&self, name: &str) -> Result<Option<f32>, Diagnostic> {
        Ok(self.find(name, AttributeType::FLOAT)?.map(|attribute| attribute.f))
    }

    /// A float, or what it is by default.
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, Diagnostic> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// Text, if given.
    pub fn text(&self, name: &str) -> Result<Option<&'m str>, Diagnostic> {
        let Some(attribute) = self.find(name, AttributeType::STRING)? else { return Ok(None) };
        let text = std::str::from_utf8(&attribute.s);
        text.map(Some).map_err(|_| Diagnostic::new(&codes::E0113, format!("attribute `{name}` is not UTF-8")))
    }

    /// Text, or what it is by default.
    pub fn text_or(&self, name: &str, default: &'m str) -> Result<&'m str, Diagnostic> {
        Ok(self.text(name)?.unwrap_or(default))
    }

    /// A list of integers, if given.
    pub fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, Diagnostic> {
        Ok(self.find(name, AttributeType::INTS)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// A list of floats, if given.
    pub fn floats(&self, name: &str) -> Result<Option<&'m [f32]>, Diagnostic> {
        Ok(self.find(name, AttributeType::FLOATS)?.map(|attribute| attribute.floats.as_slice()))
    }

    /// A tensor, if given.
    pub fn tensor(&self, name: &str) -> Result<Option<&'m TensorProto>, Diagnostic> {
        Ok(self.find(name, AttributeType::TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }

    /// A sparse tensor, if given.
    pub fn sparse_tensor(&self, name: &str) -> Result<Option<&'m SparseTensorProto>, Diagnostic> {
        Ok(self.find(name, AttributeType::SPARSE_TENSOR)?.and_then(|attribute| attribute.sparse_tensor.as_ref()))
    }

    /// A body, which must be given.
    pub fn graph(&self, name: &str) -> Result<&'m GraphProto, Diagnostic> {
        let found = self.find(name, AttributeType::GRAPH)?.and_then(|attribute| attribute.g.as_ref());
        found.ok_or_else(|| missing(name))
    }

    /// An integer that must be given.
    pub fn required_int(&self, name: &str) -> Result<i64, Diagnostic> {
        self.int(name)?.ok_or_else(|| missing(name))
    }

    /// The attributes that nobody asked for.
    pub fn unread(&self) -> Vec<&'m str> {
        let read = self.read.borrow();
        self.values.keys().filter(|name| !read.contains(**name)).copied().collect()
    }
}

fn missing(name: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0111, format!("attribute `{name}` is missing"))
}
