from __future__ import annotations

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.evaluation.reward_models.scores import (
    RewardItem,
    estimate_bench_figures,
    score_best_of,
    score_item,
    score_rewardbench,
    score_rm_bench,
)
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=100)


def item(scores, right=1, item_id="1", subset="Math"):
    return RewardItem(item_id, subset, tuple(scores[:right]), tuple(scores[right:]))


def test_equal_scores_are_wrong_in_rewardbench_and_shared_in_best_of_four():
    assert score_rewardbench([RewardItem("1", "hep-go", (1.0,), (1.0,))])["hep-go"] == 0
    assert score_best_of(item([1, 1, 0, 0])) == 0.5


def test_intervals_hold_the_estimate_and_narrow_with_items():
    rng = np.random.default_rng(0)

    def width(count: int) -> float:
        items = [
            item(rng.normal(size=4) + np.array([1, 0, 0, 0]), item_id=str(at), subset=s)
            for s in ("Math", "Focus")
            for at in range(count)
        ]
        found = estimate_bench_figures("rewardbench2", items, how=QUICK)["overall"]
        assert found.low <= found.estimate <= found.high
        return found.high - found.low

    assert width(100) < 0.7 * width(20)


def test_a_prompt_of_the_ties_subset_is_drawn_with_its_reference():
    rng = np.random.default_rng(1)
    items = [
        item(rng.normal(size=5) + [2, 2, 0, 0, 0][: 5], 2 if form == "tied" else 1, f"{form}:{at}", "Ties")
        for at in range(12) for form in ("tied", "ref")
    ]  # fmt: skip
    found = estimate_bench_figures("rewardbench2", items, how=QUICK)["Ties"]
    assert found.low <= found.estimate <= found.high
    assert (found.rows, found.clusters) == (24, 12)


def test_items_of_another_benchmark_are_refused():
    with pytest.raises(DataError, match="RewardBench has no subset Math"):
        score_rewardbench([item([1, 0])])
    with pytest.raises(DataError, match="1 right and 1 wrong answers"):
        score_rm_bench([item([1, 0], subset="chat")])
    with pytest.raises(DataError, match="no item of rm_bench"):
        estimate_bench_figures("rm_bench", [])


def test_a_prompt_counts_what_its_benchmark_counts_it():
    assert score_item("rewardbench", RewardItem("1", "hep-go", (1.0,), (1.0,))) == 0
    assert score_item("rewardbench2", item([1, 1, 0, 0])) == 0.5
    assert score_item("rm_bench", RewardItem("1", "chat", (1.0, 2.0, 3.0), (0.0, 1.5, 2.5))) == pytest.approx(6 / 9)
