//! What a model file may ask of this compiler.
//!
//! In: nothing, or names with greater numbers from a user who trusts the file. Out: [`Limits`]. Always holds: each bound has a name, so each
//! can be raised.

use super::wire::WireLimits;

/// Bounds that protect against hostile files.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bounds on the message itself.
    pub wire: WireLimits,
    /// Dimensions of a tensor.
    pub rank: usize,
    /// Bodies of `If`, `Loop` and functions inside each other.
    pub nesting: usize,
    /// Nodes after functions are inlined.
    pub inlined_nodes: usize,
    /// Whether external data may be a hard link to a file that may also stand elsewhere.
    pub hard_links: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { wire: WireLimits::default(), rank: 8, nesting: 32, inlined_nodes: 1_000_000, hard_links: false }
    }
}

impl Limits {
    /// The bounds that have a number.
    pub const NAMES: &'static [&'static str] =
        &["nodes", "items", "depth", "bytes", "rank", "nesting", "inlined-nodes"];

    /// Replaces the bound of that name; false if there is none.
    #[must_use]
    pub fn set(&mut self, name: &str, bound: u32) -> bool {
        match name {
            "nodes" => self.wire.nodes = bound.into(),
            "items" => self.wire.items = bound.into(),
            "depth" => self.wire.depth = bound as usize,
            "bytes" => self.wire.bytes = bound.into(),
            "rank" => (self.rank, self.wire.rank) = (bound as usize, self.wire.rank.max(bound)),
            "nesting" => self.nesting = bound as usize,
            "inlined-nodes" => self.inlined_nodes = bound as usize,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_bound_of_its_own() {
        let changed = |name: &&str| {
            let mut limits = Limits::default();
            assert!(limits.set(name, 77), "{name}");
            format!("{limits:?}")
        };
        let all: std::collections::BTreeSet<String> = Limits::NAMES.iter().map(changed).collect();
        assert_eq!(all.len(), Limits::NAMES.len());
        assert!(!Limits::default().set("patience", 1));
    }
}
