//! Passes over the tile and instruction forms: placement, hazards, semaphores.

pub mod arena;
pub mod hazards;
pub mod memory_map;
pub mod place;
pub mod synchronize;
