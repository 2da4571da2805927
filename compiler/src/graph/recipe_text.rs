//! The text form of a recipe: nested dictionaries that parse back to the same recipe.
//!
//! `{step = "transpose", type = "8x4xf32", of = {step = "file", type = "4x8xf32", path = "w.data", offset = 0}, permutation = [1, 0]}`.
//! Large constants in memory print as hexadecimal bytes, small ones as numbers. Files are named by path; parsing opens them.

use std::collections::BTreeMap;
use std::path::Path;

use narae_isa::tensor::element_count;
use narae_isa::{BinaryFunction, Element, HostTensor, Overflow, UnaryFunction};

use super::attribute::{Attribute, Field, Names};
use crate::compress::policy::Storage;
use crate::compress::{Recipe, Step};

/// Constants of at most so many elements print as numbers.
const NUMBERS: usize = 64;
/// Nested deeper than this is refused by the parser.
const MAXIMUM_NESTING: u32 = Recipe::MAXIMUM_DEPTH + 1;

type Map = BTreeMap<String, Attribute>;

impl Field for Recipe {
    fn to_attribute(&self, names: &Names) -> Attribute {
        print(self, names)
    }
    fn from_attribute(attribute: &Attribute, names: &Names) -> Result<Self, String> {
        parse(attribute, names, 0)
    }
}

/// `4x8xf32`, and `f32` for a scalar.
fn type_text(element: Element, dims: &[usize]) -> String {
    dims.iter().map(|dim| format!("{dim}x")).collect::<String>() + element.name()
}

fn parse_type(text: &str) -> Option<(Element, Vec<usize>)> {
    let mut parts: Vec<&str> = text.split('x').collect();
    let element = Element::from_name(parts.pop()?)?;
    let dims: Option<Vec<usize>> = parts.into_iter().map(|part| part.parse().ok()).collect();
    Some((element, dims?))
}

fn print(recipe: &Recipe, names: &Names) -> Attribute {
    let mut map = Map::new();
    let mut put = |key: &str, attribute: Attribute| {
        map.insert(key.to_string(), attribute);
    };
    put("type", Attribute::Text(type_text(recipe.element(), recipe.dims())));
    let of = |source: &Recipe| print(source, names);
    let sizes = |sizes: &[usize]| sizes.to_vec().to_attribute(names);
    let step = match recipe.step() {
        Step::Inline(bytes) => {
            let (key, attribute) = print_bytes(recipe, bytes);
            put(key, attribute);
            "inline"
        }
        Step::File { file, offset } => {
            put("path", Attribute::Text(names.sources.path(*file).display().to_string()));
            put("offset", Attribute::Integer(i64::try_from(*offset).unwrap_or(i64::MAX)));
            "file"
        }
        Step::Unpack(source) => {
            put("of", of(source));
            "unpack"
        }
        Step::Transpose(source, permutation) => {
            put("of", of(source));
            put("permutation", sizes(permutation));
            "transpose"
        }
        Step::Reshape(source) => {
            put("of", of(source));
            "reshape"
        }
        Step::Broadcast(source) => {
            put("of", of(source));
            "broadcast"
        }
        Step::Slice { source, starts, steps } => {
            put("of", of(source));
            put("starts", sizes(starts));
            put("steps", steps.to_attribute(names));
            "slice"
        }
        Step::Concat(parts, axis) => {
            put("parts", Attribute::List(parts.iter().map(of).collect()));
            put("axis", axis.to_attribute(names));
            "concat"
        }
        Step::Gather { source, axis, indices } => {
            put("of", of(source));
            put("axis", axis.to_attribute(names));
            put("indices", sizes(indices));
            "gather"
        }
        Step::Convert { source, saturate } => {
            put("of", of(source));
            put("saturate", Attribute::Bool(*saturate));
            "convert"
        }
        Step::Unary(function, source) => {
            put("of", of(source));
            put("function", function.to_attribute(names));
            "unary"
        }
        Step::Binary(function, left, right) => {
            put("left", of(left));
            put("right", of(right));
            put("function", function.to_attribute(names));
            "binary"
        }
        Step::Dequantize { codes, scale, zero, axis, block } => {
            put("of", of(codes));
            put("scale", of(scale));
            if let Some(zero) = zero {
                put("zero", of(zero));
            }
            put("axis", axis.to_attribute(names));
            put("block", block.to_attribute(names));
            "dequantize"
        }
        Step::Store { source, storage } => {
            put("of", of(source));
            put("storage", Attribute::Text(storage.to_string()));
            "store"
        }
    };
    map.insert("step".into(), Attribute::Text(step.into()));
    Attribute::Dictionary(map)
}

fn print_bytes(recipe: &Recipe, bytes: &[u8]) -> (&'static str, Attribute) {
    let element = recipe.element();
    let chunks = || bytes.chunks_exact(element.bytes());
    let readable = match element {
        Element::F32 | Element::F64 | Element::F16 => chunks().all(|bytes| element.load_f64(bytes).is_finite()),
        Element::U64 => false,
        _ => !element.is_float(),
    };
    if recipe.count() > NUMBERS || !readable {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        return ("bytes", Attribute::Text(hex));
    }
    let number = |bytes: &[u8]| match element.is_float() {
        true => Attribute::Float(element.load_f64(bytes)),
        false => Attribute::Integer(element.load_i64(bytes)),
    };
    ("values", Attribute::List(chunks().map(number).collect()))
}

fn get<T: Field>(map: &Map, key: &str, names: &Names) -> Result<T, String> {
    let attribute = map.get(key).ok_or_else(|| format!("a recipe with `{key}`"))?;
    T::from_attribute(attribute, names)
}

fn parse(attribute: &Attribute, names: &Names, nesting: u32) -> Result<Recipe, String> {
    let Attribute::Dictionary(map) = attribute else { return Err("a recipe in braces".into()) };
    if nesting > MAXIMUM_NESTING {
        return Err("a recipe that is nested less deeply".into());
    }
    let text = |key: &str| match map.get(key) {
        Some(Attribute::Text(text)) => Ok(text.as_str()),
        _ => Err(format!("a recipe with the text `{key}`")),
    };
    let (element, dims) = parse_type(text("type")?).ok_or("a type such as 4x8xf32")?;
    let recipe = |key: &str| match map.get(key) {
        Some(inner) => parse(inner, names, nesting + 1),
        None => Err(format!("a recipe with `{key}`")),
    };
    let made = match text("step")? {
        "inline" => return parse_inline(map, element, dims),
        "file" => {
            let path = Path::new(text("path")?);
            let file = names.sources.open(path).map_err(|error| format!("a file that opens ({})", error.message))?;
            let offset = u64::try_from(get::<i64>(map, "offset", names)?).map_err(|_| "an offset")?;
            Ok(Recipe::file(element, dims, file, offset))
        }
        "unpack" => Recipe::unpack(&recipe("of")?, element, dims),
        "transpose" => recipe("of")?.transpose(&get::<Vec<usize>>(map, "permutation", names)?),
        "reshape" => recipe("of")?.reshape(dims),
        "broadcast" => recipe("of")?.broadcast(dims),
        "slice" => {
            let (starts, steps) = (get::<Vec<usize>>(map, "starts", names)?, get::<Vec<i64>>(map, "steps", names)?);
            recipe("of")?.slice(&starts, &steps, dims)
        }
        "concat" => {
            let Some(Attribute::List(parts)) = map.get("parts") else { return Err("a list of parts".into()) };
            let parts: Result<Vec<Recipe>, String> = parts.iter().map(|part| parse(part, names, nesting + 1)).collect();
            Recipe::concat(&parts?, get(map, "axis", names)?)
        }
        "gather" => recipe("of")?.gather(get(map, "axis", names)?, &get::<Vec<usize>>(map, "indices", names)?),
        "convert" => Ok(recipe("of")?.convert(element, get(map, "saturate", names)?)),
        "unary" => recipe("of")?.unary(get::<UnaryFunction>(map, "function", names)?),
        "binary" => Recipe::binary(get::<BinaryFunction>(map, "function", names)?, &recipe("left")?, &recipe("right")?),
        "dequantize" => {
            let zero = if map.contains_key("zero") { Some(recipe("zero")?) } else { None };
            let (axis, block) = (get(map, "axis", names)?, get(map, "block", names)?);
            Recipe::dequantize(&recipe("of")?, &recipe("scale")?, zero.as_ref(), axis, block)
        }
        "store" => {
            let storage = Storage::parse(text("storage")?).map_err(|error| error.to_string())?;
            let source = recipe("of")?;
            if source.dims().len() != 2 {
                return Err("a matrix to store".into());
            }
            Ok(source.store(storage))
        }
        other => return Err(format!("a step of recipes, not `{other}`")),
    };
    made.map_err(|error| format!("a recipe that fits ({})", error.message))
}

fn parse_inline(map: &Map, element: Element, dims: Vec<usize>) -> Result<Recipe, String> {
    let count = element_count(&dims).ok_or("dims that do not overflow")?;
    let mut bytes = Vec::new();
    match (map.get("values"), map.get("bytes")) {
        (Some(Attribute::List(values)), None) => {
            for value in values {
                let mut one = [0u8; 8];
                match value {
                    Attribute::Integer(value) => element.store_i64(*value, Overflow::Wrap, &mut one),
                    Attribute::Float(value) => element.store_f64(*value, Overflow::Wrap, &mut one),
                    _ => return Err("a list of numbers".into()),
                }
                bytes.extend_from_slice(&one[..element.bytes()]);
            }
        }
        (None, Some(Attribute::Text(hex))) => {
            let digits: Option<Vec<u8>> = hex.bytes().map(|c| char::from(c).to_digit(16).map(|d| d as u8)).collect();
            let digits = digits.ok_or("hexadecimal digits")?;
            bytes.extend(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)));
        }
        _ => return Err("`values` or `bytes`".into()),
    }
    let tensor = HostTensor::new(element, dims, bytes);
    tensor.map(Recipe::inline).ok_or_else(|| format!("{count} elements"))
}
