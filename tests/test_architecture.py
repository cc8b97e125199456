"""The two walks of ARCHITECTURE.md name the functions that are entered, in the order in which they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PLACE = re.compile(r"`src/(prefboost/[\w/]+\.py)::(\w+)`")


def read_walk(heading: str) -> list[tuple[str, str]]:
    """Files and functions or classes that a section names, in its order."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return PLACE.findall(section)


def record(work: Callable[[], Any]) -> list[tuple[str, str]]:
    """Files and qualified names of the package's functions that are entered, once each, in order of the first call."""
    entered: dict[tuple[str, str], None] = {}
    source = str(ROOT / "src") + "/"

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(source):
            entered.setdefault((code.co_filename.removeprefix(source), code.co_qualname))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(entered)


def check_order(walk: list[tuple[str, str]], entered: list[tuple[str, str]]) -> None:
    assert len(walk) >= 5
    position = -1
    for file, name in walk:
        # A class stands for the first of its methods that is called after the step before.
        later = (
            number
            for number, (path, called) in enumerate(entered)
            if number > position and path == file and name in called.split(".")
        )
        position = next(later, -1)
        assert position >= 0, f"{file}::{name} is not entered after the step before it"


@pytest.mark.torch
def test_the_walk_from_train_to_the_loss_is_the_one_that_is_taken(tmp_path: Path) -> None:
    from tests.training.conftest import build_folder

    from prefboost.cli.train import train_command

    model = build_folder(tmp_path / "tiny")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        f"name: tiny\ndata: {ROOT / 'examples' / 'scored.jsonl'}\n"
        f"train: {{model: {model}, batch_size: 4, max_steps: 1, precision: fp32, max_length: 900,\n"
        "        max_prompt_length: 600}\n"
    )
    entered = record(lambda: train_command(str(recipe), runs_dir=tmp_path / "runs", quiet=True))
    check_order(read_walk("From `prefboost train RECIPE` to the loss"), entered)


def test_the_walk_of_an_rmboost_row_is_the_one_that_is_taken(tmp_path: Path) -> None:
    from tests.runs.synthesize.test_synthesize import methods

    from prefboost.runs.generate.prompt_files import read_prompts
    from prefboost.runs.synthesize.synthesize import Synthesize, synthesize

    (tmp_path / "prompts.txt").write_text("What is a lighthouse?\n")
    settings = Synthesize(method=methods()["rmboost"])
    entered = record(lambda: synthesize(read_prompts(tmp_path / "prompts.txt"), settings, tmp_path / "pairs.parquet"))
    check_order(read_walk("One RMBoost row, from prompt to pair"), entered)


def test_the_records_of_an_rmboost_row_are_those_that_are_listed(tmp_path: Path) -> None:
    from tests.runs.synthesize.test_synthesize import methods

    from prefboost.runs.generate.prompt_files import read_prompts
    from prefboost.runs.synthesize.synthesize import Synthesize, synthesize

    (tmp_path / "prompts.txt").write_text("What is a lighthouse?\n")
    prompts, settings = read_prompts(tmp_path / "prompts.txt"), Synthesize(method=methods()["rmboost"])
    pair = synthesize(prompts, settings).frame.row(0, named=True)
    texts = ["What is a lighthouse?", pair["chosen"][0]["content"], pair["rejected"][0]["content"]]
    carriers: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        # Dataclasses have an __init__ of no file; at its call the locals are the fields.
        if event == "call" and frame.f_code.co_name == "__init__" and frame.f_code.co_filename == "<string>":
            fields = dict(frame.f_locals)
            kind = type(fields.pop("self"))
            in_reach = kind.__module__.startswith(("prefboost.synthesis", "prefboost.engines.engine"))
            if in_reach and any(text in repr(list(fields.values())) for text in texts):
                carriers.add(kind.__name__)

    sys.setprofile(note)
    try:
        synthesize(prompts, settings)
    finally:
        sys.setprofile(None)
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = re.search(r"Five records carry it: (.*)\.", text)
    assert listed is not None and carriers == set(re.findall(r"`(\w+)`", listed[1])) and len(carriers) == 5


def test_a_step_that_is_not_taken_in_its_order_is_named() -> None:
    entered = [(f"{name}.py", f"Class.{name}") for name in "abcde"]
    check_order([(f"{name}.py", "Class") for name in "abcde"], entered)
    with pytest.raises(AssertionError, match=r"b\.py::b is not entered after"):
        check_order([(f"{name}.py", name) for name in "acbde"], entered)
