"""The notebooks of the documentation run without a hub, and print what they show."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import notebooks
import pytest

NAMES = ("relabel", "train", "rmboost", "evaluate")
NEEDED = ("nbclient", "nbformat", "ipykernel")

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED),
    reason="notebooks need nbclient and ipykernel: pip install --group docs",
)


def write(folder: Path, source: str, shown: str) -> Path:
    """Write a notebook of one code cell that shows an output."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    cell = new_code_cell(source, outputs=[new_output("stream", name="stdout", text=shown)])
    path = folder / "book.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A title"), cell]), path)
    return path


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_prints_what_it_shows(name: str) -> None:
    path = notebooks.FOLDER / f"{name}.ipynb"
    assert list(notebooks.find_differences(notebooks.read(path), notebooks.execute(path))) == []


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in notebooks.FOLDER.glob("*.ipynb")} == set(NAMES)


@pytest.mark.slow
def test_other_words_are_differences_other_numbers_and_warnings_are_not(tmp_path: Path) -> None:
    path = write(tmp_path, "import sys\nprint('loss 0.31'); print('odd', file=sys.stderr)", "loss 0.29\n")
    executed = notebooks.execute(path)
    assert list(notebooks.find_differences(notebooks.read(path), executed)) == []
    path = write(tmp_path, "print('loss 0.31')", "gain 0.31\n")
    [fault] = notebooks.find_differences(notebooks.read(path), executed)
    assert "cell 2 prints something else" in fault and "-gain #" in fault and "+loss #" in fault


@pytest.mark.slow
def test_a_cell_that_raises_is_an_error(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.execute(write(tmp_path, "1 / 0", ""))


def test_a_notebook_becomes_a_page_with_its_code_and_outputs(tmp_path: Path) -> None:
    path = write(tmp_path, "print(1)", "\x1b[31m1\x1b[0m\n")
    assert notebooks.convert(path) == "# A title\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n"
