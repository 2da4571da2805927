//! Which tensors of the ONNX file the values of a graph are: what makes stages of the road comparable.
//!
//! In: the importer names the results of nodes, if [`Graph::keep_names`] was asked for; passes carry the names over to the values that
//! they put in place of the old ones. Out: for each value its tensors (several where values turned out equal). Inside of a loop of alike
//! layers a value is another tensor in each iteration. Always holds: names decide nothing; without them the road is the same.

use std::sync::Arc;

use cranelift_entity::SecondaryMap;

use super::{Graph, Origin};
use crate::ir::Value;

/// A tensor of the ONNX file: one output of one node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tensor {
    /// Its place in the order in which nodes were imported, so that a tensor comes after all that it depends on.
    pub number: u32,
    /// Its name; inside of a function behind the names of the calls.
    pub name: String,
    /// The node that makes it.
    pub node: Origin,
}

/// A tensor that a value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Which one.
    pub tensor: Arc<Tensor>,
    /// In which iteration of the loop whose body holds the value; `None` outside of loops.
    pub iteration: Option<u32>,
}

/// The names of a graph's values; nothing unless somebody compares.
pub type Names = Option<SecondaryMap<Value, Vec<Named>>>;

impl Graph {
    /// Keeps names from now on.
    pub fn keep_names(&mut self) {
        self.names.get_or_insert_default();
    }

    /// Whether names are kept.
    pub fn keeps_names(&self) -> bool {
        self.names.is_some()
    }

    /// The tensors that a value is.
    pub fn names(&self, value: Value) -> &[Named] {
        self.names.as_ref().map_or(&[], |names| names[value].as_slice())
    }

    /// Says that a value is a tensor; nothing happens unless names are kept.
    pub fn name(&mut self, value: Value, named: Named) {
        if let Some(names) = &mut self.names
            && !names[value].contains(&named)
        {
            names[value].push(named);
        }
    }

    /// Takes over the names of another graph whose values became values of this one.
    pub fn carry_names(&mut self, old: &Graph, new_of: impl Fn(Value) -> Option<Value>) {
        if old.names.is_none() {
            return;
        }
        self.keep_names();
        for (value, _) in old.values() {
            if let Some(new) = new_of(value) {
                old.names(value).iter().for_each(|named| self.name(new, named.clone()));
            }
        }
    }
}
