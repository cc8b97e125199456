"""Held-out prompts are apart from those trained on; measures on their completions are right for a known policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scoring.test_implicit import logp
from tests.training.conftest import build_folder

from prefboost.diagnosis.agreement import correlate_rewards
from prefboost.errors import DataError
from prefboost.runs.reproduce.held_out import (
    SPLITS,
    HeldOutRows,
    hold_prompts_out,
    make_held_out_pairs,
    measure_pairs,
    measure_rank_agreement,
)
from prefboost.runs.reproduce.settings import Reproduction
from prefboost.sources import read

from .conftest import build_settings


def split(settings: Reproduction) -> HeldOutRows:
    return hold_prompts_out(read(settings.recipe.data), settings)


def test_parts_share_no_prompt_and_are_the_same_at_every_call(scored: Path) -> None:
    settings = build_settings(Path("m"), scored)
    first, second = split(settings), split(settings)
    parts = [set(first.select(part).frame["prompt_id"]) for part in ("train", *SPLITS)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 24
    assert parts == [set(second.select(part).frame["prompt_id"]) for part in ("train", *SPLITS)]
    # Whole prompts: all three completions of each.
    sizes = [len(first.select(part)) for part in ("train", *SPLITS)]
    assert sizes == [3 * len(prompts) for prompts in parts]


def test_further_held_out_prompts_are_measured_by_nobody_and_trained_on_by_nobody(scored: Path) -> None:
    whole = split(build_settings(Path("m"), scored))
    fewer = split(build_settings(Path("m"), scored, most_prompts=2))
    assert [fewer.select(part).frame["prompt_id"].n_unique() for part in SPLITS] == [2, 2]
    assert set(fewer.select("train").frame["prompt_id"]) == set(whole.select("train").frame["prompt_id"])


def test_a_part_without_prompts_is_refused(scored: Path) -> None:
    with pytest.raises(DataError, match="no prompt is left for"):
        split(build_settings(Path("m"), scored, validation=0.001, test=0.001))


@pytest.mark.torch
def test_accuracies_and_changes_are_those_of_the_log_probs(tiny: Path, scored: Path, tmp_path: Path) -> None:
    settings = build_settings(tiny, scored)
    policy = build_folder(tmp_path / "policy", seed=1)
    pairs = make_held_out_pairs(split(settings).select("test"), settings.recipe, settings.recipe, None)
    values = measure_pairs(pairs, str(policy), settings, tmp_path / "store", lambda _: None)
    assert "goal_accuracy" not in values  # plain pairs ask for nothing

    def change(row: dict, side: str) -> float:
        texts = row["prompt"][0]["content"], row[side][0]["content"]
        return logp(policy, *texts)[0] - logp(tiny, *texts)[0]

    for prompt in list(values["pair_accuracy"])[:2]:
        rows = pairs.frame.filter(pairs.frame["prompt_id"] == prompt).to_dicts()
        right = [change(row, "chosen") > change(row, "rejected") for row in rows]
        assert values["pair_accuracy"][prompt] == pytest.approx(sum(right) / len(right))
    unchanged = measure_pairs(pairs, str(tiny), settings, tmp_path / "store", lambda _: None)
    assert set(unchanged["good_rejected"].values()) == {0.0}


@pytest.mark.torch
def test_rank_agreement_is_that_of_the_log_probs(tiny: Path, scored: Path, tmp_path: Path) -> None:
    settings = build_settings(tiny, scored)
    policy = build_folder(tmp_path / "policy", seed=1)
    rows = split(settings).select("test")
    values = measure_rank_agreement(rows, str(policy), None, settings, tmp_path / "store", lambda _: None)
    assert set(values) == {"rank_correlation", "rank_at_equal_length"}
    texts = [(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in rows.frame.to_dicts()]
    rewards = [logp(policy, *text)[0] - logp(tiny, *text)[0] for text in texts]
    lengths = [logp(tiny, *text)[1] for text in texts]
    for name, found in zip(
        ("rank_correlation", "rank_at_equal_length"),
        correlate_rewards(rewards, rows.frame["score"], lengths, rows.frame["prompt_id"]),
        strict=True,
    ):
        assert values[name] == pytest.approx(dict(found.by_group))
