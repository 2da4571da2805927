//! Lowering, one folder per edge of the road: graph to tile, tile to instructions.

pub mod graph_to_tile;
pub mod tile_to_isa;
