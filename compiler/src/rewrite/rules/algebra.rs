//! Arithmetic: squares, reciprocals, scalar factors, and conversions that change nothing.

use narae_isa::Element;

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        // a · b = b · a
        law("mul-commutes",         "(mul ?a ?b)",                     "(mul ?b ?a)").on("a:[s,d] b:[d]"),
        // a + b = b + a
        law("add-commutes",         "(add ?a ?b)",                     "(add ?b ?a)").on("a:[s,d] b:[d]"),
        // x · x = x²
        law("square-of-product",    "(mul ?x ?x)",                     "(square ?x)").on("x:[s,d]"),
        // x^2 = x²
        law("square-of-power",      "(pow ?x ?c)",                     "(square ?x)").when(is("?c", 2.0)).when(keeps_type("?x")).on("x:[s,d] c:const=2.0"),
        // 1 / x
        law("reciprocal",           "(div ?c ?x)",                     "(reciprocal ?x)").when(is("?c", 1.0)).when(keeps_type("?x")).on("x:pos[s,d] c:const=1.0"),
        // 1 / √x
        law("rsqrt",                "(reciprocal (sqrt ?x))",          "(rsqrt ?x)").on("x:pos[s,d]"),
        // x / √y = x · (1/√y)
        law("quotient-by-root",     "(div ?x (sqrt ?y))",              "(mul ?x (rsqrt ?y))").on("x:[s,d] y:pos[s,1]"),
        // x / c = x · (1/c)
        law("quotient-by-number",   "(div ?x ?c)",                     "(mul ?x ?r)").when(keeps_type("?x")).when(inverse("?c", "?r")).on("x:[s,d] c:const=3.0"),
        // x · 1 = x
        law("product-with-one",     "(mul ?x ?c)",                     "?x").when(is("?c", 1.0)).when(keeps_type("?x")).on("x:[s,d] c:const=1.0"),
        // x + 0 = x, where −0 + 0 stays −0
        law("sum-with-zero",        "(add ?x ?c)",                     "?x").when(is("?c", 0.0)).when(keeps_type("?x")).on("x:[s,d] c:const=0.0"),
        // (x · c) · d = x · (c · d), where nothing overflows or underflows between the two; chosen only inside of a fused op (`extract.rs`)
        law("numbers-combine",      "(mul (mul ?x ?c) ?d)",            "(mul ?x ?e)").when(keeps_type("?x")).when(product("?x", "?c", "?d", "?e")).on("x:[s,d] c:const=0.5 d:const=3.0"),
        // exact ways into a wider type and back
        law("there-and-back",       "(convert false ?t (convert false ?w ?x))", "?x").when(keeps_type("?x")).when(widens("?x", "?w")).on("x:f16[s,d] t::f16 w::f32"),
        law("conversion-to-itself", "(convert false ?t ?x)",           "?x").when(keeps_type("?x")).on("x:f16[s,d] t::f16"),
        // softmax is computed in f32 and rounded once
        law("softmax-narrow",       "(convert false ?t (softmax ?a false (convert false :f32 ?x)))", "(softmax ?a false ?x)").when(keeps_type("?x")).when(element("?x", &[Element::F16, Element::BF16])).on("x:f16[s,d] t::f16 a:1"),
    ]
}
