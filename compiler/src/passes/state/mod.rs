//! `--kv-cache state`: a decoder with past and present tensors becomes one that keeps its cache on the chip.
//!
//! In: a recovered graph (layers not rolled yet) with inputs for ids, past keys and values, and possibly a mask and positions. Out: a
//! graph of ids and `past_len [B]`, whose caches are states that `kv_append` updates in place and whose logits are those of the
//! last token or of all. Mask and positions disappear because they are *proven*, by the elements of the tensors (`elements.rs`),
//! to be causal and to count on from the past, under what this mode means: no padding, every sequence starts at its own
//! past. Always holds: what cannot be proven is refused with the node and the reason; the new graph does for each sequence
//! what the old one does for that sequence alone.
//!
//! Reading order: `roles.rs` (what the inputs are), `build.rs` (the new graph, node by node), `attention.rs` (caches, masks, rotary
//! tables), `widen.rs` (values of one row for all sequences that get a row for each), `elements.rs` and `grid.rs` (the proofs).

mod attention;
mod build;
pub mod elements;
mod grid;
mod roles;
#[cfg(test)]
mod tests;
mod widen;

use narae_isa::{Diagnostic, Element as Type, codes};

use self::build::Builder;
use self::elements::{Element, Elements};
use self::roles::{Roles, assumed};
use crate::graph::Graph;
use crate::ir::{Dim, Symbol, SymbolDefinition, Value};

/// The name of the input that holds the lengths.
pub const PAST: &str = "past_len";

/// The name of the length that is the room of a cache.
pub const CAPACITY: &str = "capacity";

/// The most tokens of a length of the model; `None` if nobody said.
pub type Most<'a> = &'a dyn Fn(&Graph, Symbol) -> Option<i64>;

/// What the new graph gives.
pub struct Options<'a> {
    /// Logits of all tokens, not just of the last one.
    pub all_logits: bool,
    /// The most tokens that a cache has room for; otherwise the longest past and the longest call.
    pub capacity: Option<i64>,
    /// The maxima of lengths that the user gave.
    pub most: Most<'a>,
    /// The most tokens of a text and of a call, where the user gave none.
    pub usual: (i64, i64),
    /// The element type of the caches.
    pub element: Option<Type>,
}

impl Options<'_> {
    /// The tokens that a cache holds: what is there before a call, and what the call adds. Where nobody spoke of the past, what is usual is
    /// the greatest position that the model knows, which call and past reach together.
    fn room(&self, graph: &Graph, roles: &Roles) -> i64 {
        let most = |dim: &Dim| dim.as_const().or_else(|| (self.most)(graph, dim.as_symbol()?));
        let (text, new) = self.usual;
        let new = most(&roles.sequence).unwrap_or(new);
        let said = most(&roles.past).map(|past| past.saturating_add(new));
        self.capacity.or(said).unwrap_or_else(|| text.max(new))
    }
}

/// The pass.
pub fn keep_state(graph: &mut Graph, options: &Options<'_>) -> Result<(), Diagnostic> {
    // Every sequence of this mode has the past of its own and nothing else: caches are as long as that, the mask as long as
    // that and the new tokens.
    roles::unify_pasts(graph)?;
    let found = Roles::find(graph)?;
    if let Some(mask) = found.mask {
        let covered = graph.dims(mask).last().cloned().unwrap_or(Dim::ONE);
        let total = &found.past + &found.sequence;
        graph.symbols.unify(&covered, &total).map_err(|_| refused("the mask is not as long as past and new tokens"))?;
    }
    // Elements are followed in a graph in which one length has one name.
    graph.resolve_symbols();
    learn_lengths(graph, &Roles::find(graph)?)?;
    let roles = Roles::find(graph)?;
    let mut builder = Builder::new(graph, &roles, options);
    builder.run()?;
    *graph = builder.finish()?;
    Ok(())
}

/// Lengths that are read from tensors, where this mode knows the tensors: a maximum over positions, a sum over the mask.
fn learn_lengths(graph: &mut Graph, roles: &Roles) -> Result<(), Diagnostic> {
    let mut known: Vec<(Symbol, Dim)> = Vec::new();
    for (symbol, row) in graph.symbols.iter().filter(|(_, row)| row.replacement.is_none()) {
        if let SymbolDefinition::Data { value, index } = row.definition
            && let Some(dim) = element_of(graph, roles, value, index)
        {
            known.push((symbol, dim));
        }
    }
    for (symbol, dim) in known {
        let name = graph.symbols.name(symbol).to_owned();
        graph
            .symbols
            .replace(symbol, &dim)
            .map_err(|_| refused(format!("the length `{name}` contradicts the past")))?;
    }
    graph.resolve_symbols();
    Ok(())
}

/// Element `index` of a value, if it is an integer that inputs' lengths decide.
fn element_of(graph: &Graph, roles: &Roles, value: Value, index: u64) -> Option<Dim> {
    let sizes = graph.ty(value).sizes()?;
    let mut rest = usize::try_from(index).ok()?;
    let indices: Vec<Dim> = narae_isa::tensor::dense_strides(&sizes)
        .into_iter()
        .map(|stride| {
            let at = rest / stride.max(1);
            rest %= stride.max(1);
            at.into()
        })
        .collect();
    let inputs = |value: Value, indices: &[Dim]| assumed(graph, roles, value, indices);
    match Elements::new(graph, roles, &inputs).at(value, &indices) {
        Element::Integer(dim)
            if !dim.is_invalid() && dim.symbols().iter().all(|&found| graph.symbols.contains(found)) =>
        {
            Some(dim)
        }
        _ => None,
    }
}

fn refused(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&codes::E0409, message).help("use --kv-cache io, which keeps the model's own inputs and outputs")
}
