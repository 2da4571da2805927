"""Narae as a program: compile, run, measure.

In: files. Out: exit code, stderr, CPU seconds and the greatest resident memory of every call.
"""

import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import threading

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("NARAE", str(ROOT / "target/release/narae"))
# No call may take longer (the bar is 2 s to compile): of CPU time, and of time at all.
CPU_SECONDS = 6
SECONDS = 300


class Run:
    """What became of one call of the program."""

    def __init__(self, code, errors, cpu, mib):
        self.code, self.errors, self.cpu, self.mib = code, errors, cpu, mib

    def short(self):
        lines = [line for line in self.errors.splitlines() if "error" in line] or self.errors.splitlines()[:3]
        return f"exit {self.code}: " + " | ".join(lines[:2])[:400]


def call(*arguments):
    """Runs the program; one that takes too long is ended and has code 124."""
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=limited)
        code, usage = wait(child, SECONDS)
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace")
    return Run(code, text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def limited():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def wait(child, seconds):
    timer = threading.Timer(seconds, lambda: os.kill(child.pid, signal.SIGKILL))
    timer.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
    finally:
        timer.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    return (124 if child.returncode in (-signal.SIGKILL, -signal.SIGXCPU) else child.returncode), usage


def compile_(model, image, maxima, options):
    bounds = [part for name, most in maxima.items() for part in ("--max", f"{name}={most}")]
    return call("compile", model, "-o", image, "--kv-cache", "io", "-j", "1", *bounds, *options)


def run(file, inputs, outputs, options=()):
    return call("run", file, "--inputs", inputs, "-o", outputs, *options)


def load(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
