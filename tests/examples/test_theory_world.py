"""The theory world at a small size: its samplers are what they say, and the paper's argument can be seen in it."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "theory_world.py"


@pytest.fixture(scope="module")
def world() -> Any:
    spec = importlib.util.spec_from_file_location("theory_world", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["theory_world"] = module
    spec.loader.exec_module(module)
    return module


def mean(world: Any, method: str, **changes: Any) -> float:
    return float(np.mean(world.excess(method, replace(world.World(generations=1000), **changes), range(4))))


def test_an_exact_conditional_generator_gives_peoples_own_distribution(world: Any) -> None:
    """Bayes: p(y1) p(label | y1) p(y2 | y1, label) is the joint distribution of people's pairs."""
    free = {"steering_error": 0.0, "locality": 0.0, "traces": 0.0, "exact_label": True}
    exact = replace(world.World(generations=80_000), **free)
    draw = np.random.default_rng(0)
    truth = world.Truth.drawn(draw, exact.features)
    chosen, rejected = world.rmboost(exact, truth, draw)
    gap = truth.reward(chosen) - truth.reward(rejected)
    for least, most in ((-2, -1), (-1, 0), (0, 1), (1, 2)):
        won = np.sum((gap > least) & (gap < most))
        lost = np.sum((-gap > least) & (-gap < most))
        assert won / (won + lost) == pytest.approx(1 / (1 + np.exp(-(least + most) / 2)), abs=0.02)
    people = world.people(exact, truth, draw)
    for mine, theirs in zip((chosen, rejected), people, strict=True):
        assert truth.reward(mine).mean() == pytest.approx(truth.reward(theirs).mean(), abs=0.03)
        assert truth.reward(mine).std() == pytest.approx(truth.reward(theirs).std(), abs=0.03)


def test_judge_noise_hurts_rlaif_alone_and_steering_error_the_others(world: Any) -> None:
    assert mean(world, "RLAIF", judge_noise=3.0) > mean(world, "RLAIF", judge_noise=0.0) + 0.08
    for method in ("RMBoost", "RLCD"):
        assert mean(world, method, steering_error=3.0) > mean(world, method, steering_error=0.0) + 0.05
        assert mean(world, method, judge_noise=3.0) == mean(world, method, judge_noise=0.0)
    assert mean(world, "West-of-N", judge_noise=3.0) == mean(world, "West-of-N", steering_error=3.0)


def test_rmboost_wins_where_steering_is_better_than_judging_and_loses_where_it_is_not(world: Any) -> None:
    differences = world.difference(world.World(generations=1000), [0.0, 2.0], range(4))
    assert differences[0, 1] < -0.05, "no steering error, noisy judge"
    assert differences[1, 0] > 0.05, "steering error, perfect judge"


def test_traces_that_follow_the_label_hurt_and_others_do_not(world: Any) -> None:
    calm = {"steering_error": 0.0}
    assert mean(world, "RLCD", traces=1.0, **calm) > mean(world, "RLCD", traces=0.0, **calm) + 0.02
    assert mean(world, "RMBoost", traces=1.0, **calm) < mean(world, "RMBoost", traces=0.0, **calm) + 0.02


def test_the_fit_is_the_point_of_greatest_likelihood(world: Any) -> None:
    draw = np.random.default_rng(1)
    truth = world.Truth.drawn(draw, 12)
    chosen, rejected = world.human_pairs(500, world.World(), truth, draw)
    weights = world.fitted((chosen, rejected))
    x = chosen - rejected
    slope = x.T @ (1 - world.sigmoid(x @ weights)) - weights
    assert np.abs(slope).max() < 1e-6


def test_it_draws_and_prints_in_seconds(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "world.svg"
    world.main(["--out", str(out), "--seeds", "2", "--generations", "200", "--points", "2"])
    assert out.read_text().startswith("<?xml")
    shown = capsys.readouterr().out
    assert all(name in shown for name in world.METHODS) and "2 seeds" in shown
