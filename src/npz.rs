//! Arrays in numpy's files. In: an `.npz` archive or one `.npy` array, from a path or bytes. Out: [`HostTensor`]s, and back.
//!
//! Always holds: tensors are dense, row-major and little-endian whatever order the file had; object arrays, strings and complex
//! numbers are refused; a short or damaged file is an error, never a panic. Types that numpy lacks travel as bits: bf16 as
//! uint16, fp8 and types below 8 bits as one uint8 (or int8) per element ([`reinterpret`]).

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, Write};
use std::panic;
use std::path::Path;

use narae_isa::tensor::element_count;
use narae_isa::{Diagnostic, Diagnostics, Element, HostTensor, codes, files};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

/// An array of an archive that unpacks to more than this is refused if it is packed more than [`MOST_RATIO`] times: nobody's tensor is.
const MOST_UNPACKED: u64 = 1 << 28;
const MOST_RATIO: u64 = 200;
/// A header that claims to be longer is none: numpy writes a line of some hundred bytes.
const MOST_HEADER: u32 = 1 << 16;
/// Brackets in brackets of a header: the dictionary, its dims, and types of fields, which are refused later.
const MOST_NESTING: usize = 4;

/// Arrays by name, in the order of their names.
pub type Arrays = BTreeMap<String, HostTensor>;

/// Reads all arrays of an `.npz` file.
pub fn read(path: &Path) -> Result<Arrays, Diagnostics> {
    read_selected(path, "")
}

/// Reads the arrays whose names start with `prefix`, without the prefix.
pub fn read_selected(path: &Path, prefix: &str) -> Result<Arrays, Diagnostics> {
    let file = files::open_regular(path).map_err(|error| unreadable(path, Form::Archive, &error))?;
    from_reader(io::BufReader::new(file), prefix).map_err(|error| unreadable(path, Form::Archive, &error))
}

/// Reads one side of a call, `in` or `out`: the arrays below `CALL/SIDE/`, or all arrays without a call. It is an error if there
/// are none.
pub fn read_call(path: &Path, call: Option<&str>, side: &str) -> Result<Arrays, Diagnostics> {
    let Some(call) = call else { return read(path) };
    let prefix = format!("{}/{side}/", call.trim_end_matches('/'));
    let arrays = read_selected(path, &prefix)?;
    if !arrays.is_empty() {
        return Ok(arrays);
    }
    let all = read(path)?;
    let mut calls: Vec<&str> =
        all.keys().filter_map(|key| key.split_once(&format!("/{side}/"))).map(|key| key.0).collect();
    calls.dedup();
    let help = match calls.as_slice() {
        [] => String::from("the file has no calls: leave --call out"),
        calls => format!("the calls are {}", calls.join(", ")),
    };
    let what = format!("`{}` has no array below `{prefix}`", path.display());
    Err(Diagnostic::new(&codes::E0601, what).at_file(path.display().to_string()).help(help).into())
}

/// What a call says about lengths: the dims of all its inputs, and the integers of rank 0 or 1. Nothing else is read.
pub fn read_lengths(path: &Path, call: Option<&str>) -> Result<(BTreeMap<String, Vec<usize>>, Arrays), Diagnostics> {
    let prefix = call.map_or(String::new(), |call| format!("{}/in/", call.trim_end_matches('/')));
    let file = files::open_regular(path).map_err(|error| unreadable(path, Form::Archive, &error))?;
    lengths_from(io::BufReader::new(file), &prefix).map_err(|error| unreadable(path, Form::Archive, &error))
}

fn lengths_from(reader: impl Read + Seek, prefix: &str) -> io::Result<(BTreeMap<String, Vec<usize>>, Arrays)> {
    let mut archive = npyz::npz::NpzArchive::new(reader)?;
    let names: Vec<String> =
        archive.array_names().filter(|name| name.starts_with(prefix)).map(str::to_string).collect();
    let (mut shapes, mut values) = (BTreeMap::new(), Arrays::new());
    for name in names {
        check_size(&mut archive, &name)?;
        let Some(array) = archive.by_name(&name)? else { continue };
        let header = array.header().clone();
        let key = name[prefix.len()..].to_string();
        let dims: Result<Vec<usize>, _> = header.shape().iter().map(|&dim| usize::try_from(dim)).collect();
        let dims = dims.map_err(|_| invalid(format!("array `{name}`: a dim does not fit this machine")))?;
        if dims.len() <= 1 && !element_of(&header.dtype())?.0.is_float() {
            values.insert(key.clone(), read_body(&header, array.into_inner())?);
        }
        shapes.insert(key, dims);
    }
    Ok((shapes, values))
}

/// Reads the arrays of an archive in memory.
pub fn from_bytes(bytes: &[u8], prefix: &str) -> io::Result<Arrays> {
    from_reader(Cursor::new(bytes), prefix)
}

fn from_reader(reader: impl Read + Seek, prefix: &str) -> io::Result<Arrays> {
    let mut archive = npyz::npz::NpzArchive::new(reader)?;
    let names: Vec<String> =
        archive.array_names().filter(|name| name.starts_with(prefix)).map(str::to_string).collect();
    let mut arrays = Arrays::new();
    for name in names {
        check_size(&mut archive, &name)?;
        let Some(array) = archive.by_name(&name)? else { continue };
        let header = array.header().clone();
        let tensor = read_body(&header, array.into_inner())
            .map_err(|error| io::Error::new(error.kind(), format!("array `{name}`: {error}")))?;
        arrays.insert(name[prefix.len()..].to_string(), tensor);
    }
    Ok(arrays)
}

/// Refuses an array of an archive before anything is allocated for it: one that says other than its entry how long it is, or that is a
/// bomb, a few bytes that unpack to very many.
fn check_size<R: Read + Seek>(archive: &mut npyz::npz::NpzArchive<R>, name: &str) -> io::Result<()> {
    let entry = npyz::npz::file_name_from_array_name(name);
    let Ok(mut file) = archive.zip_archive().by_name(&entry) else { return Ok(()) };
    let (packed, unpacked) = (file.compressed_size(), file.size());
    if unpacked > MOST_UNPACKED && unpacked / MOST_RATIO > packed {
        return Err(invalid(format!("array `{name}`: {packed} bytes would unpack to {unpacked}")));
    }
    let mut counted = Counted { inner: &mut file, bytes: 0 };
    let header = header_of(&mut counted)?;
    let (head, size) = (counted.bytes, body_bytes(&header)?);
    match head.checked_add(size as u64) == Some(unpacked) {
        true => Ok(()),
        false => Err(invalid(format!(
            "array `{name}`: {} bytes of elements, {size} expected for dims {:?}",
            unpacked.saturating_sub(head),
            header.shape()
        ))),
    }
}

/// How deep brackets are nested.
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// The header of an array. The library takes a header to be as long as it claims, multiplies dims without looking, and needs twice the time
/// for every bracket in a bracket.
fn header_of(reader: &mut impl Read) -> io::Result<NpyHeader> {
    let mut head = Vec::new();
    reader.take(10).read_to_end(&mut head)?;
    if head.starts_with(b"\x93NUMPY") && head.len() == 10 {
        // Version 1 has two bytes for the length, versions 2 and 3 have four.
        let length = match head[6] {
            0 | 1 => u32::from(u16::from_le_bytes([head[8], head[9]])),
            _ => {
                reader.take(2).read_to_end(&mut head)?;
                head.get(8..12).map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            }
        };
        if length > MOST_HEADER {
            return Err(invalid(format!("the header claims {length} bytes, at most {MOST_HEADER} are read")));
        }
        reader.take(length.into()).read_to_end(&mut head)?;
    }
    if nesting(&head) > MOST_NESTING {
        return Err(invalid("the header is no description of an array"));
    }
    let read = panic::catch_unwind(|| NpyHeader::from_reader(head.as_slice()));
    read.unwrap_or_else(|_| Err(invalid("the dims overflow")))
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Bytes of the elements behind a header.
fn body_bytes(header: &NpyHeader) -> io::Result<usize> {
    let (element, _) = element_of(&header.dtype())?;
    let dims = header.shape().iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| invalid("a dim does not fit this machine"))?;
    // As in numpy, an axis of none is no excuse for other axes beyond what can be counted.
    let others: Vec<usize> = dims.iter().map(|&dim| dim.max(1)).collect();
    let counts = |dims: &[usize]| element_count(dims).and_then(|count| count.checked_mul(element.bytes()));
    counts(&others).and(counts(&dims)).ok_or_else(|| invalid("the dims overflow"))
}

/// Reads one `.npy` array.
pub fn read_array(path: &Path) -> Result<HostTensor, Diagnostics> {
    let file = files::open_regular(path).map_err(|error| unreadable(path, Form::Array, &error))?;
    let mut reader = io::BufReader::new(file);
    let header = header_of(&mut reader).map_err(|error| unreadable(path, Form::Array, &error))?;
    read_body(&header, reader).map_err(|error| unreadable(path, Form::Array, &error))
}

/// Reads the elements that follow a header.
fn read_body(header: &NpyHeader, reader: impl Read) -> io::Result<HostTensor> {
    let (element, swap) = element_of(&header.dtype())?;
    let dims = header.shape().iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| invalid("a dim does not fit this machine"))?;
    let size = body_bytes(header)?;
    let mut bytes = Vec::new();
    reader.take(size as u64).read_to_end(&mut bytes)?; // grows with what is there, not with what is claimed
    if bytes.len() != size {
        return Err(invalid(format!("{} bytes of elements, {size} expected for dims {dims:?}", bytes.len())));
    }
    if swap {
        bytes.chunks_exact_mut(element.bytes()).for_each(<[u8]>::reverse);
    }
    if header.order() == Order::Fortran {
        bytes = from_column_major(&dims, element.bytes(), &bytes);
    }
    HostTensor::new(element, dims, bytes).ok_or_else(|| invalid("the elements do not fill the dims"))
}

/// The element type of a numpy type, and whether its bytes must be swapped.
fn element_of(dtype: &DType) -> io::Result<(Element, bool)> {
    let DType::Plain(plain) = dtype else { return Err(invalid("structured arrays are not tensors")) };
    let element = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Bool, 1) => Element::Bool,
        (TypeChar::Int, 1) => Element::I8,
        (TypeChar::Int, 2) => Element::I16,
        (TypeChar::Int, 4) => Element::I32,
        (TypeChar::Int, 8) => Element::I64,
        (TypeChar::Uint, 1) => Element::U8,
        (TypeChar::Uint, 2) => Element::U16,
        (TypeChar::Uint, 4) => Element::U32,
        (TypeChar::Uint, 8) => Element::U64,
        (TypeChar::Float, 2) => Element::F16,
        (TypeChar::Float, 4) => Element::F32,
        (TypeChar::Float, 8) => Element::F64,
        _ => return Err(invalid(format!("numpy type `{plain}` has no counterpart; numbers and bools have"))),
    };
    Ok((element, plain.endianness() == Endianness::Big && element.bytes() > 1))
}

/// Row-major bytes of a column-major array.
fn from_column_major(dims: &[usize], size: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0usize; dims.len()];
    for _ in 0..bytes.len() / size {
        let flat = index.iter().zip(dims).rev().fold(0, |flat, (&i, &dim)| flat * dim + i);
        out.extend_from_slice(&bytes[flat * size..][..size]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// An `.npz` archive (deflated) with these arrays.
pub fn to_bytes(arrays: &Arrays) -> io::Result<Vec<u8>> {
    let mut writer = npyz::npz::NpzWriter::new(Cursor::new(Vec::new()));
    let zip = writer.zip_writer();
    for (name, tensor) in arrays {
        // The archive's default date (1980-01-01) keeps the bytes a function of the arrays alone.
        let options = npyz::zip::write::FileOptions::default()
            .last_modified_time(npyz::zip::DateTime::default())
            .large_file(true);
        zip.start_file(npyz::npz::file_name_from_array_name(name), options)?;
        zip.write_all(&header_bytes(tensor))?;
        zip.write_all(&tensor.bytes)?;
    }
    let cursor = zip.finish().map_err(|error| invalid(error.to_string()))?;
    Ok(cursor.into_inner())
}

/// One `.npy` array.
pub fn array_to_bytes(tensor: &HostTensor) -> Vec<u8> {
    let mut out = header_bytes(tensor);
    out.extend_from_slice(&tensor.bytes);
    out
}

/// The header of format version 1.0: magic, version, length, a Python dictionary padded to 64 bytes.
fn header_bytes(tensor: &HostTensor) -> Vec<u8> {
    let dims: Vec<String> = tensor.dims.iter().map(|dim| format!("{dim},")).collect();
    let dims = dims.join(" ");
    let mut text =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({dims}), }}", descriptor(tensor.element));
    let used = 10 + text.len() + 1;
    text.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

/// How numpy spells a type; the bits of types that it lacks travel as unsigned integers of their size.
fn descriptor(element: Element) -> &'static str {
    match element {
        Element::F32 => "<f4",
        Element::F64 => "<f8",
        Element::F16 => "<f2",
        Element::BF16 | Element::U16 => "<u2",
        Element::F8E4M3 | Element::F8E4M3FNUZ | Element::F8E5M2 | Element::F8E5M2FNUZ | Element::F8E8M0 => "|u1",
        Element::F4E2M1 | Element::U2 | Element::U4 | Element::U8 => "|u1",
        Element::I2 | Element::I4 | Element::I8 => "|i1",
        Element::I16 => "<i2",
        Element::I32 => "<i4",
        Element::U32 => "<u4",
        Element::I64 => "<i8",
        Element::U64 => "<u8",
        Element::Bool => "|b1",
    }
}

/// The tensor as `wanted`, where the file's type is the carrier of `wanted`'s bits; `None` where it is not.
pub fn reinterpret(tensor: HostTensor, wanted: Element) -> Option<HostTensor> {
    if tensor.element == wanted {
        return Some(tensor);
    }
    let narrow = wanted.bits() < 8 && matches!(tensor.element, Element::U8 | Element::I8);
    let carried = descriptor(tensor.element) == descriptor(wanted) || narrow;
    if !carried {
        return None;
    }
    let fits = |byte: &u8| match wanted.bits() {
        bits if bits >= 8 => true,
        bits if wanted.is_signed() && wanted.is_integer() => {
            (-(1i16 << (bits - 1))..1i16 << (bits - 1)).contains(&i16::from(*byte as i8))
        }
        bits => u16::from(*byte) < 1u16 << bits,
    };
    tensor.bytes.iter().all(fits).then_some(HostTensor { element: wanted, ..tensor })
}

/// One array where an archive is read, or the other way round: what most often is wrong with a file that is not damaged.
fn other_form(path: &Path, wanted: Form) -> Option<Diagnostics> {
    let mut start = [0; 6];
    files::open_regular(path).and_then(|mut file| file.read_exact(&mut start)).ok()?;
    let (what, help) = match (wanted, &start) {
        (Form::Archive, b"\x93NUMPY") => {
            ("it is one array without a name", "write an archive: numpy.savez(\"in.npz\", NAME_OF_INPUT=array)")
        }
        (Form::Array, [b'P', b'K', 3, 4, ..]) => {
            ("it is not one array but an archive of arrays", "write one array: numpy.save(\"ids.npy\", array)")
        }
        _ => return None,
    };
    let found = Diagnostic::new(&codes::E0802, format!("cannot read arrays from `{}`: {what}", path.display()));
    Some(found.at_file(path.display().to_string()).help(help).into())
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// What a file should have been.
#[derive(Clone, Copy)]
enum Form {
    Archive,
    Array,
}

fn unreadable(path: &Path, wanted: Form, error: &io::Error) -> Diagnostics {
    if let Some(problem) = other_form(path, wanted) {
        return problem;
    }
    let what = Diagnostic::new(&codes::E0802, format!("cannot read arrays from `{}`: {error}", path.display()));
    what.at_file(path.display().to_string())
        .help("write it with numpy.savez(path, name=array, …) or numpy.save(path, array)")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_tensor() -> impl Strategy<Value = HostTensor> {
        (prop::sample::select(Element::ALL), prop::collection::vec(0usize..4, 0..4)).prop_flat_map(|(element, dims)| {
            let count = element_count(&dims).unwrap() * element.bytes();
            prop::collection::vec(0u8..2, count)
                .prop_map(move |bytes| HostTensor::new(element, dims.clone(), bytes).unwrap())
        })
    }

    proptest! {
        #[test]
        fn arrays_survive_the_file(tensor in any_tensor(), name in "[a-z/.]{1,12}") {
            let arrays = Arrays::from([(name.clone(), tensor.clone())]);
            let back = from_bytes(&to_bytes(&arrays).unwrap(), "").unwrap();
            prop_assert_eq!(reinterpret(back[&name].clone(), tensor.element), Some(tensor));
        }

        #[test]
        fn damaged_files_are_errors(cut in 0usize..300, flip in 0usize..300) {
            let arrays = Arrays::from([("x".to_string(), HostTensor::from_f32(&[3, 4], &[1.5; 12]))]);
            let mut bytes = to_bytes(&arrays).unwrap();
            if let Some(byte) = bytes.get_mut(flip) { *byte ^= 0x55; }
            bytes.truncate(cut);
            let _ = from_bytes(&bytes, "");
        }
    }

    #[test]
    fn column_major_and_big_endian_are_turned() {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        let text = format!("{:<117}\n", "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }");
        file.extend_from_slice(&(text.len() as u16).to_le_bytes());
        file.extend_from_slice(text.as_bytes());
        for value in [1i16, 4, 2, 5, 3, 6] {
            file.extend_from_slice(&value.to_be_bytes());
        }
        let mut reader = file.as_slice();
        let header = NpyHeader::from_reader(&mut reader).unwrap();
        let tensor = read_body(&header, reader).unwrap();
        assert_eq!((tensor.element, tensor.to_i64_vec()), (Element::I16, vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn headers_are_not_believed() {
        let array = |version: u8, length: &[u8], text: &str| {
            [b"\x93NUMPY", &[version, 0][..], length, text.as_bytes()].concat()
        };
        let error = |bytes: Vec<u8>| header_of(&mut bytes.as_slice()).err().expect("a refusal").to_string();
        assert!(error(array(2, &[0xff; 4], "{")).contains("claims 4294967295 bytes"));
        assert!(!error(array(1, &[9, 0], "{")).is_empty(), "cut off");
        assert!(error(array(1, &[58, 0], &"{".repeat(58))).contains("no description of an array"), "not for ever");
        assert!(!error(b"PK".to_vec()).is_empty() && !error(Vec::new()).is_empty());
        for (shape, order) in [("4294967296, 4294967296, 2", "False"), ("0, 4294967296, 4294967296", "True")] {
            let text = format!("{{'descr': '|u1', 'fortran_order': {order}, 'shape': ({shape}), }}\n");
            let header = header_of(&mut array(1, &(text.len() as u16).to_le_bytes(), &text).as_slice());
            assert!(header.and_then(|header| body_bytes(&header)).unwrap_err().to_string().contains("overflow"));
        }
    }

    #[test]
    fn sizes_are_checked_before_anything_is_unpacked() {
        let write = |text: &str, bytes: &[u8]| {
            let mut writer = npyz::npz::NpzWriter::new(Cursor::new(Vec::new()));
            let zip = writer.zip_writer();
            zip.start_file("x.npy", npyz::zip::write::FileOptions::default()).unwrap();
            let mut file = b"\x93NUMPY\x01\x00".to_vec();
            let text = format!("{text:<117}\n");
            file.extend_from_slice(&(text.len() as u16).to_le_bytes());
            file.extend_from_slice(text.as_bytes());
            zip.write_all(&file).unwrap();
            zip.write_all(bytes).unwrap();
            zip.finish().unwrap().into_inner()
        };
        let error = |text: &str, bytes: &[u8]| from_bytes(&write(text, bytes), "").unwrap_err().to_string();
        let header = |count: u64| format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}");
        assert!(error(&header(1 << 40), &[0; 16]).contains("16 bytes of elements, 1099511627776 expected"));
        assert!(error(&header(15), &[0; 16]).contains("16 bytes of elements, 15 expected"));
        assert!(error(&header(u64::MAX), &[0; 16]).contains("array `x`") || cfg!(target_pointer_width = "32"));
        let bomb = write(&header(MOST_UNPACKED + 1), &vec![0; MOST_UNPACKED as usize + 1]);
        assert!(bomb.len() < 1 << 20 && from_bytes(&bomb, "").unwrap_err().to_string().contains("would unpack to"));
    }

    #[test]
    fn narrow_types_are_checked() {
        let bytes = |values: &[u8]| HostTensor::from_u8(&[values.len()], values);
        assert!(reinterpret(bytes(&[15, 0]), Element::U4).is_some());
        assert!(reinterpret(bytes(&[16]), Element::U4).is_none());
        assert!(reinterpret(bytes(&[0xF8]), Element::I4).is_some());
        assert!(reinterpret(bytes(&[0x08]), Element::I4).is_none());
        assert!(reinterpret(bytes(&[1]), Element::F32).is_none());
    }
}
