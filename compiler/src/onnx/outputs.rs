//! The model's outputs: which values they are, and whether these are what the model declares.
//!
//! In: the output declarations of a graph whose nodes are imported. Out: outputs of the graph. Always holds: a contradicted type is an error;
//! a contradicted shape is a note, since exporters leave such declarations behind and nothing depends on them.

use std::collections::BTreeSet;

use narae_isa::{Diagnostic, codes};
use onnx_protobuf::{GraphProto, ValueInfoProto};

use super::import::{Importer, no_sequence, undefined};
use super::inputs::dimensions;
use super::tensor::element;
use crate::ir::{Dim, Value};

/// Adds the graph's outputs to the importer's graph.
pub(super) fn declare_outputs(importer: &mut Importer<'_>, graph: &GraphProto) {
    let mut names = BTreeSet::new();
    for output in &graph.output {
        let problem = match importer.lookup(&output.name) {
            Some(Some(value)) if importer.sequences.contains_key(&value) => no_sequence("the output is a Sequence"),
            Some(Some(value)) => {
                // ONNX lets an output be listed twice: it is one result all the same.
                if names.insert(output.name.as_str()) {
                    importer.builder.graph.add_output(output.name.as_str(), value);
                }
                let Some(problem) = contradicted_type(importer, output, value) else { continue };
                problem
            }
            // Its node was reported.
            Some(None) => continue,
            None => undefined(&output.name, "an output of the model"),
        };
        importer.problems.push(problem.at_node(&output.name, "output"));
    }
}

fn contradicted_type(importer: &Importer<'_>, output: &ValueInfoProto, value: Value) -> Option<Diagnostic> {
    let number = output.type_.as_ref().filter(|ty| ty.has_tensor_type())?.tensor_type().elem_type;
    let declared = element(Some(number).filter(|&number| number != 0)?).ok()?;
    let found = importer.builder.element(value);
    let message = format!("output `{}` is declared {declared}, but is {found}", output.name);
    (declared != found).then(|| Diagnostic::new(&codes::E0303, message))
}

/// Notes what is declared otherwise than it is, once all lengths are resolved.
pub(super) fn note_declarations(importer: &mut Importer<'_>, graph: &GraphProto) {
    for output in &graph.output {
        let shape = output.type_.as_ref().filter(|ty| ty.has_tensor_type()).map(|ty| ty.tensor_type().shape.is_some());
        let (Some(true), Some(Some(value))) = (shape, importer.lookup(&output.name)) else { continue };
        let declared: Vec<Option<i64>> =
            dimensions(output).iter().map(|dim| dim.has_dim_value().then(|| dim.dim_value())).collect();
        let found = importer.builder.dims(value);
        if declared.len() == found.len() && declared.iter().zip(&found).all(|(declared, found)| agree(*declared, found))
        {
            continue;
        }
        let symbols = &mut importer.builder.graph.symbols;
        let declared: Vec<String> =
            declared.iter().map(|size| size.map_or("?".to_string(), |size| size.to_string())).collect();
        let found: Vec<String> = found.iter().map(|dim| dim.display(symbols).to_string()).collect();
        let (declared, found) = (declared.join(", "), found.join(", "));
        symbols.note(format!(
            "output `{}` is declared [{declared}], but its nodes make [{found}], which holds",
            output.name
        ));
    }
}

/// A name agrees with everything, and so does a number with a length that is only known when the program runs.
fn agree(declared: Option<i64>, found: &Dim) -> bool {
    declared.is_none() || found.as_const().is_none() || declared == found.as_const()
}
