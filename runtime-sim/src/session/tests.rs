//! A small image through the public door: lengths, maxima, every kind of wrong input, damaged weights, state.

use super::*;
use crate::report::Report;
use narae_isa::format::WeightFormat;
use narae_isa::image::{DebugInfo, ImageContent, ImageWriter, Metadata, Origin, Region as MapRegion, Slot};
use narae_isa::text::{assemble_program, split_lines};
use narae_isa::{Element, Row};
use std::io::Cursor;

/// y = x · wᵀ for n rows, and a state that counts the calls.
const TEXT: &str = "
.row n tensor dram i64 [1] at 0x3000
.row calls tensor dram i64 [1] at 0x4000
.row in tensor dram f32 [r1, 64] at 0x1000
.row x tensor sram f32 [r1, 64] at 0x0
.row y tensor sram f32 [r1, 32] at 0x2000
.row out tensor dram f32 [r1, 32] at 0x2000
.row w weight f32 [32, 64] at 0x10000
    ldd d0, n, _
    lds r1, d0, _, index=0
    ldd d1, calls, _
    lds r2, d1, _, index=0
    alui add, r2, r2, value=1
    sts d1, _, index=0, r2
    ldd d2, in, _
    ldd d3, x, _
    ldd d4, y, _
    ldd d5, out, _
    ldd d6, w, _
    transfer d3, d2 @signal(s0, 1)
    ldw d6
    linear d4, d3, d6, _ @wait(s0, 1) @signal(s1, 1)
    transfer d5, d4 @wait(s1, 1)
    halt
";

/// The image; weight (n, k) is n when k = 0, else 0.
fn image_bytes() -> Vec<u8> {
    let program = assemble_program("test.s", &split_lines(TEXT), &|row| Ok(row.to_string()), &mut |_, name, _| {
        Err(name.to_string())
    })
    .unwrap();
    let weight_bytes = WeightFormat::from_name("f32").unwrap().packed_bytes(32, 64);
    let region = |name: &str, kind, address, bytes| MapRegion {
        name: name.to_string(),
        kind,
        memory: narae_isa::Memory::Dram,
        address,
        bytes,
    };
    let tensor = |name: &str, width, address| TensorInfo {
        name: name.to_string(),
        element: Element::F32,
        dims: vec![DimExpr::Slot(0), DimExpr::Const(width)],
        memory: narae_isa::Memory::Dram,
        address,
        capacity_bytes: 4096,
    };
    let entry = Entry {
        name: "main".to_string(),
        pc: 0,
        inputs: vec![tensor("x", 64, 0x1000)],
        outputs: vec![tensor("y", 32, 0x2000)],
        slots: vec![Slot { name: "n".to_string(), address: 0x3000, min: 0, max: 8, computed: false }],
        equations: vec![],
    };
    let rows: Vec<Row> = program.rows.into_iter().map(|(_, row)| row).collect();
    let metadata = Metadata {
        producer: "test".to_string(),
        model: "test".to_string(),
        chip: Chip::built_in("narae-edge").unwrap().to_toml(),
        entries: vec![entry],
        state: vec![StateBuffer {
            name: "calls".to_string(),
            element: Element::I64,
            dims: vec![1],
            address: 0x4000,
            bytes: 64,
        }],
        regions: vec![
            region("io", RegionKind::Io, 0x1000, 0x3000),
            region("state", RegionKind::State, 0x4000, 64),
            region("code", RegionKind::Code, 0x5000, 16 * program.words.len() as u64),
            region("rows", RegionKind::Descriptors, 0x8000, 128 * rows.len() as u64),
            region("weights", RegionKind::Weights, 0x10000, weight_bytes),
        ],
        decisions: serde_json::Value::Null,
        wide: serde_json::Value::Null,
    };
    let mut debug = DebugInfo::default();
    debug.push(0, &Origin::default());
    let content = ImageContent { metadata, words: program.words, rows, debug };
    let mut writer = ImageWriter::new(&content, Cursor::new(Vec::new())).unwrap();
    let weights: Vec<u8> =
        (0..64).flat_map(|k| (0..32).flat_map(move |n| (if k == 0 { n as f32 } else { 0.0 }).to_le_bytes())).collect();
    writer.write_weights(&weights).unwrap();
    writer.finish().unwrap().into_inner()
}

fn machine() -> Machine {
    let image = Image::from_bytes("test.narae", image_bytes()).unwrap();
    Machine::new(Arc::new(image), Limits::default()).unwrap()
}

fn input(rows: usize) -> Tensors {
    let values: Vec<f32> = (0..rows * 64).map(|i| if i % 64 == 0 { (i / 64 + 1) as f32 } else { 5.0 }).collect();
    Tensors::from([("x".to_string(), HostTensor::from_f32(&[rows, 64], &values))])
}

#[test]
fn one_image_serves_every_length() {
    let mut machine = machine();
    for rows in [1, 3, 0, 8] {
        let outcome = machine.run("main", &input(rows)).unwrap();
        let y = &outcome.outputs["y"];
        assert_eq!((y.dims.as_slice(), outcome.slots.as_slice()), ([rows, 32].as_slice(), [rows as i64].as_slice()));
        let want: Vec<f32> = (0..rows * 32).map(|i| ((i / 32 + 1) * (i % 32)) as f32).collect();
        assert_eq!(y.to_f32_vec(), want);
    }
    assert_eq!(machine.read_state("calls").unwrap()[0], 4);
    machine.write_state("calls", &[7; 64]).unwrap();
    machine.reset_state().unwrap();
    assert_eq!(machine.read_state("calls").unwrap(), [0; 64]);
    assert!(machine.read_state("other").is_err() && machine.write_state("calls", &[0; 3]).is_err());
}

#[test]
fn wrong_inputs_have_codes_and_leave_the_state_alone() {
    let mut machine = machine();
    let x = |tensor| Tensors::from([("x".to_string(), tensor)]);
    let mut extra = input(1);
    extra.insert("z".to_string(), HostTensor::from_f32(&[1], &[1.0]));
    for (inputs, code) in [
        (Tensors::new(), "E0601"),
        (extra, "E0601"),
        (x(HostTensor::from_f32(&[1, 63], &[0.0; 63])), "E0603"),
        (x(HostTensor::from_f32(&[64], &[0.0; 64])), "E0603"),
        (x(HostTensor::from_i64(&[1, 64], &[0; 64])), "E0602"),
        (input(9), "E0604"),
    ] {
        let problems = machine.run("main", &inputs).unwrap_err();
        assert_eq!(problems.0[0].code.id, code);
    }
    assert_eq!(machine.run("other", &input(1)).unwrap_err().0[0].code.id, "E0509");
    assert_eq!(machine.read_state("calls").unwrap()[0], 0);
}

#[test]
fn a_damaged_weight_is_found_at_its_first_touch() {
    let mut bytes = image_bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let image = Image::from_bytes("test.narae", bytes).unwrap();
    let mut machine = Machine::new(Arc::new(image), Limits::default()).unwrap();
    assert_eq!(machine.run("main", &input(1)).unwrap_err().0[0].code.id, "E0502");
}

#[test]
fn timing_sees_the_same_program_and_leaves_the_values_alone() {
    let mut machine = machine();
    let plain = machine.run("main", &input(3)).unwrap();
    let options = TimingOptions::default();
    let (outcome, timed) = machine.run_timed("main", &input(3), &options).unwrap();
    assert_eq!(plain.outputs, outcome.outputs);
    let report = Report::new(&machine.observation(&timed, Some(3)).unwrap());
    assert!(report.cycles > 100 && report.tokens_per_s > 0.0);
    // Weights 32·64·4, x 3·64·4, the two scalars and seven rows, two blocks of code; y and a scalar are written.
    assert_eq!(report.dram_bytes_read, 8192 + 768 + 8 * 2 + 7 * 128 + 2 * 1024);
    assert_eq!(report.dram_bytes_written, 3 * 32 * 4 + 8);
    let only = machine.run_timing_only("main", &input(3), &options).unwrap().timing;
    assert_eq!(
        (only.end, &only.accounts),
        (timed.timing.end, &timed.timing.accounts),
        "timing does not depend on values"
    );
}

#[test]
fn lengths_alone_give_the_same_times() {
    let mut machine = machine();
    let options = TimingOptions::default();
    let with_tensors = machine.run_timed("main", &input(3), &options).unwrap().1.timing;
    let named = Lengths { named: [("n".to_string(), 3)].into(), ..Lengths::default() };
    let shapes = Lengths { shapes: [("x".to_string(), vec![3, 64])].into(), ..Lengths::default() };
    for lengths in [named, shapes] {
        let only = machine.time("main", &lengths, &options).unwrap().timing;
        assert_eq!((only.end, only.event_hash()), (with_tensors.end, with_tensors.event_hash()));
    }
}

#[test]
fn wrong_lengths_have_codes() {
    let mut machine = machine();
    let named = |name: &str, value| Lengths { named: [(name.to_string(), value)].into(), ..Lengths::default() };
    let shaped = |name: &str, dims: &[usize]| Lengths {
        shapes: [(name.to_string(), dims.to_vec())].into(),
        ..Lengths::default()
    };
    for (lengths, code, word) in [
        (Lengths::default(), "E0601", "`n`"),
        (named("m", 1), "E0601", "`m`"),
        (named("n", 9), "E0604", "up to 8"),
        (named("n", -1), "E0603", "at least 0"),
        (shaped("z", &[1]), "E0601", "`z`"),
        (shaped("x", &[1]), "E0603", "expected 2 dims"),
        (shaped("x", &[1, 63]), "E0603", "expected [1, 64]"),
    ] {
        let problems = machine.time("main", &lengths, &TimingOptions::default()).unwrap_err();
        assert_eq!(problems.0[0].code.id, code);
        assert!(problems.to_string().contains(word), "{problems}");
    }
}

#[test]
fn weights_are_not_read_when_nothing_is_computed() {
    // Damage that any read of the weights would find.
    let mut bytes = image_bytes();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let image = Image::from_bytes("test.narae", bytes).unwrap();
    let mut machine = Machine::new(Arc::new(image), Limits::default()).unwrap();
    let lengths = Lengths { named: [("n".to_string(), 2)].into(), ..Lengths::default() };
    assert!(machine.time("main", &lengths, &TimingOptions::default()).unwrap().timing.dram_bytes_read > 8192);
}

#[test]
fn chips_whose_memory_does_not_exist_are_refused() {
    let chip = || Chip::built_in("narae-edge").unwrap();
    assert_eq!(memory_sheet(&chip()).unwrap().bytes(), chip().dram.capacity_bytes);
    let refused = |change: &dyn Fn(&mut Chip), key: &str| {
        let mut chip = chip();
        change(&mut chip);
        let problem = memory_sheet(&chip).unwrap_err().0.remove(0);
        assert!(problem.code.id == "E0706" && problem.message.contains(key), "{}", problem.message);
    };
    refused(&|chip| chip.dram.device = "ddr3".to_string(), "`dram.device`");
    refused(&|chip| chip.dram.channels = 3, "`dram.channels`");
    refused(&|chip| chip.dram.gigabytes_per_second = 100.0, "`dram.gigabytes_per_second`");
    refused(&|chip| chip.dram.capacity_bytes *= 64, "`dram.capacity_bytes`");
}
