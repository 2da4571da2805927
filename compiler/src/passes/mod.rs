//! Passes: canonicalisation and rolling over graphs; placement, hazards, semaphores over the tile and instruction forms.

pub mod arena;
pub mod canonicalize;
pub mod expose;
pub mod hazards;
pub mod memory_map;
pub mod place;
pub mod roll;
pub mod state;
pub mod synchronize;
