//! Rows round-trip through bytes and text; single wrong bytes are refused.

use super::*;
use crate::element::Element;
use crate::format::WeightFormat;

fn registers() -> [i64; 32] {
    std::array::from_fn(|index| index as i64 * 2)
}

fn check(text: &str) -> Row {
    let row = Row::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(row.to_string(), text);
    let bytes = row.encode();
    assert_eq!(Row::decode(&bytes).as_ref(), Ok(&row), "{text}");
    row
}

#[test]
fn rows_round_trip() {
    check("tensor sram f32 [] at 0x0");
    check("tensor sram f32 [2, r3, 64] at 0x1000 + r5 strides [r4, 64, -1]");
    check("tensor dram f16 [r1, 4, r2, 64] at 0x8000 strides [65536, 1024, 64, 1] paged(0x4000, 16, 32)");
    check("tensor dram f8e4m3 [1, 4, r2, 64] at 0x8000 strides [65536, 1024, 66, 1] paged(0x4000, 16, 32) scaled");
    check("weight u4:g64:f16 [512, 172] at 0x20000 + r9");
    check("weight bf16 [512, 172] at 0x20000");
    check(
        "window kernel [3, 3, 1] stride [r1, 1, 1] dilation [1, 1, 1] pad [1, r31, 0] pad-after [-1, 1, 0] upsample [1, 1, 1]",
    );
    check("resize cubic half-pixel round-prefer-floor cubic -0.75 extrapolation 0.0 exclude-outside antialias");
}

#[test]
fn registers_are_resolved_at_the_load() {
    let row = check("tensor sram f32 [2, r3, 64] at 0x1000 + r5 strides [r4, 64, 1]");
    let Ok(Descriptor::Tensor(view)) = row.resolve(&registers()) else { panic!("a tensor") };
    assert_eq!((view.dims(), view.strides(), view.base), (&[2, 6, 64][..], &[8, 64, 1][..], 0x100a));
    assert_eq!(view.byte_range(), 0x100a..0x100a + 4 * (8 + 5 * 64 + 63 + 1));
    let mut negative = registers();
    negative[3] = -1;
    assert_eq!(row.resolve(&negative), Err(ResolveError::Dim(1)));
    negative[3] = 1 << 32;
    assert_eq!(row.resolve(&negative), Err(ResolveError::Dim(1)));
    negative[3] = 1;
    negative[5] = -0x1001;
    assert_eq!(row.resolve(&negative), Err(ResolveError::Base));
    negative[5] = 0;
    negative[4] = i64::MIN;
    assert_eq!(row.resolve(&negative), Err(ResolveError::Extent));
}

#[test]
fn empty_views_have_no_bytes() {
    let row = check("tensor sram i64 [4294967295, 0, 4294967295] at 0xffffffffffffffff");
    let Ok(Descriptor::Tensor(view)) = row.resolve(&registers()) else { panic!("a tensor") };
    assert!(view.is_empty() && view.byte_range().is_empty());
}

#[test]
fn density_ignores_axes_of_size_one() {
    assert!(View::strided(Memory::Sram, Element::F32, &[3, 1, 2], &[2, 77, 1], 0).is_dense());
    assert!(!View::strided(Memory::Sram, Element::F32, &[3, 2], &[1, 3], 0).is_dense());
}

#[test]
fn stray_bytes_are_refused() {
    for text in [
        "tensor sram f32 [2, 3] at 0x1000",
        "weight u4:g64:f16 [512, 172] at 0x20000",
        "resize cubic half-pixel floor cubic -0.75 extrapolation 0.0",
    ] {
        let good = Row::parse(text).unwrap().encode();
        for offset in 0..ROW_BYTES {
            for bit in 0..8 {
                let mut bytes = good;
                bytes[offset] ^= 1 << bit;
                if let Ok(row) = Row::decode(&bytes) {
                    assert_eq!(row.encode(), bytes, "{text}: byte {offset} bit {bit} is ignored");
                }
            }
        }
    }
}

#[test]
fn bad_text_is_refused() {
    for text in ["", "tensor", "tensor sram f32 [1, at 0", "tensor sram f99 [1] at 0x0", "weight u5 [1, 2] at 0x0"] {
        assert!(Row::parse(text).is_err(), "{text}");
    }
    assert!(Row::parse("tensor sram f32 [1,1,1,1,1,1,1,1,1] at 0").is_err());
    assert!(Row::parse("tensor sram f32 [1, 2] at 0 strides [1]").is_err());
    assert!(Row::parse("tensor sram f32 [1] at 0x0 trailing").is_err());
}

#[test]
fn weights_have_sizes() {
    let format = WeightFormat::from_name("u4:g64:f16").unwrap();
    let row = WeightRow { format, outputs: 33, inputs: 172, base: 64, base_register: None };
    let view = row.resolve(&registers()).unwrap();
    // 2 slices; 3 groups of 32 · (2 + 1) bytes; 6 blocks of 4 planes of 128 bytes.
    assert_eq!(view.packed_bytes(), 2 * (3 * 96 + 6 * 512u64).next_multiple_of(64));
}
