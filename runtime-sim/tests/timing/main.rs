//! The bars of chip timing: engine cycles are the written formulas (N1), products stream at the memory's rate (N4), all channels carry the same
//! (balance), equal runs have equal events (N7), joules are those worked out by hand (E1), alike layers are charged alike, requests can be replayed. In: programs as assembly.
//! Out: agreement.

mod determinism;
mod energy;
mod formulas;
mod layers;
mod replay;
mod streams;
