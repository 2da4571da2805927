"""Writes corpus/onnx: the smallest test case of onnx's own suite for each operator that Narae knows.

In: the backend test cases of the Python package onnx, operators.txt. Out: one file of a few hundred bytes per operator. Large cases are left out.
"""
import pathlib

from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.case.node import collect_testcases

HERE = pathlib.Path(__file__).parent


def main():
    known = {line.split(" ")[1] for line in (HERE / "operators.txt").read_text().splitlines()}
    best = {}
    for case in collect_testcases(None):
        model = case.model
        if model is None or not model.graph.node:
            continue
        operators = {node.op_type for node in model.graph.node}
        if not operators <= known:
            continue
        name = model.graph.node[0].op_type if len(model.graph.node) == 1 else case.name.removeprefix("test_")
        data = model.SerializeToString()
        if len(data) < 1500 and (name not in best or len(data) < len(best[name])) and "expanded" not in name:
            best[name] = data
    folder = HERE / "corpus" / "onnx"
    for name, data in best.items():
        (folder / f"{name.lower()}.onnx").write_bytes(data)
    print(len(best), sum(map(len, best.values())))


main()
