//! The table of symbols as attributes: names, bounds, definitions, what was learnt.
//!
//! A symbol is `{name = "seq", input = 0, axis = 1, lower = 0, upper = 512}`; an assumption is a pair of dims. Values are named by
//! their number.

use std::collections::BTreeMap;

use crate::ir::attribute::{Attribute, Dictionary};
use crate::ir::{Dim, Symbol, SymbolDefinition, Symbols, Value};

/// A dim as text.
fn text<R>(dim: &Dim, symbols: &Symbols) -> Attribute<R> {
    Attribute::Text(dim.display(symbols).to_string())
}

/// Adds the table to the attributes of the operation that it belongs to.
pub(crate) fn print<R>(symbols: &Symbols, into: &mut Dictionary<R>) {
    let rows = symbols.iter().map(|(_, row)| {
        let mut map = BTreeMap::from([("name".to_string(), Attribute::Text(row.name.clone()))]);
        let mut put = |key: &str, value: i64| map.insert(key.to_string(), Attribute::Integer(value));
        match row.definition {
            SymbolDefinition::Input { input, axis } => {
                put("input", input.into());
                put("axis", axis.into());
            }
            SymbolDefinition::Data { value, index } => {
                put("element", i64::try_from(index).unwrap_or(i64::MAX));
                put("value", value.as_u32().into());
            }
            SymbolDefinition::Extent { value, axis } => {
                put("axis", axis.into());
                put("value", value.as_u32().into());
            }
            SymbolDefinition::Passed { index } => {
                put("passed", index.into());
            }
            SymbolDefinition::Undefined => {}
        }
        if let Some(lower) = row.lower {
            put("lower", lower);
        }
        if let Some(upper) = row.upper {
            put("upper", upper);
        }
        if let Some(dim) = &row.replacement {
            map.insert("is".into(), text(dim, symbols));
        }
        Attribute::Dictionary(map)
    });
    let pair = |(left, right): &(Dim, Dim)| Attribute::List(vec![text(left, symbols), text(right, symbols)]);
    into.insert("symbols".into(), Attribute::List(rows.collect()));
    into.insert("assumptions".into(), Attribute::List(symbols.assumptions().map(pair).collect()));
}

/// A symbol that was declared, with the attributes that say what defines it.
type Row<R> = (Symbol, Dictionary<R>);

/// Makes the symbols; what defines them is known only when the values are.
pub(crate) fn declare<R: Clone>(symbols: &mut Symbols, signature: &Dictionary<R>) -> Result<Vec<Row<R>>, String> {
    let Some(Attribute::List(rows)) = signature.get("symbols") else { return Err("`symbols` is missing".into()) };
    let mut declared = Vec::new();
    for row in rows {
        let Attribute::Dictionary(row) = row else { return Err("a symbol must be a dictionary".into()) };
        let Some(Attribute::Text(name)) = row.get("name") else { return Err("a symbol has no name".into()) };
        let bound = |key: &str| integer(row, key);
        let symbol = symbols.add_bounded(name, SymbolDefinition::Undefined, bound("lower"), bound("upper"));
        if symbols.name(symbol) != name {
            return Err(format!("the symbol `{name}` is declared twice or is no identifier"));
        }
        declared.push((symbol, row.clone()));
    }
    Ok(declared)
}

fn assume<R>(symbols: &mut Symbols, signature: &Dictionary<R>) -> Result<(), String> {
    let Some(Attribute::List(equations)) = signature.get("assumptions") else { return Ok(()) };
    for equation in equations {
        let Attribute::List(sides) = equation else { return Err("an assumption must be a pair".into()) };
        let [Attribute::Text(left), Attribute::Text(right)] = sides.as_slice() else {
            return Err("an assumption must be a pair of dims".into());
        };
        let parse = |text: &str| Dim::parse(text, &mut |name| symbols.find(name).map(Dim::from));
        let (left, right) = (parse(left)?, parse(right)?);
        symbols.assume(&left, &right);
    }
    Ok(())
}

fn integer<R>(row: &Dictionary<R>, key: &str) -> Option<i64> {
    match row.get(key) {
        Some(Attribute::Integer(value)) => Some(*value),
        _ => None,
    }
}

/// Says what defines the symbols and what is assumed of them; `values` is the number of values that exist, if they are known.
pub(crate) fn define<R>(
    symbols: &mut Symbols,
    rows: &[Row<R>],
    values: Option<usize>,
    signature: &Dictionary<R>,
) -> Result<(), String> {
    for (symbol, row) in rows {
        let definition = definition(row, values)
            .map_err(|problem| format!("{problem}, in the definition of `{}`", symbols.name(*symbol)))?;
        symbols.define(*symbol, definition);
        if let Some(Attribute::Text(text)) = row.get("is") {
            let dim = Dim::parse(text, &mut |name| symbols.find(name).map(Dim::from))?;
            if !symbols.restore(*symbol, &dim) {
                return Err(format!("`{}` cannot be `{text}`", symbols.name(*symbol)));
            }
        }
    }
    assume(symbols, signature)
}

fn definition<R>(row: &Dictionary<R>, values: Option<usize>) -> Result<SymbolDefinition, String> {
    let number = |key: &str| -> Result<Option<u32>, String> {
        integer(row, key).map(u32::try_from).transpose().map_err(|_| format!("`{key}` is no index"))
    };
    let value = match number("value")? {
        // The greatest number is no value's: it stands for none.
        Some(index) if index < u32::MAX && values.is_none_or(|count| (index as usize) < count) => {
            Some(Value::from_u32(index))
        }
        Some(index) => return Err(format!("the value {index} does not exist")),
        None => None,
    };
    let element = integer(row, "element").map(u64::try_from).transpose().map_err(|_| "`element` is no index")?;
    match (number("input")?, number("axis")?, value, element, number("passed")?) {
        (Some(input), Some(axis), None, None, None) => Ok(SymbolDefinition::Input { input, axis }),
        (None, Some(axis), Some(value), None, None) => Ok(SymbolDefinition::Extent { value, axis }),
        (None, None, Some(value), Some(index), None) => Ok(SymbolDefinition::Data { value, index }),
        (None, None, None, None, Some(index)) => Ok(SymbolDefinition::Passed { index }),
        (None, None, None, None, None) => Ok(SymbolDefinition::Undefined),
        _ => Err("these attributes are not understood together".into()),
    }
}
