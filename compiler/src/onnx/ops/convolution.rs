//! Convolutions and pools.
use crate::onnx::call::Row;
pub(super) const ROWS: &[Row] = &[];
