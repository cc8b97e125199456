"""Execute the notebooks of the documentation, and compare what they print with what they show.

    python tools/notebooks.py [NOTEBOOK ...]            # 1 where a notebook fails or prints something else
    python tools/notebooks.py --write [NOTEBOOK ...]    # stores what they print

Each runs in an empty folder, offline, with one thread. Words must be equal; numbers may differ, since CPUs round
differently, and what goes to stderr is neither stored nor compared. Needs the packages of `pip install --group docs`.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
LIMIT_S = 600
"""Seconds that a cell may take; a notebook takes under 40 on one core, but machines are busy."""


def read(path: Path) -> Any:
    """Read a notebook."""
    import nbformat

    return nbformat.read(path, as_version=4)


def print_of(cell: Any) -> str:
    """Return the text that a code cell has printed, without colours and without stderr."""
    texts = [output["text"] for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"]
    texts += [output["data"]["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
    return re.sub(r"\x1b\[[\d;]*m", "", "".join(texts)).strip()


def execute(path: Path) -> Any:
    """Execute a notebook in an empty folder, and return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises.
    """
    from nbclient import NotebookClient

    book = read(path)
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "NO_COLOR": "1",
            "COLUMNS": "100", "IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        work = Path(folder) / "work"
        work.mkdir()
        try:
            NotebookClient(book, timeout=LIMIT_S, resources={"metadata": {"path": str(work)}}).execute()
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # times of execution, another in every run
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return book


def find_differences(shown: Any, executed: Any) -> Iterator[str]:
    """Name code cells that print other words than they show."""
    for number, (old, new) in enumerate(zip(shown.cells, executed.cells, strict=True), 1):
        if old.cell_type != "code":
            continue
        before, after = (NUMBER.sub("#", print_of(cell)).splitlines() for cell in (old, new))
        if before != after:
            lines = difflib.unified_diff(before, after, "shown", "printed", lineterm="", n=0)
            yield f"cell {number} prints something else:\n" + "\n".join(lines)


def convert(path: Path) -> str:
    """Return a notebook as Markdown: its texts, its code, and below each block what it printed."""
    parts = []
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if text := print_of(cell):
            parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """Execute notebooks; store their outputs, or name differences."""
    paths = [Path(name).resolve() for name in arguments if name != "--write"] or sorted(FOLDER.glob("*.ipynb"))
    faults = 0
    for path in paths:
        executed = execute(path)
        if "--write" in arguments:
            import nbformat

            nbformat.write(executed, path)
            continue
        for fault in find_differences(read(path), executed):
            faults += 1
            print(f"{path.name}: {fault}")
    print(f"{len(paths)} notebooks executed, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
