"""The page of supported versions says what pyproject.toml claims, and the environments that are tried cover it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import compatibility
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "versions.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("row", read_table("Extras"), ids=lambda row: row[1])
def test_each_version_on_the_page_is_that_of_pyproject(row: list[str]) -> None:
    extra, library, oldest, below = row
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    [requirement] = [each for each in map(Requirement, lines) if each.name == library]
    assert requirement.specifier == SpecifierSet(f">={oldest}" + (f",<{below}" if below else ""))


def test_the_page_has_every_library_of_training_and_every_python() -> None:
    named = {(row[0], row[1]) for row in read_table("Extras")}
    libraries = {Requirement(line).name for line in PROJECT["optional-dependencies"]["train"]}
    assert libraries - {"prefboost", "safetensors"} <= {library for extra, library in named if extra == "train"}
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert f"Python {', '.join(pythons[:-1])} or {pythons[-1]}" in PAGE
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert [row[0] for row in read_table("Platforms") if row[1] == "yes"] == ["Linux", "macOS", "Windows"]


def test_the_extra_all_holds_every_extra_that_can_stand_beside_the_others() -> None:
    extras = PROJECT["optional-dependencies"]
    inside = set(Requirement(extras["all"][0]).extras)
    assert inside == set(extras) - {"all", "dev", "vllm", "liger"}


def test_floors_are_pinned_through_extras_within_extras() -> None:
    pins = compatibility.pin_floors(compatibility.read_requirements("trl"))
    transformers = next(line for line in PROJECT["optional-dependencies"]["train"] if line.startswith("transformers"))
    oldest = re.search(r">=([0-9.]+)", transformers)
    assert oldest is not None and f"transformers=={oldest[1]}" in pins
    assert {pin.split("==")[0] for pin in pins} >= {"datasets", "huggingface-hub", "accelerate", "peft", "trl"}
    assert not [pin for pin in pins if pin.startswith(("torch", "prefboost"))]


def test_the_transformers_of_vllm_is_one_that_training_takes() -> None:
    requirements = map(Requirement, compatibility.read_requirements("train"))
    [ours] = [each.specifier for each in requirements if each.name == "transformers"]
    both = ours & SpecifierSet(compatibility.VLLM_TRANSFORMERS)
    assert [version for version in ("5.16.1", "5.20.0", "5.20.2", "5.21.0") if version in both] == ["5.20.0", "5.20.2"]


@pytest.mark.parametrize("name", compatibility.ENVIRONMENTS)
def test_each_environment_that_was_tried_stands_on_the_page(name: str) -> None:
    [row] = [row for row in read_table("What was tried") if row[0] == f"`{name}`"]
    assert row[-1] == "ok"


def test_an_environment_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert compatibility.main(["train-newset"]) == 2
    assert "no environment train-newset; there are base," in capsys.readouterr().err


def test_an_environment_that_fails_is_told_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(environment: compatibility.Environment, folder: Path) -> tuple[str, dict[str, str]]:
        return ("losses differ", {"torch": "2.13.0"}) if environment.who == "a TRL user" else ("ok", {})

    monkeypatch.setattr(compatibility, "try_environment", fail)
    assert compatibility.main(["--in", str(tmp_path), "base", "trl"]) == 1
    printed = capsys.readouterr()
    assert "| torch 2.13.0 |" in printed.out and printed.out.count("FAILED") == 1 and "losses differ" in printed.err
