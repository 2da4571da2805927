//! RMSNorm and LayerNorm, from every spelling that the laws of arithmetic bring to one form.

use narae_isa::Element;

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        // x · 1/√(mean(x²) + ε)
        law("rms-norm",             "(mul ?x (rsqrt (add (reduce-mean ?a (square ?x)) ?e)))", "(rms_norm ?v ?x)").when(keeps_type("?x")).when(last_axis("?a", "?x")).when(epsilon("?e", "?v")).on("x:[b,s,d] a:(2) e:const=1e-5"),
        law("mean-square",          "(div (reduce-sum ?a (square ?x)) ?n)", "(reduce-mean ?a (square ?x))").when(extent_of("?n", "?a", "?x")).on("x:[b,s,4] a:(2) n:const=4.0"),
        law("sum-square",           "(reduce-sum-square ?a ?x)",       "(reduce-sum ?a (square ?x))").on("x:[b,s,d] a:(2)"),
        law("rms-norm-gain",        "(mul (rms_norm ?v ?x) ?g)",       "(rms_norm ?v ?x ?h)").when(keeps_type("?x")).when(row_vector("?g", "?x", "?h")).on("x:[b,s,d] v:1e-5 g:const[1,d]"),
        // Computed in f32 and rounded once; the gain of such files is applied in the narrow type.
        law("rms-norm-narrow",      "(convert false ?t (rms_norm ?v (convert false :f32 ?x)))", "(rms_norm ?v ?x)").when(keeps_type("?x")).when(element("?x", &[Element::F16, Element::BF16])).on("x:f16[b,s,d] t::f16 v:1e-5"),
        law("rms-norm-gain-narrow", "(convert false ?t (rms_norm ?v (convert false :f32 ?x) ?g))", "(rms_norm ?v ?x ?g)").when(keeps_type("?x")).when(element("?x", &[Element::F16, Element::BF16])).on("x:f16[b,s,d] t::f16 v:1e-5 g:const[d]"),
        law("rms-norm-gain-narrowed", "(mul (convert false ?t (rms_norm ?v ?x)) ?g)", "(convert false ?t (rms_norm ?v ?x ?h))").when(narrowing("?x", "?t")).when(keeps_dims_of("?x")).when(row_vector("?g", "?x", "?h")).on("x:[b,s,d] t::f16 v:1e-5 g:half-const[d]"),
        // (x − mean) · 1/√(mean((x − mean)²) + ε)
        law("layer-norm",           "(mul (sub ?x (reduce-mean ?a ?x)) (rsqrt (add (reduce-mean ?b (square (sub ?x (reduce-mean ?a ?x)))) ?e)))", "(layer_norm ?v ?x)").when(keeps_type("?x")).when(last_axis("?a", "?x")).when(last_axis("?b", "?x")).when(epsilon("?e", "?v")).on("x:[b,s,d] a:(2) b:(2) e:const=1e-5"),
        law("layer-norm-gain",      "(mul (layer_norm ?v ?x) ?g)",     "(layer_norm ?v ?x ?h)").when(keeps_type("?x")).when(row_vector("?g", "?x", "?h")).on("x:[b,s,d] v:1e-5 g:const[d]"),
        law("layer-norm-bias",      "(add (layer_norm ?v ?x ?g) ?b)",  "(layer_norm ?v ?x ?g ?h)").when(keeps_type("?x")).when(row_vector("?b", "?x", "?h")).on("x:[b,s,d] v:1e-5 g:const[d] b:const[d]"),
    ]
}
