"""Writes the small models and answers of this folder again.

    python3 tests/data/make.py ../shared/models/make_llama_onnx.py

Needs numpy, onnx and onnxruntime. The models come from the generator named on the command line; the answers are
onnxruntime's on the CPU with every graph optimisation switched off. Keys follow the convention of the whole project:
`setN/callM/in/<input>` and `setN/callM/out/<output>`.
"""
import os
import subprocess
import sys

import numpy as np
import onnxruntime as ort

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = ["--hidden", "32", "--heads", "4", "--kv-heads", "2", "--ffn", "80", "--vocab", "96", "--max-pos", "128",
        "--weights", "embedded", "--mode", "kv", "--std", "0.08"]
MODELS = {
    "llama2_primitive": ["--layers", "2", "--dtype", "fp32", "--ops", "primitive", "--rope", "compute"],
    "llama2_fused23": ["--layers", "2", "--dtype", "fp32", "--ops", "fused23", "--rope", "table"],
    "llama1_layer": ["--layers", "1", "--dtype", "fp32", "--ops", "primitive", "--rope", "compute", "--hidden", "16", "--heads", "2",
                     "--kv-heads", "1", "--ffn", "32", "--vocab", "32", "--max-pos", "32"],
    "llama12_primitive": ["--layers", "12", "--dtype", "fp16", "--ops", "primitive", "--rope", "compute"],
    "llama2_primitive_fp16": ["--layers", "2", "--dtype", "fp16", "--ops", "primitive", "--rope", "compute"],
}


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def calls(run, rng, batch, sequence, padded, steps=3):
    """One prefill of `sequence` tokens (row 0 starts with `padded` padded positions) and `steps` decode steps."""
    kinds = {i.name: (np.float16 if "float16" in i.type else np.float32) for i in run.get_inputs()}
    past = {n: np.zeros((batch, 2, 0, 8), t) for n, t in kinds.items() if n.startswith("past")}
    mask = np.ones((batch, sequence), np.int64)
    mask[0, :padded] = 0
    for step in range(steps + 1):
        length = sequence if step == 0 else 1
        if step:
            mask = np.concatenate([mask, np.ones((batch, 1), np.int64)], 1)
        position = np.maximum(np.cumsum(mask, 1) - 1, 0)[:, -length:]
        feed = {"input_ids": rng.integers(0, 96, (batch, length)), "attention_mask": mask, "position_ids": position, **past}
        names = [o.name for o in run.get_outputs()]
        out = dict(zip(names, run.run(names, feed)))
        yield step, feed, out
        past = {n: out[n.replace("past_key_values", "present")] for n in past}


def main(generator):
    for name, arguments in MODELS.items():
        path = os.path.join(HERE, name + ".onnx")
        subprocess.run([sys.executable, generator, "--out", path, *SIZE, *arguments], check=True)
        if name in ("llama1_layer", "llama12_primitive"):
            continue  # these are only compiled
        run, rng, keys = session(path), np.random.default_rng(7), {}
        for number, (batch, sequence, padded) in enumerate([(2, 5, 2), (1, 19, 0)]):
            for step, feed, out in calls(run, rng, batch, sequence, padded):
                keys.update({f"set{number}/call{step}/in/{k}": v for k, v in feed.items()})
                keys.update({f"set{number}/call{step}/out/{k}": v for k, v in out.items()})
        np.savez_compressed(path.replace(".onnx", ".npz"), **keys)


main(sys.argv[1])
