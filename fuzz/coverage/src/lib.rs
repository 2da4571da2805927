//! What all coverage-guided targets share. In: bytes from libFuzzer. Out: an abort where a door panics or calls something our own bug.
//!
//! Always holds: half of the new inputs come from libFuzzer's own mutator, half from the door's, which knows what the bytes mean.
#![forbid(unsafe_code)]

use narae_fuzz::random::Random;
use narae_fuzz::{Door, find, own_bug};

pub use libfuzzer_sys;

fn door(name: &str) -> &'static Door {
    find(name).unwrap_or_else(|| panic!("there is no door `{name}`"))
}

/// Opens a door once.
pub fn open(name: &str, bytes: &[u8]) {
    if let Some(bug) = own_bug(&(door(name).run)(bytes)) {
        panic!("{bug}");
    }
}

/// Changes `data[..size]`; the new size.
pub fn mutate(name: &str, data: &mut [u8], size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed.into());
    let most = data.len();
    if random.chance(2) {
        return libfuzzer_sys::fuzzer_mutate(data, size, most);
    }
    let changed = (door(name).mutate)(&mut random, &[data[..size].to_vec()]);
    let length = changed.len().min(most);
    data[..length].copy_from_slice(&changed[..length]);
    length
}

/// A target for the door of this name.
#[macro_export]
macro_rules! target {
    ($door:literal) => {
        use $crate::libfuzzer_sys;

        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::open($door, bytes));

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate($door, &mut data[..max_size], size, seed)
        });
    };
}
