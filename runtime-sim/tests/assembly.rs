//! Hand-written programs run: `examples/hello.s` computes what its weight says, and the ten worked encodings of
//! `isa/WORKED.md` execute without hazard, deadlock or forbidden operand.

use std::sync::Arc;

use narae_isa::format::product;
use narae_isa::{Descriptor, HostTensor, Image, Row, WeightRow, assemble};
use narae_sim::{Limits, Machine, Tensors};

fn machine(name: &str, text: &str) -> Machine {
    let bytes = assemble(name, text).unwrap_or_else(|problems| panic!("{problems}"));
    let image = Image::from_bytes(name, bytes).unwrap_or_else(|problems| panic!("{problems}"));
    Machine::new(Arc::new(image), Limits::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn input(n: usize) -> Vec<f32> {
    (0..n * 20).map(|i| ((i * 37 % 101) as f32 - 50.0) / 32.0).collect()
}

fn run(machine: &mut Machine, n: usize) -> Vec<f32> {
    let inputs = Tensors::from([("x".to_string(), HostTensor::from_f32(&[n, 20], &input(n)))]);
    let outcome = machine.run("main", &inputs).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(outcome.outputs["y"].dims, [n, 8]);
    outcome.outputs["y"].to_f32_vec()
}

#[test]
fn hello_computes_the_product_with_its_weight() {
    let mut machine = machine("hello.s", include_str!("../../examples/hello.s"));
    let is_weight = |row: &Row| match row {
        Row::Weight(row) => Some(row.clone()),
        Row::Tensor(_) | Row::Window(_) | Row::Resize(_) => None,
    };
    let row: WeightRow = machine.image().rows().iter().find_map(is_weight).unwrap();
    let Ok(Descriptor::Weight(view)) = Row::Weight(row.clone()).resolve(&[0; 32]) else { panic!("a weight") };
    let packed = machine.image().weights_at(view.base, view.packed_bytes() as usize).unwrap().to_vec();
    let (n, x) = (5, input(5));
    let got = run(&mut machine, n);
    for (x, got) in x.chunks(20).zip(got.chunks(8)) {
        let want = product(row.format, 8, 20, &packed, x).unwrap();
        let want: Vec<f32> = want.iter().enumerate().map(|(bias, value)| value + bias as f32).collect();
        assert_eq!(got, want);
    }
}

#[test]
fn one_image_serves_every_length() {
    let mut machine = machine("hello.s", include_str!("../../examples/hello.s"));
    let many = run(&mut machine, 64);
    assert_eq!(run(&mut machine, 1)[..], many[..8], "a row does not depend on the number of rows");
    let too_many = Tensors::from([("x".to_string(), HostTensor::from_f32(&[65, 20], &input(65)))]);
    assert!(machine.run("main", &too_many).unwrap_err().to_string().contains("E0604"));
}

#[test]
fn the_worked_encodings_run() {
    let document = include_str!("../../isa/WORKED.md");
    let programs: Vec<&str> = document.split("```asm\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(programs.len(), 10);
    for (index, program) in programs.iter().enumerate() {
        let mut machine = machine("WORKED.md", program);
        if let Err(problems) = machine.run("main", &Tensors::new()) {
            panic!("program {}:\n{problems}", index + 1);
        }
    }
}
