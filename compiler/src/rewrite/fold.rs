//! Constant terms as recipes.
//!
//! In: an op and the recipes of its operands. Out: the recipe of its result, or nothing where recipes have no such step. Nothing
//! is read or computed here; the recipe is executed once, in a stream, when the image is written.

use narae_isa::UnaryFunction;

use crate::compress::Recipe;
use crate::graph::Op;
use crate::ir::Dim;

fn sizes(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().map(Dim::as_size).collect()
}

/// The recipe of an op over constants.
pub fn recipe(op: &Op, operands: &[Recipe]) -> Option<Recipe> {
    if operands.iter().any(|operand| operand.depth() + 1 >= Recipe::MAXIMUM_DEPTH) {
        return None;
    }
    match (op, operands) {
        (Op::Transpose { permutation }, [x]) => x.transpose(permutation).ok(),
        (Op::Reshape { dims }, [x]) => x.reshape(sizes(dims)?).ok(),
        (Op::Broadcast { dims }, [x]) => x.broadcast(sizes(dims)?).ok(),
        (Op::Slice { starts, steps, dims }, [x]) => x.slice(&sizes(starts)?, steps, sizes(dims)?).ok(),
        (Op::Concat { axis }, parts) => Recipe::concat(parts, *axis).ok(),
        (Op::Convert { to, saturate }, [x]) => Some(x.convert(*to, *saturate)),
        (Op::Unary { function: UnaryFunction::IsNan }, _) => None,
        (Op::Unary { function }, [x]) => x.unary(*function).ok(),
        (Op::Binary { function }, [a, b]) => Recipe::binary(*function, a, b).ok(),
        (Op::Dequantize { axis, block }, [codes, scale]) => Recipe::dequantize(codes, scale, None, *axis, *block).ok(),
        (Op::Dequantize { axis, block }, [codes, scale, zero]) => {
            Recipe::dequantize(codes, scale, Some(zero), *axis, *block).ok()
        }
        _ => None,
    }
}
