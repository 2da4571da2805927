//! Lengths that inputs carry as data: what the program does with those that it was not compiled for, or that contradict each other.

use narae::compiler::bounds::Rest;
use narae::compiler::compile::{Options, compile};
use narae::compiler::onnx::{Limits, Model};
use narae::compiler::pipeline::Unobserved;
use narae::isa::HostTensor;
use narae::isa::chip::Chip;
use narae::isa::image::Image;
use narae::npz::Arrays;
use narae::sim::Machine;

use super::{archive, support};

/// The outputs of a case of the sample for these inputs, or the code of the error; lengths without a bound are at most `most`.
fn run(name: &str, most: i64, inputs: &[(&str, HostTensor)]) -> Result<Arrays, String> {
    let cases = archive::cases(&support::data("onnx_node_sample.tar.gz"));
    let case = cases.iter().find(|case| case.name == name).expect("the case is in the sample");
    let code = |problems: narae::isa::Diagnostics| problems.0[0].code.id.to_string();
    let model = Model::open(case.model(), &Limits::default()).map_err(code)?;
    let mut options = Options::new(Chip::load("narae-1").map_err(code)?);
    options.maxima.rest = Rest::AtMost(most);
    let (compiled, _) = compile(&model, &options, &mut Unobserved).map_err(code)?;
    let image = Image::from_bytes(name, compiled.to_bytes().map_err(code)?).map_err(code)?;
    let mut machine = Machine::new(image.into(), narae::sim::Limits::default()).map_err(code)?;
    let inputs = inputs.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    Ok(machine.run("main", &inputs).map_err(code)?.outputs)
}

fn zeros(length: i64) -> Result<Arrays, String> {
    run("test_constantofshape_int_zeros", 10, &[("x", HostTensor::from_i64(&[2], &[length, 6]))])
}

#[test]
fn one_program_serves_every_length_up_to_its_maximum() {
    for length in [0, 1, 10] {
        let outputs = zeros(length).expect("the length is within the bound");
        assert_eq!(outputs["y"].dims, [length as usize, 6]);
    }
}

#[test]
fn a_length_beyond_the_maximum_is_an_error() {
    assert_eq!(zeros(11).expect_err("there is no room for it"), "E0604");
    assert_eq!(zeros(-1).expect_err("there is no such length"), "E0604");
}

#[test]
fn a_shape_that_does_not_hold_the_elements_is_an_error() {
    let data = HostTensor::zeros(narae::isa::Element::F32, &[2, 3, 4]);
    let reshape = |shape: [i64; 3]| {
        let shape = HostTensor::from_i64(&[3], &shape);
        run("test_reshape_negative_dim", 24, &[("data", data.clone()), ("shape", shape)])
    };
    assert_eq!(reshape([4, -1, 2]).expect("24 elements")["reshaped"].dims, [4, 3, 2]);
    assert_eq!(reshape([4, 2, 2]).expect_err("16 elements"), "E0603");
}
