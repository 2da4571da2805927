//! Attention: scores, scale, soft cap, mask as bias, the guard against NaN, grouped heads.
//!
//! A row of scores that is −∞ everywhere has no softmax: the chip's attention gives zeros there. Exporters either guard (NaN becomes 0,
//! the same) or leave NaN; the law defines the undefined and changes nothing else.

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        // Scalar factors leave the product: (c·a)·b = c·(a·b). In 16 bits only a fused op may compute it so (`extract.rs`).
        law("factor-of-left",       "(matmul (mul ?a ?c) ?b)",         "(mul (matmul ?a ?b) ?n)").when(scalar_of("?c", "?a", "?n")).on("a:[b,h,s,d] b:[b,h,d,t] c:const=0.5"),
        law("factor-of-right",      "(matmul ?a (mul ?b ?c))",         "(mul (matmul ?a ?b) ?n)").when(scalar_of("?c", "?b", "?n")).on("a:[b,h,s,d] b:[b,h,d,t] c:const=0.5"),
        law("factor-of-transposed", "(transpose ?p (mul ?a ?c))",      "(mul (transpose ?p ?a) ?n)").when(scalar_of("?c", "?a", "?n")).on("a:[b,h,s,d] p:(0,1,3,2) c:const=0.5"),
        // Keys that are transposed in one go: first to [B, H, T, D], then the last two.
        law("keys-in-two-steps",    "(matmul ?q (transpose ?p ?k))",   "(matmul ?q (transpose [0,1,3,2] (transpose ?r ?k)))").when(unswapped("?p", "?r")).on("q:[b,h,s,d] k:[b,t,h,d] p:(0,2,3,1)"),
        // softmax(q·kᵀ [· c] [+ m]) · v, with or without the guard
        law("attention",                "(matmul (softmax 3 false (matmul ?q (transpose [0,1,3,2] ?k))) ?v)", "(attention false false false 1.0 false 0.0 0 ?q ?k ?v)").when(heads("?q", "?k", "?v")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e]"),
        law("attention-scaled",         "(matmul (softmax 3 false (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c)) ?v)", "(attention false false false ?z false 0.0 0 ?q ?k ?v)").when(heads("?q", "?k", "?v")).when(scale("?c", "?z")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.3"),
        law("attention-masked",         "(matmul (softmax 3 false (add (matmul ?q (transpose [0,1,3,2] ?k)) ?m)) ?v)", "(attention true false false 1.0 false 0.0 0 ?q ?k ?v ?m)").when(heads("?q", "?k", "?v")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] m:[b,1,s,t]"),
        law("attention-scaled-masked",  "(matmul (softmax 3 false (add (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c) ?m)) ?v)", "(attention true false false ?z false 0.0 0 ?q ?k ?v ?m)").when(heads("?q", "?k", "?v")).when(scale("?c", "?z")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.3 m:[b,1,s,t]"),
        // softcap · tanh(q·kᵀ · (c / softcap))
        law("attention-capped",         "(matmul (softmax 3 false (mul (tanh (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c)) ?cap)) ?v)", "(attention false false false ?z false ?y 0 ?q ?k ?v)").when(heads("?q", "?k", "?v")).when(capped("?c", "?cap", "?z", "?y")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.02 cap:const=30.0"),
        law("attention-capped-masked",  "(matmul (softmax 3 false (add (mul (tanh (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c)) ?cap) ?m)) ?v)", "(attention true false false ?z false ?y 0 ?q ?k ?v ?m)").when(heads("?q", "?k", "?v")).when(capped("?c", "?cap", "?z", "?y")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.02 cap:const=30.0 m:[b,1,s,t]"),
        law("attention-guarded",               "(matmul (select (isnan (softmax 3 false (matmul ?q (transpose [0,1,3,2] ?k)))) ?o (softmax 3 false (matmul ?q (transpose [0,1,3,2] ?k)))) ?v)", "(attention false false false 1.0 false 0.0 0 ?q ?k ?v)").when(heads("?q", "?k", "?v")).when(is("?o", 0.0)).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] o:const=0.0"),
        law("attention-scaled-guarded",        "(matmul (select (isnan (softmax 3 false (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c))) ?o (softmax 3 false (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c))) ?v)", "(attention false false false ?z false 0.0 0 ?q ?k ?v)").when(heads("?q", "?k", "?v")).when(is("?o", 0.0)).when(scale("?c", "?z")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.3 o:const=0.0"),
        law("attention-masked-guarded",        "(matmul (select (isnan (softmax 3 false (add (matmul ?q (transpose [0,1,3,2] ?k)) ?m))) ?o (softmax 3 false (add (matmul ?q (transpose [0,1,3,2] ?k)) ?m))) ?v)", "(attention true false false 1.0 false 0.0 0 ?q ?k ?v ?m)").when(heads("?q", "?k", "?v")).when(is("?o", 0.0)).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] m:[b,1,s,t] o:const=0.0"),
        law("attention-scaled-masked-guarded", "(matmul (select (isnan (softmax 3 false (add (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c) ?m))) ?o (softmax 3 false (add (mul (matmul ?q (transpose [0,1,3,2] ?k)) ?c) ?m))) ?v)", "(attention true false false ?z false 0.0 0 ?q ?k ?v ?m)").when(heads("?q", "?k", "?v")).when(is("?o", 0.0)).when(scale("?c", "?z")).on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.3 m:[b,1,s,t] o:const=0.0"),
        // Keys and values repeated for the heads of a group need not be: h queries share a key.
        law("grouped-heads",        "(attention ?b ?ca ?l ?z ?n ?y ?w ?q (reshape ?k3 (broadcast ?k2 (reshape ?k1 ?k))) (reshape ?v3 (broadcast ?v2 (reshape ?v1 ?v))))", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k ?v)").when(repeats("?k", ["?k1", "?k2", "?k3"])).when(repeats("?v", ["?v1", "?v2", "?v3"])).on("q:[b,6,s,d] k:[b,3,t,d] v:[b,3,t,e] k1:{b,3,1,t,d} k2:{b,3,2,t,d} k3:{b,6,t,d} v1:{b,3,1,t,e} v2:{b,3,2,t,e} v3:{b,6,t,e} b:false ca:false l:false z:0.5 n:false y:0.0 w:0"),
        law("grouped-heads-masked", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q (reshape ?k3 (broadcast ?k2 (reshape ?k1 ?k))) (reshape ?v3 (broadcast ?v2 (reshape ?v1 ?v))) ?m)", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k ?v ?m)").when(repeats("?k", ["?k1", "?k2", "?k3"])).when(repeats("?v", ["?v1", "?v2", "?v3"])).on("q:[b,6,s,d] k:[b,3,t,d] v:[b,3,t,e] m:[1,1,s,t] k1:{b,3,1,t,d} k2:{b,3,2,t,d} k3:{b,6,t,d} v1:{b,3,1,t,e} v2:{b,3,2,t,e} v3:{b,6,t,e} b:true ca:false l:false z:0.5 n:false y:0.0 w:0"),
        // Scores that a file widens before the softmax are products of widened operands, which attention reads as they are.
        law("product-widens",       "(convert false ?t (matmul ?a ?b))",  "(matmul (convert false ?t ?a) (convert false ?t ?b))").when(widening("?a", "?t")).when(unknown("?a")).when(unknown("?b")).on("a:f16[b,h,s,d] b:f16[b,h,d,t] t::f32"),
        law("factor-widens",        "(convert false ?t (mul ?x ?c))",     "(mul (convert false ?t ?x) ?n)").when(widening("?x", "?t")).when(scalar_of("?c", "?x", "?n")).on("x:f16[b,s] c:half=0.5 t::f32"),
        law("transpose-widens",     "(convert false ?t (transpose ?p ?x))", "(transpose ?p (convert false ?t ?x))").when(widening("?x", "?t")).on("x:f16[b,s,d] p:(0,2,1) t::f32"),
        law("reshape-widens",       "(convert false ?t (reshape ?d ?x))", "(reshape ?d (convert false ?t ?x))").when(widening("?x", "?t")).on("x:f16[b,s] d:{s,b} t::f32"),
        law("broadcast-widens",     "(convert false ?t (broadcast ?d ?x))", "(broadcast ?d (convert false ?t ?x))").when(widening("?x", "?t")).on("x:f16[1,s] d:{b,s} t::f32"),
        law("keys-as-they-are",     "(attention ?b ?ca ?l ?z ?n ?y ?w ?q (convert false ?t ?k) ?v)", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k ?v)").when(widening("?k", "?t")).on("q:[b,h,s,d] k:f16[b,h,t,d] v:[b,h,t,e] t::f32 b:false ca:false l:false z:0.5 n:false y:0.0 w:0"),
        law("values-as-they-are",   "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k (convert false ?t ?v))", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k ?v)").when(widening("?v", "?t")).on("q:[b,h,s,d] k:[b,h,t,d] v:f16[b,h,t,e] t::f32 b:false ca:false l:false z:0.5 n:false y:0.0 w:0"),
        law("masked-keys-as-they-are", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q (convert false ?t ?k) ?v ?m)", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k ?v ?m)").when(widening("?k", "?t")).on("q:[b,h,s,d] k:f16[b,h,t,d] v:[b,h,t,e] m:[s,t] t::f32 b:true ca:false l:false z:0.5 n:false y:0.0 w:0"),
        law("masked-values-as-they-are", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k (convert false ?t ?v) ?m)", "(attention ?b ?ca ?l ?z ?n ?y ?w ?q ?k ?v ?m)").when(widening("?v", "?t")).on("q:[b,h,s,d] k:[b,h,t,d] v:f16[b,h,t,e] m:[s,t] t::f32 b:true ca:false l:false z:0.5 n:false y:0.0 w:0"),
        // A mask that is only spread over batch and heads.
        law("mask-broadcasts",      "(attention true ?ca ?l ?z ?n ?y ?w ?q ?k ?v (broadcast ?d ?m))", "(attention true ?ca ?l ?z ?n ?y ?w ?q ?k ?v ?m)").on("q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,d] m:[1,1,s,t] d:{b,1,s,t} ca:false l:false z:0.5 n:false y:0.0 w:0"),
    ]
}
