//! Which names of dims are not believed.
//!
//! In: the declarations of a model's inputs; the shapes of inputs that will be given; a finished import. Out: sets of doubted texts: at each place that
//! has such a text, the dim is a length of its own. Always holds: a claim is doubted for a reason only: the inputs that are given
//! contradict it, or the graph does, by making a number of a length that the exporter named.

use std::collections::{BTreeMap, BTreeSet};

use narae_isa::codes;
use onnx_protobuf::{GraphProto, ValueInfoProto};

use super::dim_names::parse;
use super::import::Importer;
use super::inputs::{bare_name, dimensions, name_of};
use crate::bounds::Shapes;
use crate::ir::Dim;

/// Texts of dims that are not believed.
pub(super) type Doubts = BTreeSet<String>;

/// The texts that inputs contradict: a name for two sizes, an expression that has another value.
pub(super) fn contradicted(graph: &GraphProto, calls: &[Shapes]) -> Doubts {
    calls.iter().flat_map(|shapes| contradicted_by(&graph.input, shapes)).collect()
}

fn contradicted_by(inputs: &[ValueInfoProto], shapes: &Shapes) -> Doubts {
    let given = inputs.iter().filter_map(|info| Some(dimensions(info).iter().zip(shapes.get(&info.name)?)));
    let places: Vec<_> = given.flatten().filter_map(|(dim, &extent)| Some((dim, name_of(dim)?, extent))).collect();
    let mut doubts = Doubts::new();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, name, extent) in places.iter().filter(|(dim, ..)| bare_name(dim).is_some()) {
        if *sizes.entry(name).or_insert(*extent) != *extent {
            doubts.insert((*name).to_string());
        }
    }
    for (_, text, extent) in places.iter().filter(|(dim, ..)| bare_name(dim).is_none()) {
        let mut size = |name: &str| sizes.get(name).filter(|_| !doubts.contains(name)).map(|&size| Dim::from(size));
        let claimed = parse(text).and_then(|expression| expression.dim(&mut size));
        if claimed.is_some_and(|claimed| claimed != Dim::from(*extent)) {
            doubts.insert((*text).to_string());
        }
    }
    doubts
}

/// More to doubt, the mildest first, after an import in which the graph contradicts what it claims of its inputs.
pub(super) fn suspects(importer: &Importer<'_>) -> Vec<Doubts> {
    let clash = importer.problems.iter().any(|problem| problem.code.id == codes::E0301.id);
    if !clash && literals(importer) == 0 {
        return Vec::new();
    }
    let texts = || importer.places.iter().map(|place| place.text);
    let is_name = |text: &str| parse(text).is_none_or(|expression| expression.is_name());
    let expressions: Doubts = texts().filter(|text| !is_name(text)).map(String::from).collect();
    let shared = texts().filter(|text| is_name(text) && texts().filter(|other| other == text).count() > 1);
    let names: Doubts = shared.map(String::from).collect();
    let more = |doubts: Doubts| -> Doubts { importer.doubts.union(&doubts).cloned().collect() };
    let all = more(expressions.union(&names).cloned().collect());
    let mut found = vec![more(expressions), all];
    found.dedup();
    found.retain(|doubts| *doubts != importer.doubts);
    found
}

/// Whether an import says more than another: it has no problems where the other has, or leaves a length open that the other made a number.
pub(super) fn better(new: &Importer<'_>, old: &Importer<'_>) -> bool {
    new.problems.is_empty() && (!old.problems.is_empty() || literals(new) < literals(old))
}

/// How many named places of inputs the graph has made numbers of.
fn literals(importer: &Importer<'_>) -> usize {
    let number = |dim: &Dim| importer.builder.graph.symbols.resolve(dim).as_const().is_some();
    importer.places.iter().filter(|place| number(&place.dim)).count()
}

/// Says what is not believed.
pub(super) fn note(importer: &mut Importer<'_>, by: &str) {
    let used = |text: &String| importer.places.iter().any(|place| place.text == text.as_str());
    let doubted: Vec<String> =
        importer.doubts.iter().filter(|text| used(text)).map(|text| format!("`{text}`")).collect();
    if !doubted.is_empty() {
        let names = doubted.join(", ");
        let sentence =
            format!("{by} contradict what the model says of the dims {names}: each place has its own length");
        importer.builder.graph.symbols.note(sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, dims: &[&str]) -> ValueInfoProto {
        let mut info = ValueInfoProto { name: name.to_string(), ..ValueInfoProto::default() };
        let shape = info.type_.mut_or_insert_default().mut_tensor_type().shape.mut_or_insert_default();
        for dim in dims {
            let mut named = onnx_protobuf::tensor_shape_proto::Dimension::new();
            named.set_dim_param((*dim).to_string());
            shape.dim.push(named);
        }
        info
    }

    fn doubted(shapes: &[(&str, &[usize])]) -> Vec<String> {
        let inputs =
            [input("q", &["batch", "seq"]), input("k", &["batch", "past"]), input("m", &["batch", "past + 1"])];
        let shapes = shapes.iter().map(|(name, dims)| ((*name).to_string(), dims.to_vec())).collect();
        contradicted_by(&inputs, &shapes).into_iter().collect()
    }

    #[test]
    fn only_what_inputs_contradict_is_doubted() {
        assert!(doubted(&[("q", &[2, 1]), ("k", &[2, 4]), ("m", &[2, 5])]).is_empty());
        assert_eq!(doubted(&[("q", &[2, 3]), ("k", &[2, 4]), ("m", &[2, 7])]), ["past + 1"]);
        assert_eq!(doubted(&[("q", &[2, 3]), ("k", &[3, 4]), ("m", &[2, 5])]), ["batch"]);
        assert!(doubted(&[("q", &[2, 3])]).is_empty(), "what is not given contradicts nothing");
        assert!(doubted(&[("m", &[2, 9])]).is_empty(), "nor does an expression of names that are not given");
    }
}
