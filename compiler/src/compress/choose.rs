//! One list of candidates per weight and an error budget in; one candidate per weight out: least total time within the budget.
//!
//! A multiple-choice knapsack. Dominated candidates fall away, a Lagrange multiplier found by bisection gives a first choice and
//! a lower bound, the slack is filled greedily, and a branch and bound over the few remaining choices proves the optimum
//! or reports the gap. Always holds: the budget is never exceeded unless even the most exact candidates exceed it, ties go
//! to the first candidate, and no clock or randomness is involved.

/// What choosing a format costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Nanoseconds per token, whole numbers so that sums are exact.
    pub time: u64,
    /// Contribution to the model's error, in units of the budget.
    pub error: f64,
}

/// The outcome over all weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Index of the chosen candidate of each weight.
    pub chosen: Vec<usize>,
    /// The multiplier: nanoseconds that one unit of error is worth at the optimum.
    pub lambda: f64,
    /// Total time of the choice.
    pub time: u64,
    /// Total error of the choice.
    pub error: f64,
    /// No choice within the budget is faster than this.
    pub bound: f64,
    /// Whether even the most exact candidates exceed the budget.
    pub infeasible: bool,
}

/// Nodes of the branch and bound before it settles for the best found, so that the work is bounded without a clock.
const SEARCH_NODES: usize = 200_000;

/// Chooses for every weight the candidate such that the total time is least and the total error within the budget.
pub fn choose(weights: &[Vec<Cost>], budget: f64) -> Choice {
    assert!(weights.iter().all(|candidates| !candidates.is_empty()), "every weight has at least one candidate");
    let fronts: Vec<Vec<usize>> = weights.iter().map(|candidates| front(candidates)).collect();
    let exact: Vec<usize> = fronts.iter().map(|front| front[0]).collect();
    let least_error = total_error(weights, &exact);
    if least_error > budget {
        let time = total_time(weights, &exact);
        return Choice {
            chosen: exact,
            lambda: f64::INFINITY,
            time,
            error: least_error,
            bound: time as f64,
            infeasible: true,
        };
    }
    let (lambda, mut chosen, bound) = lagrange(weights, &fronts, budget);
    fill(weights, &fronts, budget, &mut chosen);
    improve(weights, &fronts, budget, lambda, &mut chosen);
    let (time, error) = (total_time(weights, &chosen), total_error(weights, &chosen));
    Choice { chosen, lambda, time, error, bound: bound.min(time as f64), infeasible: false }
}

fn total_time(weights: &[Vec<Cost>], chosen: &[usize]) -> u64 {
    weights.iter().zip(chosen).map(|(candidates, index)| candidates[*index].time).sum()
}

fn total_error(weights: &[Vec<Cost>], chosen: &[usize]) -> f64 {
    weights.iter().zip(chosen).map(|(candidates, index)| candidates[*index].error).sum()
}

/// The candidates that no other beats in both time and error, the most exact first.
fn front(candidates: &[Cost]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|a, b| {
        let (left, right) = (&candidates[*a], &candidates[*b]);
        left.error.total_cmp(&right.error).then(left.time.cmp(&right.time)).then(a.cmp(b))
    });
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        if kept.last().is_none_or(|last| candidates[index].time < candidates[*last].time) {
            kept.push(index);
        }
    }
    kept
}

/// For each weight the candidate with the least time + λ · error.
fn under(weights: &[Vec<Cost>], fronts: &[Vec<usize>], lambda: f64) -> Vec<usize> {
    let best = |(candidates, front): (&Vec<Cost>, &Vec<usize>)| {
        let price = |index: usize| candidates[index].time as f64 + lambda * candidates[index].error;
        front[1..].iter().fold(front[0], |best, next| if price(*next) < price(best) { *next } else { best })
    };
    weights.iter().zip(fronts).map(best).collect()
}

/// Bisection for the least multiplier whose choice fits the budget; returns it, the choice and the dual bound.
fn lagrange(weights: &[Vec<Cost>], fronts: &[Vec<usize>], budget: f64) -> (f64, Vec<usize>, f64) {
    let fits = |chosen: &[usize]| total_error(weights, chosen) <= budget;
    let dual = |lambda: f64, chosen: &[usize]| {
        total_time(weights, chosen) as f64 + lambda * (total_error(weights, chosen) - budget)
    };
    let free = under(weights, fronts, 0.0);
    if fits(&free) {
        let bound = total_time(weights, &free) as f64;
        return (0.0, free, bound);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while high < 1e30 && !fits(&under(weights, fronts, high)) {
        low = high;
        high *= 4.0;
    }
    let mut bound = f64::NEG_INFINITY;
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let chosen = under(weights, fronts, middle);
        bound = bound.max(dual(middle, &chosen));
        if fits(&chosen) { high = middle } else { low = middle }
    }
    let chosen = under(weights, fronts, high);
    bound = bound.max(dual(high, &chosen));
    // At a multiplier beyond all ratios rounding may still keep a cheap candidate: the exact ones always fit.
    let chosen = if fits(&chosen) { chosen } else { fronts.iter().map(|front| front[0]).collect() };
    (high, chosen, bound)
}

/// Takes single switches while they fit, the most time saved per unit of error first.
fn fill(weights: &[Vec<Cost>], fronts: &[Vec<usize>], budget: f64, chosen: &mut [usize]) {
    loop {
        let slack = budget - total_error(weights, chosen);
        let mut best: Option<(f64, usize, usize)> = None;
        for (weight, front) in fronts.iter().enumerate() {
            let now = weights[weight][chosen[weight]];
            for index in front {
                let next = weights[weight][*index];
                let more = next.error - now.error;
                if next.time >= now.time || more > slack {
                    continue;
                }
                let rate = (now.time - next.time) as f64 / more.max(1e-300);
                if best.is_none_or(|(best, ..)| rate > best) {
                    best = Some((rate, weight, *index));
                }
            }
        }
        let Some((_, weight, index)) = best else { return };
        let before = chosen[weight];
        chosen[weight] = index;
        if total_error(weights, chosen) > budget {
            // The sum in order rounded the other way than the difference did.
            chosen[weight] = before;
            return;
        }
    }
}

/// Branch and bound around the multiplier: weights whose second-best is closest are decided last.
fn improve(weights: &[Vec<Cost>], fronts: &[Vec<usize>], budget: f64, lambda: f64, chosen: &mut Vec<usize>) {
    if lambda == 0.0 {
        return;
    }
    let price =
        |weight: usize, index: usize| weights[weight][index].time as f64 + lambda * weights[weight][index].error;
    let mut options: Vec<Vec<usize>> = fronts.to_vec();
    for (weight, front) in options.iter_mut().enumerate() {
        front.sort_by(|a, b| price(weight, *a).total_cmp(&price(weight, *b)).then(a.cmp(b)));
    }
    let regret = |weight: usize| {
        let front = &options[weight];
        front.get(1).map_or(f64::INFINITY, |second| price(weight, *second) - price(weight, front[0]))
    };
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| regret(*b).total_cmp(&regret(*a)).then(a.cmp(b)));
    let mut rest = vec![0.0; order.len() + 1];
    let mut rest_error = vec![0.0; order.len() + 1];
    for position in (0..order.len()).rev() {
        let weight = order[position];
        rest[position] = rest[position + 1] + price(weight, options[weight][0]);
        rest_error[position] = rest_error[position + 1] + weights[weight][fronts[weight][0]].error;
    }
    let best = total_time(weights, chosen) as f64;
    let mut search = Search {
        weights,
        options: &options,
        order: &order,
        rest: &rest,
        rest_error: &rest_error,
        lambda,
        budget,
        best,
        found: None,
        nodes: 0,
    };
    search.visit(0, &mut vec![0; weights.len()], 0.0, 0.0);
    if let Some(found) = search.found.filter(|found| total_error(weights, found) <= budget) {
        *chosen = found;
    }
}

struct Search<'a> {
    weights: &'a [Vec<Cost>],
    options: &'a [Vec<usize>],
    order: &'a [usize],
    rest: &'a [f64],
    rest_error: &'a [f64],
    lambda: f64,
    budget: f64,
    best: f64,
    found: Option<Vec<usize>>,
    nodes: usize,
}

impl Search<'_> {
    fn visit(&mut self, position: usize, chosen: &mut Vec<usize>, time: f64, error: f64) {
        self.nodes += 1;
        if self.nodes > SEARCH_NODES || error + self.rest_error[position] > self.budget {
            return;
        }
        // No completion is faster than its price minus λ times the whole budget.
        if time + self.lambda * error + self.rest[position] - self.lambda * self.budget >= self.best - 0.5 {
            return;
        }
        let Some(weight) = self.order.get(position).copied() else {
            if time < self.best {
                self.best = time;
                self.found = Some(chosen.clone());
            }
            return;
        };
        for index in &self.options[weight] {
            let cost = self.weights[weight][*index];
            chosen[weight] = *index;
            self.visit(position + 1, chosen, time + cost.time as f64, error + cost.error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cost(time: u64, error: f64) -> Cost {
        Cost { time, error }
    }

    /// Every combination, for few weights.
    fn brute(weights: &[Vec<Cost>], budget: f64) -> Option<u64> {
        let mut sums = vec![(0_u64, 0.0_f64)];
        for candidates in weights {
            sums = sums.iter().flat_map(|(t, e)| candidates.iter().map(move |c| (t + c.time, e + c.error))).collect();
        }
        sums.iter().filter(|(_, error)| *error <= budget).map(|(time, _)| *time).min()
    }

    proptest! {
        #[test]
        fn the_choice_is_the_best_of_all(
            weights in prop::collection::vec(prop::collection::vec((1_u64..50, 0_u32..50), 1..4), 1..6), budget in 0_u32..150
        ) {
            // Errors in quarters are exact in binary, so the order of a sum cannot matter.
            let weights: Vec<Vec<Cost>> = weights.iter().map(|c| c.iter().map(|(t, e)| cost(*t, f64::from(*e) / 4.0)).collect()).collect();
            let budget = f64::from(budget) / 4.0;
            let choice = choose(&weights, budget);
            match brute(&weights, budget) {
                None => prop_assert!(choice.infeasible),
                Some(best) => {
                    prop_assert_eq!(choice.time, best);
                    prop_assert!(choice.error <= budget && choice.bound <= best as f64 + 1e-6);
                }
            }
        }

        #[test]
        fn a_larger_budget_is_never_slower(weights in prop::collection::vec(prop::collection::vec((1_u64..500, 0.0_f64..1.0), 2..5), 1..30)) {
            let weights: Vec<Vec<Cost>> = weights.iter().map(|c| c.iter().map(|(t, e)| cost(*t, *e)).collect()).collect();
            let times: Vec<_> = [0.1, 1.0, 5.0, 20.0].iter().map(|b| choose(&weights, *b)).filter(|c| !c.infeasible).map(|c| c.time).collect();
            prop_assert!(times.windows(2).all(|pair| pair[1] <= pair[0] + pair[0] / 200));
        }
    }

    #[test]
    fn many_weights_stay_close_to_the_bound() {
        let candidates = |i: u64| {
            (0..6)
                .map(|f| cost(1000 + i * 37 % 501 + 400 * f, 1.0 / (1.0 + f as f64 * (1.0 + (i % 7) as f64))))
                .collect()
        };
        let weights: Vec<Vec<Cost>> = (0..400).map(candidates).collect();
        let choice = choose(&weights, 80.0);
        assert!(
            choice.error <= 80.0 && (choice.time as f64) < choice.bound * 1.0005,
            "{} against {}",
            choice.time,
            choice.bound
        );
    }
}
