//! Assembly becomes images; disassembly gives the same code; errors name their lines.

use narae_isa::image::{BufferInfo, BufferKind, StateBuffer};
use narae_isa::text::{assemble, assemble_program, disassemble_image, inspect_image, split_lines};
use narae_isa::{DimExpr, Element, Image, Memory, Row, Word};
use proptest::prelude::*;

const HELLO: &str = include_str!("../../examples/hello.s");

fn words_of(text: &str) -> Vec<Word> {
    let lines = split_lines(text);
    let program = assemble_program("x.s", &lines, &|row| Ok(row.to_string()), &mut |_, _, _| Ok(())).unwrap();
    program.words
}

#[test]
fn hello_becomes_an_image() {
    let bytes = assemble("hello.s", HELLO).unwrap();
    let image = Image::from_bytes("h.narae", bytes).unwrap();
    assert_eq!(image.verify(), Ok(()));
    assert_eq!(words_of(&disassemble_image(&image)), image.words());
    insta::assert_snapshot!(inspect_image(&image), @r"
    model      hello.s
    producer   narae 0.1.0 (assembler)
    chip       narae-1
    code       15 instructions, 240 bytes
    rows       8
    weights    768 bytes

    entry main at instruction 0
      slot   s0 = n (given, at most 64)
      input  x: f32[s0, 20]
      output y: f32[s0, 8]

    memory map
      dram 0x000000001000..0x0000000010f0          240 code
      dram 0x000000002000..0x000000002400         1024 descriptors
      dram 0x000000003000..0x000000003300          768 weights
      dram 0x000000004000..0x000000005c40         7232 buffers
      sram 0x000000000000..0x000000001c40         7232 sram
    ");
    insta::assert_snapshot!(disassemble_image(&image).lines().rev().take(3).collect::<Vec<_>>().join("\n"), @r"
    halt
    // hello.s:59: halt
    transfer d7, d6 @wait(s1, 1)
    ");
}

/// Names that are no words, a sheet that is not built in, lengths at their places: all survive.
#[test]
fn a_disassembled_image_assembles_again() {
    let image = Image::from_bytes("h.narae", assemble("hello.s", HELLO).unwrap()).unwrap();
    let mut content = image.content().clone();
    content.metadata.model = "a // \"b\" [ü]".to_string();
    content.metadata.chip = content.metadata.chip.replace("\"narae-1\"", "\"mine\"");
    let entry = &mut content.metadata.entries[0];
    entry.inputs[0].name = "x: 0".to_string();
    entry.slots[0].name = "s1".to_string();
    entry.slots.push(entry.slots[0].clone());
    (entry.slots[1].name, entry.slots[1].computed, entry.slots[1].min) = ("n + 1".to_string(), true, 1);
    entry.equations.push((DimExpr::Slot(0), DimExpr::parse("s1 * 2").unwrap()));
    let scratch = content.metadata.regions[3].address;
    content.metadata.state.push(StateBuffer {
        name: "k v".to_string(),
        element: Element::F16,
        dims: vec![4, 8],
        address: scratch,
        bytes: 64,
    });
    content.debug.buffers.push(BufferInfo {
        name: "h".to_string(),
        kind: BufferKind::Scratch,
        memory: Memory::Sram,
        address: 0,
        bytes: 64,
        used: (0, 3),
    });
    let image = Image::without_weights("h.narae", content, Default::default()).unwrap();
    let text = disassemble_image(&image);
    let again =
        Image::from_bytes("again", assemble("again.s", &text).unwrap_or_else(|found| panic!("{found}\n{text}")))
            .unwrap();
    assert_eq!((again.words(), again.rows()), (image.words(), image.rows()));
    let (found, want) = (again.metadata(), image.metadata());
    assert_eq!((&found.model, &found.chip), (&want.model, &want.chip));
    assert_eq!((&found.entries, &found.state, &found.regions), (&want.entries, &want.state, &want.regions));
    assert_eq!(again.debug_info().buffers, image.debug_info().buffers);
    assert!(again.weights_at(again.weights_range().start, 8).unwrap() == [0; 8], "weights are not in the text");
    let mixed = format!("{text}\n.dram extra 64\n");
    assert!(assemble("mixed.s", &mixed).unwrap_err().to_string().contains("`extra` has none"));
}

#[test]
fn programs_print_and_parse_back() {
    let text = "
        .row one tensor sram f32 [4] at 0x0
        .row w weight u4:g64:f16 [32, 64] at 0x1000
        .entry first
        start: ldd d1, w, r1 @signal(s1, 1)
            branchi lt, r1, value=1, end
            jump start
        .entry second
            ldd d0, one, _
        end: halt";
    let lines = split_lines(text);
    let parse = |lines: &[_]| assemble_program("x.s", lines, &|row| Ok(row.to_string()), &mut |_, _, _| Ok(()));
    let program = parse(&lines).unwrap();
    let printed = program.to_text();
    let again = parse(&split_lines(&printed)).unwrap();
    assert_eq!((&again.words, &again.rows, &again.entries), (&program.words, &program.rows, &program.entries));
}

fn error(text: &str) -> String {
    match assemble("x.s", text) {
        Ok(_) => "nothing".to_string(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn all_errors_are_reported_with_their_lines() {
    insta::assert_snapshot!(error(".entry main\n  frob\n  jump nowhere\n  ldd d0, missing, _\n  halt\n"), @r"
    error[E0521]: `frob` is not an instruction
      --> x.s:2
    error[E0521]: `nowhere` is neither an instruction number nor a label
      --> x.s:3
    error[E0521]: `missing` is neither a row number nor the name of a descriptor row
      --> x.s:4
    ");
    insta::assert_snapshot!(error(".entry main\na:\na: halt"), @r"
    error[E0521]: the label `a` is defined twice
      --> x.s:3
    ");
    insta::assert_snapshot!(error("halt"), @r"
    error[E0505]: there is no entry
      --> x.s
    ");
    insta::assert_snapshot!(error(".entry main\n.weight w u4 [1, 4]\n.codes 1 2 3\nhalt"), @r"
    error[E0521]: `w` has 3 codes; expected 4
      --> x.s:2
    ");
    insta::assert_snapshot!(error(".entry main\n.weight w u2:row [1, 4]\n.codes 1 2 3 4\n.scales 1\n.zeros 0\nhalt"), @r"
    error[E0521]: the code 4 is greater than 3
      --> x.s:2
    ");
    insta::assert_snapshot!(error(".entry main\n.row x tensor dram f32 [4] at nowhere\nhalt"), @r"
    error[E0521]: `nowhere` is not the name of any memory
      --> x.s:2
    ");
    insta::assert_snapshot!(error(".entry main\n.dram x 16\n.input x f32 [n] at x\nhalt"), @r"
    error[E0521]: `n` is not a length expression: expected a number, `s0`, `(`, `min(` or `max(` at byte 0
      --> x.s:3
    ");
    insta::assert_snapshot!(error(".chip narae-9\n.entry main\nhalt"), @r"
    error[E0521]: `narae-9` is not a built-in chip
      --> x.s:1
    ");
    insta::assert_snapshot!(error(".frob 1\n.entry main\nhalt"), @r"
    error[E0521]: `.frob` is not a directive
      --> x.s:1
    ");
    insta::assert_snapshot!(error(".entry main\n.dram x 16\n.slot n max 5\n.input x f32 [n] at x\nhalt"), @r"
    error[E0505]: tensor `x` of entry `main` does not fit its 16 bytes at its maximum
      --> x.s
    ");
    insta::assert_snapshot!(error(".entry main\n.sram x 99999999999\nhalt"), @r"
    error[E0505]: region `sram` ends beyond the sram of the chip
      --> x.s
    ");
    // Each word is short and allowed, but not all of them together.
    insta::assert_snapshot!(error(".entry main\n.data d f32\n.values 0*4194304 0\nhalt"), @r"
    error[E0521]: constants and weights written in assembly have at most 4194304 numbers
      --> x.s:3
    ");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn mangled_assembly_is_an_image_or_an_error(
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[-a-z0-9\\[\\], .@(){}*+=:/]{0,12}"), 1..6),
    ) {
        let mut lines: Vec<String> = HELLO.lines().map(str::to_string).collect();
        for (place, text) in edits {
            let line = place.index(lines.len());
            let at = place.index(lines[line].len() + 1);
            let at = (0..=at).rev().find(|&at| lines[line].is_char_boundary(at)).unwrap_or(0);
            lines[line].insert_str(at, &text);
        }
        if let Ok(bytes) = assemble("x.s", &lines.join("\n")) {
            prop_assert!(Image::from_bytes("x.narae", bytes).is_ok(), "what the assembler writes opens");
        }
    }

    #[test]
    fn mangled_rows_are_rows_or_errors(place in any::<prop::sample::Index>(), text in "[-a-z0-9\\[\\], .@()+:]{0,8}") {
        for row in [
            "tensor dram f16 [r1, 4, r2, 64] at 0x8000 + r5 strides [65536, 1024, 64, 1] paged(0x4000, 16, 32)",
            "weight u4:g64:f16 [512, 172] at 0x20000 + r9",
            "resize cubic half-pixel floor cubic -0.75 extrapolation 0.0 antialias",
        ] {
            let mut changed = row.to_string();
            changed.insert_str(place.index(row.len() + 1), &text);
            if let Ok(row) = Row::parse(&changed) {
                prop_assert_eq!(Row::parse(&row.to_string()), Ok(row.clone()));
                prop_assert_eq!(Row::decode(&row.encode()), Ok(row));
            }
        }
    }
}
