"""The lists of CONTRIBUTING.md hold: a copy of the package that is changed by them to the letter has the new kind."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import docs_check
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
THINGS = ("judge", "source", "loss", "benchmark")


class Item(NamedTuple):
    """One file of a list, and the block of code below it."""

    file: str
    exists: bool
    code: str


def read_section(thing: str) -> str:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [section] = [section for section in sections if section.startswith(f"How to add a {thing}\n")]
    return section


def read_items(section: str) -> list[Item]:
    """Read files with code: new ones are in italics, those that are changed in backticks."""
    found = re.findall(r"^\d\. ([*`])([\w/.]+\.py)[*`],.*?^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [Item(file, mark == "`", code) for mark, file, code in found]


def follow(item: Item, root: Path) -> None:
    """Write a new file; or enter the lines ``from ... import ...`` and ``KINDS = {..., "kind": Class}``."""
    path = root / item.file
    assert path.exists() == item.exists, item.file
    if not item.exists:
        path.write_text(item.code)
        return
    line, entry = item.code.strip().splitlines()
    name, new = re.fullmatch(r"(\w+) = \{\.\.\., (.*)\}", entry).groups()  # type: ignore[union-attr]
    text = path.read_text()
    imports = re.search(r"^from prefboost", text, re.MULTILINE)
    assert imports is not None
    text = f"{text[: imports.start()]}{line}\n{text[imports.start() :]}"
    changed, count = re.subn(rf"^({name}\b[^=\n]*= \{{)", rf"\1{new}, ", text, flags=re.MULTILINE)
    assert count == 1, f"{item.file} has no dict {name}"
    path.write_text(changed)


@pytest.mark.torch
@pytest.mark.slow
def test_lists_that_are_followed_give_kinds_that_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, folder = tmp_path / "checkout", tmp_path / "work"
    # With its bytecode, which stays valid as the copy keeps the times of files: else every import compiles the package.
    # Files that another process is still writing, and then renames, are left out.
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("*.pyc.*"))
    shutil.copytree(ROOT / "examples", folder)
    tests = []
    for thing in THINGS:
        items = read_items(read_section(thing))
        for item in items:
            (root / item.file).parent.mkdir(parents=True, exist_ok=True)
            follow(item, root)
        assert [item.file.startswith("src/") for item in items] == [True, True, False], "a class, its kind, its test"
        tests.append(str(root / items[-1].file))
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    # All in one process: to start it costs more than they do.
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    for thing in THINGS:
        transcript = re.search(r"^```console\n(.*?)^```", read_section(thing), re.MULTILINE | re.DOTALL)
        assert transcript is not None, thing
        assert list(docs_check.faults_of_transcript(transcript[1], folder)) == [], thing


def test_files_of_a_list_that_are_to_be_changed_exist_and_new_ones_do_not() -> None:
    items = [item for thing in THINGS for item in read_items(read_section(thing))]
    assert [(item.file, (ROOT / item.file).exists()) for item in items] == [(item.file, item.exists) for item in items]


def list_imports(code: str) -> list[tuple[str, str]]:
    """List module and name of what a block imports from the package."""
    return [
        (str(node.module), alias.name)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("prefboost")
        for alias in node.names
    ]


@pytest.mark.parametrize("thing", THINGS)
def test_names_that_the_code_of_a_list_imports_exist(thing: str) -> None:
    """Fast, so that a name that is changed elsewhere is noticed before the lists are followed."""
    blocks = [item for item in read_items(read_section(thing)) if not item.exists]
    new = {item.file.removeprefix("src/").removesuffix(".py").replace("/", ".") for item in blocks}
    imports = {each for item in blocks for each in list_imports(item.code) if each[0] not in new}
    missing = []
    for module, name in imports:
        path = ROOT / "src" / module.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")):
            missing.append(f"{module} has no {name}")
    assert imports and missing == []
