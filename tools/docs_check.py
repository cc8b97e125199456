"""Check that what the documentation shows is true.

python tools/docs_check.py [PAGE.md ...]

- links between pages and to files of the project lead somewhere;
- every `path/to/file.py` and `path/to/file.py::name` in backticks exists;
- blocks marked ```python run are executed, with a name behind it as a file of that name; ```console run are typed into
  a shell: a command must succeed (`# exits 2` behind it says otherwise) and every line of output that is shown must be
  printed ("..." stands for any lines, and at the end of a line for its rest);
- the generated reference pages and the figure of the README are current.

Blocks run in an empty folder that holds copies of the files in examples/; the blocks of one page share it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:src|tests|tools|examples|benchmarks)/[\w./-]+?\.\w+)(?:::(\w+))?`")
BLOCK = re.compile(r"^```(python|console|bash) run ?([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXITS = re.compile(r"\s*# exits (\d+)$")
LIMIT_S = 300


class Block(NamedTuple):
    """A runnable block, the line where it begins, and the file that it is; empty for none."""

    language: str
    text: str
    line: int
    file: str


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def links_that_lead_nowhere(page: Path) -> Iterator[str]:
    """Relative links without a target; addresses on the web are not followed."""
    text = without_code(page.read_text(encoding="utf-8"))
    for match in LINK.finditer(text):
        target = match[1] or match[2]
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            yield f"the link {target} leads nowhere"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            yield f"there is no heading for {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that headings get on GitHub."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(text: str) -> str:
    """The text without fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def names_that_do_not_exist(page: Path) -> Iterator[str]:
    """Files, and functions, classes or constants in files, that are named and absent."""
    for match in NAMED.finditer(page.read_text(encoding="utf-8")):
        file, name = ROOT / match[1], match[2]
        if not file.exists():
            yield f"there is no file {match[1]}"
        elif name and not re.search(
            rf"^\s*(?:async def|def|class) {name}\b|^{name}\b.*=", file.read_text(), re.MULTILINE
        ):
            yield f"{match[1]} has no {name}"


def blocks(page: Path) -> list[Block]:
    """The runnable blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[3], text[: m.start()].count("\n") + 1, m[2]) for m in BLOCK.finditer(text)]


def faults_of_blocks(page: Path) -> Iterator[str]:
    """Run the blocks of a page in order."""
    if not blocks(page):
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (ROOT / "examples").glob("*"):
            if file.is_file():
                shutil.copy(file, folder)
        for block in blocks(page):
            if block.file:
                (folder / block.file).write_text(block.text, encoding="utf-8")
            run = faults_of_python if block.language == "python" else faults_of_transcript
            yield from (f"line {block.line}: {fault}" for fault in run(block.text, folder))


def faults_of_python(code: str, folder: Path) -> Iterator[str]:
    """Run Python code; it must end without an exception."""
    done = subprocess.run([sys.executable, "-c", code], check=False, **_inside(folder))
    if done.returncode:
        yield f"the code ended with {done.returncode}: {done.stderr.strip()[-400:]}"


def faults_of_transcript(text: str, folder: Path) -> Iterator[str]:
    """Type the lines behind ``$`` into a shell and look for the output that is shown."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        match = EXITS.search(command)
        expected = int(match[1]) if match else 0
        done = subprocess.run(["bash", "-c", EXITS.sub("", command)], check=False, **_inside(folder))
        printed = [" ".join(line.split()) for line in (done.stdout + done.stderr).splitlines()]
        if done.returncode != expected:
            yield f"`{command}` ended with {done.returncode}, not {expected}: {done.stderr.strip()[-400:]}"
        for line in shown.splitlines():
            wanted = " ".join(line.split())
            if wanted and wanted != "..." and not any(shows(wanted, one) for one in printed):
                yield f"`{command}` did not print: {wanted}"


def shows(wanted: str, printed: str) -> bool:
    """Whether a line of a page stands for a line of output: the same, or the same up to "..."."""
    return printed.startswith(wanted.removesuffix("...").rstrip()) if wanted.endswith("...") else printed == wanted


def _inside(folder: Path) -> dict[str, object]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100",
                   "NO_COLOR": "1", "TERM": "dumb", "HF_HUB_OFFLINE": "1"}  # fmt: skip
    return {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": LIMIT_S}


def stale_reference() -> Iterator[str]:
    """Generated pages that differ from what the code says now."""
    sys.path.insert(0, str(Path(__file__).parent))
    import docs_reference
    import readme_figure

    if readme_figure.read_drawn() != readme_figure.read_figures():
        yield "docs/images/control.svg: not current; run `python tools/readme_figure.py`"
    for name, text in docs_reference.pages().items():
        file = docs_reference.FOLDER / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            yield f"docs/reference/{name}: not current; run `make docs`"


def main(arguments: list[str]) -> int:
    """Print every fault; 1 where there is one."""
    chosen = [Path(name).resolve() for name in arguments] or pages()
    faults = [
        f"{page.relative_to(ROOT)}: {fault}"
        for page in chosen
        for check in (links_that_lead_nowhere, names_that_do_not_exist, faults_of_blocks)
        for fault in check(page)
    ]
    if not arguments:
        faults += stale_reference()
    for fault in faults:
        print(fault)
    print(f"{len(chosen)} pages, {sum(len(blocks(page)) for page in chosen)} blocks run, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
