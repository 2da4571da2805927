//! Every law against the evaluator: both sides of its example on random tensors of random shapes; and what must not be a law.
//!
//! The grammar of an example: items `variable:what`, where what is a random tensor `[b,s,8]` (with an element type before it,
//! `pos` for positive, `index[s,5]` for indices below 5), a random constant `const[k,n]`, `f16-const[d]`, `const-doubled[5,6]`, a constant that is
//! one number everywhere `const=0.5`, `f16=0.5`, `const=0.5[4,1]`, a list of integers `(0,2,1)`, a list of dims `{b,2*s}`, or an attribute.
//! Letters are extents, drawn anew in each trial. `const` is f32, `half` is f16.

mod bounds;
mod idioms;
mod in_situ;
mod random;
mod refusals;

use std::collections::BTreeMap;

use egg::{ENodeOrVar, Id, Language, Pattern, RecExpr, Rewrite};
use narae_isa::{Element, HostTensor};

use super::analysis::Region;
use super::law::{Law, law};
use super::node::{Attr, Head, Term};
use super::region::Cut;
use super::{analysis, conditions, extract, rules};
use crate::compress::{Recipe, Sources};
use crate::graph::{Graph, Provenance, TensorType, eval};
use crate::ir::Value;

const TRIALS: usize = 100;

/// A small generator, so that trials are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() as f64 / (1_u64 << 53) as f64)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

/// The extents of one trial.
struct Extents(BTreeMap<String, usize>);

impl Extents {
    fn one(&mut self, text: &str, random: &mut Random) -> usize {
        let factor = |factor: &str, extents: &mut BTreeMap<String, usize>, random: &mut Random| match factor.parse() {
            Ok(number) => number,
            Err(_) => *extents.entry(factor.to_owned()).or_insert_with(|| 1 + random.below(5)),
        };
        text.split('*').map(|part| factor(part, &mut self.0, random)).product()
    }

    fn list(&mut self, text: &str, random: &mut Random) -> Vec<usize> {
        text.split(',').filter(|part| !part.is_empty()).map(|part| self.one(part, random)).collect()
    }
}

/// What a variable of a law stands for in a trial.
enum Stand {
    Value(Value),
    Attribute(Attr),
}

/// One trial: the left side as a graph, and its inputs.
struct Trial {
    graph: Graph,
    inputs: BTreeMap<String, HostTensor>,
}

fn tensor(element: Element, dims: &[usize], mut value: impl FnMut() -> f64) -> HostTensor {
    let values: Vec<f64> = (0..dims.iter().product()).map(|_| value()).collect();
    HostTensor::from_f64_as(element, dims, &values)
}

fn between(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let (kind, rest) = text.split_once(open)?;
    Some((kind, rest.strip_suffix(close)?))
}

/// The element type that a kind of tensor names.
fn element_of(kind: &str) -> Element {
    match kind {
        "" | "pos" | "const" => Element::F32,
        "half" => Element::F16,
        "index" => Element::I64,
        name => Element::from_name(name).unwrap(),
    }
}

/// Adds what one item of an example says.
fn stand(name: &str, what: &str, trial: &mut Trial, extents: &mut Extents, random: &mut Random) -> Stand {
    let none = Provenance::none();
    let integers = |list: Vec<usize>| Attr::List(list.into_iter().map(|value| Attr::Integer(value as i64)).collect());
    if let Some((kind, value)) = what.split_once('=') {
        let (number, list) = between(value, '[', ']').unwrap_or((value, ""));
        let (number, dims): (f64, _) = (number.parse().unwrap(), extents.list(list, random));
        let constant = tensor(element_of(kind), &dims, || number);
        return Stand::Value(trial.graph.constant_tensor(constant, &none).unwrap());
    }
    if let Some((kind, list)) = between(what, '[', ']') {
        let (mut dims, parts): (_, Vec<&str>) = (extents.list(list, random), kind.split('-').collect());
        let element = element_of(parts[0]);
        let bound = if kind == "index" { dims.pop().unwrap() } else { 0 };
        let data = match element {
            Element::I64 if kind == "index" => tensor(element, &dims, || random.below(bound) as f64),
            Element::Bool => tensor(element, &dims, || random.below(2) as f64),
            _ if parts.contains(&"doubled") => doubled(element, &dims, random),
            _ if kind == "pos" => tensor(element, &dims, || random.real(0.5, 2.0)),
            _ => tensor(element, &dims, || random.real(-2.0, 2.0)),
        };
        if parts.contains(&"const") {
            return Stand::Value(trial.graph.constant(Recipe::inline(data), &none).unwrap());
        }
        let ty = TensorType::new(element, dims.iter().map(|dim| (*dim).into()).collect());
        trial.inputs.insert(name.to_owned(), data);
        return Stand::Value(trial.graph.add_input(name, ty));
    }
    if let Some((_, list)) = between(what, '(', ')') {
        let list = list.split(',').map(|item| Attr::Integer(item.parse().unwrap()));
        return Stand::Attribute(Attr::List(list.collect()));
    }
    if let Some((_, list)) = between(what, '{', '}') {
        return Stand::Attribute(integers(extents.list(list, random)));
    }
    let term: Pattern<Term> = what.parse().unwrap();
    let ENodeOrVar::ENode(Term { head: Head::Attribute(attr), .. }) = &term.ast[Id::from(0)] else {
        panic!("`{what}`")
    };
    Stand::Attribute(attr.clone())
}

/// A tensor whose rows repeat their first half.
fn doubled(element: Element, dims: &[usize], random: &mut Random) -> HostTensor {
    let width = dims[dims.len() - 1];
    let values = tensor(element, dims, || random.real(-2.0, 2.0)).to_f64_vec();
    let half = |at: usize| values[at / width * width + at % width % (width / 2)];
    HostTensor::from_f64_as(element, dims, &(0..values.len()).map(half).collect::<Vec<_>>())
}

/// The left side of a law on one draw of an example.
fn trial(left: &Pattern<Term>, example: &str, random: &mut Random) -> Trial {
    let mut trial = Trial { graph: Graph::new(example, Sources::new()), inputs: BTreeMap::new() };
    let mut extents = Extents(BTreeMap::new());
    let mut stands = BTreeMap::new();
    for item in example.split_whitespace() {
        let (name, what) = item.split_once(':').unwrap();
        let stand = stand(name, what, &mut trial, &mut extents, random);
        stands.insert(format!("?{name}"), stand);
    }
    let root = build(&left.ast, &stands, &mut trial.graph);
    trial.graph.add_output("y", root);
    trial
}

/// A pattern as nodes of a graph.
fn build(ast: &RecExpr<ENodeOrVar<Term>>, stands: &BTreeMap<String, Stand>, graph: &mut Graph) -> Value {
    let mut made: Vec<Result<Value, Attr>> = vec![];
    for node in ast.as_ref() {
        made.push(match node {
            ENodeOrVar::Var(variable) => match stands.get(&variable.to_string()) {
                Some(Stand::Value(value)) => Ok(*value),
                Some(Stand::Attribute(attr)) => Err(attr.clone()),
                None => panic!("the example does not say what {variable} is"),
            },
            ENodeOrVar::ENode(Term { head: Head::Attribute(attr), .. }) => Err(attr.clone()),
            ENodeOrVar::ENode(term) => {
                let child = |id: &Id| made[usize::from(*id)].clone();
                let split = term.head.attributes();
                let attributes: Vec<Attr> = term.children()[..split].iter().map(|id| child(id).unwrap_err()).collect();
                let operands: Vec<Value> = term.children()[split..].iter().map(|id| child(id).unwrap()).collect();
                let names = crate::graph::attribute::Names { symbols: &graph.symbols, sources: &graph.sources };
                let op = Term::to_op(&term.head, &attributes, &names).unwrap();
                let made = graph.add1(op, &operands, &Provenance::none());
                Ok(made.unwrap_or_else(|problem| panic!("the left side of `{}` has no type: {problem}", graph.name)))
            }
        });
    }
    made.pop().unwrap().unwrap()
}

/// The right side as a graph, if the law fires; an error says which terms it made that have no type.
fn right_side(rewrite: &Rewrite<Term, Region>, left: &Graph) -> Result<Option<Graph>, String> {
    let mut cut = Cut::new(left, &Default::default());
    let root = cut.class(left.outputs()[0].value);
    let before = cut.space[root].nodes.clone();
    let matches = rewrite.searcher.search_eclass(&cut.space, root);
    rewrite.apply(&mut cut.space, &[matches.expect("an example of a law has its left side")]);
    cut.space.rebuild();
    if !cut.space.analysis.clashes.is_empty() {
        return Err(format!("a clash: {:?}", cut.space.analysis.clashes));
    }
    let root = cut.space.find(root);
    let same = |term: &Term, old: &Term| {
        term.matches(old)
            && term.children.iter().zip(&old.children).all(|(a, b)| cut.space.find(*a) == cut.space.find(*b))
    };
    let is_old = |term: &Term| before.iter().any(|old| same(term, old));
    if cut.space[root].nodes.iter().all(is_old) {
        return Ok(None);
    }
    let choice = extract::extract(&cut.space, &|class, term| class != root || !is_old(term));
    Ok(Some(cut.rebuild(left, &choice).unwrap()))
}

fn agree(left: &HostTensor, right: &HostTensor, tolerance: f64) -> Result<(), String> {
    if left.element != right.element || left.dims != right.dims {
        return Err(format!("{}{:?} became {}{:?}", left.element, left.dims, right.element, right.dims));
    }
    let (a, b) = (left.to_f64_vec(), right.to_f64_vec());
    let scale = a.iter().filter(|x| x.is_finite()).fold(1.0_f64, |most, x| most.max(x.abs()));
    let allowed = scale * tolerance;
    match a.iter().zip(&b).position(|(x, y)| (x - y).abs() > allowed || x.is_nan() != y.is_nan()) {
        Some(at) => Err(format!("element {at}: {} became {}", a[at], b[at])),
        None => Ok(()),
    }
}

/// How far two orders of rounding may lie apart, relative to the greatest magnitude: where one side rounds to 16 bits on the way, the other
/// may not.
fn tolerance(graph: &Graph) -> f64 {
    let rounds_to = |element: Element| graph.values().any(|(_, value)| value.ty.element == element);
    match () {
        () if rounds_to(Element::BF16) => 2e-2,
        () if rounds_to(Element::F16) => 5e-3,
        () => 2e-5,
    }
}

/// Both sides of a law on many draws.
fn check(law: Law) -> Result<(), String> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (left, example): (Pattern<Term>, _) = (law.left.parse().unwrap(), law.example);
    let rewrite = law.rewrite();
    let (mut fired, mut tried) = (0, 0);
    while fired < TRIALS {
        tried += 1;
        if tried > 4 * TRIALS {
            return Err(format!("it fired in {fired} of {tried} trials"));
        }
        let trial = trial(&left, example, &mut random);
        let Some(right) = right_side(&rewrite, &trial.graph)? else { continue };
        fired += 1;
        let left =
            eval::evaluate(&trial.graph, &trial.inputs).map_err(|e| format!("the left side fails: {}", e.message))?;
        let right =
            eval::evaluate(&right, &trial.inputs).map_err(|e| format!("the right side fails: {}", e.message))?;
        agree(&left["y"], &right["y"], tolerance(&trial.graph))
            .map_err(|message| format!("trial {tried}: {message}"))?;
    }
    Ok(())
}

#[test]
fn every_law_holds() {
    let mut wrong = vec![];
    for law in rules::laws() {
        let name = law.name;
        if let Err(message) = check(law) {
            wrong.push(format!("{name}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique_and_kebab_case() {
    let mut names: Vec<&str> = rules::laws().iter().map(|law| law.name).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Wrong laws of the kind that a slip of the pen makes.
#[rustfmt::skip]
fn wrong_laws() -> Vec<Law> {
    vec![
        law("sub-commutes",       "(sub ?a ?b)",                        "(sub ?b ?a)").on("a:[s,d] b:[s,d]"),
        law("silu-of-tanh",       "(mul ?x (tanh ?x))",                 "(silu ?x)").on("x:[s,d]"),
        law("root-of-square",     "(sqrt (square ?x))",                 "?x").on("x:[s,d]"),
        law("norm-past-product",  "(matmul (rms_norm ?v ?x) ?w)",       "(rms_norm ?v (matmul ?x ?w))").on("v:1e-5 x:[s,d] w:[d,d]"),
        law("norm-without-mean",  "(mul ?x (rsqrt (add (reduce-sum ?a (square ?x)) ?e)))", "(rms_norm ?v ?x)").when(conditions::epsilon("?e", "?v")).on("x:[b,s,8] a:(2) e:const=1e-5"),
        law("gate-swapped",       "(mul (silu ?g) ?u)",                 "(mul-silu ?g ?u)").on("g:[s,d] u:[s,d]"),
        law("rope-interleaved",   "(rope false ?x ?c ?s)",              "(rope true ?x ?c ?s)").on("x:[b,h,s,8] c:[b,1,s,4] s:[b,1,s,4]"),
        law("scale-forgotten",    "(softmax 1 false (mul ?x ?c))",      "(softmax 1 false ?x)").on("x:[s,6] c:const=0.3"),
        law("transposed-weight",  "(linear ?x ?w)",                     "(linear ?x (transpose [1,0] ?w))").on("x:[s,4] w:[4,4]"),
        law("attention-causal",   "(attention false false false 1.0 false 0.0 0 ?q ?k ?v)", "(attention false true false 1.0 false 0.0 0 ?q ?k ?v)").on("q:[b,h,4,d] k:[b,h,4,d] v:[b,h,4,e]"),
    ]
}

#[test]
fn seeded_wrong_laws_are_caught() {
    for law in wrong_laws() {
        let name = law.name;
        let found = check(law);
        // By its numbers, not because it never fired.
        assert!(found.as_ref().is_err_and(|message| message.contains("became")), "`{name}` was not caught: {found:?}");
    }
}
