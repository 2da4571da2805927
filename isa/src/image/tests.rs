//! Images survive writing and opening; every damaged or inconsistent one is refused.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::descriptor::{Memory, Row};
use crate::diagnostic::Diagnostics;
use crate::table::Word;
use crate::{Chip, DimExpr, Element};

fn region(name: &str, kind: RegionKind, address: u64, bytes: u64) -> Region {
    Region { name: name.to_string(), kind, memory: Memory::Dram, address, bytes }
}

pub(super) fn content(weights: u64) -> ImageContent {
    let words: Vec<Word> =
        ["ldd d0, 0, _", "ldd d1, 1, _", "jump 3", "halt"].iter().map(|text| Word::parse(text).unwrap()).collect();
    let rows = vec![
        Row::parse("weight u4:g64:f16 [32, 64] at 0x10000").unwrap(),
        Row::parse("tensor sram f32 [r1, 64] at 0x0").unwrap(),
    ];
    let tensor = |name: &str, address| TensorInfo {
        name: name.to_string(),
        element: Element::F32,
        dims: vec![DimExpr::Slot(0), DimExpr::Const(64)],
        memory: Memory::Dram,
        address,
        capacity_bytes: 4096,
    };
    let entry = Entry {
        name: "main".to_string(),
        pc: 0,
        inputs: vec![tensor("x", 0x1000)],
        outputs: vec![tensor("y", 0x2000)],
        slots: vec![Slot { name: "n".to_string(), address: 0x3000, min: 0, max: 16, computed: false }],
        equations: vec![],
    };
    let metadata = Metadata {
        producer: "test".to_string(),
        model: "test".to_string(),
        chip: Chip::built_in("narae-edge").unwrap().to_toml(),
        entries: vec![entry],
        state: vec![],
        regions: vec![
            region("code", RegionKind::Code, 0, 64),
            region("rows", RegionKind::Descriptors, 0x100, 256),
            region("io", RegionKind::Io, 0x1000, 0x3000),
            region("weights", RegionKind::Weights, 0x10000, weights),
        ],
        decisions: serde_json::json!({"w": "u4"}),
        wide: serde_json::Value::Null,
    };
    let mut debug = DebugInfo::default();
    debug.push(0, &Origin::default());
    ImageContent { metadata, words, rows, debug }
}

pub(super) fn write(content: &ImageContent) -> Result<Vec<u8>, Diagnostics> {
    let mut writer = ImageWriter::new(content, Cursor::new(Vec::new()))?;
    let weights = content.metadata.region(RegionKind::Weights).unwrap().bytes;
    for start in (0..weights).step_by(1000) {
        let bytes: Vec<u8> = (start..weights.min(start + 1000)).map(|i| (i * 7 % 251) as u8).collect();
        writer.write_weights(&bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[test]
fn what_is_written_is_read() {
    let content = content(3 * CHUNK_BYTES + 5);
    let bytes = write(&content).unwrap();
    assert_eq!(bytes, write(&content).unwrap(), "writing is reproducible");
    let image = Image::from_bytes("m.narae", bytes).unwrap();
    assert_eq!(image.content(), &content);
    assert_eq!(image.verify(), Ok(()));
    assert_eq!(
        image.weights_at(0x10000 + 500, 3).unwrap(),
        &[(500 * 7 % 251) as u8, (501 * 7 % 251) as u8, (502 * 7 % 251) as u8]
    );
    let far = 0x10000 + 2 * CHUNK_BYTES - 1;
    assert_eq!(image.weights_at(far, 2).unwrap().len(), 2);
    assert!(image.entry("other").unwrap_err().to_string().contains("its entries are: main"));
    assert!(image.check_chip(&Chip::built_in("narae-edge").unwrap()).is_ok());
    assert!(image.check_chip(&Chip::built_in("narae-1").unwrap()).unwrap_err().to_string().contains("E0504"));
}

#[test]
fn files_appear_complete_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.narae");
    let failing = write_file_atomically(&path, |_| Err(crate::Diagnostic::new(&crate::codes::E0510, "stopped").into()));
    assert!(failing.is_err() && std::fs::read_dir(folder.path()).unwrap().next().is_none());
    write_file_atomically(&path, |file| {
        let mut writer = ImageWriter::new(&content(6000), file)?;
        writer.pad_to(6000)?;
        writer.finish()?;
        Ok(())
    })
    .unwrap();
    let image = Image::open(&path).unwrap();
    assert_eq!(image.weights_at(0x10000, 6000).unwrap(), &[0u8; 6000]);
    assert_eq!(image.verify(), Ok(()));
    #[cfg(unix)]
    {
        let null = std::path::Path::new("/dev/null");
        write_file_atomically(null, |_| Ok(())).unwrap();
        assert!(!std::fs::metadata(null).unwrap().is_file(), "a device is written into, not replaced");
        assert!(Image::open(null).unwrap_err().to_string().contains("not a regular file"));
    }
    assert!(write_file_atomically(folder.path(), |_| Ok(())).is_err(), "a folder is not replaced");
    assert!(Image::open(&folder.path().join("none")).unwrap_err().to_string().contains("E0508"));
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let good = write(&content(2000)).unwrap();
    for offset in 0..good.len() {
        // Every bit of the headers, one bit of every later byte.
        let bits = if offset < 200 { 0..8 } else { offset % 8..offset % 8 + 1 };
        for bit in bits {
            let mut bytes = good.clone();
            bytes[offset] ^= 1 << bit;
            let refused = match Image::from_bytes("m.narae", bytes) {
                Err(_) => true,
                Ok(image) => image.verify().is_err() && image.weights_at(0x10000, 2000).is_err(),
            };
            assert!(refused, "byte {offset} bit {bit}");
        }
    }
}

#[test]
fn truncated_and_foreign_files_are_refused() {
    let good = write(&content(2000)).unwrap();
    for length in (0..good.len()).step_by(13) {
        assert!(Image::from_bytes("m.narae", good[..length].to_vec()).is_err(), "length {length}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(Image::from_bytes("m.narae", longer).is_err());
    let error = |bytes: &[u8]| Image::from_bytes("m.narae", bytes.to_vec()).unwrap_err().to_string();
    let hash = good.windows(8).position(|window| window == MAGIC).unwrap();
    let changed = |offset: usize| {
        let mut bytes = good.clone();
        bytes[offset] ^= 2;
        error(&bytes)
    };
    insta::assert_snapshot!(changed(hash + 8), @r"
    error[E0503]: the image has format version 3, this Narae reads 1
      --> m.narae
    ");
    insta::assert_snapshot!(changed(hash + 500), @r"
    error[E0502]: code, descriptors or metadata differ from their hash
      --> m.narae
      = help: copy the file again, or compile the model again
    ");
    insta::assert_snapshot!(error(&good[..good.len() - 1]), @r"
    error[E0502]: section `.narae.weights` ends beyond the file; the file is truncated
      --> m.narae
      = help: copy the file again, or compile the model again
    ");
    insta::assert_snapshot!(error(&good[..4096]), @r"
    error[E0501]: not an ELF64 file: Invalid ELF section header offset/size/alignment
      --> m.narae
    ");
    insta::assert_snapshot!(error(b""), @r"
    error[E0501]: not an ELF64 file: Invalid ELF header size or alignment
      --> m.narae
    ");
    insta::assert_snapshot!(error(b"\x08\x07ONNX, say, is not an image at all, and never will be one."), @r"
    error[E0501]: not an ELF64 file: Invalid ELF header size or alignment
      --> m.narae
    ");
}

/// What is wrong with a changed content.
fn problem(change: impl Fn(&mut ImageContent)) -> String {
    let mut content = content(0x900);
    change(&mut content);
    match write(&content) {
        Ok(_) => "nothing".to_string(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn contents_out_of_bounds_are_refused() {
    assert_eq!(problem(|_| {}), "nothing");
    insta::assert_snapshot!(problem(|c| c.words[2] = Word::parse("jump 4").unwrap()), @r"
    error[E0506]: `jump 4` branches beyond the code
      --> entry `.text`, instruction 2
    ");
    insta::assert_snapshot!(problem(|c| c.words[0] = Word::parse("ldd d0, 2, _").unwrap()), @r"
    error[E0506]: `ldd d0, 2, _` loads a row that does not exist
      --> entry `.text`, instruction 0
    ");
    insta::assert_snapshot!(problem(|c| c.words[3] = Word::parse("fence").unwrap()), @r"
    error[E0506]: the last instruction is neither `halt` nor `jump`, so the program could run off its end
      --> entry `.text`, instruction 3
    ");
    insta::assert_snapshot!(problem(|c| c.rows[0] = Row::parse("weight u4:g64:f16 [65, 64] at 0x10000").unwrap()), @"error[E0507]: descriptor row 0 (weight u4:g64:f16 [65, 64] at 0x10000): bytes 0x10000..0x10d80 lie outside of the memory map");
    insta::assert_snapshot!(problem(|c| c.rows[1] = Row::parse("tensor sram f32 [999999999] at 0x0").unwrap()), @"error[E0507]: descriptor row 1 (tensor sram f32 [999999999] at 0x0): bytes 0x0..0xee6b27fc lie outside of the memory map");
    insta::assert_snapshot!(problem(|c| c.metadata.entries[0].pc = 4), @"error[E0505]: entry `main` starts at instruction 4, beyond the code");
    insta::assert_snapshot!(problem(|c| c.metadata.entries[0].slots[0].max = 17), @r"
    error[E0505]: tensor `x` of entry `main` does not fit its 4096 bytes at its maximum
    error[E0505]: tensor `y` of entry `main` does not fit its 4096 bytes at its maximum
    ");
    insta::assert_snapshot!(problem(|c| c.metadata.entries[0].inputs[0].dims[0] = DimExpr::Slot(1)), @"error[E0505]: tensor `x` of entry `main` uses a slot that does not exist");
    insta::assert_snapshot!(problem(|c| c.metadata.regions[2].bytes = 0x20000), @"error[E0505]: regions `io` and `weights` overlap");
    insta::assert_snapshot!(problem(|c| c.metadata.regions[3].address = u64::MAX), @r"
    error[E0505]: region `weights` ends beyond the dram of the chip
    error[E0507]: descriptor row 0 (weight u4:g64:f16 [32, 64] at 0x10000): bytes 0x10000..0x10480 lie outside of the memory map
    ");
    insta::assert_snapshot!(problem(|c| c.debug.runs[0].1 = 7), @"error[E0505]: the debug info is not in order");
    let no_chip = problem(|c| c.metadata.chip = "[chip]".to_string());
    assert!(no_chip.starts_with("error[E0704]: key `chip.name` is missing"), "{no_chip}");
}

/// Makes the root hash right again, as someone would who builds a hostile image.
fn forge(bytes: &mut [u8]) {
    let Some(hash) = bytes.windows(8).position(|window| window == MAGIC) else { return };
    let root = hash + ROOT_OFFSET..hash + ROOT_OFFSET + HASH_BYTES;
    if root.end > bytes.len() {
        return;
    }
    bytes[root.clone()].fill(0);
    let weights = 2000.min(bytes.len());
    let head = bytes.len() - weights;
    let forged = blake3::hash(&bytes[..head]);
    bytes[root].copy_from_slice(forged.as_bytes());
}

/// Opens and uses whatever opens; only panics can fail.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(image) = Image::from_bytes("m.narae", bytes) else { return false };
    image.verify().ok();
    let text = crate::text::disassemble_image(&image) + &crate::text::inspect_image(&image);
    for row in image.rows() {
        row.resolve(&[-1; 32]).ok();
        row.resolve(&[1 << 31; 32]).ok();
    }
    !text.is_empty()
}

#[test]
fn a_forged_image_passes_the_hash() {
    let mut bytes = write(&content(2000)).unwrap();
    forge(&mut bytes);
    assert!(exercise(bytes), "the forgery itself is right, so that the tests below reach what lies behind the hash");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn hostile_images_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = write(&content(2000)).unwrap();
        for (place, value) in changes {
            // Where things are: headers, sections, section headers; the padding before the weights is left out.
            let length = bytes.len() - 2000;
            bytes[place.index(length)] = value;
        }
        if let Some(cut) = cut {
            let length = cut.index(bytes.len());
            bytes.truncate(length);
        }
        forge(&mut bytes);
        exercise(bytes);
    }

    #[test]
    fn hostile_metadata_never_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), "[0-9]{1,20}"), 1..4)) {
        // Replaces whole numbers of the metadata, wherever they are.
        let json = serde_json::to_string(&content(2000).metadata).unwrap();
        let mut pieces: Vec<String> = Vec::new();
        for character in json.chars() {
            match pieces.last_mut() {
                Some(last) if character.is_ascii_digit() && last.ends_with(|c: char| c.is_ascii_digit()) => last.push(character),
                _ => pieces.push(character.to_string()),
            }
        }
        let numbers: Vec<usize> = (0..pieces.len()).filter(|&at| pieces[at].starts_with(|c: char| c.is_ascii_digit())).collect();
        for (place, number) in edits {
            pieces[numbers[place.index(numbers.len())]] = number;
        }
        if let Ok(metadata) = serde_json::from_str(&pieces.concat()) {
            let changed = ImageContent { metadata, ..content(2000) };
            check::content(&changed);
        }
    }
}

/// `[a, 64]` with `a` up to 64 in a place for 16 rows: refused, unless the model needs lengths that keep within it.
#[test]
fn lengths_that_bind_each_other_are_not_all_greatest_at_once() {
    let wide = |c: &mut ImageContent| {
        let entry = &mut c.metadata.entries[0];
        entry.slots.push(Slot { name: "b".to_string(), address: 0x3008, min: 0, max: 64, computed: false });
        entry.slots[0].max = 64;
    };
    assert!(problem(wide).contains("tensor `x` of entry `main` does not fit its 4096 bytes at its maximum"));
    let bound = |c: &mut ImageContent| {
        wide(c);
        let product = DimExpr::parse("s0*s1").expect("a product");
        c.metadata.entries[0].equations.push((product, DimExpr::Const(16)));
    };
    assert_eq!(problem(bound), "nothing");
    // An equation that holds at the maxima takes nothing away from the check.
    let same = |c: &mut ImageContent| {
        wide(c);
        c.metadata.entries[0].equations.push((DimExpr::Slot(0), DimExpr::Slot(1)));
    };
    assert!(problem(same).contains("does not fit its 4096 bytes"), "{}", problem(same));
}
