//! Meaning of loops and conditionals: bodies are evaluated like graphs.

use narae_isa::{Diagnostic, HostTensor};

use super::{Failure, Point, Watch, Watching, layout, run_body};
use crate::graph::Graph;
use crate::ir::Dim;

pub(super) fn repeat(
    (trip, carried, invariant): (usize, usize, usize),
    passed: &[i64],
    body: &Graph,
    operands: &[&HostTensor],
    mut watch: Option<&mut dyn Watch>,
) -> Result<Vec<HostTensor>, Diagnostic> {
    let fixed = carried + invariant;
    let slots = body.inputs().len() - fixed;
    let mut state: Vec<HostTensor> = operands[..carried].iter().map(|&tensor| tensor.clone()).collect();
    let mut collected: Vec<Vec<HostTensor>> = vec![Vec::new(); body.outputs().len() - carried];
    for iteration in 0..trip {
        let mut inputs = std::mem::take(&mut state);
        inputs.extend(operands[carried..fixed].iter().map(|&tensor| tensor.clone()));
        inputs.extend((0..slots).map(|slot| operands[fixed + slot * trip + iteration].clone()));
        let watching = watch.as_deref_mut().map(|watch| Watching { watch, iteration: u32::try_from(iteration).ok() });
        let mut results = run_body(body, inputs, passed, watching)?.into_iter();
        state = results.by_ref().take(carried).collect();
        collected.iter_mut().zip(results).for_each(|(list, result)| list.push(result));
    }
    Ok(state.into_iter().chain(collected.into_iter().flatten()).collect())
}

/// A loop with state; see `Op::While`.
pub(super) struct WhileRule {
    pub(super) trip: i64,
    pub(super) conditional: bool,
    pub(super) carried: usize,
}

pub(super) fn while_loop(
    rule: &WhileRule,
    passed: &[i64],
    body: &Graph,
    operands: &[&HostTensor],
    empty: &dyn Fn(usize) -> Result<HostTensor, Failure>,
) -> Result<Vec<HostTensor>, Diagnostic> {
    let skip = usize::from(rule.conditional);
    let holds = |tensor: &HostTensor| tensor.bytes.first().is_some_and(|&byte| byte != 0);
    let mut go_on = !rule.conditional || holds(operands[0]);
    let mut state: Vec<HostTensor> = operands[skip..skip + rule.carried].iter().map(|&tensor| tensor.clone()).collect();
    let mut stacks: Vec<Vec<HostTensor>> = vec![Vec::new(); body.outputs().len() - skip - rule.carried];
    let mut iteration = 0;
    while go_on && iteration < rule.trip {
        let mut inputs = vec![HostTensor::scalar_i64(iteration)];
        inputs.append(&mut state);
        inputs.extend(operands[skip + rule.carried..].iter().map(|&tensor| tensor.clone()));
        let mut results = run_body(body, inputs, passed, None)?.into_iter();
        if rule.conditional {
            go_on = results.next().is_some_and(|condition| holds(&condition));
        }
        state = results.by_ref().take(rule.carried).collect();
        stacks.iter_mut().zip(results).for_each(|(stack, result)| stack.push(result));
        iteration += 1;
    }
    let mut results = state;
    for (index, stack) in stacks.into_iter().enumerate() {
        if stack.is_empty() {
            results.push(empty(rule.carried + index).map_err(Failure::into_diagnostic)?);
            continue;
        }
        let raised: Vec<HostTensor> = stack
            .into_iter()
            .map(|mut tensor| {
                tensor.dims.insert(0, 1);
                tensor
            })
            .collect();
        results.push(layout::concat(&raised.iter().collect::<Vec<_>>(), 0));
    }
    Ok(results)
}

/// The values of the dims that an op passes to its bodies.
pub(super) fn passed(symbols: &[Dim], point: &Point) -> Result<Vec<i64>, Failure> {
    symbols.iter().map(|dim| point.value(dim)).collect()
}
