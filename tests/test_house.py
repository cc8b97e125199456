"""The house keeps its own rules: public names, patient tests, and no traces of the machine it was built on."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "prefboost").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_every_exported_name_exists(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    exported = [
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for name in ast.literal_eval(node.value)
    ]
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    assert [name for name in exported if name not in defined] == []


def test_nothing_tracked_names_the_machine_it_was_built_on() -> None:
    pattern = re.compile(r"/work/|/tmp/\w|/root/|/home/\w+/\w")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    texts = [
        ROOT / name for name in listed.stdout.split() if Path(name).suffix in {".py", ".md", ".yaml", ".toml", ".txt"}
    ]
    named = [
        str(path) for path in texts if path.exists() and path != Path(__file__) and pattern.search(path.read_text())
    ]
    assert named == []


CLOCKS = {"time.monotonic", "time.perf_counter", "time.time"}
LEAST_S = 600
"""Seconds that a test may at least wait for another process or thread: machines are busy."""


def impatience(tree: ast.AST) -> list[tuple[int, str]]:
    """Find what fails on a busy machine: sleeps, short time limits, and comparisons with the clock.

    Returns:
        Line and fault of each.
    """
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            called = {ast.unparse(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
            if called & CLOCKS:
                faults.append((node.lineno, "compares with the clock"))
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) == "time.sleep":
            faults.append((node.lineno, "sleeps"))
        limits = [each.value for each in node.keywords if each.arg == "timeout"]
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("wait", "join", "result", "communicate"):
            limits += node.args[:1]
        for limit in limits:
            if isinstance(limit, ast.Constant) and isinstance(limit.value, int | float) and limit.value < LEAST_S:
                faults.append((node.lineno, f"waits {limit.value} s at most"))
    return faults


def test_no_test_depends_on_how_busy_the_machine_is() -> None:
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name not in ("waiting.py", "dying.py")]
    faults = [
        f"{path.relative_to(ROOT)}:{line} {fault}; see tests/made/waiting.py and dying.py"
        for path in paths
        for line, fault in impatience(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert faults == []


def test_impatience_is_noticed_in_all_its_forms() -> None:
    hasty = [
        "time.sleep(0.1)", "process.wait(60)", "thread.join(5.0)", "subprocess.run(line, timeout=30)",
        "future.result(timeout=1)", "assert time.monotonic() - begin < 1", "while time.perf_counter() < end: pass",
    ]  # fmt: skip
    patient = ["process.wait()", "process.wait(PATIENCE_S)", "subprocess.run(line, timeout=600)", "', '.join(words)"]
    assert [len(impatience(ast.parse(line))) for line in hasty] == [1] * len(hasty)
    assert [impatience(ast.parse(line)) for line in patient] == [[]] * len(patient)
