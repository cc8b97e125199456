"""Arms differ in one thing each: who labels, and how many aspects are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.reproduce.rmboost.arms import HUMAN, METHOD_ARMS, build_method
from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
from prefboost.runs.synthesize.synthesize import Synthesize, synthesize

from .conftest import build_comparison


@pytest.fixture
def settings(tmp_path: Path) -> RewardReproduction:
    return build_comparison(Path("nowhere"), tmp_path / "pairs.jsonl")


@pytest.mark.parametrize("name", [name for name in METHOD_ARMS if name != HUMAN])
def test_every_arm_has_the_same_engine_sampling_and_seed(name: str, settings: RewardReproduction) -> None:
    method = build_method(name, settings)
    assert (method.generator, method.sampling, method.seed) == (settings.generator, settings.sampling, 0)


def test_ablations_name_one_aspect_none_or_all(settings: RewardReproduction) -> None:
    named = {
        name: len(build_method(name, settings).aspects.draw(0, "p"))
        for name in ("rmboost", "rmboost_one_aspect", "rmboost_no_aspects")
    }
    assert named == {"rmboost": 3, "rmboost_one_aspect": 1, "rmboost_no_aspects": 1}
    assert list(build_method("rmboost_no_aspects", settings).aspects.chosen) == ["overall quality"]


def test_judged_edits_are_the_same_texts_with_the_judges_label(settings: RewardReproduction, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"What is the use of thing number {at}?\n" for at in range(12)))
    tables = {
        name: synthesize(read_prompts(prompts), Synthesize(method=build_method(name, settings)))
        for name in ("rmboost", "rmboost_judged")
    }
    texts = {
        name: {
            frozenset((row["chosen"][0]["content"], row["rejected"][0]["content"])): row["chosen"][0]["content"]
            for row in table.frame.to_dicts()
        }
        for name, table in tables.items()
    }
    assert len(texts["rmboost"]) > 5 and set(texts["rmboost_judged"]) == set(texts["rmboost"])
    assert all(chosen == min(pair) for pair, chosen in texts["rmboost_judged"].items())
    assert texts["rmboost"] != texts["rmboost_judged"]
    lineage = json.loads(tables["rmboost_judged"].frame["lineage"][0])
    assert lineage["judge"] == "llm/judge"
