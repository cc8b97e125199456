"""Verdicts: settings are chosen on validation prompts, figures come from test prompts, pairs are matched."""

from __future__ import annotations

import numpy as np
import pytest

from prefboost.runs.reproduce.cells import START, Cell, CellResult
from prefboost.runs.reproduce.verdicts import (
    choose_best,
    compare_arms,
    format_table,
    list_claims,
    list_figures,
    name_measure,
)


def build_result(arm: str, seed: int, mean: float, *, beta: float = 0.1, validation: float = 0.0) -> CellResult:
    """Scores of 20 test prompts around a mean; part of every prompt is the same for all arms and seeds."""
    prompts = np.random.default_rng(0).normal(size=20)
    noise = np.random.default_rng([seed, len(arm)]).normal(scale=0.1, size=20)
    test = {f"p{at}": float(mean + value) for at, value in enumerate(prompts + noise)}
    measures = {"validation": {"score": {"v": validation}}, "test": {"score": test}}
    return CellResult(Cell(arm, None if arm == START else beta, 1e-5, seed), measures, 10, 1.0)


def test_the_best_settings_are_those_of_the_validation_prompts() -> None:
    results = [
        build_result("ra", 1, 9.0, beta=0.01, validation=1.0),
        build_result("ra", 1, 2.0, beta=0.1, validation=5.0),
        build_result("dpo", 1, 9.0, beta=0.3, validation=9.0),
    ]
    assert choose_best("ra", results, "score", 1).beta == 0.1


def test_a_clear_difference_is_a_yes_in_one_direction_and_a_no_in_the_other() -> None:
    arms = {
        ("ra", "best"): [build_result("ra", seed, 6.0) for seed in range(1, 6)],
        ("dpo", "best"): [build_result("dpo", seed, 5.0) for seed in range(1, 6)],
        (START, "best"): [build_result(START, 0, 5.5)],
    }
    claims = {
        claim.text: claim for claim in list_claims(lambda arm, setting: arms.get((arm, setting), []), "score", 0.01)
    }
    best = claims["at each arm's best settings ra beats dpo"]
    assert best.verdict == "yes" and best.difference.estimate == pytest.approx(1.0, abs=0.1)
    assert claims["ra beats start"].verdict == "yes"
    assert claims["dpo beats start"].verdict == "no"
    # Arms that were not trained make no claim.
    assert not any("rpo" in text or "published" in text for text in claims)


def test_seeds_that_disagree_leave_it_undecided_however_many_prompts_there_are() -> None:
    ours = [build_result("ra", seed, mean) for seed, mean in enumerate([7.0, 4.0, 7.5, 3.5, 6.0], start=1)]
    theirs = [build_result("dpo", seed, 5.0) for seed in range(1, 6)]
    difference = compare_arms(ours, theirs, "score")
    assert difference is not None and difference.estimate > 0.4 and not difference.excludes(0.0)


def test_only_seeds_and_prompts_of_both_sides_count() -> None:
    ours = [build_result("ra", 1, 6.0), build_result("ra", 2, 6.0), build_result("ra", 3, 100.0)]
    theirs = [build_result("dpo", 1, 5.0), build_result("dpo", 2, 5.0)]
    difference = compare_arms(ours, theirs, "score")
    assert difference is not None and difference.clusters == 2 and difference.estimate == pytest.approx(1.0, abs=0.1)
    assert compare_arms(ours, [], "score") is None


def test_the_table_has_a_row_per_arm_and_setting() -> None:
    results = [build_result("ra", seed, 6.0) for seed in (1, 2)]
    table = format_table(
        [*list_figures(START, "best", [build_result(START, 0, 5.0)]), *list_figures("ra", "best", results)]
    )
    assert table[0].startswith("| arm | setting | score (points) |")
    assert table[2].startswith("| start |") and table[3].startswith("| ra | best: beta 0.1, rate 1e-05 | 5.82 [")
    assert name_measure(results) == "score"
