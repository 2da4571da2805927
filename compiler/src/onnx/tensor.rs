//! Tensors of the model file, whatever way their elements were written.
//!
//! In: a `TensorProto` of the scanned message. Out: [`TensorData`]: element type, dims, and the elements as little-endian bytes
//! (types below a byte packed, lowest bits first) which are in memory when they were few or had to be decoded, and stay in their file
//! otherwise. Always holds: there are exactly as many bytes as the dims say; dims are not negative and their product does
//! not overflow; nothing is allocated for a claim that the file does not fulfil.

use narae_isa::diagnostic::sized;
use narae_isa::{Diagnostic, Diagnostics, Element, HostTensor, codes};
use onnx_protobuf::TensorProto;
use onnx_protobuf::tensor_proto::DataLocation;
use protobuf::UnknownValueRef;

use super::files::ExternalFiles;
use super::limits::Limits;
use super::model::Model;
use super::schema::Scalar;
use super::wire::{PAYLOAD_FIELD, Payload};
use crate::compress::{FileId, Recipe};

/// A tensor of the file.
#[derive(Clone, Debug)]
pub struct TensorData {
    /// Element type.
    pub element: Element,
    /// Sizes.
    pub dims: Vec<usize>,
    /// The elements.
    pub store: Store,
}

/// Where a tensor's bytes are.
#[derive(Clone, Debug)]
pub enum Store {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file.
    File {
        /// The file.
        file: FileId,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// The element type that an ONNX number stands for, or its name if it is none of the chip's.
pub fn element(data_type: i32) -> Result<Element, String> {
    Ok(match data_type {
        1 => Element::F32,
        2 => Element::U8,
        3 => Element::I8,
        4 => Element::U16,
        5 => Element::I16,
        6 => Element::I32,
        7 => Element::I64,
        9 => Element::Bool,
        10 => Element::F16,
        11 => Element::F64,
        12 => Element::U32,
        13 => Element::U64,
        16 => Element::BF16,
        17 => Element::F8E4M3,
        18 => Element::F8E4M3FNUZ,
        19 => Element::F8E5M2,
        20 => Element::F8E5M2FNUZ,
        21 => Element::U4,
        22 => Element::I4,
        23 => Element::F4E2M1,
        24 => Element::F8E8M0,
        25 => Element::U2,
        26 => Element::I2,
        8 => return Err("string".into()),
        14 => return Err("complex64".into()),
        15 => return Err("complex128".into()),
        27 => return Err("float6e2m3".into()),
        28 => return Err("float6e3m2".into()),
        0 => return Err("undefined".into()),
        other => return Err(format!("number {other}")),
    })
}

/// Looks a tensor up: checks its claim and finds its bytes.
pub fn tensor(model: &Model, external: &mut ExternalFiles, proto: &TensorProto) -> Result<TensorData, Diagnostic> {
    let element = element(proto.data_type).map_err(|name| {
        Diagnostic::new(
            &codes::E0203,
            format!("tensor `{}` has element type {name}, which the chip does not have", proto.name),
        )
    })?;
    let claim = Claim::new(model, proto, element)?;
    let store = if proto.data_location.value() == DataLocation::EXTERNAL as i32 {
        external_store(model, external, proto, &claim)?
    } else if proto.data_location.value() != 0 {
        return Err(claim.damaged("its data is neither here nor in an external file"));
    } else {
        local_store(model, proto, &claim)?
    };
    Ok(TensorData { element, dims: claim.dims, store })
}

/// What a tensor says about itself.
struct Claim {
    name: String,
    element: Element,
    dims: Vec<usize>,
    /// Elements.
    count: u64,
    /// Bytes of the elements, packed.
    bytes: u64,
}

impl Claim {
    fn new(model: &Model, proto: &TensorProto, element: Element) -> Result<Claim, Diagnostic> {
        let wrong =
            |why: String| Diagnostic::new(&codes::E0110, format!("tensor `{}`: {why}", proto.name)).tensor(&proto.name);
        if proto.dims.len() > model.limits.rank {
            return Err(wrong(format!("{} dimensions, more than {}", proto.dims.len(), model.limits.rank)));
        }
        if proto.segment.is_some() {
            return Err(wrong("it is a segment of a larger tensor".into()));
        }
        let mut count = 1u64;
        let mut dims = Vec::with_capacity(proto.dims.len());
        for &dim in &proto.dims {
            let size = usize::try_from(dim).map_err(|_| wrong(format!("a dimension of {dim}")))?;
            dims.push(size);
        }
        // A zero anywhere makes it empty, whatever the others claim.
        if dims.contains(&0) {
            count = 0;
        } else {
            for &dim in &dims {
                count = count.checked_mul(dim as u64).ok_or_else(|| wrong(format!("dims {dims:?} overflow")))?;
            }
        }
        let bits =
            count.checked_mul(u64::from(element.bits())).ok_or_else(|| wrong(format!("dims {dims:?} overflow")))?;
        Ok(Claim { name: proto.name.clone(), element, dims, count, bytes: bits.div_ceil(8) })
    }

    fn damaged(&self, why: impl std::fmt::Display) -> Diagnostic {
        Diagnostic::new(
            &codes::E0110,
            format!("tensor `{}` of {} {:?}: {why}", self.name, self.element.name(), self.dims),
        )
        .tensor(&self.name)
        .help("the model is damaged: export it again")
    }

    fn expect(&self, found: u64) -> Result<(), Diagnostic> {
        if found == self.bytes {
            return Ok(());
        }
        Err(self.damaged(format!("it needs {}, but has {found}", sized(self.bytes))).bytes(self.bytes))
    }
}

fn external_store(
    model: &Model,
    external: &mut ExternalFiles,
    proto: &TensorProto,
    claim: &Claim,
) -> Result<Store, Diagnostic> {
    let bad =
        |why: String| Diagnostic::new(&codes::E0106, format!("tensor `{}`: {why}", proto.name)).tensor(&proto.name);
    let (mut location, mut offset, mut length, mut checksum) = (None, 0u64, None, None);
    for entry in &proto.external_data {
        let number = || {
            let plain = !entry.value.is_empty() && entry.value.bytes().all(|byte| byte.is_ascii_digit());
            let value = if plain { entry.value.parse::<u64>().ok() } else { None };
            value.ok_or_else(|| bad(format!("external {} `{}` is not a number of bytes", entry.key, entry.value)))
        };
        match entry.key.as_str() {
            "location" if location.is_none() => location = Some(entry.value.as_str()),
            "location" => return Err(bad("two locations".into())),
            "offset" => offset = number()?,
            "length" => length = Some(number()?),
            "checksum" => checksum = Some(entry.value.as_str()),
            // `basepath` is a note that onnx's own tools leave; unknown keys carry no meaning for the bytes.
            _ => {}
        }
    }
    let location = location.ok_or_else(|| bad("external data without a location".into()))?;
    let file = external
        .open(location, checksum.filter(|text| !text.is_empty()))
        .map_err(|error| error.note(format!("external data of tensor `{}`", proto.name)).tensor(&proto.name))?;
    if let Some(length) = length {
        claim.expect(length)?;
    }
    let (length, size) = (claim.bytes, model.sources.length(file));
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(Store::File { file, offset, length }),
        _ => {
            let why = format!("bytes {offset}..{offset}+{length} of `{location}`, which has {}", sized(size));
            Err(bad(why).bytes(offset.saturating_add(length)))
        }
    }
}

/// The number of the payload that the scan cut out of this tensor.
fn payload<'a>(model: &'a Model, proto: &TensorProto, claim: &Claim) -> Result<Option<&'a Payload>, Diagnostic> {
    let mut found = None;
    for (field, value) in proto.special_fields.unknown_fields().iter() {
        if let (PAYLOAD_FIELD, UnknownValueRef::Varint(number)) = (field, value) {
            if found.is_some() {
                return Err(claim.damaged("its data stands in several pieces"));
            }
            found = usize::try_from(number).ok().and_then(|number| model.payloads.get(number));
        }
    }
    Ok(found)
}

fn local_store(model: &Model, proto: &TensorProto, claim: &Claim) -> Result<Store, Diagnostic> {
    let cut = payload(model, proto, claim)?;
    let inline = [
        proto.raw_data.len(),
        proto.float_data.len(),
        proto.double_data.len(),
        proto.int32_data.len(),
        proto.int64_data.len(),
        proto.uint64_data.len(),
    ];
    let kinds = inline.iter().filter(|&&length| length > 0).count() + usize::from(cut.is_some());
    if kinds > 1 {
        return Err(claim.damaged("its data stands in several fields"));
    }
    if !proto.string_data.is_empty() {
        return Err(claim.damaged("its data is text"));
    }
    match cut {
        Some(payload) => cut_store(model, payload, claim),
        None if !proto.raw_data.is_empty() => {
            claim.expect(proto.raw_data.len() as u64)?;
            Ok(Store::Bytes(proto.raw_data.clone()))
        }
        None => {
            let field = inline.iter().position(|&length| length > 0).map(|place| [9, 4, 10, 5, 7, 11][place]);
            let Some(field) = field else {
                claim.expect(0)?;
                return Ok(Store::Bytes(Vec::new()));
            };
            check_field(field, claim)?;
            let bytes: Vec<u8> = match field {
                4 => proto.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
                10 => proto.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
                5 => narrow(proto.int32_data.iter().map(|&value| value as u64), claim),
                7 => narrow(proto.int64_data.iter().map(|&value| value as u64), claim),
                _ => narrow(proto.uint64_data.iter().copied(), claim),
            };
            claim.expect(bytes.len() as u64)?;
            Ok(Store::Bytes(bytes))
        }
    }
}

/// Whether elements of this type may stand in this field.
fn check_field(field: u32, claim: &Claim) -> Result<(), Diagnostic> {
    let fits = match claim.element {
        Element::F32 => field == 4,
        Element::F64 => field == 10,
        Element::I64 => field == 7,
        Element::U64 | Element::U32 => field == 11,
        _ => field == 5,
    };
    if fits { Ok(()) } else { Err(claim.damaged("its data stands in a field for another element type")) }
}

/// Bytes that one entry of an integer field fills: an element, or one byte of packed elements.
fn entry_bytes(element: Element) -> usize {
    (element.bits() as usize).div_ceil(8)
}

fn narrow(values: impl Iterator<Item = u64>, claim: &Claim) -> Vec<u8> {
    let width = entry_bytes(claim.element);
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    bytes
}

fn cut_store(model: &Model, payload: &Payload, claim: &Claim) -> Result<Store, Diagnostic> {
    let store = Store::File { file: model.file, offset: payload.offset, length: payload.length };
    match payload.scalar {
        Scalar::Raw => claim.expect(payload.length)?,
        Scalar::Fixed32 | Scalar::Fixed64 => {
            check_field(payload.field, claim)?;
            claim.expect(payload.length)?;
        }
        Scalar::Varint => {
            check_field(payload.field, claim)?;
            // Each element takes at least a byte, so a false claim is found before memory is taken for it.
            if claim.count > payload.length.saturating_mul(4) {
                return Err(claim.damaged(format!("its data has only {} bytes", payload.length)));
            }
            return Ok(Store::Bytes(decode_varints(model, payload, claim)?));
        }
    }
    Ok(store)
}

fn decode_varints(model: &Model, payload: &Payload, claim: &Claim) -> Result<Vec<u8>, Diagnostic> {
    let mut encoded = vec![0; usize::try_from(payload.length).map_err(|_| claim.damaged("it is too large"))?];
    model.sources.read_at(model.file, payload.offset, &mut encoded)?;
    let width = entry_bytes(claim.element);
    let mut bytes = Vec::with_capacity(claim.bytes as usize);
    let (mut value, mut shift) = (0u64, 0u32);
    for &byte in &encoded {
        if shift > 63 {
            return Err(claim.damaged("a number of more than 64 bits"));
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            bytes.extend_from_slice(&value.to_le_bytes()[..width]);
            (value, shift) = (0, 0);
        }
    }
    if shift != 0 {
        return Err(claim.damaged("the data ends inside a number"));
    }
    claim.expect(bytes.len() as u64)?;
    Ok(bytes)
}

/// The recipe of a tensor.
pub fn recipe(model: &Model, external: &mut ExternalFiles, proto: &TensorProto) -> Result<Recipe, Diagnostic> {
    let TensorData { element, dims, store } = tensor(model, external, proto)?;
    let packed = element.bits() < 8;
    let (source_element, source_dims) = match &store {
        _ if !packed => (element, dims.clone()),
        Store::Bytes(bytes) => (Element::U8, vec![bytes.len()]),
        Store::File { length, .. } => (Element::U8, vec![*length as usize]),
    };
    let source = match store {
        Store::Bytes(bytes) => {
            let tensor = HostTensor::new(source_element, source_dims, bytes);
            Recipe::inline(
                tensor.ok_or_else(|| Diagnostic::new(&codes::E0110, "the tensor's bytes do not fill its dims"))?,
            )
        }
        Store::File { file, offset, .. } => Recipe::file(source_element, source_dims, file, offset),
    };
    if packed { Recipe::unpack(&source, element, dims) } else { Ok(source) }
}

/// The tensor of a file that holds one `TensorProto`, such as `input_0.pb` of ONNX's own tests.
pub fn read_tensor(bytes: &[u8]) -> Result<HostTensor, Diagnostics> {
    // A model with this one initializer goes through the same scan as any other.
    let length = |length: usize| {
        let mut out = Vec::new();
        super::wire::write_varint(&mut out, length as u64);
        out
    };
    let graph = [vec![0x2a], length(bytes.len()), bytes.to_vec()].concat();
    let model = [vec![0x3a], length(graph.len()), graph].concat();
    let model = Model::from_bytes(model, &Limits::default())?;
    let mut external = ExternalFiles::new(&model.sources, None, false);
    let tensor = model.message.graph.initializer.first();
    let tensor = tensor.ok_or_else(|| Diagnostic::new(&codes::E0111, "the file does not hold a tensor"))?;
    Ok(recipe(&model, &mut external, tensor)?.evaluate(&model.sources)?)
}
