from __future__ import annotations

import json

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.evaluation.reward_benchmarks import (
    SECTIONS,
    RewardItem,
    bench_figures,
    best_of,
    rewardbench,
    rewardbench2,
    rm_bench,
    ties_score,
)
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=100)


@pytest.fixture(scope="module")
def golden(shared_dir):
    path = shared_dir / "oracles" / "rewardbench_golden.json"
    if not path.exists():
        pytest.skip("the golden values are not on this machine (no ../shared/oracles)")
    return json.loads(path.read_text())


def item(scores, right=1, item_id="1", subset="Math"):
    return RewardItem(item_id, subset, tuple(scores[:right]), tuple(scores[right:]))


def test_sections_are_those_of_the_original(golden):
    for case in golden["sections"]:
        items = []
        for subset, share in case["metrics"].items():
            count = 4000
            right = round(share * count)
            items += [RewardItem(f"{subset}{at}", subset, (1.0,), (0.0 if at < right else 2.0,)) for at in range(count)]
        found = rewardbench(items)
        for section in SECTIONS:
            assert found[section] == pytest.approx(case["sections"][section], abs=2e-4)  # shares rounded to 1/4000
        assert found["overall"] == pytest.approx(np.mean(list(case["sections"].values())), abs=2e-4)


def test_best_of_four_is_that_of_the_original(golden):
    for case in golden["bon"]:
        assert [best_of(item(scores)) for scores in case["scores"]] == case["results"]


def test_ties_are_those_of_the_original(golden):
    for case in golden["ties"]:
        items = [item(s["scores"], s["num_correct"], s["id"], "Ties") for s in case["samples"]]
        assert ties_score(items) == pytest.approx(case["overall"], abs=1e-12)
        assert rewardbench2(items)["Ties"] == ties_score(items)


def test_the_style_matrix_is_that_of_the_original(golden):
    for case in golden["rmbench"]:
        items = [
            RewardItem(str(at), row["domain"], tuple(row["score_chosen"]), tuple(row["score_rejected"]))
            for at, row in enumerate(case["results"])
        ]
        found = rm_bench(items)
        for name, value in case["out"].items():
            assert found[{"total_avg_acc": "overall"}.get(name, name.removesuffix("_acc"))] == pytest.approx(
                value, abs=1e-12
            )


def test_equal_scores_are_wrong_in_rewardbench_and_shared_in_best_of_four():
    assert rewardbench([RewardItem("1", "hep-go", (1.0,), (1.0,))])["hep-go"] == 0
    assert best_of(item([1, 1, 0, 0])) == 0.5


def test_intervals_hold_the_estimate_and_narrow_with_items():
    rng = np.random.default_rng(0)

    def width(count: int) -> float:
        items = [
            item(rng.normal(size=4) + np.array([1, 0, 0, 0]), item_id=str(at), subset=s)
            for s in ("Math", "Focus")
            for at in range(count)
        ]
        found = bench_figures("rewardbench2", items, how=QUICK)["overall"]
        assert found.low <= found.estimate <= found.high
        return found.high - found.low

    assert width(100) < 0.7 * width(20)


def test_a_prompt_of_the_ties_subset_is_drawn_with_its_reference():
    rng = np.random.default_rng(1)
    items = [
        item(rng.normal(size=5) + [2, 2, 0, 0, 0][: 5], 2 if form == "tied" else 1, f"{form}:{at}", "Ties")
        for at in range(12) for form in ("tied", "ref")
    ]  # fmt: skip
    found = bench_figures("rewardbench2", items, how=QUICK)["Ties"]
    assert found.low <= found.estimate <= found.high
    assert (found.rows, found.clusters) == (24, 12)


def test_items_of_another_benchmark_are_refused():
    with pytest.raises(DataError, match="RewardBench has no subset Math"):
        rewardbench([item([1, 0])])
    with pytest.raises(DataError, match="1 right and 1 wrong answers"):
        rm_bench([item([1, 0], subset="chat")])
    with pytest.raises(DataError, match="no item of rm_bench"):
        bench_figures("rm_bench", [])
