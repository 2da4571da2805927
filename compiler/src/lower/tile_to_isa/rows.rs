//! The descriptor section of an image: rows of 128 bytes, equal runs stored once.

use std::collections::BTreeMap;

use narae_isa::descriptor::ROW_BYTES;

/// The rows so far. See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: Vec<[u8; ROW_BYTES]>,
    found: BTreeMap<Vec<[u8; ROW_BYTES]>, u32>,
}

impl Rows {
    /// The index of the first of these consecutive rows.
    pub fn insert(&mut self, run: Vec<[u8; ROW_BYTES]>) -> u32 {
        if let Some(&index) = self.found.get(&run) {
            return index;
        }
        let index = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.extend(&run);
        self.found.insert(run, index);
        index
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets all rows from this index on.
    pub fn truncate(&mut self, count: usize) {
        self.rows.truncate(count);
        self.found.retain(|run, &mut first| first as usize + run.len() <= count);
    }

    /// All rows.
    pub fn rows(&self) -> &[[u8; ROW_BYTES]] {
        &self.rows
    }
}
