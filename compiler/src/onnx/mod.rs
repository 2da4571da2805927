//! ONNX: the only module that knows protobuf. A file goes in; a graph of pure tensor ops comes out.
//!
//! [`wire`] scans the bytes before anything decodes them, within [`Limits`] · [`model`] opens · [`tensor`] finds each tensor's bytes, [`files`] the external
//! ones · [`import()`] turns nodes into graph ops by the rows of [`ops`], each of which sees its node as a [`call::Call`] and
//! appends through a [`builder::Builder`] · [`needs`] lists what a model uses.
//! Always holds: nothing here panics on what a file says, and every refusal has a code and names a byte or a node.

pub mod attributes;
pub mod builder;
pub mod call;
mod census;
mod claims;
mod dim_names;
pub mod files;
mod import;
mod inputs;
mod limits;
pub mod model;
pub mod ops;
mod order;
mod outputs;
mod ranks;
mod schema;
mod sparse;
mod stretch;
pub mod tensor;
pub mod wire;

pub use census::{Need, Survey, needs, survey};
pub use import::{Importer, NEWEST_OPSET, import, import_for, import_with_names};
pub use limits::Limits;
pub use model::Model;
