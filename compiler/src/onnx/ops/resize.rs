//! Resizing of images.
use crate::onnx::call::Row;
pub(super) const ROWS: &[Row] = &[];
