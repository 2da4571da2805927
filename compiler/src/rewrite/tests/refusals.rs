//! What looks like the left side of a law and is not: no law may take any of it, and each condition of each law is there for one of them.
//!
//! A row is a law and an example (grammar in `mod.rs`) that its left pattern matches. Drawn adversarially: infinities, NaN, zeros, subnormal
//! numbers, one step beside the named number and a thousandth beside it, products that overflow, axes and ranks next to the right ones,
//! tables and masks that are not what they seem. [`every_condition_is_needed`] leaves each condition out and wants one of the rows to be taken.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::rewrite::law::Law;

/// Laws and what they refuse. `{}` in an example stands for each of the words behind it.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &[&str])] = &[
    ("gate", "g:[s,d] u:{}", &["const=0.5", "const=inf[1,1]"]),
    ("gate", "g:const=0.5 u:[s,d]", &[""]),
    ("gelu|gelu-halved-first|gelu-halved-sum", "x:[s,d] r:const={} o:const=1.0 h:const=0.5", NEAR_ROOT_HALF),
    ("gelu|gelu-halved-first|gelu-halved-sum", "x:[s,d] r:const=0.70710678 o:const={} h:const=0.5", NEAR_ONE),
    ("gelu|gelu-halved-first|gelu-halved-sum", "x:[s,d] r:const=0.70710678 o:const=1.0 h:const={}", NEAR_HALF),
    ("gelu|gelu-halved-first|gelu-halved-sum", "x:[s,d] r:const=0.70710678{}", &["[1,1,1] o:const=1.0 h:const=0.5", " o:const=1.0[1,1,1] h:const=0.5", " o:const=1.0 h:const=0.5[2,1,1]"]),
    ("gelu|gelu-halved-first|gelu-halved-sum", "x:f16[s,d] r:half=0.708 o:half=1.0 h:half=0.5", &[""]),
    ("gelu-divided", "x:[s,d] r:const={}", &["1.4142", "1.4142138", "-1.41421356", "inf", "nan", "0.0", "1.41421356[1,1,1]"]),
    ("gelu-tanh|gelu-tanh-halved-sum", "x:[s,d] h:const={} t:const=3.0 c:const=0.044715 r:const=0.79788456 o:const=1.0", NEAR_HALF),
    ("gelu-tanh|gelu-tanh-halved-sum", "x:[s,d] h:const=0.5 t:const={} c:const=0.044715 r:const=0.79788456 o:const=1.0", &["3.0000002", "2.9999998", "3.003", "inf", "nan"]),
    ("gelu-tanh|gelu-tanh-halved-sum", "x:[s,d] h:const=0.5 t:const=3.0 c:const={} r:const=0.79788456 o:const=1.0", &["0.0446837", "0.04472", "0.0447151", "inf", "nan", "0.0"]),
    ("gelu-tanh|gelu-tanh-halved-sum", "x:[s,d] h:const=0.5 t:const=3.0 c:const=0.044715 r:const={} o:const=1.0", &["0.7985229", "0.79788", "0.7978847", "inf", "nan"]),
    ("gelu-tanh|gelu-tanh-halved-sum", "x:[s,d] h:const=0.5 t:const=3.0 c:const=0.044715 r:const=0.79788456 o:const={}", NEAR_ONE),
    ("gelu-tanh|gelu-tanh-halved-sum", "x:[s,d] h:const=0.5 t:const=3.0 c:const=0.044715 r:const=0.79788456[1,1,1] o:const=1.0", &[""]),
    ("square-of-power", "x:[s,d] c:const={}", &["2.0015", "1.999", "2.0000002", "1.9999999", "inf", "-inf", "nan", "-2.0", "2.0[1,1,1]"]),
    ("square-of-power", "x:f16[s,d] c:half={}", &["2.002", "1.999", "inf"]),
    ("reciprocal", "x:pos[s,d] c:const={}", NEAR_ONE),
    ("reciprocal", "x:pos[s,d] c:const=1.0{}", &["[1,1,1]", "[3,1,1]"]),
    ("quotient-by-number", "x:[s,d] c:const={}", &["0.0", "-0.0", "inf", "-inf", "nan", "1e-39", "-1e-45", "3e38", "2.0[1,1,1]"]),
    ("quotient-by-number", "x:f16[s,d] c:half={}", &["60000", "0.00001", "inf"]),
    ("quotient-by-number", "x:[s,d] c:[d]", &[""]),
    ("product-with-one", "x:[s,d] c:const={}", NEAR_ONE),
    ("product-with-one", "x:f16[s,d] c:half={}", &["1.001", "0.9995", "inf"]),
    ("product-with-one", "x:[1,d] c:const=1.0{}", &["[1,1,1]", "[4,1]"]),
    ("sum-with-zero", "x:[s,d] c:const={}", &["1e-45", "-1e-45", "1e-39", "1e-30", "0.001", "inf", "-inf", "nan", "0.0[1,1,1]", "0.0[4,1,1]"]),
    ("sum-with-zero", "x:f16[s,d] c:half={}", &["-inf", "6e-8"]),
    ("numbers-combine", "x:[s,d] c:const={} d:const=1e30", &["1e30", "-1e30", "inf", "0.0", "nan", "1e-39", "1e-30"]),
    ("numbers-combine", "x:[s,d] c:const=1e-30 d:const={}", &["1e-30", "inf", "-inf", "0.0", "nan", "1e-39", "1e30"]),
    ("numbers-combine", "x:f16[s,d] c:half=300 d:half={}", &["300", "0.01"]),
    ("numbers-combine", "x:[s,d] c:const=0.5 d:{}", &["[1]", "const=3.0[1,1,1]"]),
    ("numbers-combine", "x:[s,d] c:[1] d:const=0.5", &[""]),
    ("there-and-back", "x:f32[s,d] t::f32 w::{}", &["f16", "bf16", "i32", "i64"]),
    ("there-and-back", "x:{}", &["f16[s,d] t::f16 w::bf16", "bf16[s,d] t::bf16 w::f16", "i64[s,d] t::i64 w::i32", "i64[s,d] t::i64 w::f32", "i32[s,d] t::i32 w::f32", "f64[s,d] t::f64 w::f32", "f16[s,d] t::f32 w::f32", "f16[s,d] t::bf16 w::f32", "i32[s,d] t::i32 w::bool", "bool[s,d] t::bool w::f8e8m0", "bool[s,d] t::i32 w::f32"]),
    ("conversion-to-itself", "x:f16[s,d] t::{}", &["f32", "bf16"]),
    ("softmax-narrow", "x:{}", &["f32[s,d] t::f32 a:1", "f16[s,d] t::bf16 a:1", "f16[s,d] t::f32 a:1", "f64[s,d] t::f64 a:1"]),
    ("transpose-of-nothing", "x:[2,3,4] p:{}", &["(0,2,1)", "(1,0,2)", "(2,1,0)"]),
    ("reshape-of-nothing", "x:[2,3] d:{}", &["{3,2}", "{6}", "{2,3,1}"]),
    ("broadcast-of-nothing", "x:[1,3] d:{}", &["{2,3}", "{1,1,3}"]),
    ("transpose-in-batches", "x:[2,3,4,5] e:{6,4,5} p:(0,2,1) d:{}", &["{2,3,4,5}", "{30,1,4}", "{2,12,5,1}", "{120}", "{6,20}"]),
    ("transpose-in-batches", "x:[2,3,4,5] e:{6,4,5} p:{} d:{2,3,5,4}", &["(1,0,2)", "(0,1,2)", "(2,1,0)"]),
    ("transpose-of-ones", "x:{}", &["[2,3,4] p:(1,0,2)", "[2,1,3] p:(2,1,0)", "[1,2,3] p:(0,2,1)"]),
    ("product-broadcasts|sum-broadcasts", "x:{}", &["[3] y:[3] d:{2,3}", "[1,3] y:[3] d:{2,3}", "[1,1] y:[1,3] d:{2,3}", "[3,1] y:[1] d:{3,2}"]),
    ("choice-broadcasts", "m:bool[1,3] d:{2,3} x:{}", &["[3] y:const=2.5", "const=1.5 y:[1]", "const=1.5[4,1,1] y:const=2.5"]),
    ("factor-of-left", "a:[1,2,1,d] b:[1,2,d,t] c:{}", NO_FACTORS),
    ("factor-of-left", "a:const=2.0[1,2,1,3] b:[1,2,3,t] c:const=0.5", &[""]),
    ("factor-of-right", "a:[1,2,s,3] b:[1,2,3,1] c:{}", NO_FACTORS),
    ("factor-of-right", "a:[1,2,s,3] b:const=2.0[1,2,3,1] c:const=0.5", &[""]),
    ("factor-of-transposed", "a:[1,2,1,3] p:(0,1,3,2) c:{}", &["const=inf", "const=nan", "const=0.0", "const=1e-39", "[1]", "const=0.5[3,1,1,1]", "const=0.5[4,1]"]),
    ("factor-of-transposed", "a:const=2.0[1,2,3,4] p:(0,1,3,2) c:const=0.5", &[""]),
    ("keys-in-two-steps", "q:[b,h,s,d] k:[b,h,t,d] p:(0,1,3,2)", &[""]),
    ("keys-in-two-steps", "q:[h,s,d] k:[h,t,d] p:(0,2,1)", &[""]),
    ("keys-in-two-steps", "q:[b,h,c,s,d] k:[b,h,t,c,d] p:(0,1,3,4,2)", &[""]),
    ("attention|attention-scaled|attention-masked|attention-scaled-masked|attention-guarded|attention-scaled-guarded|attention-masked-guarded|attention-scaled-masked-guarded|attention-capped|attention-capped-masked", "c:const=0.3 cap:const=30.0 o:const=0.0 m:[3,4] {}", &[
        "q:[2,4,3,d] k:[2,1,4,d] v:[2,1,4,e]", "q:[2,4,3,d] k:[2,1,4,d] v:[2,4,4,e]", "q:[2,4,3,d] k:[2,4,4,d] v:[2,1,4,e]", "q:[2,1,3,d] k:[2,4,4,d] v:[2,4,4,e]",
        "q:[1,4,3,d] k:[2,4,4,d] v:[2,4,4,e]", "q:[2,4,3,d] k:[1,4,4,d] v:[2,4,4,e]", "q:[2,4,3,d] k:[2,4,4,d] v:[1,4,4,e]", "q:[1,4,3,d] k:[1,4,4,d] v:[2,4,4,e]",
        "q:[3,d] k:[2,4,4,d] v:[2,4,4,e]", "q:[4,3,d] k:[2,4,4,d] v:[2,4,4,e]", "q:[2,4,3,d] k:[2,4,4,d] v:[4,4,e]", "q:[4,4,3,d] k:[4,4,4,d] v:[4,4,e]", "q:[2,4,3,d] k:[2,4,4,d] v:[4,e]"]),
    ("attention-scaled|attention-scaled-masked|attention-scaled-guarded|attention-scaled-masked-guarded", "q:[1,2,1,d] k:[1,2,4,d] v:[1,2,4,e] m:[4] o:const=0.0 c:{}", &["const=inf", "const=-inf", "const=nan", "const=0.0", "const=1e-39", "[1]", "const=0.3[2,1,1,1]", "const=0.3[3,1]"]),
    ("attention-masked|attention-scaled-masked|attention-masked-guarded|attention-scaled-masked-guarded|attention-capped-masked", "q:[1,2,1,d] k:[1,2,4,d] v:[1,2,4,e] c:const=0.3 cap:const=30.0 o:const=0.0 m:{}", &["[2,1,1,4]", "[1,1,3,4]", "[2,1,2,1,4]"]),
    ("attention-capped|attention-capped-masked", "q:[b,h,s,d] k:[b,h,4,d] v:[b,h,4,e] m:[4] c:const={}", &["0.02 cap:const=-30.0", "0.02 cap:const=0.0", "0.02 cap:const=inf", "0.02 cap:const=nan", "inf cap:const=30.0", "1e38 cap:const=30.0", "0.0 cap:const=30.0", "1e-39 cap:const=30.0", "0.02 cap:[1]"]),
    ("attention-guarded|attention-scaled-guarded|attention-masked-guarded|attention-scaled-masked-guarded", "q:[b,h,s,d] k:[b,h,4,d] v:[b,h,4,e] m:[4] c:const=0.3 o:const={}", &["1e-30", "1.0", "nan", "-inf"]),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,6,s,d] k:[2,3,4,d] v:[2,3,4,e] m:[s,4] k1:{2,1,3,4,d} k2:{2,2,3,4,d} k3:{2,6,4,d} v1:{2,3,1,4,e} v2:{2,3,2,4,e} v3:{2,6,4,e}", GIVEN),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,6,s,d] k:[2,3,4,d] v:[2,3,4,e] m:[s,4] k1:{2,3,1,4,d} k2:{2,3,2,4,d} k3:{2,6,4,d} v1:{2,1,3,4,e} v2:{2,2,3,4,e} v3:{2,6,4,e}", GIVEN),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,12,s,d] k:[2,3,4,d] v:[2,3,4,e] m:[s,2] k1:{2,3,1,4,d} k2:{2,3,2,4,d} k3:{2,12,2,d} v1:{2,3,1,4,e} v2:{2,3,2,4,e} v3:{2,12,2,e}", GIVEN),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,3,s,d] k:[2,3,4,d] v:[2,3,4,e] m:[s,8] k1:{2,3,1,4,d} k2:{2,3,2,4,d} k3:{2,3,8,d} v1:{2,3,1,4,e} v2:{2,3,2,4,e} v3:{2,3,8,e}", GIVEN),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,6,s,d] k:[1,3,4,d] v:[1,3,4,e] m:[s,4] k1:{1,3,1,4,d} k2:{2,3,2,4,d} k3:{2,6,4,d} v1:{1,3,1,4,e} v2:{2,3,2,4,e} v3:{2,6,4,e}", GIVEN),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,9,s,d] k:[2,3,4,d] v:[2,3,4,e] m:[s,4] k1:{2,1,3,4,d} k2:{2,3,3,4,d} k3:{2,9,4,d} v1:{2,3,1,4,e} v2:{2,3,3,4,e} v3:{2,9,4,e}", GIVEN),
    ("grouped-heads|grouped-heads-masked", "b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 q:[2,9,s,d] k:[2,3,4,d] v:[2,3,4,e] m:[s,4] k1:{2,3,1,4,d} k2:{2,3,3,4,d} k3:{2,9,4,d} v1:{2,1,3,4,e} v2:{2,3,3,4,e} v3:{2,9,4,e}", GIVEN),
    ("product-widens", "a:{}", &["f16[h,s,d] b:f16[h,d,t] t::f64", "f32[h,s,d] b:f32[h,d,t] t::f64", "f32[h,s,d] b:f32[h,d,t] t::f32", "bf16[h,s,d] b:bf16[h,d,t] t::f16", "half-const[h,s,d] b:f16[h,d,t] t::f32", "f16[h,s,d] b:half-const[h,d,t] t::f32"]),
    ("factor-widens", "x:{}", &["f16[1,s] c:half=0.5 t::f64", "f32[1,s] c:const=0.5 t::f64", "f16[1,s] c:half=0.0 t::f32", "f16[1,s] c:half=inf t::f32", "f16[1,s] c:half=nan t::f32", "f16[1,s] c:half=0.5[4,1] t::f32", "f16[1,s] c:half=0.5[1,1,1] t::f32", "f16[1,s] c:f16[1] t::f32", "half=2.0[1,3] c:half=0.5 t::f32", "f16[1,s] c:half=1e-6 t::f32"]),
    ("transpose-widens", "x:{}", &["f16[b,s,d] p:(0,2,1) t::f64", "f32[b,s,d] p:(0,2,1) t::f16", "f16[b,s,d] p:(0,2,1) t::bf16", "f32[b,s,d] p:(0,2,1) t::f32"]),
    ("reshape-widens", "x:{}", &["f16[b,s] d:{s,b} t::f64", "f32[b,s] d:{s,b} t::f16", "bf16[b,s] d:{s,b} t::f16", "f32[b,s] d:{s,b} t::f32"]),
    ("broadcast-widens", "x:{}", &["f16[1,s] d:{b,s} t::f64", "f32[1,s] d:{b,s} t::f16", "bf16[1,s] d:{b,s} t::f16", "f32[1,s] d:{b,s} t::f32"]),
    ("keys-as-they-are|masked-keys-as-they-are", "q:[b,h,s,d] v:[b,h,t,e] m:[s,t] b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 k:f64[b,h,t,d] t::f32", GIVEN),
    ("keys-as-they-are|masked-keys-as-they-are", "q:[b,h,s,d] v:[b,h,t,e] m:[s,t] b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 k:f32[b,h,t,d] t::f16", GIVEN),
    ("values-as-they-are|masked-values-as-they-are", "q:[b,h,s,d] k:[b,h,t,d] m:[s,t] b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 v:f64[b,h,t,e] t::f32", GIVEN),
    ("values-as-they-are|masked-values-as-they-are", "q:[b,h,s,d] k:[b,h,t,d] m:[s,t] b:{} ca:false l:false z:0.5 n:false y:0.0 w:0 v:f32[b,h,t,e] t::f16", GIVEN),
    ("rms-norm", "x:[2,4,4] a:{} e:const=1e-5", &["(1)", "(0)", "(1,2)", "(2,1)", "(0,1,2)"]),
    ("rms-norm", "x:[2,3,4] a:(2) e:{}", &["const=-1e-5", "const=inf", "const=-inf", "const=nan", "[1]", "const=1e-5[1,1,1,1]", "const=1e-5[4,1,1,1]"]),
    ("layer-norm", "x:[2,4,4] a:{} e:const=1e-5", &["(1) b:(2)", "(2) b:(1)", "(0) b:(0)", "(2,1) b:(2)", "(2) b:(2,1)", "(1,2) b:(1,2)"]),
    ("layer-norm", "x:[2,3,4] a:(2) b:(2) e:{}", &["const=-1e-5", "const=inf", "const=nan", "[1]", "const=1e-5[1,1,1,1]"]),
    ("mean-square", "x:[2,3,4] a:(2) n:{}", &["const=3.0", "const=5.0", "const=2.0", "const=4.0000005", "const=inf", "const=nan", "const=12.0", "[1]", "const=4.0[4]", "const=4.0[1,1,1,1]"]),
    ("mean-square", "x:[2,3,4] a:(1,2) n:const={}", &["4.0", "3.0", "24.0"]),
    ("rms-norm-gain", "v:1e-5 x:[2,3,4] g:{}", NO_ROWS),
    ("layer-norm-gain", "v:1e-5 x:[2,3,4] g:{}", NO_ROWS),
    ("layer-norm-bias", "v:1e-5 x:[2,3,4] g:const[4] b:{}", NO_ROWS),
    ("rms-norm-gain|layer-norm-gain", "v:1e-5 x:[2,3,1] g:const[4]", &[""]),
    ("rms-norm-narrow|rms-norm-gain-narrow", "v:1e-5 g:const[4] x:{}", &["f16[b,s,4] t::bf16", "f16[b,s,4] t::f32", "f32[b,s,4] t::f32", "f64[b,s,4] t::f64"]),
    ("rms-norm-gain-narrowed", "v:1e-5 {}", &["x:[b,s,4] t::f64 g:f64-const[4]", "x:[b,s,4] t::i32 g:i32-const[4]", "x:f16[b,s,4] t::bf16 g:bf16-const[4]", "x:[b,s,4] t::f16 g:f16[4]", "x:[2,3,4] t::f16 g:half-const[3,4]", "x:[2,3,4] t::f16 g:half-const[3,1]", "x:[2,3,4] t::f16 g:half-const[1]", "x:[2,3,4] t::f16 g:half-const[1,1,1,4]", "x:[2,3,1] t::f16 g:half-const[4]"]),
    // Where the halves of a rotation start, in what steps, over which part of the other axes.
    ("rope", "x:[2,3,3,8] c:[2,1,3,4] s:[2,1,3,4] ac:3 as:3 ax:3 d1:{2,3,3,4} t1:(1,1,1,1) d2:{2,3,3,4} t2:(1,1,1,1) s1:{}", &["{0,0,0,1} s2:{0,0,0,4}", "{0,0,0,0} s2:{0,0,0,3}", "{0,0,0,0} s2:{0,0,0,0}", "{0,0,0,4} s2:{0,0,0,0}", "{0,0,0,4} s2:{0,0,0,4}"]),
    ("rope", "x:[2,3,3,8] c:[2,1,3,4] s:[2,1,3,4] ac:3 as:3 ax:3 d1:{2,3,3,4} s1:{0,0,0,0} t1:(1,1,1,2) d2:{2,3,3,4} s2:{0,0,0,{}", &["1} t2:(1,1,1,2)", "4} t2:(1,1,1,1)"]),
    ("rope", "x:[2,3,3,8] c:[2,1,3,4] s:[2,1,3,4] ac:3 as:3 ax:3 d1:{2,3,3,4} s1:{0,0,0,0} t1:(1,1,1,1) d2:{2,3,3,4} {}", &["s2:{0,0,2,4} t2:(1,1,-1,1)", "s2:{0,0,0,7} t2:(1,1,1,-1)"]),
    ("rope", "x:[2,3,3,8] c:[2,1,3,4] s:[2,1,3,4] ac:3 as:3 ax:3 d1:{2,3,3,4} s1:{0,0,2,0} t1:(1,1,-1,1) d2:{2,3,3,4} s2:{0,0,0,4} t2:(1,1,1,1)", &[""]),
    ("rope", "x:[2,3,3,8] c:[2,1,3,4] s:[2,1,3,4] ac:3 as:3 ax:3 d1:{2,3,1,4} s1:{0,0,{},0} t1:(1,1,1,1) d2:{2,3,1,4} s2:{0,0,{},4} t2:(1,1,1,1)", &["0", "1"]),
    ("rope", "x:[2,3,3,8] c:[2,1,3,4] s:[2,1,3,4] ac:3 as:3 ax:3 d1:{2,3,3,{} t2:(1,1,1,1)", &["3} s1:{0,0,0,0} t1:(1,1,1,1) d2:{2,3,3,5} s2:{0,0,0,3}", "5} s1:{0,0,0,0} t1:(1,1,1,1) d2:{2,3,3,3} s2:{0,0,0,5}"]),
    // Tables that are doubled along another axis, and tables that widen what they rotate.
    ("rope", "x:[1,3,2,2] ax:3 d1:{1,3,2,1} s1:{0,0,0,0} t1:(1,1,1,1) d2:{1,3,2,1} s2:{0,0,0,1} t2:(1,1,1,1) c:[1,1,1,1] s:[1,1,1,1] {}", &["ac:2 as:3", "ac:3 as:2", "ac:2 as:2"]),
    ("rope", "x:[1,3,3,8] ac:3 as:3 ax:3 d1:{1,3,3,4} s1:{0,0,0,0} t1:(1,1,1,1) d2:{1,3,3,4} s2:{0,0,0,4} t2:(1,1,1,1) {}", &["c:[2,1,3,4] s:[1,1,3,4]", "c:[1,1,3,4] s:[2,1,3,4]", "c:[1,1,1,3,4] s:[1,1,3,4]  ac:4"]),
    ("rope-behind-transpose", "i:{} x:[2,3,4,8] c:[2,3,1,4] s:[2,3,1,4] p:(0,3,1,2)", GIVEN),
    ("rope-behind-transpose", "i:false x:[2,3,4,8] p:{}", &["(0,3,2,1) c:[2,3,1,4] s:[2,3,1,4]", "(0,2,1,3) c:[3,1,4] s:[2,3,1,4]", "(0,2,1,3) c:[2,3,1,4] s:[3,1,4]"]),
    ("product-of-doubled", "x:[2,2] a:1 c:{}", &["[1]", "const=0.5[4]", "const=0.5[2,1]", "const=0.5[1,1,1]"]),
    ("doubled-reshaped", "x:[2,3] a:{}", &["0 d:{2,6}", "1 d:{4,3}", "1 d:{12}", "1 d:{2,2,3}", "1 d:{12,1}"]),
    ("doubled-rows", "i:index[s,5] c:const{}", &["[5,6]", "[5,5]", "=1.0[5,5]", "[5,0]", "[5,6,2]"]),
    ("linear", "x:[b,s,4] w:{}", &["[4,3]", "const[b,4,3]"]),
    ("linear", "x:const[b,s,4] w:const[4,3]", &[""]),
    ("linear", "x:i32[b,s,4] w:i32-const[4,3]", &[""]),
    ("linear-bias", "x:[2,3,5] w:const[4,5] b:{}", &["[4]", "const[1]", "const[3,4]", "const[2,1,4]", "const[3,1]", "const[1,1,1,4]"]),
    ("linear-of-rows", "x:[2,5] w:const[4,5] d:{}", &["{4,2}", "{8}", "{2,2,2}", "{8,1}"]),
];

const NEAR_ONE: &[&str] =
    &["1.0005", "0.99901", "1.0000001", "0.99999994", "1.001", "0.999", "0.0", "-1.0", "inf", "-inf", "nan"];
const NEAR_HALF: &[&str] = &["0.5004", "0.4996", "0.50000006", "0.49999997", "inf", "nan", "-0.5"];
const NEAR_ROOT_HALF: &[&str] = &["0.70774317", "0.7071", "0.707107", "0.7070999", "-0.70710678", "inf", "nan", "0.0"];
/// Factors of a tensor of four axes, the second last of which is 1, that are none.
const NO_FACTORS: &[&str] = &[
    "const=inf",
    "const=-inf",
    "const=nan",
    "const=0.0",
    "const=1e-39",
    "[1]",
    "const=0.5[3,1,1,1]",
    "const=0.5[1,1,1,1,1]",
];
/// Whether an op with a mask or without it is meant.
const GIVEN: &[&str] = &["given"];
/// What is no row of a tensor of `[2,3,4]`.
const NO_ROWS: &[&str] = &["[4]", "const[3,4]", "const[2,1,4]", "const[3,1]", "const[1]", "const[1,1,1,4]"];

/// All rows, one law and one example each.
fn refused() -> Vec<(&'static str, String)> {
    let mut all = vec![];
    for (laws, example, words) in REFUSED {
        for (law, word) in laws.split('|').flat_map(|law| words.iter().map(move |word| (law, *word))) {
            let word = if word == "given" { if law.contains("masked") { "true" } else { "false" } } else { word };
            all.push((law, example.replace("{}", word)));
        }
    }
    all
}

pub(super) fn find(name: &str) -> Law {
    let mut laws = rules::laws().into_iter();
    laws.find(|law| law.name == name).unwrap_or_else(|| panic!("there is no law `{name}`"))
}

/// Whether a law takes an example: the term that it makes, or that it makes one without a type.
fn takes(law: Law, example: &str) -> Result<bool, String> {
    let left = trial(&law.left.parse().unwrap(), example, &mut Random(0x1234_5678_9abc_def1));
    right_side(&law.rewrite(), &left.graph).map(|right| right.is_some())
}

#[test]
fn what_is_no_left_side_is_not_taken() {
    let mut wrong = vec![];
    for (law, example) in refused() {
        match takes(find(law), &example) {
            Ok(false) => {}
            taken => wrong.push(format!("{law}: {example}: {taken:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A condition that is left out is one that a law takes what it must not with, or that binds what its right side names.
#[test]
fn every_condition_is_needed() {
    let rows = refused();
    let quiet = |law: Law, example: &str| {
        let left = trial(&law.left.parse().unwrap(), example, &mut Random(0x1234_5678_9abc_def1));
        catch_unwind(AssertUnwindSafe(|| right_side(&law.rewrite(), &left.graph).map(|right| right.is_some())))
    };
    let mut idle = vec![];
    for (number, name) in rules::laws().iter().map(|law| law.name).enumerate() {
        for condition in 0..rules::laws()[number].conditions.len() {
            let without = || {
                let mut law = rules::laws().swap_remove(number);
                drop(law.conditions.remove(condition));
                law
            };
            let binds = quiet(without(), rules::laws()[number].example).is_err();
            let own = || rows.iter().filter(|(law, _)| *law == name);
            let caught = own().any(|(_, example)| !matches!(quiet(without(), example), Ok(Ok(false))));
            if !binds && !caught {
                idle.push(format!("condition {condition} of `{name}`"));
            }
        }
    }
    assert!(idle.is_empty(), "nothing needs {}", idle.join(", "));
}

/// Examples that laws take beside their own: each type, each spelling.
#[rustfmt::skip]
const TAKEN: &[(&str, &str)] = &[
    ("gelu", "x:f16[s,d] r:half=0.70710678 o:half=1.0 h:half=0.5"),
    ("gelu", "x:bf16[s,d] r:bf16=0.70710678 o:bf16=1.0 h:bf16=0.5"),
    ("gelu", "x:f64[s,d] r:f64=0.7071067811865476 o:f64=1.0 h:f64=0.5"),
    ("gelu", "x:[s,d] r:const=0.70710678[1,1] o:const=1.0[d] h:const=0.5[s,1]"),
    ("gelu-divided", "x:f16[s,d] r:half=1.41421356"),
    ("gelu-tanh", "x:f16[s,d] h:half=0.5 t:half=3.0 c:half=0.044715 r:half=0.79788456 o:half=1.0"),
    ("square-of-power", "x:f16[s,d] c:half=2.0"),
    ("quotient-by-number", "x:f16[s,d] c:half=8.0"),
    ("quotient-by-number", "x:[s,d] c:const=-1e-30[1,1]"),
    ("product-with-one", "x:f64[s,d] c:f64=1.0[d]"),
    ("sum-with-zero", "x:[s,d] c:const=-0.0"),
    ("numbers-combine", "x:[s,d] c:const=1000 d:const=0.001"),
    ("numbers-combine", "x:f16[s,d] c:half=0.5 d:half=0.25"),
    ("there-and-back", "x:bf16[s,d] t::bf16 w::f32"),
    ("there-and-back", "x:f16[s,d] t::f16 w::f64"),
    ("there-and-back", "x:bf16[s,d] t::bf16 w::f64"),
    ("there-and-back", "x:f32[s,d] t::f32 w::f64"),
    ("there-and-back", "x:i32[s,d] t::i32 w::i64"),
    ("there-and-back", "x:bool[s,d] t::bool w::i32"),
    ("there-and-back", "x:bool[s,d] t::bool w::i64"),
    ("there-and-back", "x:bool[s,d] t::bool w::f32"),
    ("there-and-back", "x:i64[s,d] t::i64 w::i64"),
    ("softmax-narrow", "x:bf16[s,d] t::bf16 a:0"),
    ("transpose-in-batches", "x:[2,3] e:{1,2,3} p:(0,2,1) d:{3,2}"),
    ("transpose-of-ones", "x:[2,1,1,3] p:(1,0,3,2)"),
    ("product-broadcasts", "x:[1,3] y:[2,1] d:{2,3}"),
    ("product-broadcasts", "x:[2,3] y:[1] d:{2,3}"),
    ("factor-of-left", "a:[b,h,s,4] b:[b,h,4,t] c:const=-0.5[4]"),
    ("factor-of-left", "a:f16[b,h,s,4] b:f16[b,h,4,t] c:half=0.125"),
    ("attention-scaled", "q:[b,h,s,d] k:[b,h,t,d] v:[b,h,t,e] c:const=0.3[1,1,1,1]"),
    ("attention-masked", "q:[2,3,s,d] k:[2,3,t,d] v:[2,3,t,e] m:[2,3,s,t]"),
    ("grouped-heads", "b:false ca:false l:false z:0.5 n:false y:0.0 w:0 q:[b,12,s,d] k:[b,3,t,d] v:[b,3,t,e] k1:{b,3,1,t,d} k2:{b,3,2,t,d} k3:{b,6,t,d} v1:{b,3,1,t,e} v2:{b,3,2,t,e} v3:{b,6,t,e}"),
    ("product-widens", "a:bf16[h,s,d] b:bf16[h,d,t] t::f32"),
    ("rms-norm", "x:[s,d] a:(1) e:const=0.0"),
    ("rms-norm", "x:f16[s,d] a:(1) e:half=1e-5"),
    ("mean-square", "x:[2,3,4] a:(1,2) n:const=12.0"),
    ("rms-norm-narrow", "x:bf16[b,s,d] t::bf16 v:1e-5"),
    ("rms-norm-gain-narrowed", "x:[b,s,d] t::bf16 v:1e-5 g:bf16-const[1,1,d]"),
    ("rope", "x:[1,2,3,6] c:[3,3] s:[1,1,3] ac:1 as:2 ax:3 d1:{1,2,3,3} s1:{0,0,0,0} t1:(1,1,1,1) d2:{1,2,3,3} s2:{0,0,0,3} t2:(1,1,1,1)"),
    ("product-of-doubled", "x:[2,3] a:1 c:const=0.5[1,1]"),
    ("doubled-rows", "c:f16-const-doubled[5,6] i:index[s,2,5]"),
    ("linear", "x:[2,4] w:const[4,3]"),
    ("linear-bias", "x:[2,3,5] w:const[4,5] b:const[1,1,4]"),
];

#[test]
fn what_is_a_left_side_is_taken_and_equal() {
    let mut wrong = vec![];
    for (name, example) in TAKEN {
        let mut random = Random(0x0dd0_5eed_1234_5679);
        for _ in 0..5 {
            let trial = trial(&find(name).left.parse().unwrap(), example, &mut random);
            if let Err(message) = equal_sides(find(name), &trial) {
                wrong.push(format!("{name}: {example}: {message}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn equal_sides(law: Law, trial: &Trial) -> Result<(), String> {
    let right = right_side(&law.rewrite(), &trial.graph)?.ok_or("it is not taken")?;
    let [left, right] =
        [&trial.graph, &right].map(|graph| eval::evaluate(graph, &trial.inputs).map_err(|problem| problem.message));
    agree(&left?["y"], &right?["y"], tolerance(&trial.graph))
}
