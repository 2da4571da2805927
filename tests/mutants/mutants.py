#!/usr/bin/env python3
"""Mutation testing: are the guards of the code held by its tests?

    pip install tree_sitter tree_sitter_rust
    nice python3 tests/mutants/mutants.py --seed 1 --each 34 --out /tmp/mutants.json

For every module of MODULES it draws mutants with a fixed seed (a module marked "all" is mutated everywhere), writes ALL of them into one
copy of the workspace behind a switch (`if mutant(17) { changed } else { as it was }`), builds the tests of the crate once, and runs
for every mutant the tests that come by its switch, with `NARAE_MUTANT=17`, without `../shared`; those of the mutant's own module first.
A mutant that no test notices has survived: it is printed with its place, and listed in survivors.md. Mutants that do not compile are left
out and counted; a run beyond --seconds counts as noticed (the mutant hangs).

Kinds of mutants: a comparison turned into its neighbour, `&&` and `||` exchanged or one side dropped, `!` dropped, the condition of an
`if`, a match guard or a `.then_some(…)` replaced by true and by false, a step of one changed, a function that returns bool, Option or
`Result<()>` answering at once, a statement with an effect left out.
"""

import argparse
import concurrent.futures
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

import tree_sitter
import tree_sitter_rust

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
# name: (package, files or folders, all or a sample)
MODULES = {
    "conditions": ("narae-compiler", ["compiler/src/rewrite/conditions.rs", "compiler/src/rewrite/conditions"], True),
    "state": ("narae-compiler", ["compiler/src/passes/state"], True),
    "roll": ("narae-compiler", ["compiler/src/passes/roll"], False),
    "hazards": ("narae-compiler", ["compiler/src/passes/hazards.rs"], False),
    "synchronise": ("narae-compiler", ["compiler/src/passes/synchronize.rs", "compiler/src/passes/synchronize"], False),
    "bounds": ("narae-compiler", ["compiler/src/bounds"], False),
    "checker": ("narae-sim", ["runtime-sim/src/checker.rs", "runtime-sim/src/checker"], False),
    "packing": ("narae-isa", ["isa/src/format"], False),
    "verification": ("narae-isa", ["isa/src/image/check.rs", "isa/src/image/check", "isa/src/image/open.rs", "isa/src/image/open"], False),
}
CRATES = {"narae-compiler": "compiler", "narae-sim": "runtime-sim", "narae-isa": "isa"}
NEIGHBOUR = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
LANGUAGE = tree_sitter.Language(tree_sitter_rust.language())


class Mutant:
    """One change: in a file, the bytes from start to end become `text` while the mutant is active."""

    def __init__(self, module, path, start, end, before, after, kind, line):
        self.module, self.path, self.start, self.end = module, path, start, end
        self.before, self.after, self.kind, self.line = before, after, kind, line
        self.number = None

    def place(self):
        short = " ".join(self.before.split())[:90]
        return f"{self.path}:{self.line} {self.kind}: {short} -> {' '.join(self.after.split())[:60]}"


def rust_files(paths):
    """The files below the paths that are code of the product."""
    found = []
    for path in paths:
        whole = os.path.join(ROOT, path)
        if os.path.isfile(whole):
            found.append(path)
        elif os.path.isdir(whole):
            found += [os.path.join(path, name) for name in sorted(os.listdir(whole)) if name.endswith(".rs")]
    return [path for path in found if not re.search(r"(^|/|_)(tests?|testing|cases)\.rs$", path)]


def mutants_of(module, path):
    """All changes of a file, in its order."""
    code = open(os.path.join(ROOT, path), "rb").read()
    tree = tree_sitter.Parser(LANGUAGE).parse(code)
    found = []

    def text(node):
        return code[node.start_byte : node.end_byte].decode()

    def add(node, after, kind):
        if text(node).strip() != after.strip():
            line = node.start_point[0] + 1
            found.append(Mutant(module, path, node.start_byte, node.end_byte, text(node), after, kind, line))

    def insert(block, statement, kind):
        at = block.start_byte + 1
        line = block.start_point[0] + 1
        found.append(Mutant(module, path, at, at, "", statement, kind, line))

    def has_let(node):
        return node.type in ("let_condition", "let_chain") or any(has_let(child) for child in node.children)

    def visit(node):
        kind = node.type
        if kind in ("attribute_item", "macro_definition"):
            return
        if kind == "mod_item":
            before = node.prev_sibling
            if before is not None and "cfg(test)" in text(before):
                return
        if kind in ("const_item", "static_item", "macro_invocation", "type_item"):
            return
        if kind == "function_item":
            head = code[node.start_byte : node.child_by_field_name("body").start_byte].decode()
            previous = node.prev_sibling
            if re.search(r"\bconst\s+(unsafe\s+)?fn\b", head) or (previous is not None and "#[test]" in text(previous)):
                return
            returns = node.child_by_field_name("return_type")
            body = node.child_by_field_name("body")
            if returns is not None:
                of = text(returns).strip()
                if of == "bool":
                    insert(body, "return true;", "answers true")
                    insert(body, "return false;", "answers false")
                elif of.startswith("Option<"):
                    insert(body, "return None;", "answers None")
                elif re.match(r"Result<\(\)", of):
                    insert(body, "return Ok(());", "answers Ok")
        if kind == "binary_expression" and not has_let(node):
            operator = text(node.child_by_field_name("operator"))
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if operator in NEIGHBOUR:
                add(node, f"{text(left)} {NEIGHBOUR[operator]} {text(right)}", "comparison")
            elif operator in ("&&", "||"):
                other = "||" if operator == "&&" else "&&"
                add(node, f"({text(left)}) {other} ({text(right)})", "connective")
                add(node, text(left), "right side dropped")
                add(node, text(right), "left side dropped")
            elif operator in ("+", "-") and text(right) == "1":
                add(node, text(left), "step dropped")
        if kind == "unary_expression" and text(node).startswith("!"):
            add(node, text(node)[1:], "not dropped")
        if kind in ("if_expression", "while_expression"):
            condition = node.child_by_field_name("condition")
            if not has_let(condition):
                add(condition, "false", "condition false")
                if kind == "if_expression":
                    add(condition, "true", "condition true")
        if kind == "match_pattern":
            guard = node.child_by_field_name("condition")
            if guard is not None and not has_let(guard):
                add(guard, "true", "guard true")
                add(guard, "false", "guard false")
        if kind == "call_expression":
            function = node.child_by_field_name("function")
            if function.type == "field_expression" and text(function.child_by_field_name("field")) in ("then_some", "then"):
                add(function.child_by_field_name("value"), "true", "condition true")
        if kind == "expression_statement" and text(node).endswith(";"):
            inner = node.children[0]
            if inner.type in ("call_expression", "try_expression") and not text(inner).startswith("return"):
                add(node, "{}", "statement dropped")
        for child in node.children:
            visit(child)

    visit(tree.root_node)
    return found


def draw(each, seed, only):
    """The mutants of a run, numbered."""
    chosen = []
    for module, (_, paths, every) in MODULES.items():
        if only and module not in only:
            continue
        candidates = [mutant for path in rust_files(paths) for mutant in mutants_of(module, path)]
        if not every and len(candidates) > each:
            candidates = random.Random(f"{seed} {module}").sample(candidates, each)
        chosen += sorted(candidates, key=lambda mutant: (mutant.path, mutant.start, mutant.end))
    for number, mutant in enumerate(chosen, 1):
        mutant.number = number
    return chosen


def switched(code, mutants):
    """The code with all mutants of the file behind their switches."""
    nodes = {}
    for mutant in mutants:
        nodes.setdefault((mutant.start, mutant.end), []).append(mutant)
    spans = sorted(nodes, key=lambda span: (span[0], -span[1]))

    def render(start, end, inside):
        """The text of a span, with the spans that lie inside of it switched."""
        result, at = b"", start
        for index, span in enumerate(inside):
            if span[0] < at or (span[0] == span[1] and span[0] == end):
                continue
            result += code[at : span[0]]
            own = [other for other in inside[index + 1 :] if span[0] <= other[0] and other[1] <= span[1] and other != span]
            result += one(span, own)
            at = span[1]
        return result + code[at:end]

    def one(span, inside):
        if span[0] == span[1]:
            return b"".join(f" if crate::mutant({m.number}) {{ {m.after} }} ".encode() for m in nodes[span])
        before = render(span[0], span[1], inside)
        text = before
        statement = all(mutant.kind == "statement dropped" for mutant in nodes[span])
        for mutant in nodes[span]:
            if statement:
                text = f"if !crate::mutant({mutant.number}) {{ ".encode() + text + b" }"
            else:
                text = f"(if crate::mutant({mutant.number}) {{ {mutant.after} }} else {{ ".encode() + text + b" })"
        return text

    return render(0, len(code), spans)


SWITCH = '''
/// Whether a mutant is active; the file named by `NARAE_MUTANT_TRACE` receives the numbers that were asked for, and by which test.
#[allow(clippy::all, unused, missing_docs)]
pub(crate) fn mutant(number: u32) -> bool {
    use std::io::Write as _;
    static ACTIVE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    static SEEN: std::sync::Mutex<std::collections::BTreeSet<(String, u32)>> = std::sync::Mutex::new(std::collections::BTreeSet::new());
    static TRACE: std::sync::OnceLock<Option<std::ffi::OsString>> = std::sync::OnceLock::new();
    if let Some(path) = TRACE.get_or_init(|| std::env::var_os("NARAE_MUTANT_TRACE")) {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        let mut seen = SEEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if seen.insert((test.clone(), number)) {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            if let Ok(mut file) = file { let _ = file.write_all(format!("{number} {test}\\n").as_bytes()); }
        }
    }
    *ACTIVE.get_or_init(|| std::env::var("NARAE_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
}
'''


def copy_of_workspace(folder):
    """A copy of what git tracks, refreshed without touching what did not change; what is no longer tracked goes."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "target"]
        for name in files:
            path = os.path.join(place, name)
            if os.path.relpath(path, folder) not in names:
                os.remove(path)
    for name in filter(None, names):
        source, target = os.path.join(ROOT, name), os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(source):
            continue
        if os.path.exists(target) and open(source, "rb").read() == open(target, "rb").read():
            continue
        shutil.copy2(source, target)


def write_switches(folder, mutants):
    """All mutants into the copy."""
    for crate in CRATES.values():
        path = os.path.join(folder, crate, "src/lib.rs")
        text = open(os.path.join(ROOT, crate, "src/lib.rs")).read()
        attributes = "#![allow(warnings, clippy::all, reason = \"mutants\")]\n"
        head = re.match(r"(//!.*\n|\s*\n)*", text).group(0)
        write(path, head + attributes + text[len(head) :] + SWITCH)
    by_path = {}
    for path in {path for _, paths, _ in MODULES.values() for path in rust_files(paths)}:
        by_path[path] = []
    for mutant in mutants:
        by_path[mutant.path].append(mutant)
    for path, own in by_path.items():
        code = open(os.path.join(ROOT, path), "rb").read()
        write(os.path.join(folder, path), switched(code, own).decode())


def write(path, text):
    if not os.path.exists(path) or open(path).read() != text:
        open(path, "w").write(text)


def build(folder, packages):
    """The test binaries by package, or the places that do not compile."""
    command = ["cargo", "test", "--no-run", "--message-format=json", *[f"-p={package}" for package in packages]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    binaries, errors = {}, []
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            package = re.split(r"[/#@]", message["package_id"])
            name = next(p for p in CRATES if f"/{CRATES[p]}#" in message["package_id"] or p in package)
            binaries.setdefault(name, []).append(message["executable"])
        if message.get("reason") == "compiler-message" and message["message"]["level"] == "error":
            spans = message["message"]["spans"]
            errors += [(span["file_name"], span["byte_start"], span["byte_end"]) for span in spans]
    if done.returncode != 0 and not errors:
        sys.exit(done.stderr[-4000:])
    return binaries, errors


def blamed(folder, mutants, errors):
    """The mutants whose switches stand where the compiler complained."""
    bad = set()
    for name, start, end in errors:
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            continue
        code = open(path, "rb").read()
        around = code[max(0, start - 400) : end + 200].decode(errors="replace")
        inside = re.findall(r"mutant\((\d+)\)", code[start:end].decode(errors="replace"))
        numbers = inside or re.findall(r"mutant\((\d+)\)", around[: min(len(around), 400)])[-1:]
        bad.update(int(number) for number in numbers)
    return [mutant for mutant in mutants if mutant.number in bad]


def run_tests(binary, folder, crate, environment, seconds, tests=()):
    """None if all tests of a binary pass, or the ones that are named; else how it failed."""
    try:
        done = subprocess.run(
            [binary, "--quiet", *(["--exact", *tests] if tests else [])], cwd=os.path.join(folder, crate), capture_output=True,
            timeout=seconds, env={**os.environ, "NARAE_SHARED": "/nonexistent", "RUST_BACKTRACE": "0", **environment},
        )
    except subprocess.TimeoutExpired:
        return "time"
    return os.path.basename(binary).rsplit("-", 1)[0] if done.returncode else None


def traced(binary, folder, crate):
    """The tests of a binary by the mutants that they come by; a test that works in threads of its own stands for all (nothing named)."""
    trace = os.path.join(folder, "trace")
    open(trace, "w").close()
    start = time.monotonic()
    if run_tests(binary, folder, crate, {"NARAE_MUTANT_TRACE": trace}, 900):
        sys.exit(f"the tests fail without a mutant: {binary}")
    found = {}
    for line in open(trace):
        number, test = line.rstrip("\n").split(" ", 1)
        found.setdefault(int(number), set()).add(test)
    print(f"{os.path.basename(binary)}: {time.monotonic() - start:.1f} s, reaches {len(found)}", flush=True)
    return {number: set() if "?" in tests or "main" in tests else tests for number, tests in found.items()}


def stages(tests, path):
    """Tests in the order in which they are run: those of the mutant's own module first."""
    if not tests:
        return [()]
    module = os.path.dirname(path.split("/src/", 1)[1]).split("/")
    near = sorted(test for test in tests if test.split("::")[: len(module)] == module)
    return [stage for stage in (near, sorted(tests - set(near))) if stage]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1, help="of the draw (default 1)")
    options.add_argument("--each", type=int, default=34, help="mutants per module that is sampled (default 34)")
    options.add_argument("--only", nargs="*", help=f"modules: {' '.join(MODULES)}")
    options.add_argument("--seconds", type=float, default=60, help="limit for the tests of one mutant (default 60)")
    options.add_argument("--folder", default="/tmp/narae-mutants", help="where the copy is built")
    options.add_argument("--out", help="all results as JSON")
    options.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    options.add_argument("--list", action="store_true", help="print the mutants and stop")
    given = options.parse_args()
    mutants = draw(given.each, given.seed, given.only)
    if given.list:
        for mutant in mutants:
            print(mutant.number, mutant.module, mutant.place())
        return
    copy_of_workspace(given.folder)
    packages = sorted({MODULES[mutant.module][0] for mutant in mutants})
    invalid = []
    while True:
        write_switches(given.folder, mutants)
        binaries, errors = build(given.folder, packages)
        if not errors:
            break
        bad = blamed(given.folder, mutants, errors)
        if not bad:
            sys.exit(f"the copy does not compile, and no mutant is to blame: {errors[:5]}")
        invalid += bad
        mutants = [mutant for mutant in mutants if mutant not in bad]
        print(f"{len(bad)} mutants do not compile, {len(mutants)} are left", flush=True)
    # The tests must pass without a mutant; the traces say which ones can notice it at all.
    reached = [(package, binary, traced(binary, given.folder, CRATES[package])) for package in packages for binary in binaries[package]]

    def judge(mutant):
        """Which tests noticed it, within the time."""
        package, end = MODULES[mutant.module][0], time.monotonic() + given.seconds
        able = [(binary, found[mutant.number]) for own, binary, found in reached if own == package and mutant.number in found]
        runs = [(stage, binary, tests) for binary, all_tests in able for stage, tests in enumerate(stages(all_tests, mutant.path))]
        for _, binary, tests in sorted(runs, key=lambda run: (not run[2], run[0])):
            environment = {"NARAE_MUTANT": str(mutant.number)}
            noticed = run_tests(binary, given.folder, CRATES[package], environment, max(1, end - time.monotonic()), tests)
            if noticed:
                return noticed
        return None

    results = []
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        for mutant, by in zip(mutants, pool.map(judge, mutants)):
            results.append({"module": mutant.module, "place": mutant.place(), "noticed": by})
            if by is None:
                print(f"SURVIVED {mutant.number} {mutant.module} {mutant.place()}", flush=True)
    for module in MODULES:
        own = [result for result in results if result["module"] == module]
        if own:
            alive = sum(result["noticed"] is None for result in own)
            print(f"{module}: {len(own)} mutants, {alive} survived ({100 * alive / len(own):.1f} %)")
    alive = sum(result["noticed"] is None for result in results)
    print(f"all: {len(results)} mutants, {alive} survived ({100 * alive / max(1, len(results)):.1f} %), {len(invalid)} did not compile")
    if given.out:
        json.dump(results, open(given.out, "w"), indent=1)


if __name__ == "__main__":
    main()
