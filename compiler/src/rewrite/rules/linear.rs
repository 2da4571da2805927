//! Products with constant matrices become linear layers with the weight as `[N, K]`.

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        // x · w = linear(x, wᵀ)
        law("linear",               "(matmul ?x ?w)",                  "(linear ?x (transpose [1,0] ?w))").when(weight("?x", "?w")).on("x:[b,s,k] w:const[k,n]"),
        law("linear-bias",          "(add (linear ?x ?w) ?b)",         "(linear ?x ?w ?v)").when(bias_of("?b", "?x", "?w", "?v")).on("x:[b,s,k] w:const[n,k] b:const[1,n]"),
        // Linear layers do not see how rows are arranged.
        law("linear-of-rows",       "(reshape ?d (linear ?x ?w))",     "(linear (reshape ?e ?x) ?w)").when(rows_only("?d", "?x", "?w", "?e")).on("x:[b,s,k] w:const[n,k] d:{b*s,n}"),
    ]
}
