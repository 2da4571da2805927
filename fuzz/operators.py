"""Writes operators.txt: what the sweep needs to know of every operator in `narae ops --json`.

In: the rows of `narae ops --json` on standard input; the schemas of onnx and onnxruntime. Out: operators.txt, one line per operator and
meaning: domain (`-`: ONNX's own), name, first opset of this meaning, operands, number of results, attributes. An operand is the set of its
element types as a hexadecimal mask of ONNX's type numbers, `?` behind it when it may be left out, `*` when it may be repeated. An attribute
is NAME:KIND (i f s t g, doubled for lists).

    narae ops --json | python3 fuzz/operators.py
"""
import json
import pathlib
import sys

import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as state

NUMBERS = {}
for name, number in onnx.TensorProto.DataType.items():
    NUMBERS[name.lower()] = number
NUMBERS["bool"] = 9

KINDS = {"INT": "i", "FLOAT": "f", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "INTS": "ii", "FLOATS": "ff",
         "STRINGS": "ss", "TENSORS": "tt", "GRAPHS": "gg"}


def mask(allowed):
    bits = 0
    for text in allowed:
        if text.startswith("tensor("):
            bits |= 1 << NUMBERS.get(text[7:-1], 0)
    return bits & ~1


def operand(formal, constraints, text):
    bits = mask(constraints.get(text, [text]))
    option = str(formal.option).split(".")[-1].split(":")[0]
    return f"{bits:x}" + {"Optional": "?", "Variadic": "*"}.get(option, "")


def kind(attribute):
    return KINDS.get(str(attribute.type).split(".")[-1].split(":")[0])


def line(schema, text_of):
    constraints = {c.type_param_str: list(c.allowed_type_strs) for c in schema.type_constraints}
    inputs = [operand(i, constraints, text_of(i)) for i in schema.inputs]
    attributes = [f"{name}:{kind(a)}" for name, a in sorted(schema.attributes.items()) if kind(a)]
    outputs = len(schema.outputs)
    return f"{schema.domain or '-'} {schema.name} {schema.since_version} {','.join(inputs) or '-'} {outputs} {','.join(attributes) or '-'}"


def main():
    rows = json.load(sys.stdin)
    schemas = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        schemas.setdefault((schema.domain, schema.name), {})[schema.since_version] = line(schema, lambda i: i.type_str)
    for schema in state.get_all_operator_schema():
        known = schemas.setdefault((schema.domain, schema.name), {})
        known.setdefault(schema.since_version, line(schema, lambda i: i.typeStr))
    lines = set()
    for row in rows:
        domain = "" if row["domain"] == "ai.onnx" else row["domain"]
        versions = schemas.get((domain, row["operator"]), {})
        until = row["until"] or 1 << 60
        inside = [v for v in versions if row["since"] < v <= until]
        first = [v for v in versions if v <= row["since"]]
        for version in inside + ([max(first)] if first else []):
            words = versions[version].split(" ")
            words[2] = str(max(version, row["since"]))
            lines.add(" ".join(words))
        if not versions:
            print(f"no schema: {row}", file=sys.stderr)
    path = pathlib.Path(__file__).parent / "operators.txt"
    path.write_text("".join(f"{text}\n" for text in sorted(lines)))
    print(f"{path}: {len(lines)} lines", file=sys.stderr)


main()
