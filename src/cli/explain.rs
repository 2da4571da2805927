//! `narae explain E0123`: what an error code means. `narae explain M.narae [NODE]`: why each weight has its format.

use std::path::PathBuf;

use narae_compiler::compress::decide::{Candidate, Decision};
use narae_compiler::graph::retype::Kept;
use narae_isa::{Code, Diagnostic, Diagnostics, Image, codes};

use super::{Outcome, Voice, output, weights};

/// What to explain.
#[derive(clap::Args)]
pub struct Arguments {
    /// An image (.narae), an error code (E0123), or `all` for the list of codes
    #[arg(index = 1)]
    what: PathBuf,
    /// Only the weights whose names contain this
    #[arg(index = 2)]
    node: Option<String>,
}

/// Prints the explanation.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let what = arguments.what.to_string_lossy();
    if arguments.what.extension().is_some() {
        let image = Image::open(&arguments.what)?;
        return output::to_stdout(decisions(&image, arguments.node.as_deref())?.as_bytes());
    }
    if what == "all" {
        let lines: Vec<String> = codes::ALL.iter().map(|code| format!("{}  exit {:<2}  {}\n", code.id, code.exit, code.title)).collect();
        return output::to_stdout(lines.concat().as_bytes());
    }
    let code = codes::find(&what).ok_or_else(|| unknown(&what))?;
    output::to_stdout(page(code).as_bytes())
}

/// One paragraph a constant: the choice, why, and the runner-up; then the sum by formats, and what stayed f32.
fn decisions(image: &Image, node: Option<&str>) -> Result<String, Diagnostics> {
    let all = weights::decisions(image);
    let wanted = |names: &[String]| node.is_none_or(|node| names.iter().any(|name| name.contains(node)));
    let mut shown: Vec<String> = all.iter().filter(|decision| wanted(&decision.names)).map(paragraph).collect();
    let kept = weights::kept(image);
    match node {
        Some(node) => {
            let named = |row: &Kept| Kept {
                reason: row.reason.clone(),
                names: row.names.iter().filter(|name| name.contains(node)).cloned().collect(),
            };
            let named: Vec<Kept> = kept.iter().map(named).filter(|row| !row.names.is_empty()).collect();
            if shown.is_empty() && named.is_empty() {
                let what = format!("the image has no weight whose name contains `{node}`");
                return Err(Diagnostic::new(&codes::E0801, what)
                    .help("`narae explain` with the image alone lists all")
                    .into());
            }
            shown.push(weights::wide(&named, usize::MAX));
        }
        None => {
            shown.push(weights::by_format(&all));
            shown.push(weights::wide(&kept, usize::MAX));
        }
    }
    Ok(shown.concat())
}

fn paragraph(decision: &Decision) -> String {
    let [rows, columns] = decision.shape;
    let layer = decision.layer.map(|layer| format!(", layer {layer}")).unwrap_or_default();
    let mut out = format!("{} ({}{layer}) [{rows}, {columns}]\n", decision.names.join(" = "), decision.role);
    out.push_str(&format!("    {}\n    why: {}\n", candidate(&decision.chosen), decision.reason));
    if let Some(lambda) = decision.lambda {
        out.push_str(&format!("    at a price of {lambda:.3e} ns per nat of error\n"));
    }
    for other in decision.others.iter().take(2) {
        out.push_str(&format!("    instead of {}\n", candidate(other)));
    }
    out
}

fn candidate(candidate: &Candidate) -> String {
    format!(
        "{}: {}, {} ns per token, estimated error {:.2e} nats",
        candidate.storage,
        output::bytes(candidate.bytes),
        candidate.time_ns,
        candidate.error
    )
}

fn page(code: &Code) -> String {
    format!("{}: {}\n\n{}\n\nThe exit code is {}.\n", code.id, code.title, super::render::wrap(code.explanation, 100), code.exit)
}

fn unknown(what: &str) -> Diagnostics {
    Diagnostic::new(&codes::E0801, format!("there is no error code `{what}`")).help("`narae explain all` lists the codes").into()
}
