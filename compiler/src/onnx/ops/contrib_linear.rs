//! onnxruntime's products with weights of few bits, and gathers from such tables.

use narae_isa::{Element, HostTensor};

use super::source::constant_recipe;
use crate::compress::Recipe;
use crate::graph::Op;
use crate::ir::{Dim, Value};
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, Row, microsoft};

pub(super) const ROWS: &[Row] = &[
    microsoft("MatMulNBits", "float", matmul_n_bits),
    microsoft("GatherBlockQuantized", "u8, i4, u4", gather_block_quantized),
];

/// The type of codes of so many bits.
fn code_type(bits: i64) -> Built<Element> {
    match bits {
        2 => Ok(Element::U2),
        4 => Ok(Element::U4),
        8 => Ok(Element::U8),
        other => Err(unsupported(format!("codes of {other} bits"))),
    }
}

/// `[rows, columns]` of codes out of packed bytes whose rows start at whole bytes.
fn unpacked(bytes: &Recipe, element: Element, rows: usize, columns: usize) -> Built<Recipe> {
    if bytes.element() != Element::U8 {
        return Err(mismatch(format!("packed codes of type {}", bytes.element())));
    }
    let per_byte = 8 / element.bits() as usize;
    let padded = columns.div_ceil(per_byte).checked_mul(per_byte);
    let size = padded.and_then(|padded| padded.checked_mul(rows)).map(|count| count / per_byte);
    let (Some(padded), Some(size)) = (padded, size) else { return Err(mismatch("the weight is too large")) };
    if bytes.count() != size {
        return Err(mismatch(format!("{} bytes of codes instead of {size}", bytes.count())));
    }
    let flat = bytes.reshape(vec![size])?;
    let all = if per_byte == 1 {
        flat.reshape(vec![rows, padded])?
    } else {
        Recipe::unpack(&flat, element, vec![rows, padded])?
    };
    all.slice(&[0, 0], &[1, 1], vec![rows, columns])
}

fn matmul_n_bits(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(6)?;
    let size = |c: &Call, name: &str| -> Built<usize> {
        usize::try_from(c.attributes.required_int(name)?).map_err(|_| mismatch(format!("`{name}` is negative")))
    };
    let (k, n, block) = (size(c, "K")?, size(c, "N")?, size(c, "block_size")?);
    let bits = c.attributes.int_or("bits", 4)?;
    // How precisely activations may be rounded: they are not rounded at all.
    c.attributes.ignore(&["accuracy_level", "weight_prepacked"]);
    let (x, blob, scales) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (zeros, groups, bias) = (c.optional(3), c.optional(4), c.optional(5));
    if block == 0 || n == 0 || k == 0 {
        return Err(mismatch("K, N and block_size must be positive"));
    }
    let element = code_type(bits)?;
    let blocks = k.div_ceil(block);
    let blob = constant_recipe(c, blob, "the weight")?;
    let codes = unpacked(&blob, element, n, blocks * block)?.slice(&[0, 0], &[1, 1], vec![n, k])?;
    let (x, codes) = match groups {
        Some(_) => in_order_of_groups(c, x, &codes, block)?,
        None => (x, codes),
    };
    let codes = c.constant(codes)?;
    let scales = c.reshape(scales, vec![Dim::from(n), Dim::from(blocks)])?;
    let zeros = match zeros {
        None => Some(default_zero(c, element)?),
        Some(zeros) if c.element(zeros) == Element::U8 => {
            let recipe = constant_recipe(c, zeros, "the zero points")?;
            Some(c.constant(unpacked(&recipe, element, n, blocks)?)?)
        }
        Some(zeros) => return float_zeros(c, (x, bias), codes, scales, zeros, (n, blocks, block)),
    };
    let operands: Vec<Value> = [codes, scales].into_iter().chain(zeros).collect();
    let weight = c.op(Op::Dequantize { axis: 1, block }, &operands)?;
    Ok(vec![linear(c, x, weight, bias)?])
}

/// Input channels that name their group (`g_idx`), brought together group by group, in the activations as in the weights: a sum does not
/// mind the order of its terms, and the weights stay codes.
fn in_order_of_groups(c: &mut Call, x: Value, codes: &Recipe, block: usize) -> Built<(Value, Recipe)> {
    let groups = c.known_list(4, "g_idx")?.unwrap_or_default();
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&channel| groups[channel]);
    let full = order.iter().enumerate().all(|(at, &channel)| groups[channel] == (at / block) as i64);
    if groups.len() != codes.dims()[1] || !full {
        return Err(unsupported("groups (g_idx) that are not of block_size channels each"));
    }
    let positions: Vec<i64> = order.iter().map(|&channel| channel as i64).collect();
    let positions = c.tensor(HostTensor::from_i64_as(Element::I64, &[positions.len()], &positions))?;
    let axis = c.last_axis(x)?;
    Ok((c.gather(x, positions, axis)?, codes.gather(1, &order)?))
}

/// `2^(bits - 1)` for all.
fn default_zero(c: &mut Call, element: Element) -> Built {
    let middle = 1i64 << (element.bits() - 1);
    c.tensor(HostTensor::from_i64_as(element, &[1, 1], &[middle]))
}

/// `x · w^T + bias`
fn linear(c: &mut Call, x: Value, weight: Value, bias: Option<Value>) -> Built {
    let element = c.element(x);
    let weight = c.convert(weight, element)?;
    let flipped = c.transpose_last(weight)?;
    let y = super::matrix::product(c, x, flipped)?;
    c.add_optional(y, bias)
}

/// Zero points that are not integers: `codes · scale - zero · scale`.
fn float_zeros(
    c: &mut Call,
    (x, bias): (Value, Option<Value>),
    codes: Value,
    scales: Value,
    zeros: Value,
    (n, blocks, block): (usize, usize, usize),
) -> Built<Vec<Value>> {
    let element = c.element(scales);
    let columns = c.dim(codes, 1);
    let wide = c.op(Op::Convert { to: element, saturate: false }, &[codes])?;
    let spread = |c: &mut Call, parameter: Value| -> Built {
        let column = c.reshape(parameter, vec![Dim::from(n), Dim::from(blocks), Dim::ONE])?;
        let all = c.broadcast(column, vec![Dim::from(n), Dim::from(blocks), Dim::from(block)])?;
        let all = c.reshape(all, vec![Dim::from(n), Dim::from(blocks * block)])?;
        c.narrow(all, 1, Dim::ZERO, columns.clone())
    };
    let zeros = c.convert(zeros, element)?;
    let (zeros, scales) = (spread(c, zeros)?, spread(c, scales)?);
    let centred = c.sub(wide, zeros)?;
    let weight = c.mul(centred, scales)?;
    Ok(vec![linear(c, x, weight, bias)?])
}

/// Rows of a table of codes: the rows are gathered, with their scales, and decoded.
fn gather_block_quantized(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(4)?;
    let (table, indices, scales, zeros) = (c.input(0)?, c.input(1)?, c.input(2)?, c.optional(3));
    let rank = c.rank(table);
    let axis = c.attributes.int_or("gather_axis", 0)?;
    let axis = c.axis(axis, rank)?;
    let quantized = c.attributes.int_or("quantize_axis", 1)?;
    let quantized = c.axis(quantized, rank)?;
    let block =
        usize::try_from(c.attributes.int_or("block_size", 128)?).map_err(|_| mismatch("block_size is negative"))?;
    let bits = c.attributes.int_or("bits", 4)?;
    let (table, zeros) = if c.element(table) == Element::U8 {
        if quantized + 1 != rank {
            return Err(unsupported("packed codes whose blocks do not lie along the last axis"));
        }
        let element = code_type(bits)?;
        let unpack = |c: &mut Call, value: Value, name: &str| -> Built {
            let recipe = constant_recipe(c, value, name)?;
            let mut dims = recipe.dims().to_vec();
            dims[rank - 1] *= 8 / element.bits() as usize;
            let rows = dims[..rank - 1].iter().product();
            c.constant(unpacked(&recipe, element, rows, dims[rank - 1])?.reshape(dims)?)
        };
        let codes = unpack(c, table, "the table")?;
        let zeros = match zeros {
            Some(zeros) => {
                let all = unpack(c, zeros, "the zero points")?;
                let blocks = c.dim(scales, rank - 1);
                c.narrow(all, rank - 1, Dim::ZERO, blocks)?
            }
            None => {
                let zero = default_zero(c, element)?;
                c.reshape(zero, vec![Dim::ONE; rank])?
            }
        };
        (codes, Some(zeros))
    } else {
        (table, zeros)
    };
    let zeros = match zeros {
        // One zero point for all needs no gathering.
        Some(zeros) if c.dim(zeros, axis).is(1) => {
            let mut dims = c.dims(table);
            dims[quantized] = c.dim(scales, quantized);
            Some(c.broadcast(zeros, dims)?)
        }
        zeros => zeros,
    };
    let indices = c.convert(indices, Element::I64)?;
    let codes = c.gather(table, indices, axis)?;
    let scales = c.gather(scales, indices, axis)?;
    let zeros = zeros.map(|zeros| c.gather(zeros, indices, axis)).transpose()?;
    let grown = c.rank(indices);
    let quantized = if quantized > axis { quantized + grown - 1 } else { quantized };
    let operands: Vec<Value> = [codes, scales].into_iter().chain(zeros).collect();
    Ok(vec![c.op(Op::Dequantize { axis: quantized, block }, &operands)?])
}
