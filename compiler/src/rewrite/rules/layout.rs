//! Layout: transposes, reshapes and broadcasts that compose, cancel or move past elementwise ops.

use crate::rewrite::conditions::*;
use crate::rewrite::law::{Law, law};

#[rustfmt::skip]
pub fn laws() -> Vec<Law> {
    vec![
        law("transposes-compose",   "(transpose ?p (transpose ?q ?x))", "(transpose ?r ?x)").when(composed("?p", "?q", "?r")).on("x:[a,b,c] p:(1,0,2) q:(2,0,1)"),
        law("transpose-of-nothing", "(transpose ?p ?x)",               "?x").when(identity("?p")).on("x:[a,b,c] p:(0,1,2)"),
        law("reshapes-compose",     "(reshape ?d (reshape ?e ?x))",    "(reshape ?d ?x)").on("x:[a,b,c] e:{a*b,c} d:{c,a,b}"),
        law("reshape-of-nothing",   "(reshape ?d ?x)",                 "?x").when(keeps_type("?x")).on("x:[a,b] d:{a,b}"),
        law("broadcast-of-nothing", "(broadcast ?d ?x)",               "?x").when(keeps_type("?x")).on("x:[a,b] d:{a,b}"),
        // A transpose of the last two axes with the batch axes flattened around it.
        law("transpose-in-batches", "(reshape ?d (transpose ?p (reshape ?e ?x)))", "(transpose ?q (reshape ?f ?x))").when(flat_batches("?d", "?p", "?e", "?q", "?f")).on("x:[a,b,c,f] e:{a*b,c,f} p:(0,2,1) d:{a,b,f,c}"),
        // A transpose that only moves axes of extent 1 is a reshape.
        law("transpose-of-ones",    "(transpose ?p ?x)",               "(reshape ?d ?x)").when(moves_only_ones("?p", "?x", "?d")).on("x:[a,1,c] p:(1,0,2)"),
        // A broadcast that the elementwise op would do by itself.
        law("product-broadcasts",   "(mul ?x (broadcast ?d ?y))",      "(mul ?x ?y)").when(broadcasts_anyway("?x", "?y")).on("x:[a,b,c] y:[c] d:{a,1,c}"),
        law("sum-broadcasts",       "(add ?x (broadcast ?d ?y))",      "(add ?x ?y)").when(broadcasts_anyway("?x", "?y")).on("x:[a,b,c] y:[c] d:{a,1,c}"),
        law("choice-broadcasts",    "(select (broadcast ?d ?m) ?x ?y)", "(broadcast ?d (select ?m ?x ?y))").when(is_number("?x")).when(is_number("?y")).when(keeps_dims("?d")).on("m:bool[1,c] x:const=1.5 y:const=2.5 d:{b,c}"),
    ]
}
