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
    /// Bytes of a sparse tensor when it is written out, where that is much more than the file stores.
    pub dense: usize,
    /// Whether external data may be a hard link to a file that may also stand elsewhere.
    pub hard_links: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            wire: WireLimits::default(),
            rank: 8,
            nesting: 32,
            inlined_nodes: 1_000_000,
            dense: 64 << 20,
            hard_links: false,
        }
    }
}

/// Names a bound and replaces it.
type Bound = (&'static str, fn(&mut Limits, u32));

const BOUNDS: &[Bound] = &[
    ("nodes", |limits, bound| limits.wire.nodes = bound.into()),
    ("items", |limits, bound| limits.wire.items = bound.into()),
    ("depth", |limits, bound| limits.wire.depth = bound as usize),
    ("bytes", |limits, bound| limits.wire.bytes = bound.into()),
    ("rank", |limits, bound| (limits.rank, limits.wire.rank) = (bound as usize, limits.wire.rank.max(bound))),
    ("nesting", |limits, bound| limits.nesting = bound as usize),
    ("dense-bytes", |limits, bound| limits.dense = bound as usize),
    ("inlined-nodes", |limits, bound| limits.inlined_nodes = bound as usize),
];

impl Limits {
    /// The names of the bounds that have a number.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BOUNDS.iter().map(|(name, _)| *name)
    }

    /// Replaces the bound of that name; false if there is none.
    #[must_use]
    pub fn set(&mut self, name: &str, bound: u32) -> bool {
        let found = BOUNDS.iter().find(|(own, _)| *own == name);
        found.is_some_and(|(_, replace)| {
            replace(self, bound);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_bound_of_its_own() {
        let changed = |name: &str| {
            let mut limits = Limits::default();
            assert!(limits.set(name, 77), "{name}");
            format!("{limits:?}")
        };
        let all: std::collections::BTreeSet<String> = Limits::names().map(changed).collect();
        assert_eq!(all.len(), BOUNDS.len());
        assert!(!Limits::default().set("patience", 1));
    }
}
