//! What an image says about itself: entries, tensors, state, the memory map.
//!
//! Always: stored as JSON without unknown keys; lengths are numbers or expressions of an entry's slots.

use serde::{Deserialize, Serialize};

use crate::descriptor::Memory;
use crate::dim::DimExpr;
use crate::element::Element;

/// The metadata of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Which program wrote it, with its version.
    pub producer: String,
    /// The model's name.
    pub model: String,
    /// The chip sheet, as TOML.
    pub chip: String,
    /// Entry points.
    pub entries: Vec<Entry>,
    /// Buffers that live between calls; zero at the start.
    pub state: Vec<StateBuffer>,
    /// The memory map.
    pub regions: Vec<Region>,
    /// What was chosen for each weight and operation, and why; for `narae explain`.
    pub decisions: serde_json::Value,
    /// What stayed f32 although narrower activations were asked for, and why; for `narae explain` and `inspect`.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub wide: serde_json::Value,
}

/// A point where a program can be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, such as `main`, `prefill`, `decode`.
    pub name: String,
    /// Index of its first instruction.
    pub pc: u32,
    /// Inputs in order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs in order.
    pub outputs: Vec<TensorInfo>,
    /// Lengths that the program reads at its start or computes; the dims of inputs and outputs refer to them as `s0`, `s1` ….
    pub slots: Vec<Slot>,
    /// Pairs of expressions of the slots that the model takes to be equal; a run in which they are not ends with an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equations: Vec<(DimExpr, DimExpr)>,
}

/// A tensor of an entry: dense, row-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorInfo {
    /// Its name in the model.
    pub name: String,
    /// Type of its elements.
    pub element: Element,
    /// Its dims. An input dim that is a bare slot defines the slot; all others are checked.
    pub dims: Vec<DimExpr>,
    /// Which memory it lies in.
    pub memory: Memory,
    /// Where it lies.
    pub address: u64,
    /// How many bytes are there for it.
    pub capacity_bytes: u64,
}

/// A length that is known when an entry starts, or computed by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its name in the model (`batch`, `sequence` …).
    pub name: String,
    /// DRAM address of the i64 that holds it.
    pub address: u64,
    /// The least value for which the model means something: every window of a convolution fits.
    #[serde(default)]
    pub min: i64,
    /// The greatest value that the program was compiled for.
    pub max: i64,
    /// Whether the program writes it (a length that data decides) instead of the runtime.
    pub computed: bool,
}

/// A buffer that lives between calls, such as a KV cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateBuffer {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub element: Element,
    /// Its dims at the maximum.
    pub dims: Vec<u64>,
    /// DRAM address.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

/// What a region of memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegionKind {
    /// Instructions; filled from `.text`.
    Code,
    /// Descriptor rows; filled from `.narae.desc`.
    Descriptors,
    /// Packed weights and constants; filled from `.narae.weights`, read-only.
    Weights,
    /// Inputs, outputs and slots.
    Io,
    /// State.
    State,
    /// Everything else.
    Scratch,
}

/// One region of the memory map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name, for people.
    pub name: String,
    /// What it is for.
    pub kind: RegionKind,
    /// Which memory.
    pub memory: Memory,
    /// First byte.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

impl Region {
    /// Whether a range of bytes lies inside.
    pub fn contains(&self, address: u64, bytes: u64) -> bool {
        let end = address.checked_add(bytes);
        address >= self.address && end.is_some_and(|end| end <= self.address.saturating_add(self.bytes))
    }
}

impl TensorInfo {
    /// The dims under these slot values, or why there are none.
    pub fn dims_at(&self, slots: &[i64]) -> Result<Vec<usize>, String> {
        let dim = |(axis, dim): (usize, &DimExpr)| {
            let value = dim.eval(slots).map_err(|error| format!("dim {axis} of `{}`: {error}", self.name))?;
            usize::try_from(value).map_err(|_| format!("dim {axis} of `{}` is {value}", self.name))
        };
        self.dims.iter().enumerate().map(dim).collect()
    }
}

impl Metadata {
    /// The region of a kind that exists once (code, descriptors, weights).
    pub fn region(&self, kind: RegionKind) -> Option<&Region> {
        self.regions.iter().find(|region| region.kind == kind)
    }
}
