//! Operators that work on each element: arithmetic, comparison, logic, choice, conversion.

use narae_isa::{BinaryFunction, CompareFunction, Element, UnaryFunction};

use super::source::element_attribute;
use crate::graph::Op;
use crate::ir::Value;
use crate::onnx::builder::{Built, mismatch, unsupported};
use crate::onnx::call::{Call, NEWEST, Row, microsoft, onnx};

macro_rules! unary {
    ($name:literal, $since:literal, $types:literal, $function:ident) => {
        onnx($name, $since, NEWEST, $types, |c| {
            let x = c.single()?;
            c.attributes.ignore(&["consumed_inputs"]);
            Ok(vec![c.unary(UnaryFunction::$function, x)?])
        })
    };
}

macro_rules! binary {
    ($name:literal, $since:literal, $types:literal, $function:ident) => {
        onnx($name, $since, NEWEST, $types, |c| {
            let (a, b) = c.pair()?;
            Ok(vec![c.binary(BinaryFunction::$function, a, b)?])
        })
    };
}

macro_rules! compare {
    ($name:literal, $since:literal, $types:literal, $function:ident) => {
        onnx($name, $since, NEWEST, $types, |c| {
            let (a, b) = c.pair()?;
            Ok(vec![c.compare(CompareFunction::$function, a, b)?])
        })
    };
}

macro_rules! variadic {
    ($name:literal, $since:literal, $function:ident) => {
        onnx($name, $since, NEWEST, "float, integer", |c| {
            let operands = c.all()?;
            Ok(vec![fold(c, BinaryFunction::$function, &operands)?])
        })
    };
}

pub(super) const ROWS: &[Row] = &[
    binary!("Add", 7, "float, integer", Add),
    binary!("Sub", 7, "float, integer", Sub),
    binary!("Mul", 7, "float, integer", Mul),
    binary!("Div", 7, "float, integer", Div),
    onnx("Pow", 7, NEWEST, "float, integer", pow),
    onnx("Mod", 10, NEWEST, "float, integer", modulo),
    binary!("And", 7, "bool", And),
    binary!("Or", 7, "bool", Or),
    binary!("Xor", 7, "bool", Xor),
    binary!("BitwiseAnd", 18, "integer", And),
    binary!("BitwiseOr", 18, "integer", Or),
    binary!("BitwiseXor", 18, "integer", Xor),
    onnx("BitShift", 11, NEWEST, "unsigned integer", bit_shift),
    compare!("Equal", 7, "any", Eq),
    compare!("Less", 7, "float, integer", Lt),
    compare!("LessOrEqual", 12, "float, integer", Le),
    compare!("Greater", 7, "float, integer", Gt),
    compare!("GreaterOrEqual", 12, "float, integer", Ge),
    variadic!("Max", 6, Max),
    variadic!("Min", 6, Min),
    variadic!("Sum", 6, Add),
    onnx("Mean", 6, NEWEST, "float", mean),
    unary!("Neg", 6, "float, integer", Neg),
    unary!("Abs", 6, "float, integer", Abs),
    unary!("Exp", 6, "float", Exp),
    unary!("Log", 6, "float", Log),
    unary!("Sqrt", 6, "float", Sqrt),
    unary!("Reciprocal", 6, "float", Reciprocal),
    unary!("Floor", 6, "float", Floor),
    unary!("Ceil", 6, "float", Ceil),
    unary!("Round", 11, "float", Round),
    unary!("Sign", 9, "float, integer", Sign),
    unary!("Erf", 9, "float", Erf),
    unary!("Sin", 7, "float", Sin),
    unary!("Cos", 7, "float", Cos),
    unary!("Tan", 7, "float", Tan),
    unary!("Asin", 7, "float", Asin),
    unary!("Acos", 7, "float", Acos),
    unary!("Atan", 7, "float", Atan),
    unary!("Sinh", 9, "float", Sinh),
    unary!("Cosh", 9, "float", Cosh),
    unary!("Asinh", 9, "float", Asinh),
    unary!("Acosh", 9, "float", Acosh),
    unary!("Atanh", 9, "float", Atanh),
    unary!("Not", 1, "bool", Not),
    unary!("BitwiseNot", 18, "integer", BitwiseNot),
    unary!("IsNaN", 9, "float", IsNan),
    onnx("IsInf", 10, NEWEST, "float", is_inf),
    onnx("Where", 9, NEWEST, "any", select),
    onnx("Cast", 6, NEWEST, "any", cast),
    onnx("CastLike", 15, NEWEST, "any", cast_like),
    onnx("BitCast", 26, NEWEST, "any", bit_cast),
    onnx("Clip", 6, NEWEST, "float, integer", clip),
    microsoft("BiasAdd", "float", bias_add),
];

/// `((a ∘ b) ∘ c) ∘ …`
fn fold(c: &mut Call, function: BinaryFunction, operands: &[Value]) -> Built {
    let Some((&first, rest)) = operands.split_first() else { return Err(mismatch("there are no operands")) };
    rest.iter().try_fold(first, |sum, &operand| c.binary(function, sum, operand))
}

fn mean(c: &mut Call) -> Built<Vec<Value>> {
    let operands = c.all()?;
    let sum = fold(c, BinaryFunction::Add, &operands)?;
    Ok(vec![c.with_number(BinaryFunction::Div, sum, operands.len() as f64)?])
}

fn pow(c: &mut Call) -> Built<Vec<Value>> {
    let (base, exponent) = c.pair()?;
    let element = c.element(base);
    if c.element(exponent) == element {
        return Ok(vec![c.binary(BinaryFunction::Pow, base, exponent)?]);
    }
    // The result has the type of the base; a float exponent of integers is applied in floats.
    let through = match (element.is_float(), c.element(exponent).is_float()) {
        (true, _) | (false, false) => element,
        (false, true) => Element::F64,
    };
    let (base, exponent) = (c.convert(base, through)?, c.convert(exponent, through)?);
    let power = c.binary(BinaryFunction::Pow, base, exponent)?;
    Ok(vec![c.convert(power, element)?])
}

fn modulo(c: &mut Call) -> Built<Vec<Value>> {
    let (a, b) = c.pair()?;
    let like_c = c.attributes.flag("fmod", false)?;
    Ok(vec![c.binary(if like_c { BinaryFunction::Fmod } else { BinaryFunction::Mod }, a, b)?])
}

fn bit_shift(c: &mut Call) -> Built<Vec<Value>> {
    let (a, b) = c.pair()?;
    let function = match c.attributes.text("direction")? {
        Some("LEFT") => BinaryFunction::Shl,
        Some("RIGHT") => BinaryFunction::Shr,
        _ => return Err(unsupported("a direction that is neither LEFT nor RIGHT")),
    };
    Ok(vec![c.binary(function, a, b)?])
}

fn is_inf(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let positive = c.attributes.flag("detect_positive", true)?;
    let negative = c.attributes.flag("detect_negative", true)?;
    let function = match (positive, negative) {
        (true, true) => UnaryFunction::IsInf,
        (true, false) => UnaryFunction::IsPosInf,
        (false, true) => UnaryFunction::IsNegInf,
        (false, false) => {
            let no = c.integer(Element::Bool, 0)?;
            let dims = c.dims(x);
            return Ok(vec![c.broadcast(no, dims)?]);
        }
    };
    Ok(vec![c.unary(function, x)?])
}

pub(super) fn select(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (condition, a, b) = (c.input(0)?, c.input(1)?, c.input(2)?);
    Ok(vec![c.select(condition, a, b)?])
}

fn cast(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let to = element_attribute(c.attributes.required_int("to")?)?;
    convert(c, x, to)
}

fn cast_like(c: &mut Call) -> Built<Vec<Value>> {
    let (x, like) = c.pair()?;
    let to = c.element(like);
    convert(c, x, to)
}

/// Conversion with ONNX's flag: only the 8-bit floats and their scale type saturate, and they do by default.
fn convert(c: &mut Call, x: Value, to: Element) -> Built<Vec<Value>> {
    let saturate = c.attributes.flag("saturate", true)?;
    let rounding = c.attributes.text_or("round_mode", "up")?;
    if to == Element::F8E8M0 && rounding != "up" {
        return Err(unsupported(format!("round_mode `{rounding}`")));
    }
    let small = matches!(
        to,
        Element::F8E4M3
            | Element::F8E4M3FNUZ
            | Element::F8E5M2
            | Element::F8E5M2FNUZ
            | Element::F8E8M0
            | Element::F4E2M1
    );
    if c.element(x) == to {
        return Ok(vec![x]);
    }
    // Integers of few bits wrap; 4-bit floats have no infinity to overflow to.
    let saturate = (small && saturate) || to == Element::F4E2M1;
    Ok(vec![c.op(Op::Convert { to, saturate }, &[x])?])
}

fn bit_cast(c: &mut Call) -> Built<Vec<Value>> {
    let x = c.single()?;
    let to = element_attribute(c.attributes.required_int("to")?)?;
    let from = c.element(x);
    // A bool is one byte in memory.
    let width = |element: Element| if element == Element::Bool { 8 } else { element.bits() };
    if width(from) != width(to) || to == Element::Bool {
        return Err(mismatch(format!("the bits of {from} cannot be read as {to}")));
    }
    // Whole numbers of one width wrap into each other bit by bit.
    let whole = |element: Element| element.is_integer() || element == Element::Bool;
    if whole(from) && whole(to) {
        return Ok(vec![c.convert(x, to)?]);
    }
    // The bits of small integers in a byte of memory are those of the number without a sign.
    let plain = |element: Element| match element {
        Element::Bool => Element::U8,
        Element::I4 => Element::U4,
        other => other,
    };
    let x = c.convert(x, plain(from))?;
    let y = c.op(Op::Bits { from: plain(from), to: plain(to), element: plain(to) }, &[x])?;
    Ok(vec![c.convert(y, to)?])
}

fn clip(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let mut x = c.input(0)?;
    let element = c.element(x);
    let (low, high) = if c.opset < 11 {
        let (low, high) = (c.attributes.float("min")?, c.attributes.float("max")?);
        let mut constant = |number: Option<f32>| number.map(|number| c.scalar(element, number.into())).transpose();
        (constant(low)?, constant(high)?)
    } else {
        (c.optional(1), c.optional(2))
    };
    if let Some(low) = low {
        x = c.binary(BinaryFunction::Max, x, low)?;
    }
    if let Some(high) = high {
        x = c.binary(BinaryFunction::Min, x, high)?;
    }
    Ok(vec![x])
}

fn bias_add(c: &mut Call) -> Built<Vec<Value>> {
    c.at_most(3)?;
    let (x, bias, skip) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let sum = c.add(x, bias)?;
    Ok(vec![c.add(sum, skip)?])
}
