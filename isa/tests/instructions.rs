//! Properties of the instruction table over arbitrary bits: one meaning or an error, and every form round-trips.

use narae_isa::instructions::Inst;
use narae_isa::table::{HEADER_BITS, Word};
use proptest::prelude::*;

/// An arbitrary instruction: a row, then random bits where the row has fields.
fn word() -> impl Strategy<Value = Word> {
    (0..Inst::ROWS.len(), any::<u128>(), any::<u16>(), any::<u16>()).prop_filter_map(
        "bits that mean nothing",
        |(row, bits, wait, signal)| {
            let row = &Inst::ROWS[row];
            let width: u32 = row.fields.iter().map(|field| field.bits).sum();
            let mask = (1u128 << width) - 1;
            let pair = |bits: u16| if bits & 0x8000 == 0 { 0 } else { u128::from(bits & 0xff) };
            let header = u128::from(row.opcode) | pair(wait) << 8 | pair(signal) << 16;
            Word::decode(header | (bits & mask) << HEADER_BITS).ok()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn encode_and_text_round_trip(word in word()) {
        prop_assert_eq!(Word::decode(word.encode()), Ok(word));
        prop_assert_eq!(Word::from_bytes(word.to_bytes()), Ok(word));
        let text = word.to_string();
        prop_assert_eq!(Word::parse(&text), Ok(word), "{}", text);
    }

    #[test]
    fn any_bits_are_one_instruction_or_an_error(bits in any::<u128>(), opcode in 0u8..0x60) {
        for bits in [bits, (bits & !0xff) | u128::from(opcode)] {
            if let Ok(word) = Word::decode(bits) {
                prop_assert_eq!(word.encode(), bits);
            }
        }
    }

    #[test]
    fn each_bit_matters(word in word(), bit in 0u32..128) {
        let flipped = word.encode() ^ 1 << bit;
        prop_assert_ne!(Word::decode(flipped), Ok(word));
    }

    #[test]
    fn any_text_is_an_instruction_or_an_error(text in ".{0,60}") {
        if let Ok(word) = Word::parse(&text) {
            prop_assert_eq!(Word::parse(&word.to_string()), Ok(word));
        }
    }

    #[test]
    fn renaming_reaches_every_register(word in word()) {
        let before = word.inst.operands();
        let mut inst = word.inst;
        inst.map_descriptors(|register| narae_isa::DescriptorRegister::new((register.number() + 1) % 63).unwrap());
        let after = inst.operands();
        for (old, new) in before.iter().zip(&after) {
            prop_assert_eq!((old.register.number() + 1) % 63, new.register.number());
            prop_assert_eq!((old.name, old.access, old.place), (new.name, new.access, new.place));
        }
    }
}

#[test]
fn every_row_is_reachable() {
    for row in Inst::ROWS {
        let zero = Word::decode(u128::from(row.opcode));
        assert_eq!(zero.map(|word| word.inst.mnemonic()), Ok(row.mnemonic));
        assert!(!row.doc.trim().is_empty(), "{} has no meaning", row.mnemonic);
    }
}

#[test]
fn opcodes_and_mnemonics_are_unique_and_zero_is_no_instruction() {
    for (index, row) in Inst::ROWS.iter().enumerate() {
        assert!(row.opcode != 0, "zeroed memory must not be an instruction");
        for other in &Inst::ROWS[..index] {
            assert!(other.opcode < row.opcode && other.mnemonic != row.mnemonic, "{}", row.mnemonic);
        }
    }
}

#[test]
fn every_register_operand_says_what_happens_to_it() {
    for row in Inst::ROWS {
        for field in row.fields {
            let is_register = field.kind.starts_with("descriptor") || field.kind.starts_with("register");
            assert_eq!(is_register, !field.access.is_empty(), "{}.{}", row.mnemonic, field.name);
        }
    }
}

#[test]
fn accumulating_reads_what_it_adds_to() {
    use narae_isa::Access;
    let access = |text: &str| Word::parse(text).unwrap().inst.operands()[0].access;
    assert_eq!(access("linear d0, d1, d2, _"), Access::Write);
    assert_eq!(access("linear d0, d1, d2, _, accumulate"), Access::ReadWrite);
}

#[test]
fn errors_say_what_is_wrong() {
    let error = |text: &str| Word::parse(text).unwrap_err();
    insta::assert_snapshot!(error("frob d0"), @"`frob` is not an instruction");
    insta::assert_snapshot!(error("unary exp, d0"), @"operand `a` is missing");
    insta::assert_snapshot!(error("unary foo, d0, d1"), @"`foo` is not a valid `function` (unary function)");
    insta::assert_snapshot!(error("unary exp, d63, d1"), @"expected a descriptor register (`d0` … `d62`), found `d63`");
    insta::assert_snapshot!(error("unary exp, d0, d1, d2"), @"`d2` is one operand too many");
    insta::assert_snapshot!(error("li r0, 3"), @"expected `value=…`, found `3`");
    insta::assert_snapshot!(error("halt @wait(s0, 9)"), @"a semaphore's count is 1 to 7, not 9");
    insta::assert_snapshot!(error("jump nowhere"), @"`nowhere` is neither an instruction number nor a label");
    let decode = |bits: u128| Word::decode(bits).unwrap_err().to_string();
    insta::assert_snapshot!(decode(0), @"opcode 0x00 does not exist");
    insta::assert_snapshot!(decode(0x01 | 1 << 8), @"a semaphore is named, but its count is 0");
    insta::assert_snapshot!(decode(0x01 | 1 << 24), @"unused bits of `halt` are not zero");
    insta::assert_snapshot!(decode(0x40 | 0xff << 24), @"operand `function` of `unary` has the undefined value 0xff");
}
