"""The check of the documentation notices what is not true."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("docs_check")
    finally:
        sys.path.pop(0)


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


def test_links_and_anchors_that_lead_nowhere_are_named(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, here\n")
    text = "[a](other.md#a-heading-here) [b](other.md#no) [c](gone.md) [d](https://e.org)\n```text\n[e](x.md)\n```\n"
    assert list(check.links_that_lead_nowhere(page(tmp_path, text))) == [
        "there is no heading for other.md#no",
        "the link gone.md leads nowhere",
    ]


def test_files_and_functions_that_do_not_exist_are_named(check: ModuleType, tmp_path: Path) -> None:
    text = "`src/prefboost/errors.py::Place` `src/prefboost/errors.py::Nothing` `tests/gone.py`"
    text += " `src/prefboost/cli/main.py::VERBS`"
    assert list(check.names_that_do_not_exist(page(tmp_path, text))) == [
        "src/prefboost/errors.py has no Nothing",
        "there is no file tests/gone.py",
    ]


def test_blocks_share_a_folder_with_the_examples_and_their_faults_are_named(check: ModuleType, tmp_path: Path) -> None:
    text = (
        "```python run\nopen('made', 'w').write('1')\n```\n"
        "```console run\n$ cat made; ls scored.jsonl\n1scored.jsonl\n$ false # exits 1\n```\n"
        "```python\nraise SystemExit('not run')\n```\n"
    )
    assert list(check.faults_of_blocks(page(tmp_path, text))) == []
    text = "```python run own.py\nx = 1\n```\n```python run\nfrom own import x\n```\n"
    assert list(check.faults_of_blocks(page(tmp_path, text))) == [], "a block with a name is a file for those below"
    text = "```console run\n$ echo 12 pairs, 3 s; echo two\n12 pairs, ...\n...\n$ true\n...\n```\n"
    assert list(check.faults_of_blocks(page(tmp_path, text))) == []
    text = "```python run\n1 / 0\n```\n```console run\n$ echo one\ntwo\n$ exit 3\n```\n"
    faults = list(check.faults_of_blocks(page(tmp_path, text)))
    assert "line 1: the code ended with 1" in faults[0]
    assert faults[1] == "line 4: `echo one` did not print: two"
    assert faults[2].startswith("line 4: `exit 3` ended with 3, not 0")
