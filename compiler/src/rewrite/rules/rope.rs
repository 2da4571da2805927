//! Rotary embedding: the rotate-half spelling, with tables whose two halves are proven equal.

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        // x · (c,c) + (−x₂, x₁) · (s,s), x = (x₁, x₂). That c and s are half as long as x follows: the products would have no type.
        law("rope",                 "(add (mul ?x (concat ?ac ?c ?c)) (mul (concat ?ax (neg (slice ?d2 ?s2 ?t2 ?x)) (slice ?d1 ?s1 ?t1 ?x)) (concat ?as ?s ?s)))", "(rope false ?x ?c ?s)").when(halves("?x", ["?d1", "?s1", "?t1"], ["?d2", "?s2", "?t2"], "?ax")).when(keeps_type("?x")).when(last_of("?ac", "?c")).when(last_of("?as", "?s"))
            .on("x:[b,h,s,8] c:[b,1,s,4] s:[b,1,s,4] ac:3 as:3 ax:3 d1:{b,h,s,4} s1:{0,0,0,0} t1:(1,1,1,1) d2:{b,h,s,4} s2:{0,0,0,4} t2:(1,1,1,1)"),
        // The normal form rotates behind a transpose of heads and positions.
        law("rope-behind-transpose", "(transpose ?p (rope ?i ?x ?c ?s))", "(rope ?i (transpose ?p ?x) (transpose ?p ?c) (transpose ?p ?s))").when(keeps_last("?p")).when(same_rank("?x", "?c")).when(same_rank("?x", "?s")).on("p:(0,2,1,3) i:true x:[b,s,h,8] c:[b,s,1,4] s:[b,s,1,4]"),
        // A doubled table stays doubled through what is done to all of it.
        law("cos-of-doubled",       "(cos (concat ?a ?x ?x))",         "(concat ?a (cos ?x) (cos ?x))").on("x:[s,d] a:1"),
        law("sin-of-doubled",       "(sin (concat ?a ?x ?x))",         "(concat ?a (sin ?x) (sin ?x))").on("x:[s,d] a:1"),
        law("product-of-doubled",   "(mul (concat ?a ?x ?x) ?c)",      "(concat ?a (mul ?x ?c) (mul ?x ?c))").when(is_number("?c")).when(one_element("?c", "?x")).on("x:[s,d] a:1 c:const=0.5"),
        law("doubled-converted",    "(convert ?s ?t (concat ?a ?x ?x))", "(concat ?a (convert ?s ?t ?x) (convert ?s ?t ?x))").on("x:[s,d] a:1 s:false t::f16"),
        law("doubled-transposed",   "(transpose ?p (concat ?a ?x ?x))", "(concat ?b (transpose ?p ?x) (transpose ?p ?x))").when(axis_through("?p", "?a", "?b")).on("x:[a,b,c] p:(0,2,1) a:1"),
        law("doubled-reshaped",     "(reshape ?d (concat ?a ?x ?x))",  "(concat ?b (reshape ?e ?x) (reshape ?e ?x))").when(last_axis_kept("?d", "?a", "?x", "?b", "?e")).on("x:[s,d] d:{1,s,1,2*d} a:1"),
        // A constant table of doubled rows: proven by comparing its halves.
        law("doubled-rows",         "(gather 0 ?c ?i)",                "(concat ?a (gather 0 ?h ?i) (gather 0 ?h ?i))").when(doubled("?c", "?h", "?i", "?a")).on("c:const-doubled[5,6] i:index[s,5]"),
    ]
}
