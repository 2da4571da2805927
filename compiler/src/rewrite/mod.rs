//! The only module that knows egg: laws recover what the exporter spelled out.
//!
//! In: a graph of primitives as an exporter wrote it. Out: the same graph with norms, rotary embeddings, attention, gated MLPs and
//! linear layers as single ops, products of one operand merged, and a report of what happened. The road: [`region`] reads the
//! graph into an e-graph, [`rules`] saturate it, [`extract`] chooses, [`region`] writes it back. Always holds: the new graph computes
//! the old one's values up to the order of rounding; the same graph gives the same result on any machine; every stop other
//! than saturation is reported.

pub mod analysis;
mod conditions;
mod cost;
pub mod extract;
mod fold;
pub mod law;
pub mod node;
pub mod region;
pub mod rules;
