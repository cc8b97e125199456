"""Build the package as a release would, and use it as a stranger would.

    python tools/package_check.py [--dist DIR]

- builds the source archive, and the wheel from it; `twine check` reads both as PyPI will;
- the wheel holds every tracked file of src/prefboost and nothing else, the archive nothing of tests, tools or docs;
- CITATION.cff is valid;
- the wheel alone goes into an empty environment: no torch, and the commands of the README's first section work there.

Needs the packages of `pip install --group release`. Writes to DIR (default: dist), which it empties first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    ("prefboost", "--version"),
    ("prefboost", "inspect", "scored.jsonl"),
    ("prefboost", "augment", "scored.jsonl", "-o", "goal_pairs", "--format", "trl", "--quiet"),
    ("prefboost", "show", "qwen2-7b-ra"),
    ("prefboost", "explain", "train.loss.beta"),
)
"""What the base install must do: it has no torch."""

PROBE = """
import importlib.util
import prefboost as pb
assert pb.SayGoal and pb.BestVsRandom and importlib.util.find_spec("torch") is None
"""


def list_tracked() -> set[str]:
    """List the files of the package that Git tracks, as paths inside the wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "src/prefboost"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return {name.removeprefix("src/") for name in listed.splitlines()}


def find_faults_of_wheel(names: Sequence[str], tracked: set[str]) -> Iterator[str]:
    """Compare the files of a wheel with those that it should hold."""
    files = {name for name in names if not name.endswith("/") and ".dist-info/" not in name}
    yield from (f"the wheel lacks {name}" for name in sorted(tracked - files))
    yield from (f"the wheel holds {name}, which is not the package's" for name in sorted(files - tracked))


def find_faults_of_archive(names: Sequence[str]) -> Iterator[str]:
    """Name what a source archive should not hold: its first folder has src, examples and single files alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = {"src", "examples", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "PKG-INFO"}
    allowed |= set(project["license-files"])
    # Hatchling adds .gitignore, so that a build from the archive leaves out the same files.
    tops = {name.split("/")[1] for name in names if "/" in name}
    yield from (f"the source archive holds {top}" for top in sorted(tops - allowed - {".gitignore"}))


def call(*line: str | Path, folder: Path = ROOT) -> None:
    """Run a command without this environment's own paths; its output goes to ours, a failure ends the check."""
    print("$", *line, flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([str(part) for part in line], cwd=folder, env=environment, check=True)


def use_wheel(wheel: Path, folder: Path) -> None:
    """Install a wheel into an empty environment and run the base commands there, on the shipped examples."""
    call(sys.executable, "-m", "venv", folder / "empty")
    binaries = folder / "empty" / "bin"
    call(binaries / "python", "-m", "pip", "install", "--quiet", wheel)
    for name in ("scored.jsonl", "pair.jsonl"):
        shutil.copy(ROOT / "examples" / name, folder)
    for command, *arguments in COMMANDS:
        call(binaries / command, *arguments, folder=folder)
    call(binaries / "python", "-c", PROBE, folder=folder)


def main(arguments: list[str]) -> int:
    """Build, look, install and use; 1 where a file is missing or too many."""
    target = Path(arguments[1]).resolve() if arguments[:1] == ["--dist"] else ROOT / "dist"
    shutil.rmtree(target, ignore_errors=True)
    call(sys.executable, "-m", "build", "--outdir", target)
    [wheel], [archive] = target.glob("*.whl"), target.glob("*.tar.gz")
    call(sys.executable, "-m", "twine", "check", "--strict", wheel, archive)
    call(Path(sys.executable).with_name("cffconvert"), "--validate", "-i", "CITATION.cff")
    with zipfile.ZipFile(wheel) as opened:
        faults = list(find_faults_of_wheel(opened.namelist(), list_tracked()))
    with tarfile.open(archive) as opened_archive:
        faults += find_faults_of_archive(opened_archive.getnames())
    with tempfile.TemporaryDirectory() as name:
        use_wheel(wheel, Path(name))
    for fault in faults:
        print(fault)
    print(f"{wheel.name} and {archive.name}: {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
