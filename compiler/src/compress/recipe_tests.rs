//! Properties of recipes: a box of a recipe is that box of the whole; a stream is the whole in order; whole recipes mean what
//! the ops of the graph mean; text parses back.

use std::path::Path;

use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};
use proptest::prelude::*;

use super::{Recipe, Sources};
use crate::graph::eval::{elementwise, layout};
use crate::graph::testing::Random;

/// A random recipe over a file, and the tensor that it describes, computed by the plain definitions.
fn random_recipe(seed: u64) -> (Recipe, HostTensor, Sources) {
    let mut random = Random::new(seed);
    let sources = Sources::new();
    let dims = vec![1 + random.below(5), 1 + random.below(6), 1 + random.below(4)];
    let mut tensor = random.tensor(Element::F32, &dims);
    let mut bytes = vec![0xEE; random.below(9)];
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(&tensor.bytes);
    let file = sources.add_bytes(Path::new("weights"), bytes.into());
    let mut recipe = Recipe::file(Element::F32, dims, file, offset);
    for _ in 0..random.below(6) {
        (recipe, tensor) = step(&mut random, &recipe, &tensor);
    }
    (recipe, tensor, sources)
}

fn step(random: &mut Random, recipe: &Recipe, tensor: &HostTensor) -> (Recipe, HostTensor) {
    let rank = tensor.rank();
    let axis = random.below(rank);
    let fits = "the step fits by construction";
    match random.below(8) {
        0 => {
            let mut permutation: Vec<usize> = (0..rank).collect();
            permutation.rotate_left(axis);
            (recipe.transpose(&permutation).expect(fits), layout::transpose(tensor, &permutation))
        }
        1 => {
            let mut dims = tensor.dims.clone();
            let joined = dims.iter().product();
            dims = if random.below(2) == 0 { vec![joined] } else { [vec![1], dims].concat() };
            (recipe.reshape(dims.clone()).expect(fits), tensor.clone().reshape(&dims).expect(fits))
        }
        2 => {
            let dims = [vec![2], tensor.dims.clone()].concat();
            (recipe.broadcast(dims.clone()).expect(fits), layout::broadcast(tensor, &dims).expect(fits))
        }
        3 => {
            let (mut starts, mut steps, mut dims) = (vec![0; rank], vec![1; rank], tensor.dims.clone());
            if random.below(2) == 0 && dims[axis] > 0 {
                (starts[axis], steps[axis]) = (dims[axis] - 1, -1);
            } else {
                (steps[axis], dims[axis]) = (2, dims[axis].div_ceil(2));
            }
            let signed: Vec<i64> = starts.iter().map(|&start| start as i64).collect();
            let sliced = layout::slice(tensor, &signed, &steps, &dims).expect(fits);
            (recipe.slice(&starts, &steps, dims).expect(fits), sliced)
        }
        4 => {
            let joined = Recipe::concat(&[recipe.clone(), recipe.clone()], axis).expect(fits);
            (joined, layout::concat(&[tensor, tensor], axis))
        }
        5 => {
            let element = if tensor.element == Element::F32 { Element::F16 } else { Element::F32 };
            (recipe.convert(element, false), elementwise::convert(tensor, element, false))
        }
        6 => (recipe.unary(UnaryFunction::Neg).expect(fits), elementwise::unary(UnaryFunction::Neg, tensor)),
        _ => {
            let factor = HostTensor::from_f64_as(tensor.element, &[], &[3.0]);
            let scaled = elementwise::binary(BinaryFunction::Mul, tensor, &factor).expect(fits);
            (Recipe::binary(BinaryFunction::Mul, recipe, &Recipe::inline(factor)).expect(fits), scaled)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_whole_is_what_the_steps_mean(seed in any::<u64>()) {
        let (recipe, tensor, sources) = random_recipe(seed);
        prop_assert_eq!(recipe.dims(), &tensor.dims);
        prop_assert_eq!(recipe.evaluate(&sources).expect("reads"), tensor);
    }

    #[test]
    fn a_box_is_a_part_of_the_whole(seed in any::<u64>(), cut in any::<u64>()) {
        let (recipe, tensor, sources) = random_recipe(seed);
        let mut random = Random::new(cut);
        let start: Vec<usize> = tensor.dims.iter().map(|&extent| random.below(extent)).collect();
        let size: Vec<usize> = tensor.dims.iter().zip(&start).map(|(&extent, &at)| random.below(extent - at + 1)).collect();
        let first: Vec<i64> = start.iter().map(|&at| at as i64).collect();
        let part = layout::slice(&tensor, &first, &vec![1; size.len()], &size).expect("inside");
        prop_assert_eq!(recipe.read(&sources, &start, &size).expect("reads"), part);
    }

    #[test]
    fn a_stream_is_the_whole_in_order(seed in any::<u64>(), budget in 1usize..200) {
        let (recipe, tensor, sources) = random_recipe(seed);
        let mut bytes = Vec::new();
        let pieces = recipe.stream(&sources, budget, |piece| {
            bytes.extend_from_slice(&piece.bytes);
            Ok(())
        });
        prop_assert!(pieces.is_ok());
        prop_assert_eq!(bytes, tensor.bytes);
    }
}

#[test]
fn packed_codes_and_blocks_of_scales() {
    let sources = Sources::new();
    let file = sources.add_bytes(Path::new("codes"), vec![0x21, 0x43, 0x65, 0x87].into());
    let packed = Recipe::file(Element::U8, vec![4], file, 0);
    let codes = Recipe::unpack(&packed, Element::U4, vec![2, 4]).expect("eight codes");
    assert_eq!(codes.evaluate(&sources).expect("reads").to_i64_vec(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(codes.read(&sources, &[1, 1], &[1, 3]).expect("reads").to_i64_vec(), [6, 7, 8]);
    let scale = Recipe::inline(HostTensor::from_f32(&[2, 2], &[1.0, 10.0, 100.0, 1000.0]));
    let zero = Recipe::inline(HostTensor::from_i64_as(Element::U4, &[1, 1], &[1]));
    let weights = Recipe::dequantize(&codes, &scale, Some(&zero), 1, 2).expect("fits");
    let whole = [0.0, 1.0, 20.0, 30.0, 400.0, 500.0, 6000.0, 7000.0];
    assert_eq!(weights.evaluate(&sources).expect("reads").to_f32_vec(), whole);
    assert_eq!(weights.read(&sources, &[0, 1], &[2, 2]).expect("reads").to_f32_vec(), [1.0, 20.0, 500.0, 6000.0]);
}

#[test]
fn a_file_that_ends_too_early_is_refused() {
    let sources = Sources::new();
    let file = sources.add_bytes(Path::new("short"), vec![0; 10].into());
    let recipe = Recipe::file(Element::F32, vec![4], file, 0);
    let error = recipe.evaluate(&sources).expect_err("16 bytes are not there");
    assert_eq!(error.code.id, "E0106");
}

#[test]
fn a_large_transpose_streams_in_bounded_pieces() {
    let sources = Sources::new();
    let values: Vec<f32> = (0..300 * 200).map(|value| value as f32).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let file = sources.add_bytes(Path::new("matrix"), bytes.into());
    let turned = Recipe::file(Element::F32, vec![300, 200], file, 0).transpose(&[1, 0]).expect("permutes");
    let (mut largest, mut row) = (0, 0);
    turned
        .stream(&sources, 8 << 10, |piece| {
            largest = largest.max(piece.bytes.len());
            for (at, line) in piece.to_f32_vec().chunks(300).enumerate() {
                assert_eq!(line[7], (7 * 200 + row + at) as f32);
            }
            row += piece.dims[0];
            Ok(())
        })
        .expect("reads");
    assert!(row == 200 && largest <= 8 << 10);
}
