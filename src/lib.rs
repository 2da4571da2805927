//! Narae: the doors of the compiler and the simulator in one place.
#![forbid(unsafe_code)]

pub use narae_compiler as compiler;
pub use narae_isa as isa;
pub use narae_sim as sim;
