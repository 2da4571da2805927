"""A case through Narae, and what differs from the answers.

In: a case. Out: a list of [`Finding`]s: none if all is well. Always holds: shapes, element types, integers, truths, NaN and infinities are
compared exactly; a float may be off by 1e-5 + 1e-4 of the range of its tensor (fp16: 4e-3 of it) and by as much as its shadow was.
"""

import dataclasses
import pathlib

import numpy as np
import onnx

import narae

# A shadow is disturbed once at random; the true error may be a few times as large.
SHADOWS = 4.0
TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "float16": 4e-3}
CPU, MIB = 2.0, 256.0


@dataclasses.dataclass
class Finding:
    """Something that is not as it should be."""

    kind: str  # refused, crashed, differs, slow, large
    where: str  # which options and call
    text: str
    call: int = 0
    outputs: tuple = ()

    def key(self):
        return self.kind


def difference(got, want, slack, special=False):
    """Why an output is not the wanted one, or nothing."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    if want.size == 0:
        return None
    if want.dtype.kind != "f":
        wrong = np.flatnonzero((got != want).ravel())
        return f"{wrong.size} of {want.size}: [{wrong[0]}] is {got.ravel()[wrong[0]]} instead of {want.ravel()[wrong[0]]}" if wrong.size else None
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    odd = ~np.isfinite(a) | ~np.isfinite(b)
    wrong = np.flatnonzero(odd & ~((a == b) | (np.isnan(a) & np.isnan(b))))
    if wrong.size:
        return f"{wrong.size} of {want.size}: [{wrong[0]}] is {a[wrong[0]]} instead of {b[wrong[0]]}"
    a, b = a[~odd], b[~odd]
    if b.size == 0:
        return None
    allowed = 1e-5 + TOLERANCE[str(want.dtype)] * np.abs(b).max() + SHADOWS * slack
    if special:  # one huge number would excuse all others
        allowed = np.minimum(allowed, 1e-5 + TOLERANCE[str(want.dtype)] * np.abs(b) * 10 + SHADOWS * slack) if slack < 1e-3 else allowed
    off = np.abs(a - b)
    worst = int(np.argmax(off - allowed))
    limit = allowed if np.isscalar(allowed) else allowed[worst]
    return f"{a[worst]:.9g} instead of {b[worst]:.9g} (off by {off[worst]:.3g}, {limit:.3g} allowed)" if off[worst] > limit else None


# What weights are coded as in the quantised part of the campaign, by the number of the case.
FORMATS = ["u4:g32", "u8:g32", "u3:g32", "u4:g64"]


def maxima_of(case):
    """The greatest lengths that the model still has: a smaller one may have lost some."""
    present = {dim.dim_param for info in case.model.graph.input for dim in info.type.tensor_type.shape.dim if dim.dim_param}
    return {name: most for name, most in case.maxima.items() if name in present or (name == "*" and present)}


class Judge:
    """Runs cases in a folder of its own."""

    def __init__(self, folder, levels=(2, 0)):
        self.folder, self.levels = pathlib.Path(folder), levels
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cpu = self.mib = 0.0

    def judge(self, case, levels=None):
        model = self.folder / "case.onnx"
        onnx.save(case.model, model)
        for at, call in enumerate(case.calls):
            np.savez(self.folder / f"in{at}.npz", **call)
        found = []
        for level in levels or self.levels:
            found += self.level(case, model, level)
        return found

    def level(self, case, model, level):
        image, where = self.folder / "case.narae", f"-O{level}"
        compiled = narae.compile_(model, image, maxima_of(case), [f"-O{level}"])
        if level == 2:
            self.cpu, self.mib = max(self.cpu, compiled.cpu), max(self.mib, compiled.mib)
        if compiled.code:
            return [Finding("crashed" if compiled.code in (70, 101, 124) or compiled.code < 0 else "refused", where, compiled.short())]
        found = []
        if level == 2 and compiled.cpu > CPU:
            found.append(Finding("slow", where, f"{compiled.cpu:.2f} s of CPU"))
        if level == 2 and compiled.mib > MIB:
            found.append(Finding("large", where, f"{compiled.mib:.0f} MiB"))
        for at in range(len(case.calls)):
            found += self.run(case, image, at, where)
        return found

    def quantised(self, case, number):
        """Coded weights on the chip against the evaluator on the weights that the codes stand for."""
        model, image = self.folder / "case.onnx", self.folder / "case.narae"
        inputs, want, out = (self.folder / name for name in ("in.npz", "want.npz", "out.npz"))
        onnx.save(case.model, model)
        np.savez(inputs, **case.calls[0])
        quant = ["--quant", FORMATS[number % len(FORMATS)]]
        steps = [narae.run(model, inputs, want, ["--evaluator", *quant]), narae.compile_(model, image, maxima_of(case), quant)]
        steps += [narae.run(image, inputs, out)] if not steps[1].code else []
        for step in steps:
            if step.code:
                kind = "crashed" if step.code in (70, 101, 124) or step.code < 0 else "refused"
                return [Finding(kind, f"-O2 {quant[1]}", step.short())]
        got, wanted, slack = narae.load(out), narae.load(want), case.slack[0]
        wrong = {name: text for name, array in wanted.items() if (text := difference(got[name], array, slack.get(name, 0.0), case.special))}
        return [Finding("differs", f"-O2 {quant[1]}", "; ".join(f"{name}: {text}" for name, text in wrong.items()), 0, tuple(wrong))] if wrong else []

    def outputs(self, case, level, at):
        """What Narae answers, or nothing."""
        model, image, out = self.folder / "case.onnx", self.folder / "case.narae", self.folder / "out.npz"
        onnx.save(case.model, model)
        np.savez(self.folder / "in.npz", **case.calls[at])
        if narae.compile_(model, image, maxima_of(case), [f"-O{level}"]).code or narae.run(image, self.folder / "in.npz", out).code:
            return None
        return narae.load(out)

    def run(self, case, image, at, where):
        out = self.folder / "out.npz"
        ran = narae.run(image, self.folder / f"in{at}.npz", out)
        if ran.code:
            return [Finding("crashed" if ran.code in (70, 101, 124) or ran.code < 0 else "refused", f"{where} call {at}", ran.short(), at)]
        got = narae.load(out)
        out.unlink()
        wrong = {}
        for name, want in case.answers[at].items():
            text = difference(got[name], want, case.slack[at][name], case.special) if name in got else "is missing"
            if text:
                wrong[name] = text
        if not wrong:
            return []
        text = "; ".join(f"{name}: {text}" for name, text in list(wrong.items())[:3])
        return [Finding("differs", f"{where} call {at}", text, at, tuple(wrong))]
