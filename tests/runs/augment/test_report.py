"""The report, the card and the command."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.chat import SayGoal
from prefboost.errors import DataError, RunError
from prefboost.preferences import AllPairs, BestVsWorst, RewardAugmented
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.recipes.validate import override
from prefboost.runs.augment.augment import Augment, augment
from prefboost.runs.augment.report import AugmentFacts, PartCounts, build_report, list_source_settings, sum_steps
from prefboost.sources import File, UltraFeedback


def test_half_augmentation_and_bad_rows_are_counted_in_card_and_report(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    with source.open("a") as stream:
        stream.write('{"broken\n{"instruction": "no completions", "completions": []}\n')
    report = augment(source, tmp_path / "out", Augment(relabel=RewardAugmented(fraction=0.5)))
    aside = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert aside.filter(pl.col("stage") == "read").height >= 2
    card = (tmp_path / "out" / "README.md").read_text()
    for reject in report.rejects:
        assert f"| {reject.stage} | {reject.reason} | {reject.count:,} |" in card


def test_nothing_left_is_an_error_with_the_reasons(tmp_path: Path, scored: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"the data gave no goal pair.*outside the declared range"):
        augment(
            scored(tmp_path / "in.jsonl", 4),
            tmp_path / "out",
            Augment(scale={"kind": "declared", "low": 200, "high": 300}),
        )


def test_batches_add_up_whatever_their_number() -> None:
    step = {
        "verb": "read",
        "settings": {},
        "rows_in": 3,
        "rows_out": 2,
        "rejected": {"bad": 1},
        "notes": {"records": 3},
    }
    more = {"verb": "pair", "settings": {}, "rows_in": 2, "rows_out": 1, "rejected": {}, "notes": {}}
    parts = [PartCounts(2, {"train": 2}, [step, more], [["read", "bad", 1]])] * 3
    assert [(each["verb"], each["rows_in"], each["rejected"]) for each in sum_steps(parts)] == [
        ("read", 9, {"bad": 3}),
        ("pair", 6, {}),
    ]
    about = AugmentFacts("in.jsonl", "abc", "out", single=False, settings=Augment(pair=BestVsWorst(cap=2)))
    report = build_report(
        parts, about, StatedGoals(SayGoal(place="user"), because="as set"), out="out", rejects_path="r"
    )
    assert (report.records, report.pairs, report.goal_pairs, report.splits) == (9, 3, 6, {"train": 6})
    assert report.scale == "scores are kept as the source has them"
    pair = '{"kind": "best_vs_worst", "cap": 2, "ties": "drop"}'
    assert report.command == f"prefboost augment in.jsonl -o out 'pair={pair}'"


def test_what_the_settings_leave_out_is_counted_beside_the_rejects(tmp_path: Path, scored: Callable[..., Any]) -> None:
    settings = Augment(pair=AllPairs(cap=1), relabel=RewardAugmented(fraction=0.5))
    report = augment(scored(tmp_path / "in.jsonl"), tmp_path / "out", settings)
    left = {each.stage: each.count for each in report.left_out}
    assert left["pair"] == 38 * 2
    assert report.goal_pairs == 2 * (report.pairs - left["relabel"])
    assert "over the cap of its prompt" in (tmp_path / "out" / "README.md").read_text()
    again = augment(tmp_path / "in.jsonl", tmp_path / "out", settings)
    assert again.skipped and again.left_out == report.left_out


def test_settings_of_the_source_stand_in_the_command_and_tell_outputs_apart(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source = str(scored(tmp_path / "in.jsonl"))
    assert list_source_settings(source) == list_source_settings(File(path=source)) == {}
    report = augment(UltraFeedback(path=source, drop_sources=("x",)), tmp_path / "out")
    assert report.command.endswith("""data.kind=ultrafeedback 'data.drop_sources=["x"]'""")
    with pytest.raises(RunError, match="other settings: data"):
        augment(UltraFeedback(path=source), tmp_path / "out")


@pytest.mark.parametrize(
    "wording",
    ["Score: {{ goal }}", "{{ goal }} of 10", "[{{ goal }}]", "two\nlines {{ goal }} \U0001f600", "'{{ goal }}'", "7"],
)
def test_any_wording_stands_in_the_command_so_that_it_is_read_back(wording: str) -> None:
    settings = Augment(condition=SayGoal(wording=wording, place="user"))
    about = AugmentFacts("in.jsonl", "abc", "out", single=False, settings=settings)
    step = {"verb": "pair", "settings": {}, "rows_in": 2, "rows_out": 1, "rejected": {}, "notes": {}}
    made = PartCounts(2, {"train": 2}, [step], [])
    report = build_report([made], about, StatedGoals(settings.condition, because="as set"), out="out", rejects_path="r")
    written = shlex.split(report.command)[5:]
    assert override(Augment(), written) == settings
