//! A model that was opened: scanned, decoded, with its tensors still in their files.
//!
//! In: a path or bytes, and [`Limits`]. Out: a [`Model`], whose tensors can be looked up as `TensorData`. Always holds: the
//! decoder has seen only what the scan wrote; a tensor's bytes are counted against its dims before anything is allocated for them.

use std::path::{Path, PathBuf};

use narae_isa::files::open_regular;
use narae_isa::{Diagnostic, Diagnostics, codes, magic};
use onnx_protobuf::{Message as _, ModelProto};

use super::files::Registered;
use super::limits::Limits;
use super::wire::{Fault, FaultKind, Payload, scan};
use crate::compress::{FileId, Sources};

/// An ONNX model whose large tensors are still in its files.
#[derive(Debug)]
pub struct Model {
    pub(super) message: ModelProto,
    pub(super) sources: Sources,
    pub(super) file: FileId,
    pub(super) payloads: Vec<Payload>,
    pub(super) path: Option<PathBuf>,
    pub(super) limits: Limits,
}

impl Model {
    /// Opens the model at `path`.
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Model, Diagnostics> {
        let path = path.as_ref();
        let refused = |reason: String| {
            Diagnostic::new(&codes::E0101, format!("the model could not be opened: {reason}"))
                .at_file(path.display().to_string())
        };
        let file = open_regular(path).map_err(|error| refused(error.to_string()))?;
        let sources = Sources::new();
        let file = sources.add_file(path, file)?;
        Model::decode(sources, file, Some(path.to_path_buf()), limits)
    }

    /// A model from its bytes; it cannot have external data.
    pub fn from_bytes(bytes: Vec<u8>, limits: &Limits) -> Result<Model, Diagnostics> {
        let sources = Sources::new();
        let file = sources.add_bytes(Path::new("<bytes>"), bytes.into());
        Model::decode(sources, file, None, limits)
    }

    fn decode(sources: Sources, file: FileId, path: Option<PathBuf>, limits: &Limits) -> Result<Model, Diagnostics> {
        let name = sources.path(file).display().to_string();
        recognise(&sources, file, &name)?;
        let scan =
            scan(&Registered { sources: &sources, file }, &limits.wire).map_err(|fault| diagnose(fault, &name))?;
        let message = ModelProto::parse_from_bytes(&scan.message).map_err(|error| {
            Diagnostic::new(&codes::E0102, format!("the decoder refuses the model: {error}")).at_byte(name, 0)
        })?;
        Ok(Model { message, sources, file, payloads: scan.payloads, path, limits: limits.clone() })
    }

    /// The files that the weights' recipes read from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Where the model was opened, if it was a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The bounds it was opened with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Refuses files whose first bytes say that they are something else, with the way from there to ONNX.
fn recognise(sources: &Sources, file: FileId, name: &str) -> Result<(), Diagnostic> {
    let mut start = vec![0; usize::try_from(sources.length(file)).unwrap_or(usize::MAX).min(magic::LENGTH)];
    if sources.read_at(file, 0, &mut start).is_err() {
        return Ok(()); // the scan says why it cannot be read
    }
    match magic::instead_of_model(&start) {
        None => Ok(()),
        Some(format) => {
            let what = format!("the file is {}", format.name);
            Err(Diagnostic::new(&codes::E0102, what).at_byte(name, 0).help(format.advice))
        }
    }
}

/// The coded error for a fault of the scan.
fn diagnose(fault: Fault, file: &str) -> Diagnostic {
    let (code, help) = match fault.kind {
        // What is wrong from the first byte on was never an ONNX model.
        FaultKind::WireType | FaultKind::Group if fault.offset < 4 => (&codes::E0102, "pass the .onnx file itself"),
        FaultKind::Truncated => (&codes::E0103, "the file is cut off or damaged: fetch or export it again"),
        FaultKind::Group | FaultKind::WireType | FaultKind::Duplicate => {
            (&codes::E0104, "no ONNX exporter writes this: the file is damaged or hostile")
        }
        FaultKind::Missing => (&codes::E0111, "check that the file is a complete ONNX model"),
        FaultKind::Text => (&codes::E0113, "export the model again with plain names"),
        FaultKind::Limit => (
            &codes::E0105,
            "raise it with --limit if you trust the file: --limit nodes=N (or items, depth, bytes, rank)",
        ),
        FaultKind::Read => (&codes::E0101, "check the disk and the file's permissions"),
    };
    Diagnostic::new(code, fault.message).at_byte(file, fault.offset).help(help)
}
