#!/usr/bin/env python3
"""How long, and in how much memory, does a whole process take that compiles a model: Narae against its peers.

    cargo build --release
    python3 benches/peers.py [--runs 9] [--venv ~/.cache/narae-peers] [MODEL.onnx …]

Without models it takes the three files of the model zoo that the project's issues name (`$NARAE_SHARED` or `../shared` must
hold it). The peers are installed from PyPI into a virtual environment of their own, outside of the repository; one that
cannot be installed is left out, and that is said. Every tool gets a process of its own for each run: start of the interpreter or
binary, reading the file, compiling (for onnxruntime: its session with all graph optimisations), end. The tools take turns, so
that a machine whose speed drifts is the same for all. Wall time, CPU time (user + system, children included) and peak resident memory of
the largest process are what the operating system says of the finished child; printed are medians, and the least wall time.

What the peers do is not the same as what Narae does: tract, OpenVINO and onnxruntime prepare kernels for the host and keep
the weights as they are; IREE emits machine code; Narae plans memory, emits a program and packs all weights into an image.
"""
import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# model below the zoo; the bounds that Narae needs for its dynamic lengths
ZOO = {
    "torch_dynamo/llama_kv.onnx": ["--max-batch", "2", "--max-seq", "32", "--max-past", "64"],
    "optimum/bert/model.onnx": ["--max-batch", "2", "--max-seq", "32"],
    "torch_ts/dit.onnx": ["--max-batch", "2"],
}
PACKAGES = {
    "tract": ["tract"],
    "OpenVINO": ["openvino"],
    "onnxruntime": ["onnxruntime"],
    "IREE": ["iree-base-compiler[onnx]", "onnx"],
}
TRACT = "import sys, tract; tract.onnx().load(sys.argv[1]).into_model().into_runnable()"
OPENVINO = "import sys, openvino as ov; core = ov.Core(); core.compile_model(core.read_model(sys.argv[1]), 'CPU')"
ONNXRUNTIME = "import sys, onnxruntime as ort; ort.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
IREE = """
import subprocess, sys
model, folder, bin = sys.argv[1:4]
subprocess.run([bin + '/iree-import-onnx', model, '-o', folder + '/m.mlir'], check=True)
subprocess.run([bin + '/iree-compile', folder + '/m.mlir', '--iree-hal-target-device=local',
                '--iree-hal-local-target-device-backends=llvm-cpu', '--iree-llvmcpu-target-cpu=generic',
                '-o', folder + '/m.vmfb'], check=True)
"""


def zoo():
    """The three models with their bounds."""
    for base in (os.environ.get("NARAE_SHARED"), os.path.join(ROOT, "../shared")):
        folder = os.path.join(base or "", "models/zoo")
        if base and os.path.isdir(folder):
            return [(os.path.join(folder, name), bounds) for name, bounds in ZOO.items()]
    sys.exit("no models are given, and the zoo was not found: set NARAE_SHARED to the folder that holds models/zoo")


def install(venv):
    """The Python of the environment, and the peers that are there."""
    python = os.path.join(venv, "bin/python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    ready = []
    for peer, packages in PACKAGES.items():
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
        if done.returncode == 0:
            ready.append(peer)
        else:
            print(f"{peer} is left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return python, ready


def commands(model, bounds, narae, python, peers, folder):
    """One command per tool."""
    own = {"narae": [narae, "-q", "compile", model, "-o", os.path.join(folder, "m.narae"), *bounds]}
    theirs = {
        "tract": [python, "-c", TRACT, model],
        "OpenVINO": [python, "-c", OPENVINO, model],
        "onnxruntime": [python, "-c", ONNXRUNTIME, model],
        "IREE": [python, "-c", IREE, model, folder, os.path.dirname(python)],
    }
    return own | {peer: theirs[peer] for peer in peers}


def measure(command):
    """Wall seconds, CPU seconds and peak MiB of one process with its children, and the error if it fails."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read().decode(errors="replace").splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    named = (line for line in said if re.match(r"[\w.]*(Error|error)\b", line))
    error = next(named, "without a word") if child.returncode else None
    return (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), error


def table(model, tools, runs):
    """Runs the tools in turn and prints their medians, Narae's first. A tool that fails is timed until it fails."""
    found, failed = {tool: [] for tool in tools}, {}
    for turn in range(runs + 1):  # the first turn warms the page cache and does not count
        for tool, command in tools.items():
            figures, error = measure(command)
            if error:
                failed[tool] = error
            if turn:
                found[tool].append(figures)
    print(f"\n{model} ({os.path.getsize(model) / 2**20:.1f} MiB)\n")
    print("| tool | wall s (least) | CPU s | peak MiB | wall, times Narae's | memory, times Narae's | |")
    print("|---|---|---|---|---|---|---|")
    own = [statistics.median(column) for column in zip(*found["narae"])]
    for tool, results in found.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*results))
        least = min(result[0] for result in results)
        remark = f"fails: {failed[tool][:90]}" if tool in failed else ""
        times = f"{wall / own[0]:.1f} | {peak / own[2]:.1f}"
        print(f"| {tool} | {wall:.3f} ({least:.3f}) | {cpu:.3f} | {peak:.0f} | {times} | {remark} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="ONNX files; Narae gets --max-batch 2 --max-seq 32 --max-past 64 for them")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--venv", default=os.path.expanduser("~/.cache/narae-peers"))
    parser.add_argument("--narae", default=os.path.join(ROOT, "target/release/narae"))
    arguments = parser.parse_args()
    if not os.path.exists(arguments.narae):
        sys.exit(f"{arguments.narae} is not there: cargo build --release")
    bounds = ZOO["torch_dynamo/llama_kv.onnx"]
    models = [(model, bounds) for model in arguments.models] or zoo()
    python, peers = install(arguments.venv)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.runs} runs each, in turn")
    folder = tempfile.mkdtemp(prefix="narae-peers-")
    try:
        for model, bounds in models:
            table(model, commands(model, bounds, arguments.narae, python, peers, folder), arguments.runs)
    finally:
        shutil.rmtree(folder)


main()
