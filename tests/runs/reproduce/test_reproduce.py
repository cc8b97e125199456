"""The comparison: arms at equal steps, seeds inside intervals, one line per claim; it resumes and leaves no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import stand_in_harness
from academic_files import write_academic_files

from prefboost.runs.folder.manifest import Run
from prefboost.runs.reproduce import reproduce as module
from prefboost.runs.reproduce.arms import list_compared_arms
from prefboost.runs.reproduce.reproduce import reproduce
from prefboost.sources import read

from .conftest import build_settings

pytestmark = pytest.mark.torch

SCORER = {"kind": "length_scorer:LengthScorer"}


def test_it_compares_arms_on_new_completions_and_resumes_without_training_again(
    tiny: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = build_settings(tiny, scored, scorer=SCORER)
    out, lines = tmp_path / "out", list[str]()
    report = reproduce(settings, out, tell=lines.append)
    # The start model; both arms at the published and at a searched beta; then the second seed of the published and of
    # the best one, which are the same for an arm where the published beta is the best.
    again = {(figure.arm, figure.beta) for figure in report.figures if figure.arm != "start"}
    assert {arm for arm, _ in again} == {"dpo", "ra"}
    assert report.cells == 1 + 2 * 2 + len(again) == len(lines)
    assert "left" not in lines[0] and "left" in lines[1], "the start is not trained: its time says nothing"
    # The best settings of both arms come before the published ones: theirs is the comparison that decides.
    assert [line.partition("-")[0] for line in lines[5:7]] == ["dpo", "ra"]
    assert [claim.text for claim in report.claims][:1] == ["at the published beta 0.01 ra beats dpo with as many steps"]
    assert {claim.verdict for claim in report.claims} <= {"yes", "no", "undecided"}
    measures = {figure.measure for figure in report.figures if figure.arm == "ra"}
    assert {"score", "tokens", "kl", "goal_accuracy", "pair_accuracy", "good_rejected"} <= measures
    assert all(figure.value.clusters == 2 for figure in report.figures if figure.arm != "start")
    assert not list(out.rglob("*.safetensors"))
    assert json.loads((out / "results.json").read_text())["cells"] == report.cells
    assert "| ra | best: beta" in (out / "report.md").read_text()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "measure_cell", refuse)
    assert reproduce(settings, out).record() == report.record()


def test_every_arm_trains_and_is_measured_without_a_judge(tiny: Path, scored: Path, tmp_path: Path) -> None:
    arms = list_compared_arms()
    settings = build_settings(tiny, scored, arms=list(arms), seeds=[1], betas=[], steps=1)
    report = reproduce(settings, tmp_path / "out")
    assert report.cells == 1 + len(arms)
    assert {figure.arm for figure in report.figures} == set(arms)
    # One seed proves nothing: no claim is decided.
    assert {claim.verdict for claim in report.claims} == {"undecided"}
    assert len(report.claims) >= 9


def test_options_bring_their_arms_claims_and_figures_and_resume(
    tiny: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = stand_in_harness.install(monkeypatch, tmp_path / "harness")
    harness.says, harness.template_says = "<user>Words 10.\n\n?", True
    write_academic_files(tmp_path / "tasks")
    settings = build_settings(
        tiny,
        scored,
        arms=["ra", "aspects_ra", "on_policy_dpo", "on_policy_ra"],
        relabel={"aspects": ["size", "calm"]},
        seeds=[1],
        betas=[],
        steps=2,
        most_prompts=3,
        scorer={"kind": "length_scorer:LengthScorer"},
        on_policy={"rounds": 2, "generate": {"n": 3, "sampling": {"max_tokens": 6, "temperature": 1.0}}},
        noise={"deviation": 2.0},
        academic={"kind": "academic", "benchmarks": ["arc"], "chat": False, "data_dir": str(tmp_path / "tasks")},
    )
    out = tmp_path / "out"
    report = reproduce(settings, out)
    assert report.cells == 5
    claims = " | ".join(claim.text for claim in report.claims)
    for words in ("on own samples, at each arm's best", "goals of several aspects beat those", "on academic tasks"):
        assert words in claims
    measures = {figure.measure for figure in report.figures if figure.arm == "on_policy_ra"}
    assert {"score", "kl", "goal_accuracy", "good_rejected", "academic"} <= measures
    # Every arm took the same steps, rounds together, and said its own kind of goal.
    steps = {file.stem: json.loads(file.read_text())["steps"] for file in (out / "cells").glob("*.json")}
    assert set(steps.values()) == {0, 2}
    (cell,) = (out / "cells").glob("on_policy_ra-*/")
    assert [Run(cell).notes(f"round {number}/train")["steps"] for number in (1, 2)] == [1, 1]
    # The first samples are those of the other on-policy arm: asked once, and taken from its store.
    first = [pl.read_parquet(each / "round-1" / "scored.parquet") for each in (out / "cells").glob("on_policy_*/")]
    assert first[0].equals(first[1])
    (vectors,) = (out / "cells").glob("aspects_ra-*/test/completions.parquet")
    assert pl.read_parquet(vectors).select("goal.calm", "goal.size").unique().rows() == [(9.0, 9.0)]
    # Training saw noisy scores, the measurements true ones.
    trained = read(out / "train.parquet").frame
    words = trained["completion"].list.first().struct.field("content").str.split(" ").list.len()
    assert (trained["score"] != words).mean() > 0.5  # some reach an end of the scale
    text = (out / "report.md").read_text()
    assert "errors of standard deviation 2" in text and "drawn once" in text
    assert reproduce(settings, out).record() == report.record()
