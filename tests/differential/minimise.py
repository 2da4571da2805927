"""Makes a case that shows something smaller, until nothing can be taken away.

In: a case and what was found. Out: the smallest case found that shows the same kind of thing at the same level. Always holds: every step is
judged anew, with the answers that onnxruntime gives for the smaller model.
"""

import copy
import dataclasses

import numpy as np
import onnx
from onnx import helper, numpy_helper

import graph as graphs
from graph import TYPES, model_of, session_of


def values_of(case, at):
    """Every value of the main graph in one call, by name."""
    model = copy.deepcopy(case.model)
    names = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    try:
        return dict(zip(names, session_of(model).run(names, case.calls[at])))
    except Exception:
        return {}


def pruned(model):
    """Without what no output needs."""
    wanted, kept = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= {name for name in list(node.input) + graphs.captured(node) if name}
    graph = helper.make_graph(kept[::-1], model.graph.name, [v for v in model.graph.input if v.name in wanted], list(model.graph.output),
                              [v for v in model.graph.initializer if v.name in wanted])
    smaller = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return smaller


def with_model(case, model, calls):
    """The case of a smaller model; None if onnxruntime does not take it."""
    model = pruned(model)
    names = [value.name for value in model.graph.output]
    wanted = {value.name for value in model.graph.input}
    calls = [{name: array for name, array in call.items() if name in wanted} for call in calls]
    try:
        session = session_of(model)
        answers = [dict(zip(names, map(np.asarray, session.run(names, call)))) for call in calls]
    except Exception:
        return None
    slack = [{name: old.get(name, 0.0) for name in names} for old in case.slack]
    return dataclasses.replace(case, model=model, calls=calls, answers=answers, slack=slack[:len(calls)])


class Minimiser:
    def __init__(self, judge, case, finding):
        self.judge, self.case, self.finding = judge, case, finding
        self.level = int(finding.where[2])

    def shows(self, case):
        if case is None:
            return False
        for found in self.judge.judge(case, [self.level]):
            code = lambda text: next((w for w in text.replace("[", " ").replace("]", " ").split() if len(w) == 5 and w[0] == "E" and w[1:].isdigit()), "")
            if found.kind == self.finding.kind and (found.kind == "differs" or code(found.text) == code(self.finding.text)):
                return True
        return False

    def keep(self, candidate):
        if self.shows(candidate):
            self.case = candidate
            return True
        return False

    def minimise(self):
        self.calls()
        self.outputs()
        for _ in range(2):
            before = len(self.case.model.graph.node)
            self.cut()
            self.bypass()
            self.outputs()
            if len(self.case.model.graph.node) == before:
                break
        return self.case

    def calls(self):
        case, at = self.case, self.finding.call
        if len(case.calls) > 1:
            self.keep(dataclasses.replace(case, calls=[case.calls[at]], answers=[case.answers[at]], slack=[case.slack[at]]))

    def outputs(self):
        names = [value.name for value in self.case.model.graph.output]
        for name in sorted(names, key=lambda name: name not in self.finding.outputs):
            if len(names) == 1:
                return
            model = copy.deepcopy(self.case.model)
            kept = [value for value in model.graph.output if value.name == name]
            del model.graph.output[:]
            model.graph.output.extend(kept)
            if self.keep(with_model(self.case, model, self.case.calls)):
                return

    def cut(self):
        """Nodes become inputs, or constants, with the values that they had."""
        for node in list(self.case.model.graph.node):
            if node.op_type == "Constant":
                continue
            current = [other for other in self.case.model.graph.node if other.name == node.name]
            if current:
                self.keep(self.without(current[0], constant=False)) or self.keep(self.without(current[0], constant=True))

    def without(self, node, constant):
        model = copy.deepcopy(self.case.model)
        outputs = {value.name for value in model.graph.output}
        if outputs & set(node.output):
            return None
        calls = [dict(call) for call in self.case.calls]
        known = [values_of(self.case, at) for at in range(len(calls))]
        for name in node.output:
            if not name:
                continue
            if any(name not in values for values in known):
                return None
            arrays = [np.asarray(values[name]) for values in known]
            if any(array.dtype not in TYPES for array in arrays):
                return None
            if constant:
                if any(array.shape != arrays[0].shape or not np.array_equal(array, arrays[0]) for array in arrays):
                    return None
                model.graph.initializer.append(numpy_helper.from_array(arrays[0], name))
                continue
            dims = [arrays[0].shape[axis] if len({a.shape[axis] for a in arrays}) == 1 else f"d_{name}_{axis}" for axis in range(arrays[0].ndim)]
            if any(isinstance(dim, str) for dim in dims):
                return None
            model.graph.input.append(helper.make_tensor_value_info(name, TYPES[arrays[0].dtype], dims))
            for call, array in zip(calls, arrays):
                call[name] = array
        kept = [other for other in model.graph.node if other.name != node.name]
        del model.graph.node[:]
        model.graph.node.extend(kept)
        return with_model(self.case, model, calls)

    def bypass(self):
        """A node's operand stands in for its result."""
        for node in list(self.case.model.graph.node):
            current = [other for other in self.case.model.graph.node if other.name == node.name and node.name]
            for at in range(min(len(node.input), 2) if current else 0):
                if node.input[at] and self.keep(self.instead(current[0], at)):
                    break

    def instead(self, node, at):
        model = copy.deepcopy(self.case.model)
        if {value.name for value in model.graph.output} & set(node.output):
            return None
        old, new = node.output[0], node.input[at]
        kept = [other for other in model.graph.node if other.name != node.name]
        for other in kept:
            if old in graphs.captured(other):
                return None
            for index, name in enumerate(other.input):
                if name == old:
                    other.input[index] = new
        del model.graph.node[:]
        model.graph.node.extend(kept)
        return with_model(self.case, model, self.case.calls)
