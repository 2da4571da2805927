//! Tests of the whole model: legality of every command, laws, energy by hand, both memories behind the interface.

mod energy;
mod interface;
mod laws;
mod legality;

use super::validation::laws::{scatter, trace};
