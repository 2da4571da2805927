//! The LPDDR model, usable alone.
