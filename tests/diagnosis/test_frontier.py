"""Score against KL: arms are compared where both lie at the same KL, over prompts and seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.diagnosis.frontier import CompareFrontiers, PolicyPoint, measure_frontier
from prefboost.errors import DataError, SettingsError
from prefboost.statistics import Bootstrap

FEW = Bootstrap(resamples=300)
START = {f"p{at}": 4.0 + at % 3 for at in range(30)}


def build_points(
    arm: str, curve: Callable[[float], float], kls: tuple[float, ...] = (2.0, 8.0), seeds: int = 3, spread: float = 0.1
) -> list[PolicyPoint]:
    """Points on a curve of score against KL, with seeds that differ by ``spread`` and prompts by the start's scores."""
    rng = np.random.default_rng(len(arm))
    points = []
    for seed in range(1, seeds + 1):
        shift = rng.normal(scale=spread)
        for kl in kls:
            scores = {prompt: value + curve(kl) + shift for prompt, value in START.items()}
            points.append(PolicyPoint(arm, f"kl {kl:g}", seed, scores, dict.fromkeys(scores, kl)))
    return points


def test_arms_are_compared_at_the_same_kl_and_not_at_the_same_setting() -> None:
    # The second arm goes twice as far for the same score: worse at equal KL, the same at each one's last point.
    points = build_points("near", lambda kl: kl / 2, (4.0,), spread=0.0)
    points += build_points("far", lambda kl: kl / 4, (8.0,), spread=0.0)
    report = measure_frontier(points, START, how=FEW)
    (lead,) = report.leads
    assert (lead.arm, lead.against, lead.low, lead.high) == ("far", "near", 0.0, 4.0)
    assert {kl: [each.estimate for each in values] for kl, values in lead.at.items()} == {
        1.0: pytest.approx([5.25, 5.5, -0.25]),
        2.0: pytest.approx([5.5, 6.0, -0.5]),
        3.0: pytest.approx([5.75, 6.5, -0.75]),
    }
    assert lead.average is not None and lead.average.estimate == pytest.approx(-0.5)
    assert lead.name_verdict(lead.average) == "behind"
    assert [(point.arm, point.kl.estimate, point.seeds) for point in report.points] == [("near", 4, 3), ("far", 8, 3)]


def test_scores_between_points_are_interpolated_and_over_optimisation_shows() -> None:
    points = build_points("up", lambda kl: kl, (2.0, 8.0), spread=0.0)
    points += build_points("down", lambda kl: {2.0: 2.0, 8.0: -4.0}[kl], (2.0, 8.0), spread=0.0)
    lead = measure_frontier(points, START, CompareFrontiers(at=(1.0, 5.0, 9.0)), FEW).leads[0]
    # At 9 nats nothing was trained, so that nothing is said.
    assert list(lead.at) == [1.0, 5.0]
    assert lead.at[1.0][2].estimate == pytest.approx(0.0)
    assert lead.at[5.0][2].estimate == pytest.approx(-1 - 5)


def test_seeds_that_disagree_leave_a_lead_undecided_however_many_prompts_agree() -> None:
    steady = measure_frontier(
        build_points("dpo", lambda kl: kl / 4) + build_points("ra", lambda kl: kl / 2), START, how=FEW
    )
    noisy = measure_frontier(
        build_points("dpo", lambda kl: kl / 4, spread=3.0) + build_points("ra", lambda kl: kl / 2, spread=3.0),
        START,
        how=FEW,
    )
    assert steady.leads[0].average is not None and noisy.leads[0].average is not None
    assert steady.leads[0].name_verdict(steady.leads[0].average) == "ahead"
    assert noisy.leads[0].name_verdict(noisy.leads[0].average) == "undecided"
    one = measure_frontier(
        build_points("dpo", lambda kl: kl / 4, seeds=1) + build_points("ra", lambda kl: kl / 2, seeds=1), START, how=FEW
    )
    assert any("undecided (one seed)" in line for line in one.lines())
    assert any("do not hold what another seed would change" in line for line in one.lines())


def test_settings_that_were_tried_with_one_seed_bend_the_curve() -> None:
    points = build_points("dpo", lambda kl: kl, (2.0, 8.0), spread=0.0)
    points += [point for point in build_points("dpo", lambda _: 0.0, (5.0,), spread=0.0) if point.seed == 1]
    points += build_points("ra", lambda kl: kl, (8.0,), spread=0.0)
    lead = measure_frontier(points, START, CompareFrontiers(at=(5.0,)), FEW).leads[0]
    assert lead.at[5.0][1].estimate == pytest.approx(5.0)
    # Without the first seed the curve is straight: the resamples say by how much the single point matters.
    assert lead.at[5.0][1].high == pytest.approx(10.0, abs=0.6)


def test_an_arm_of_two_seeds_has_the_interval_of_two_however_many_another_has() -> None:
    few = build_points("ra", lambda kl: kl / 2, seeds=2, spread=0.5)
    both = measure_frontier(build_points("dpo", lambda kl: kl / 4, seeds=2, spread=0.0) + few, START, how=FEW)
    uneven = measure_frontier(build_points("dpo", lambda kl: kl / 4, seeds=6, spread=0.0) + few, START, how=FEW)
    narrow, wide = (report.leads[0].average for report in (uneven, both))
    assert narrow is not None and wide is not None
    assert narrow.clusters == wide.clusters == 2


def test_a_resample_without_any_seed_of_an_arm_has_no_point_of_it_not_even_the_start() -> None:
    points = build_points("dpo", lambda kl: kl, (4.0,), seeds=5, spread=0.0)
    points += build_points("ra", lambda kl: 10 * kl, (4.0,), seeds=2, spread=0.0)
    lead = measure_frontier(points, START, CompareFrontiers(at=(4.0,)), FEW).leads[0]
    # Every training of an arm gives the same, so that a resample without one must not count as the start model.
    assert lead.at[4.0][1].low == pytest.approx(lead.at[4.0][1].estimate, rel=0.05)


def test_without_the_start_model_only_the_common_range_is_compared() -> None:
    points = build_points("a", lambda kl: kl, (1.0, 2.0)) + build_points("b", lambda kl: kl, (3.0, 4.0))
    report = measure_frontier(points, how=FEW)
    assert report.start is None and report.leads[0].average is None
    assert "a reach no common KL: no comparison" in "\n".join(report.lines())
    assert report.record()["leads"][0]["low"] is None


def test_prompts_that_a_policy_lacks_are_left_out_and_counted() -> None:
    points = build_points("a", lambda kl: kl) + build_points("b", lambda kl: kl)
    short = dict(list(points[0].scores.items())[3:])
    report = measure_frontier([*points, PolicyPoint("c", "only", 1, short, points[0].kls)], START, how=FEW)
    assert (report.prompts, report.left_out) == (27, 3)
    with pytest.raises(DataError, match="no prompt has a score and a KL"):
        measure_frontier([*points, PolicyPoint("c", "only", 1, {}, {})], START)
    with pytest.raises(SettingsError, match="no arm 'd'"):
        measure_frontier(points, START, CompareFrontiers(against="d"))


@given(st.lists(st.tuples(st.floats(0.5, 20), st.floats(-5, 5)), min_size=1, max_size=5, unique_by=lambda row: row[0]))
def test_an_arm_has_no_lead_over_itself(rows: list[tuple[float, float]]) -> None:
    points = [
        PolicyPoint(arm, f"{kl}", 1, {p: v + gain for p, v in START.items()}, dict.fromkeys(START, kl))
        for arm in ("one", "same")
        for kl, gain in rows
    ]
    (lead,) = measure_frontier(points, START, how=Bootstrap(resamples=100)).leads
    assert lead.average is not None and lead.average.estimate == 0.0 == lead.average.low == lead.average.high


def test_the_interval_at_a_point_is_that_of_the_mean_over_prompts() -> None:
    from prefboost.statistics import bootstrap_mean

    (point,) = build_points("a", lambda kl: kl, (2.0,), seeds=1, spread=0.0)
    report = measure_frontier([point], START, how=Bootstrap(resamples=4000))
    expected = bootstrap_mean(list(point.scores.values()))
    assert report.points[0].score.estimate == expected.estimate
    assert report.points[0].score.low == pytest.approx(expected.low, abs=0.05)
