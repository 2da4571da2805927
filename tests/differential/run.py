"""The campaign: random graphs against onnxruntime.

    python3 tests/differential/run.py                       the whole campaign of the issue
    python3 tests/differential/run.py --static 200 --dynamic 50 --jobs 1 --keep /tmp/found

What differs is made small and printed with its file. The last lines are the figures. See README.md.
"""

import argparse
import collections
import json
import multiprocessing
import multiprocessing.connection
import pathlib
import shutil
import sys
import tempfile
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
import onnx  # noqa: E402

import exclusions  # noqa: E402
import generate  # noqa: E402
import narae  # noqa: E402
import settle  # noqa: E402
from graph import Reject  # noqa: E402
from judge import Judge  # noqa: E402
from minimise import Minimiser  # noqa: E402


# Narae syncs what it writes; files in memory cost nothing.
MEMORY = "/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None


def work(task):
    """One number of a kind: a case, judged; a summary that can travel between processes."""
    kind, number, keep, small = task
    quantised = kind == "quantised"
    kind = "static" if quantised else kind
    try:
        case = generate.case(kind, number)
    except Reject as reason:
        return {"kind": kind, "number": number, "none": str(reason)}
    except Exception:
        return {"kind": kind, "number": number, "none": "generator: " + traceback.format_exc(limit=-2)}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        judge = Judge(folder)
        found = judge.quantised(case, number) if quantised else judge.judge(case)
        cpu, mib = judge.cpu, judge.mib
        if not quantised:
            found = [one for one in found if not settle.settled(case, one, judge)]
        told = [tell(judge, case, one, keep, small and not quantised) for one in first_of_each(found)]
    return {"kind": "quantised" if quantised else kind, "number": number, "cpu": cpu, "mib": mib, "found": told, "operators": case.operators, "settled": case.settled,
            "nodes": len(case.model.graph.node)}


def first_of_each(found):
    seen, first = set(), []
    for one in found:
        if one.kind not in seen:
            seen.add(one.kind)
            first.append(one)
    return first


def tell(judge, case, finding, keep, small):
    """The finding in words, with the smallest case that shows it written to a folder."""
    smallest = Minimiser(judge, case, finding).minimise() if small and "exit 124" not in finding.text else case
    name = f"{case.seed}-{finding.kind}-O{finding.where[2]}"
    folder = pathlib.Path(keep) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    onnx.save(smallest.model, folder / "model.onnx")
    for at, (call, answer) in enumerate(zip(smallest.calls, smallest.answers)):
        np.savez(folder / f"in{at}.npz", **call)
        np.savez(folder / f"want{at}.npz", **answer)
    text = onnx.printer.to_text(smallest.model)
    again = judge.judge(smallest, [int(finding.where[2])]) if small else []
    note = "\n".join(f"{one.where}: {one.kind}: {one.text}" for one in again) or f"{finding.where}: {finding.kind}: {finding.text}"
    (folder / "note.txt").write_text(f"{note}\nmaxima {smallest.maxima}\n{text}\n")
    operators = sorted({node.op_type for node in smallest.model.graph.node} - {"Constant"})
    return {"kind": finding.kind, "where": finding.where, "text": note.splitlines()[0], "operators": operators, "folder": str(folder),
            "excluded": exclusions.reason(finding, smallest)}


def tasks(arguments):
    for kind in ("static", "dynamic"):
        count = getattr(arguments, kind)
        for number in range(arguments.first, arguments.first + count):
            # One in eight is fp16 throughout.
            yield (kind + ("-f16" if number % 8 == 7 else ""), number, arguments.keep, not arguments.raw)
    for number in range(arguments.first, arguments.first + arguments.quantised):
        yield ("quantised", number, arguments.keep, False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--static", type=int, default=5000, help="random static graphs")
    parser.add_argument("--dynamic", type=int, default=1500, help="random dynamic graphs, each at six lengths")
    parser.add_argument("--quantised", type=int, default=500, help="static graphs with coded weights, against our evaluator")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", default="/tmp/narae-differential", help="where what differs is written")
    parser.add_argument("--raw", action="store_true", help="do not minimise")
    parser.add_argument("--report", help="where the figures go as JSON")
    arguments = parser.parse_args()
    if not pathlib.Path(narae.BINARY).exists():
        parser.error(f"{narae.BINARY} is not there: cargo build --release, or NARAE=path")
    figures = Figures()
    for done, result in enumerate(results(list(tasks(arguments)), arguments.jobs), 1):
        figures.add(result)
        if done % 200 == 0:
            print(f"… {done} seeds", flush=True)
    figures.say()
    if arguments.report:
        pathlib.Path(arguments.report).write_text(json.dumps(figures.data(), indent=1))
    return 1 if figures.failed() else 0


def serve(jobs, pipe):
    for job in jobs:
        pipe.send(job[:2])
        pipe.send(work(job))


class Server:
    """A process that does its share of the tasks; where onnxruntime ends it, another goes on behind the task."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.start()

    def start(self):
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(self.jobs, other), daemon=True)
        self.process.start()
        other.close()

    def next(self):
        """The next result, if there is one by now; nothing more to come empties `jobs`."""
        try:
            told = self.pipe.recv()
        except EOFError:
            self.process.join()
            if not self.jobs:
                return None
            kind, number = self.jobs.pop(0)[:2]
            self.start()
            return {"kind": kind, "number": number, "none": "onnxruntime ended the process"}
        if isinstance(told, dict):
            self.jobs = self.jobs[1:]
            return told
        return None


def results(jobs, count):
    servers = [Server(jobs[at::count]) for at in range(count)]
    while servers := [server for server in servers if server.jobs]:
        for pipe in multiprocessing.connection.wait([server.pipe for server in servers]):
            result = next(server for server in servers if server.pipe is pipe).next()
            if result:
                yield result


class Figures:
    """What the campaign says at its end."""

    def __init__(self):
        self.graphs, self.none = collections.Counter(), collections.Counter()
        self.operators, self.nodes = collections.Counter(), 0
        self.found, self.cpu, self.mib = [], (0.0, ""), (0.0, "")
        self.settled, self.excluded = collections.Counter(), collections.Counter()

    def add(self, result):
        name = f"{result['kind']}-{result['number']}"
        if "none" in result:
            self.none[result["none"][:120]] += 1
            return
        self.graphs[result["kind"]] += 1
        self.operators.update(result["operators"])
        self.nodes += result["nodes"]
        self.cpu, self.mib = max(self.cpu, (result["cpu"], name)), max(self.mib, (result["mib"], name))
        self.settled.update(result["settled"])
        for one in result["found"]:
            if one["excluded"]:
                self.excluded[one["excluded"]] += 1
                continue
            self.found.append(one)
            print(f"{one['kind']:8} {','.join(one['operators'])[:70]:70} {one['text'][:200]}  {one['folder']}", flush=True)

    def failed(self):
        return any(one["kind"] in ("differs", "crashed", "slow", "large") for one in self.found) or 100 * self.count("refused") > sum(self.graphs.values())

    def count(self, kind):
        return sum(one["kind"] == kind for one in self.found)

    def data(self):
        return {"graphs": dict(self.graphs), "nodes": self.nodes, "operators": dict(self.operators.most_common()), "cpu": self.cpu, "mib": self.mib,
                "settled": dict(self.settled), "excluded": dict(self.excluded), "none": dict(self.none), "found": self.found}

    def say(self):
        print(f"graphs    {dict(self.graphs)}, {self.nodes} nodes, {len(self.operators)} operator types")
        print(f"no graph  {sum(self.none.values())} seeds: {dict(self.none.most_common(5))}")
        print("found     " + ", ".join(f"{self.count(kind)} {kind}" for kind in ("differs", "crashed", "refused", "slow", "large")))
        print(f"settled   {dict(self.settled)}")
        print(f"excluded  {dict(self.excluded)}")
        print(f"most      {self.cpu[0]:.2f} s of CPU ({self.cpu[1]}), {self.mib[0]:.0f} MiB ({self.mib[1]}) to compile at -O2")


if __name__ == "__main__":
    sys.exit(main())
