//! The control unit: scalar registers, branches, descriptor loads, scalar accesses to memory.

use super::{Context, Fault, Flow};
use crate::state::View;
use narae_isa::Overflow;
use narae_isa::codes;
use narae_isa::instructions::*;
use narae_isa::operand::{Condition, ScalarFunction, ScalarRegister};

pub(super) fn halt(_: &mut Context<'_>, _: &Halt) -> Result<Flow, Fault> {
    Ok(Flow::Halt)
}

pub(super) fn fence(_: &mut Context<'_>, _: &Fence) -> Result<Flow, Fault> {
    Ok(Flow::Fence)
}

/// Waiting and signalling is done by the machine, for every instruction alike.
pub(super) fn sync(_: &mut Context<'_>, _: &QueueSync) -> Result<Flow, Fault> {
    Ok(Flow::Next)
}

pub(super) fn mark(_: &mut Context<'_>, _: &Mark) -> Result<Flow, Fault> {
    Ok(Flow::Next)
}

pub(super) fn li(c: &mut Context<'_>, row: &LoadImmediate) -> Result<Flow, Fault> {
    set(c, row.rd, row.value)
}

pub(super) fn mov(c: &mut Context<'_>, row: &MoveScalar) -> Result<Flow, Fault> {
    set(c, row.rd, c.scalar(row.ra))
}

pub(super) fn alu(c: &mut Context<'_>, row: &Alu) -> Result<Flow, Fault> {
    set(c, row.rd, scalar_function(row.function, c.scalar(row.ra), c.scalar(row.rb))?)
}

pub(super) fn alui(c: &mut Context<'_>, row: &AluImmediate) -> Result<Flow, Fault> {
    set(c, row.rd, scalar_function(row.function, c.scalar(row.ra), row.value)?)
}

pub(super) fn jump(_: &mut Context<'_>, row: &Jump) -> Result<Flow, Fault> {
    Ok(Flow::Jump(row.target.0))
}

pub(super) fn branch(c: &mut Context<'_>, row: &Branch) -> Result<Flow, Fault> {
    Ok(if holds(row.condition, c.scalar(row.ra), c.scalar(row.rb)) { Flow::Jump(row.target.0) } else { Flow::Next })
}

pub(super) fn branchi(c: &mut Context<'_>, row: &BranchImmediate) -> Result<Flow, Fault> {
    Ok(if holds(row.condition, c.scalar(row.ra), i64::from(row.value)) { Flow::Jump(row.target.0) } else { Flow::Next })
}

pub(super) fn lds(c: &mut Context<'_>, row: &LoadScalar) -> Result<Flow, Fault> {
    let element = element_at(&c.view(row.source)?, row.index, c.optional_scalar(row.ri))?;
    let bytes = c.memory.bytes(element.space, element.base, element.element.bytes() as u64)?;
    let value = element.element.load_i64(bytes);
    set(c, row.rd, value)
}

pub(super) fn sts(c: &mut Context<'_>, row: &StoreScalar) -> Result<Flow, Fault> {
    let element = element_at(&c.view(row.to)?, row.index, c.optional_scalar(row.ri))?;
    let value = c.scalar(row.rs);
    let bytes = c.memory.bytes_mut(element.space, element.base, element.element.bytes() as u64)?;
    element.element.store_i64(value, Overflow::Wrap, bytes);
    Ok(Flow::Next)
}

pub(super) fn ldd(c: &mut Context<'_>, row: &LoadDescriptor) -> Result<Flow, Fault> {
    let index = i64::from(row.row.0).checked_add(c.optional_scalar(row.ri).unwrap_or(0));
    let found = index.and_then(|index| usize::try_from(index).ok()).and_then(|index| c.rows.get(index));
    let found = found.ok_or_else(|| {
        Fault::bounds(format!(
            "there are {} descriptor rows, row {} is not one of them",
            c.rows.len(),
            index.unwrap_or(i64::MAX)
        ))
    })?;
    let descriptor = found
        .resolve(c.scalars)
        .map_err(|error| Fault::operands(format!("descriptor row {}: {error}", index.unwrap_or(0))))?;
    c.descriptors[row.dd.index()] = Some(descriptor);
    Ok(Flow::Next)
}

/// The one element of a view at a flat row-major index.
pub(super) fn element_at(view: &View, index: u32, offset: Option<i64>) -> Result<View, Fault> {
    let flat = i64::from(index).checked_add(offset.unwrap_or(0)).and_then(|flat| usize::try_from(flat).ok());
    let Some(mut rest) = flat.filter(|flat| *flat < view.len()) else {
        return Err(Fault::bounds(format!(
            "element {} of a view of {} elements",
            i64::from(index).saturating_add(offset.unwrap_or(0)),
            view.len()
        )));
    };
    let mut position = [0usize; crate::state::MAX_RANK];
    for axis in (0..view.rank).rev() {
        position[axis] = rest % view.dims[axis];
        rest /= view.dims[axis];
    }
    Ok(view.tail(view.rank, &position[..view.rank]))
}

fn set(c: &mut Context<'_>, register: ScalarRegister, value: i64) -> Result<Flow, Fault> {
    c.scalars[register.index()] = value;
    Ok(Flow::Next)
}

fn holds(condition: Condition, a: i64, b: i64) -> bool {
    match condition {
        Condition::Eq => a == b,
        Condition::Ne => a != b,
        Condition::Lt => a < b,
        Condition::Ge => a >= b,
        Condition::Le => a <= b,
        Condition::Gt => a > b,
    }
}

fn scalar_function(function: ScalarFunction, a: i64, b: i64) -> Result<i64, Fault> {
    let by_zero = || Fault { code: &codes::E0608, message: format!("the control unit divides {a} by zero") };
    Ok(match function {
        ScalarFunction::Add => a.wrapping_add(b),
        ScalarFunction::Sub => a.wrapping_sub(b),
        ScalarFunction::Mul => a.wrapping_mul(b),
        ScalarFunction::Div => floor_div(a, b).ok_or_else(by_zero)?,
        ScalarFunction::Mod => floor_div(a, b).map(|q| a.wrapping_sub(q.wrapping_mul(b))).ok_or_else(by_zero)?,
        ScalarFunction::Min => a.min(b),
        ScalarFunction::Max => a.max(b),
        ScalarFunction::And => a & b,
        ScalarFunction::Or => a | b,
        ScalarFunction::Xor => a ^ b,
        ScalarFunction::Shl => a.wrapping_shl(b as u32),
        ScalarFunction::Shr => a.wrapping_shr(b as u32),
        ScalarFunction::CeilDiv => floor_div(a.wrapping_neg(), b).map(i64::wrapping_neg).ok_or_else(by_zero)?,
        ScalarFunction::Equal => i64::from(a == b),
        ScalarFunction::Less => i64::from(a < b),
    })
}

/// The quotient rounded toward minus infinity; `None` for a zero divisor.
fn floor_div(a: i64, b: i64) -> Option<i64> {
    if b == 0 {
        return None;
    }
    let quotient = a.wrapping_div(b);
    Some(if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}
