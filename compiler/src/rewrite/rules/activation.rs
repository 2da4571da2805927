//! SiLU, GELU and the gate of gated MLPs.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

/// √(2/π).
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        // At −∞ the product is NaN; the chip's functions give their limit there, −0.
        law("silu",                 "(mul ?x (sigmoid ?x))",           "(silu ?x)").on("x:[s,d]"),
        law("gate",                 "(mul (silu ?g) ?u)",              "(mul-silu ?u ?g)").when(tensors("?g", "?u")).on("g:[s,d] u:[s,d]"),
        // x · ½ · (1 + erf(x / √2)), the numbers in either place
        law("gelu",                 "(mul (mul ?x (add (erf (mul ?x ?r)) ?o)) ?h)", "(gelu ?x)").when(keeps_type("?x")).when(spells("?r", FRAC_1_SQRT_2)).when(is("?o", 1.0)).when(is("?h", 0.5)).on("x:[s,d] r:const=0.70710678 o:const=1.0 h:const=0.5"),
        law("gelu-halved-first",    "(mul (mul ?x ?h) (add (erf (mul ?x ?r)) ?o))", "(gelu ?x)").when(keeps_type("?x")).when(spells("?r", FRAC_1_SQRT_2)).when(is("?o", 1.0)).when(is("?h", 0.5)).on("x:[s,d] r:const=0.70710678 o:const=1.0 h:const=0.5"),
        law("gelu-halved-sum",      "(mul ?x (mul (add (erf (mul ?x ?r)) ?o) ?h))", "(gelu ?x)").when(keeps_type("?x")).when(spells("?r", FRAC_1_SQRT_2)).when(is("?o", 1.0)).when(is("?h", 0.5)).on("x:[s,d] r:const=0.70710678 o:const=1.0 h:const=0.5"),
        law("gelu-divided",         "(erf (div ?x ?r))",               "(erf (mul ?x ?i))").when(keeps_type("?x")).when(spells("?r", SQRT_2)).when(inverse("?r", "?i")).on("x:[s,d] r:const=1.41421356"),
        // x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))
        law("gelu-tanh",            "(mul (mul ?x ?h) (add (tanh (mul (add ?x (mul (pow ?x ?t) ?c)) ?r)) ?o))", "(gelu-tanh ?x)").when(keeps_type("?x")).when(is("?h", 0.5)).when(is("?t", 3.0)).when(spells("?c", 0.044_715)).when(spells("?r", SQRT_2_OVER_PI)).when(is("?o", 1.0)).on("x:[s,d] h:const=0.5 t:const=3.0 c:const=0.044715 r:const=0.79788456 o:const=1.0"),
        law("gelu-tanh-halved-sum", "(mul ?x (mul (add (tanh (mul (add ?x (mul (pow ?x ?t) ?c)) ?r)) ?o) ?h))", "(gelu-tanh ?x)").when(keeps_type("?x")).when(is("?h", 0.5)).when(is("?t", 3.0)).when(spells("?c", 0.044_715)).when(spells("?r", SQRT_2_OVER_PI)).when(is("?o", 1.0)).on("x:[s,d] h:const=0.5 t:const=3.0 c:const=0.044715 r:const=0.79788456 o:const=1.0"),
    ]
}
