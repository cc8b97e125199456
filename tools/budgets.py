"""The house budgets: print how the package stands and fail where a limit is broken.

    python tools/budgets.py [--quiet]
    python tools/budgets.py --places [RULE] [PACKAGE]    # every place that breaks a rule of wording
    python tools/budgets.py --tighten                    # write lower counts into tools/budgets.toml

Limits: module <= 400 lines (median <= 150), function <= 60 lines, <= 6 parameters (self and cls excluded), public
functions and classes typed and documented, no import cycles, no vague names, no open ends without a reason, and a
test module of the same name for every module: src/prefboost/a/b.py is tested in tests/a/test_b.py.

Rules of wording (tools/wording.py) are a ratchet: tools/budgets.toml holds a count per package, and a count may only
fall. A count below its entry is no fault, so that two branches that mend the same package need not both write the file.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wording import RULES, Fault, find_faults

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "prefboost"
TESTS = ROOT / "tests"
BASELINE = ROOT / "tools" / "budgets.toml"

MODULE_LINES, MEDIAN_LINES, FUNCTION_LINES, PARAMETERS = 400, 150, 60, 6
FORBIDDEN = {"manager", "helper", "helpers", "util", "utils", "misc", "common", "handler", "processor"}
OPEN_END = re.compile(r"#\s*(TODO|FIXME|XXX)\b(?P<reason>.*)")
EXCUSE = re.compile(r"#\s*noqa: PLR0913 - (?P<reason>.{10,})")
"""More parameters than the house allows, with the reason; every such excuse is printed."""
REMEDY = re.compile(r"remedy=|;|->|\b(write|use|install|read|give|name|run|set|one of|did you mean|try|needs?)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Survey:
    """What was counted, and every broken limit."""

    module_lines: dict[str, int] = field(default_factory=dict)
    function_lines: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    public: int = 0
    raises: int = 0
    raises_with_value: int = 0
    raises_with_remedy: int = 0
    excused: list[str] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)
    imports: dict[str, set[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def survey(package: Path = PACKAGE, tests: Path = TESTS) -> Survey:
    """Read every module of a package."""
    totals = Survey()
    paths = sorted(package.rglob("*.py"))
    names = {module_name(path, package) for path in paths}
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = path.read_text(encoding="utf-8").splitlines()
        where = str(path.relative_to(package.parent))
        _count_module(path, tree, where, totals)
        for scope, node in definitions(tree):
            excused = EXCUSE.search(lines[node.lineno - 1])
            if excused:
                totals.excused.append(f"{where}:{node.lineno} {node.name}: {excused['reason']}")
            _count_definition(node, f"{where}:{node.lineno} {node.name}", (scope, bool(excused)), totals)
        _count_raises(tree, totals)
        totals.imports[module_name(path, package)] = imported(tree, module_name(path, package), names)
        if path.name != "__init__.py" and not namesake(path, package, tests).exists():
            totals.untested.append(where)
    totals.broken += [f"import cycle: {' -> '.join(cycle)}" for cycle in cycles(totals.imports)]
    if totals.module_lines and statistics.median(totals.module_lines.values()) > MEDIAN_LINES:
        totals.broken.append(f"median module has {statistics.median(totals.module_lines.values())} lines (<= 150)")
    totals.broken += [f"{where} has no namesake test" for where in totals.untested]
    return totals


def module_name(path: Path, package: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def namesake(path: Path, package: Path, tests: Path) -> Path:
    """Return the path of a module's tests: the tree is mirrored."""
    below = path.relative_to(package)
    return tests / below.parent / f"test_{below.name}"


def definitions(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Yield functions and classes with the scope they stand in: ``module``, ``class`` or ``function``."""

    def walk(node: ast.AST, scope: str) -> Iterator[tuple[str, Function | ast.ClassDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield scope, child
                yield from walk(child, "private" if child.name.startswith("_") else "class")
            elif isinstance(child, Function):
                yield scope, child
                yield from walk(child, "function")
            else:
                yield from walk(child, scope)

    yield from walk(tree, "module")


def _count_module(path: Path, tree: ast.Module, where: str, totals: Survey) -> None:
    text = path.read_text(encoding="utf-8")
    totals.module_lines[where] = text.count("\n") + 1
    if totals.module_lines[where] > MODULE_LINES:
        totals.broken.append(f"{where} has {totals.module_lines[where]} lines (<= {MODULE_LINES})")
    if not ast.get_docstring(tree):
        totals.broken.append(f"{where} has no docstring")
    for part in (*path.relative_to(PACKAGE.parent).with_suffix("").parts,) if PACKAGE in path.parents else (path.stem,):
        _check_name(part, where, totals)
    for number, line in enumerate(text.splitlines(), 1):
        match = OPEN_END.search(line)
        if match and len(match["reason"].strip(" :")) < 10:
            totals.broken.append(f"{where}:{number} leaves an open end without a reason")


def _count_definition(node: Function | ast.ClassDef, where: str, at: tuple[str, bool], totals: Survey) -> None:
    scope, excused = at
    _check_name(node.name, where, totals)
    public = not node.name.startswith("_") and scope in ("module", "class")
    if public:
        totals.public += 1
        overrides = any(isinstance(mark, ast.Name) and mark.id == "override" for mark in node.decorator_list)
        if not ast.get_docstring(node) and not overrides:
            totals.broken.append(f"{where} is public and has no docstring")
    if isinstance(node, ast.ClassDef):
        return
    assert node.end_lineno is not None
    totals.function_lines[where] = node.end_lineno - node.lineno + 1
    if totals.function_lines[where] > FUNCTION_LINES:
        totals.broken.append(f"{where} has {totals.function_lines[where]} lines (<= {FUNCTION_LINES})")
    arguments = _list_arguments(node, scope)
    totals.parameters[where] = len(arguments)
    if len(arguments) > PARAMETERS and not excused and not where.startswith("prefboost/cli/"):
        totals.broken.append(f"{where} has {len(arguments)} parameters (<= {PARAMETERS})")
    if public and (node.returns is None or any(argument.annotation is None for argument in arguments)):
        totals.broken.append(f"{where} is public and not fully typed")


def _list_arguments(node: Function, scope: str) -> list[ast.arg]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    bound = scope in ("class", "private") and not static
    return arguments[1:] if bound and arguments and arguments[0].arg in ("self", "cls", "mcs") else arguments


def _check_name(name: str, where: str, totals: Survey) -> None:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    for word in sorted(words & FORBIDDEN):
        totals.broken.append(f"{where}: {name} is a vague name ({word})")


def _count_raises(tree: ast.Module, totals: Survey) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            text = ast.unparse(node.exc)
            totals.raises += 1
            totals.raises_with_value += "{" in text or any(isinstance(part, ast.Name) for part in node.exc.args)
            totals.raises_with_remedy += bool(REMEDY.search(text))


def imported(tree: ast.Module, module: str, names: set[str]) -> set[str]:
    """List modules of the package that are imported while this one is being imported (not inside functions)."""
    modules: set[str] = set()
    for node in _run_at_import(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                modules.add(below if below in names else node.module)
    return (modules & names) - {module}


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _run_at_import(child)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find import cycles: every strongly connected set of more than one module."""
    reach = {start: _reachable(graph, start) for start in graph}
    rings = {frozenset({one, *(two for two in reach[one] if one in reach.get(two, set()))}) for one in graph}
    return [sorted(ring) for ring in rings if len(ring) > 1]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, set())
    return seen


def report(totals: Survey) -> str:
    """Lay the figures out as text, the longest of each kind named."""
    lines = sorted(totals.module_lines.values())
    percentile = lines[min(len(lines) - 1, int(0.9 * len(lines)))]
    longest_module = max(totals.module_lines, key=totals.module_lines.__getitem__)
    longest_function = max(totals.function_lines, key=totals.function_lines.__getitem__)
    widest = max(totals.parameters, key=totals.parameters.__getitem__)
    modules = sum(1 for where in totals.module_lines if not where.endswith("__init__.py"))
    tested = modules - len(totals.untested)
    rows = [
        ("modules", f"{len(lines)}, median {statistics.median(lines):.0f} lines, 90th percentile {percentile}"),
        ("longest module", f"{totals.module_lines[longest_module]} lines, {longest_module}"),
        ("longest function", f"{totals.function_lines[longest_function]} lines, {longest_function}"),
        ("most parameters", f"{totals.parameters[widest]}, {widest}"),
        ("public names", f"{totals.public}, all typed and documented unless listed below"),
        (
            "raises",
            f"{totals.raises}: show the value {totals.raises_with_value}, the remedy {totals.raises_with_remedy}",
        ),
        ("namesake tests", f"{tested} of {modules} modules"),
    ]
    rows += [("excused", excuse) for excuse in totals.excused]
    return "\n".join(f"{name:<18}{value}" for name, value in rows)


Counts = Mapping[str, Mapping[str, int]]
"""Rule -> package -> places that break it."""


def find_wording_faults(package: Path = PACKAGE) -> list[Fault]:
    """Find the places of a package that break a rule of wording."""
    paths = sorted(package.rglob("*.py"))
    return find_faults(
        {path.relative_to(package.parent).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    )


def count_faults(faults: Sequence[Fault]) -> dict[str, dict[str, int]]:
    """Count faults by rule, then by package."""
    return {
        rule: dict(sorted(Counter(fault.package for fault in faults if fault.rule == rule).items())) for rule in RULES
    }


def read_baseline(path: Path = BASELINE) -> Counts:
    """Read the counts that may not be exceeded."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def list_excesses(faults: Sequence[Fault], baseline: Counts) -> list[str]:
    """List what is worse than the baseline: a line for each rule and package, then a line for each place."""
    lines = []
    for rule, counts in count_faults(faults).items():
        for package, count in counts.items():
            limit = baseline.get(rule, {}).get(package, 0)
            if count > limit:
                lines.append(f"{package}: {count} {RULES[rule]} (<= {limit}, tools/budgets.toml, {rule})")
                lines += [f"    {place}" for place in list_places(faults, rule, package)]
    return lines


def list_places(faults: Sequence[Fault], rule: str = "", package: str = "") -> list[str]:
    """List the places of a rule and a package, each once; an empty string stands for all."""
    return list(
        dict.fromkeys(
            fault.where if rule else f"{fault.rule}: {fault.where}"
            for fault in faults
            if rule in ("", fault.rule) and package in ("", fault.package)
        )
    )


def tighten(faults: Sequence[Fault], path: Path = BASELINE) -> None:
    """Write the present counts into the baseline where they are lower; leave out what is 0."""
    baseline = read_baseline(path)
    text = path.read_text(encoding="utf-8")
    lines = [text[: text.index("[")].rstrip()] if "[" in text else []
    for rule, counts in count_faults(faults).items():
        limits = {package: min(counts.get(package, 0), limit) for package, limit in baseline.get(rule, {}).items()}
        entries = [f"{package} = {limit}" for package, limit in sorted(limits.items()) if limit]
        lines += [f"\n[{rule}] # {RULES[rule]}", *entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Print the report; 1 where a limit is broken."""
    faults = find_wording_faults()
    if "--places" in sys.argv:
        print("\n".join(list_places(faults, *(word for word in sys.argv[1:] if not word.startswith("--")))))
        return 0
    if "--tighten" in sys.argv:
        tighten(faults)
    totals = survey()
    totals.broken += list_excesses(faults, read_baseline())
    if "--quiet" not in sys.argv:
        print(report(totals))
        for rule, counts in count_faults(faults).items():
            print(f"{rule:<21}{sum(counts.values()):>5}, {RULES[rule]}")
    for line in totals.broken:
        print(line if line.startswith(" ") else f"broken: {line}")
    return int(bool(totals.broken))


if __name__ == "__main__":
    sys.exit(main())
