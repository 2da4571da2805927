//! Types of loops and conditionals: those of their bodies, in the symbols of the enclosing graph.
//!
//! A body's symbol `passed(i)` is dim `symbols[i]` outside. A result whose dims depend on other symbols of the body (lengths that
//! data inside decides) gets a fresh symbol outside, which is defined as the extent of that result.

use narae_isa::{Diagnostic, Element};

use super::{Context, Inferred, ResultSymbol};
use crate::graph::{Graph, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition};

/// A dim of a body in the symbols outside, or `None` if it depends on what happens inside.
fn outside(dim: &Dim, body: &Graph, symbols: &[Dim]) -> Option<Dim> {
    let passed = |symbol: Symbol| match body.symbols.data(symbol).definition {
        SymbolDefinition::Passed { index } => symbols.get(index as usize).cloned(),
        _ => None,
    };
    let inner = body.symbols.resolve(dim);
    if inner.any_symbol(&mut |symbol| passed(symbol).is_none()) {
        return None;
    }
    Some(inner.substitute(&passed))
}

/// Makes operands fit the inputs of a body.
fn bind(cx: &mut Context, operands: &[TensorType], body: &Graph, symbols: &[Dim]) -> Result<(), Diagnostic> {
    cx.ensure(operands.len() == body.inputs().len(), "operands and inputs of the body differ in number")?;
    for (operand, port) in operands.iter().zip(body.inputs()) {
        bind_one(cx, operand, body.ty(port.value), body, symbols)?;
    }
    Ok(())
}

/// Makes sure that operands have the types of a branch's inputs. What a branch knows about extents holds only where it is taken:
/// the graph outside learns nothing from it.
fn accept(cx: &mut Context, operands: &[TensorType], body: &Graph) -> Result<(), Diagnostic> {
    cx.ensure(operands.len() == body.inputs().len(), "operands and inputs of a branch differ in number")?;
    for (operand, port) in operands.iter().zip(body.inputs()) {
        let input = body.ty(port.value);
        cx.ensure(operand.element == input.element, "an operand and a branch's input differ in element type")?;
        cx.ensure(operand.dims.len() == input.dims.len(), "an operand and a branch's input differ in rank")?;
    }
    Ok(())
}

fn bind_one(
    cx: &mut Context,
    operand: &TensorType,
    input: &TensorType,
    body: &Graph,
    symbols: &[Dim],
) -> Result<(), Diagnostic> {
    cx.ensure(operand.element == input.element, "an operand and the body's input differ in element type")?;
    cx.ensure(operand.dims.len() == input.dims.len(), "an operand and the body's input differ in rank")?;
    for (dim, inner) in operand.dims.iter().zip(&input.dims) {
        let expected = outside(inner, body, symbols);
        match expected {
            Some(expected) => {
                cx.unify(dim, &expected)?;
            }
            // A symbol that the input itself defines takes whatever comes.
            None => cx.ensure(inner.as_symbol().is_some(), "a dim of the body's input is not known outside")?,
        }
    }
    Ok(())
}

/// Types of `trip` alike layers.
pub(super) fn repeat(
    cx: &mut Context,
    (trip, carried, invariant): (usize, usize, usize),
    symbols: &[Dim],
    body: &Graph,
) -> Result<Vec<TensorType>, Diagnostic> {
    let fixed = carried + invariant;
    let (inputs, outputs) = (body.inputs().len(), body.outputs().len());
    cx.ensure(trip > 0 && inputs >= fixed && outputs >= carried, "the body has too few inputs or outputs")?;
    cx.ensure(cx.types.len() == fixed + (inputs - fixed) * trip, "operands and inputs of the body differ in number")?;
    for iteration in 0..trip {
        let mut operands = cx.types[..fixed].to_vec();
        operands.extend((0..inputs - fixed).map(|slot| cx.types[fixed + slot * trip + iteration].clone()));
        bind(cx, &operands, body, symbols)?;
    }
    let mut types = Vec::new();
    for (index, port) in body.outputs().iter().enumerate() {
        let ty = body.ty(port.value);
        let dims: Option<Vec<Dim>> = ty.dims.iter().map(|dim| outside(dim, body, symbols)).collect();
        let Some(dims) = dims else {
            return Err(cx.refuse(&narae_isa::codes::E0303, "a result's dims depend on data inside of the body"));
        };
        let outer = TensorType::new(ty.element, dims);
        if index < carried {
            let initial = cx.types[index].clone();
            cx.ensure(initial.element == outer.element, "a carried value changes its type")?;
            cx.unify_all(&initial.dims, &outer.dims)?;
            types.push(outer);
        } else {
            types.extend(std::iter::repeat_n(outer, trip));
        }
    }
    Ok(types)
}

/// Types of a loop with state.
pub(super) fn while_loop(
    cx: &mut Context,
    (trip, conditional, carried): (&Dim, bool, usize),
    symbols: &[Dim],
    body: &Graph,
) -> Result<Inferred, Diagnostic> {
    let condition = usize::from(conditional);
    let outputs = body.outputs();
    cx.ensure(cx.types.len() >= condition + carried, "there are too few operands")?;
    cx.ensure(outputs.len() >= condition + carried, "the body has too few outputs")?;
    if conditional {
        cx.expect_element(0, Element::Bool)?;
        let again = body.ty(outputs[0].value);
        cx.ensure(*again == TensorType::scalar(Element::Bool), "whether the body runs again is no truth value")?;
    }
    let mut operands = vec![TensorType::scalar(Element::I64)];
    operands.extend_from_slice(&cx.types[condition..]);
    bind(cx, &operands, body, symbols)?;
    let mut inferred = Inferred { types: Vec::new(), definitions: Vec::new() };
    for (index, port) in outputs.iter().skip(condition).enumerate() {
        let ty = body.ty(port.value);
        let (mut dims, mut unknown) = result_dims(cx, &[(ty, body)], symbols)?;
        if index < carried {
            let initial = &operands[1 + index];
            cx.ensure(initial.element == ty.element, "a carried value changes its type")?;
            cx.ensure(initial.dims.len() == dims.len(), "a carried value changes its rank")?;
            for (axis, dim) in dims.iter_mut().enumerate() {
                let known = unknown.iter().all(|(_, other)| *other != axis);
                if known && *dim != initial.dims[axis] {
                    *dim = cx.fresh_extent(axis, &mut unknown);
                }
            }
        } else {
            unknown.iter_mut().for_each(|(_, axis)| *axis += 1);
            let stacked = if conditional { cx.fresh_extent(0, &mut unknown) } else { trip.clone() };
            dims.insert(0, stacked);
        }
        define(&mut inferred, index, unknown);
        inferred.types.push(TensorType::new(ty.element, dims));
    }
    Ok(inferred)
}

/// Fresh symbols with the axes whose extents they are.
type Unknown = Vec<(Symbol, usize)>;

impl Context<'_> {
    /// A fresh symbol for an extent that only the run decides.
    fn fresh_extent(&mut self, axis: usize, unknown: &mut Unknown) -> Dim {
        let symbol = self.fresh("extent");
        unknown.push((symbol, axis));
        symbol.into()
    }
}

/// Says which result gives the fresh symbols their values.
fn define(inferred: &mut Inferred, result: usize, unknown: Unknown) {
    let extent =
        |(symbol, axis)| (symbol, ResultSymbol::Extent { result, axis: u32::try_from(axis).unwrap_or(u32::MAX) });
    inferred.definitions.extend(unknown.into_iter().map(extent));
}

/// The dims on which all bodies agree, and fresh symbols where they do not.
fn result_dims(
    cx: &mut Context,
    bodies: &[(&TensorType, &Graph)],
    symbols: &[Dim],
) -> Result<(Vec<Dim>, Unknown), Diagnostic> {
    let (first, _) = bodies[0];
    let agree = bodies.iter().all(|(ty, _)| ty.element == first.element && ty.dims.len() == first.dims.len());
    cx.ensure(agree, "the branches differ in element type or rank")?;
    let (mut dims, mut unknown) = (Vec::with_capacity(first.dims.len()), Unknown::new());
    for axis in 0..first.dims.len() {
        let mut found = bodies.iter().map(|(ty, body)| outside(&ty.dims[axis], body, symbols));
        let one = found.next().flatten();
        let dim = match one {
            Some(dim) if found.all(|other| other.as_ref() == Some(&dim)) => dim,
            _ => cx.fresh_extent(axis, &mut unknown),
        };
        dims.push(dim);
    }
    Ok((dims, unknown))
}

/// Types of a conditional.
pub(super) fn conditional(
    cx: &mut Context,
    symbols: &[Dim],
    then_body: &Graph,
    else_body: &Graph,
) -> Result<Inferred, Diagnostic> {
    cx.expect_element(0, Element::Bool)?;
    cx.ensure(then_body.outputs().len() == else_body.outputs().len(), "the branches differ in number of results")?;
    let operands = cx.types[1..].to_vec();
    accept(cx, &operands, then_body)?;
    accept(cx, &operands, else_body)?;
    let mut inferred = Inferred { types: Vec::new(), definitions: Vec::new() };
    for (index, (yes, no)) in then_body.outputs().iter().zip(else_body.outputs()).enumerate() {
        let (yes, no) = (then_body.ty(yes.value), else_body.ty(no.value));
        let (dims, unknown) = result_dims(cx, &[(yes, then_body), (no, else_body)], symbols)?;
        define(&mut inferred, index, unknown);
        inferred.types.push(TensorType::new(yes.element, dims));
    }
    Ok(inferred)
}
