//! Positions that an attention mask leaves out: what models compute there is arbitrary, so it is not compared with other runtimes.
//!
//! In: the inputs of a call. Out: for an element of a tensor, whether it belongs to a real token.

use crate::npz::Arrays;

/// Which positions of an output are real: `[batch][token]` over the tokens of this call, and over all tokens so far.
pub struct Padding {
    new: Vec<Vec<bool>>,
    total: Vec<Vec<bool>>,
}

impl Padding {
    /// From the inputs of a call; `None` if it has no mask: `attention_mask` covers past and new tokens; `input_ids` says how many are new.
    pub fn of_call(inputs: &Arrays) -> Option<Padding> {
        let mask = inputs.get("attention_mask").filter(|mask| mask.rank() == 2)?;
        let total: Vec<Vec<bool>> = mask.to_bool_vec().chunks(mask.dims[1].max(1)).map(<[bool]>::to_vec).collect();
        let ids = inputs.get("input_ids").and_then(|ids| ids.dims.get(1).copied());
        let new = ids.unwrap_or(mask.dims[1]).min(mask.dims[1]);
        let new = total.iter().map(|row| row[row.len() - new..].to_vec()).collect();
        Some(Padding { new, total })
    }

    /// Whether the element of tensor `name` at `index` belongs to a real position.
    pub fn is_real(&self, name: &str, index: &[usize], dims: &[usize]) -> bool {
        match (name.starts_with("present"), dims.len()) {
            (true, 4) => at(&self.total, index[0], index[2]),
            // Keys and values in one tensor: [2, batch, head, token, …].
            (true, 5) => at(&self.total, index[1], index[3]),
            (false, 3) if dims[1] == length(&self.new) => at(&self.new, index[0], index[1]),
            _ => true,
        }
    }

    /// The same for any tensor on the way, by its dims: `[batch, token, …]`, `[batch, head, token, …]`, `[batch · token, …]`.
    pub fn counts(&self, index: &[usize], dims: &[usize]) -> bool {
        let (batch, new, total) = (self.new.len(), length(&self.new), length(&self.total));
        match *dims {
            [2, rows, _, tokens, _] if (rows, tokens) == (batch, total) => at(&self.total, index[1], index[3]),
            [rows, _] if rows == batch * new && new > 0 => at(&self.new, index[0] / new, index[0] % new),
            [rows, tokens, _] if (rows, tokens) == (batch, new) => at(&self.new, index[0], index[1]),
            [rows, _, tokens, _] if (rows, tokens) == (batch, new) => at(&self.new, index[0], index[2]),
            [rows, _, tokens, _] if (rows, tokens) == (batch, total) => at(&self.total, index[0], index[2]),
            [rows, tokens, _, _] if (rows, tokens) == (batch, new) => at(&self.new, index[0], index[1]),
            _ => true,
        }
    }
}

/// Whether a token of a row is real; beyond the mask everything is.
fn at(rows: &[Vec<bool>], row: usize, token: usize) -> bool {
    rows.get(row).and_then(|row| row.get(token)).copied().unwrap_or(true)
}

fn length(rows: &[Vec<bool>]) -> usize {
    rows.first().map_or(0, Vec::len)
}
