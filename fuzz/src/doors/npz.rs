//! Archives and arrays of numpy.

use narae::npz;

use crate::{Outcome, scratch};

/// Reads all arrays, only lengths, one side of a call, and the same bytes as a single array; what was read survives writing.
pub fn run(bytes: &[u8]) -> Outcome {
    let path = scratch::file("fuzz.npz", bytes);
    let array = npz::read_array(&path).map(|_| ());
    let lengths = npz::read_lengths(&path, None).map(|_| ());
    let call = npz::read_call(&path, Some("set0/call0"), "in").map(|_| ());
    let arrays = npz::read(&path);
    if let Ok(arrays) = &arrays {
        let again = npz::to_bytes(arrays).and_then(|bytes| npz::from_bytes(&bytes, ""));
        assert!(again.is_ok_and(|again| again == *arrays), "arrays that were read do not survive writing");
        assert!(lengths.is_ok(), "arrays that can be read have lengths that cannot");
    }
    arrays.map(|_| ()).and(lengths).and(call).or(array)
}
