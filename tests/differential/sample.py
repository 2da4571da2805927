"""Writes the sample of `cargo test`: tests/data/differential/{static,dynamic}.npz, some cases of each campaign with onnxruntime's answers.

    python3 tests/differential/sample.py
    python3 tests/differential/sample.py NAME FOLDER    adds what `run.py` kept in FOLDER to found.npz: a difference that was mended

In: nothing. Out: the files. Always holds: the sample is drawn by number alone; each case adds operators that are rare in those before it.
"""

import ast
import collections
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np  # noqa: E402

import generate  # noqa: E402
from graph import Reject  # noqa: E402
from judge import SHADOWS, TOLERANCE  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data/differential"
# Cases in the sample, and seeds to choose them from.
COUNTS = {"static": (96, 700), "dynamic": (40, 400)}
MOST_NODES = 18
FIRST = 100_000


def allowed(want, slack):
    finite = want[np.isfinite(want)] if want.dtype.kind == "f" else np.zeros(0)
    return 1e-5 + TOLERANCE.get(str(want.dtype), 0.0) * float(np.abs(finite).max(initial=0.0)) + SHADOWS * slack


def arrays_of(case):
    found = {"model": np.frombuffer(case.model.SerializeToString(), np.uint8)}
    found |= {f"max/{name}": np.int64(most) for name, most in case.maxima.items()}
    for at, (call, answer, slack) in enumerate(zip(case.calls, case.answers, case.slack)):
        found |= {f"call{at}/in/{name}": array for name, array in call.items()}
        found |= {f"call{at}/out/{name}": array for name, array in answer.items()}
        found[f"call{at}/slack"] = np.array([allowed(answer[name], slack[name]) for name in sorted(answer)])
    return {f"{case.seed}/{key}": array for key, array in found.items()}


def kept(name, folder):
    """The arrays of a case that `run.py` kept."""
    folder = pathlib.Path(folder)
    found = {"model": np.frombuffer((folder / "model.onnx").read_bytes(), np.uint8)}
    note = (folder / "note.txt").read_text()
    maxima = ast.literal_eval(re.search(r"^maxima (.*)$", note, re.M).group(1))
    found |= {f"max/{length}": np.int64(most) for length, most in maxima.items()}
    for at in range(len(list(folder.glob("want*.npz")))):
        for side, file in (("in", f"in{at}.npz"), ("out", f"want{at}.npz")):
            with np.load(folder / file) as arrays:
                for key in arrays.files:
                    found[f"call{at}/{side}/{key}"] = arrays[key]
                if side == "out":
                    found[f"call{at}/slack"] = np.array([allowed(arrays[key], 0.0) for key in sorted(arrays.files)])
    return {f"{name}/{key}": array for key, array in found.items()}


def add(name, folder):
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / "found.npz"
    arrays = {}
    if file.exists():
        with np.load(file) as before:
            arrays = {key: before[key] for key in before.files if not key.startswith(f"{name}/")}
    np.savez_compressed(file, **arrays, **kept(name, folder))


def candidates(kind, seeds):
    for number in range(FIRST, FIRST + seeds):
        try:
            case = generate.case(kind + ("-f16" if number % 8 == 7 else ""), number)
        except Reject:
            continue
        if len(case.model.graph.node) <= MOST_NODES and "*" not in case.maxima:
            yield case


def main():
    if len(sys.argv) == 3:
        return add(*sys.argv[1:])
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind, (count, seeds) in COUNTS.items():
        chosen, seen, rest = {}, collections.Counter(), list(candidates(kind, seeds))
        while rest and len(chosen) < count:
            best = max(rest, key=lambda case: sum(1 / (1 + seen[name]) ** 2 for name in case.operators))
            rest.remove(best)
            seen.update(best.operators)
            chosen[best.seed] = arrays_of(best)
        arrays = {key: array for seed in sorted(chosen) for key, array in chosen[seed].items()}
        np.savez_compressed(FOLDER / f"{kind}.npz", **arrays)
        print(f"{kind}: {len(chosen)} cases, {len(seen)} operator types")


if __name__ == "__main__":
    main()
