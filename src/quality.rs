//! How good a language model is on given text: perplexity, and divergence from another model. In: windows of ids. Out: sums that
//! grow window by window. Always holds: sums run in f64 over ascending ids and positions, with the written exp and log.

use narae_isa::{Diagnostic, Diagnostics, HostTensor, codes, numerics};

use crate::language::LanguageModel;
use crate::sampling::argmax;

/// Sums over all predictions so far.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    /// How many predictions.
    pub predictions: usize,
    likelihood: f64,
    compared: usize,
    divergence: f64,
    agreements: usize,
}

impl Quality {
    /// exp of the mean negative log-likelihood.
    pub fn perplexity(&self) -> f64 {
        numerics::exp(-self.likelihood / self.predictions.max(1) as f64)
    }

    /// Mean KL(reference ‖ model) and the share of equal first choices, where there was a reference.
    pub fn against(&self) -> Option<(f64, f64)> {
        let count = self.compared as f64;
        (self.compared > 0).then(|| (self.divergence / count, self.agreements as f64 / count))
    }

    /// Adds one window with a fresh cache: all ids but the last are inputs, all but the first are targets.
    pub fn add_window(
        &mut self,
        model: &mut LanguageModel,
        reference: Option<&mut LanguageModel>,
        window: &[i64],
    ) -> Result<(), Diagnostics> {
        let [.., _] = window else { return Ok(()) };
        let (inputs, targets) = (&window[..window.len() - 1], &window[1..]);
        model.check_ids(window)?;
        model.reset();
        let logits = model.logits(inputs)?;
        let width = (logits.len() / inputs.len().max(1)).max(1);
        for (row, target) in logits.chunks(width).zip(targets) {
            let probabilities = log_softmax(row);
            numbers(row)?;
            let index = usize::try_from(*target).ok().filter(|index| *index < width);
            let index = index.ok_or_else(|| {
                Diagnostic::new(&codes::E0603, format!("the id {target} is not one of the model's {width} tokens"))
            })?;
            self.likelihood += probabilities[index];
            self.predictions += 1;
        }
        let Some(reference) = reference else { return Ok(()) };
        reference.reset();
        let wanted = reference.logits(inputs)?;
        if wanted.len() != logits.len() {
            let what =
                format!("the model has {width} tokens, the one to compare with {}", wanted.len() / inputs.len().max(1));
            let help = "compare models of one vocabulary";
            return Err(Diagnostic::new(&codes::E0603, what).help(help).into());
        }
        numbers(&wanted)?;
        for (row, want) in logits.chunks(width).zip(wanted.chunks(width)) {
            let (q, p) = (log_softmax(row), log_softmax(want));
            self.divergence += p.iter().zip(&q).map(|(p, q)| numerics::exp(*p) * (p - q)).sum::<f64>();
            self.agreements += usize::from(argmax(row) == argmax(want));
            self.compared += 1;
        }
        Ok(())
    }
}

/// Logits that are no numbers have no probabilities.
pub fn numbers(logits: &[f32]) -> Result<(), Diagnostics> {
    let wrong = logits.iter().filter(|logit| logit.is_nan() || **logit == f32::INFINITY).count();
    match wrong {
        0 => Ok(()),
        wrong => {
            let what = format!("{wrong} of {} logits are NaN or infinite", logits.len());
            Err(Diagnostic::new(&codes::E0610, what).into())
        }
    }
}

/// log softmax of a row, in f64.
fn log_softmax(row: &[f32]) -> Vec<f64> {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let top = f64::from(top);
    let sum: f64 = row.iter().map(|logit| numerics::exp(f64::from(*logit) - top)).sum();
    let shift = top + numerics::log(sum);
    row.iter().map(|logit| f64::from(*logit) - shift).collect()
}

/// The windows of an array: rows of a matrix as they are; one long text in pieces of `predictions` + 1 ids that overlap by one.
pub fn windows(ids: &HostTensor, predictions: usize, first: Option<usize>) -> Result<Vec<Vec<i64>>, Diagnostics> {
    if !ids.element.is_integer() {
        let what = format!("ids are integers, the array holds {}", ids.element.name());
        return Err(Diagnostic::new(&codes::E0602, what).help("convert it: ids.astype(numpy.int64)").into());
    }
    let values = ids.to_i64_vec();
    let mut windows: Vec<Vec<i64>> = match ids.dims.as_slice() {
        [_, columns] if *columns > 1 => values.chunks(*columns).map(<[i64]>::to_vec).collect(),
        [_] if predictions > 0 => {
            let whole = values.windows(predictions.saturating_add(1)).step_by(predictions);
            whole.map(<[i64]>::to_vec).collect()
        }
        _ => Vec::new(),
    };
    windows.truncate(first.unwrap_or(usize::MAX));
    if windows.is_empty() {
        let what = format!("ids of the dims {:?} hold no window of {predictions} predictions", ids.dims);
        return Err(Diagnostic::new(&codes::E0603, what)
            .help("give one text [n], or one window a row [rows, n]")
            .into());
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_by_one() {
        let ids = HostTensor::from_i64(&[8], &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(windows(&ids, 3, None).unwrap(), [[0, 1, 2, 3], [3, 4, 5, 6]]);
        assert_eq!(windows(&ids, 7, None).unwrap().len(), 1);
        assert!(windows(&ids, 8, None).is_err());
        assert_eq!(windows(&HostTensor::from_i64(&[2, 2], &[1, 2, 3, 4]), 9, Some(1)).unwrap(), [[1, 2]]);
    }

    #[test]
    fn probabilities_sum_to_one() {
        let sum: f64 = log_softmax(&[1.0, 2.0, -3.0]).iter().map(|p| numerics::exp(*p)).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
