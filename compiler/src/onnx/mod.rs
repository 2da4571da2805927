//! ONNX: the only module that knows protobuf. A file goes in; a graph of pure tensor ops comes out.
//!
//! [`wire`] scans the bytes before anything decodes them · [`model`] opens · [`tensor`] finds each tensor's bytes, [`files`] the external ones.
//! Always holds: nothing here panics on what a file says, and every refusal has a code and names a byte or a node.

pub mod attributes;
pub mod files;
pub mod model;
mod order;
mod schema;
pub mod tensor;
pub mod wire;

pub use model::{Limits, Model};
