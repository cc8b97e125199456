"""The benchmark of training: its data, its rows, and what it says of its measurements."""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path

import pyarrow as pa
import pytest
from benchmark_scripts import load_benchmark
from hypothesis import given
from hypothesis import strategies as st
from training_data import SHAPES, Spread, drawn_lengths, goal_pairs, lengths_of, padded_tokens
from training_growth import Point, random_units
from training_kept import Kept, Line, bars, summary
from training_sides import Job, Outcome, rows_in_order

training = load_benchmark("training")


def words(text: str) -> int:
    return len(text.split())


def outcome(side: str, seconds: float, losses: list[float], peak: float = 1.0, reference: float = 0.0) -> Outcome:
    return Outcome(side, seconds, reference, seconds, peak, tokens=100, fed=50, losses=losses)


def units(count: int) -> pa.Table:
    return random_units(Point(completion=8), count)


def test_the_made_data_are_the_same_at_every_call() -> None:
    shape = SHAPES["short"]
    assert goal_pairs(shape, 4, words).equals(goal_pairs(shape, 4, words))
    assert not goal_pairs(shape, 4, words).equals(goal_pairs(shape, 4, words, seed=1))


def test_both_views_of_a_pair_share_their_texts_and_swap_them() -> None:
    first, second, *_ = goal_pairs(SHAPES["short"], 3, words).to_pylist()
    assert first["chosen"] == second["rejected"] and first["rejected"] == second["chosen"]
    assert first["prompt"][-1] == second["prompt"][-1] and first["goal"] > second["goal"]


def test_the_goal_stands_behind_the_users_text_where_the_shape_says_so() -> None:
    row = goal_pairs(SHAPES["long_goal_after"], 1, words).to_pylist()[0]
    assert [message["role"] for message in row["prompt"]] == ["user"]
    assert row["prompt"][0]["content"].endswith(f"Overall score: {row['goal']:g}.")


@pytest.mark.parametrize("name", ["alpaca_like", "long_prompt", "short"])
def test_few_units_have_the_median_lengths_of_many(name: str) -> None:
    rows = goal_pairs(SHAPES[name], 9, words).to_pylist()
    chosen = [words(row["chosen"][0]["content"]) for row in rows if row["view"] == "chosen"]
    assert statistics.median(chosen) == pytest.approx(SHAPES[name].chosen.median, rel=0.05)


@given(st.integers(1, 200), st.floats(0.01, 2), st.integers(0, 2**32))
def test_lengths_stay_within_their_bounds(count: int, sigma: float, seed: int) -> None:
    found = drawn_lengths(random.Random(seed), Spread(50, sigma, 20, 80), count)
    assert len(found) == count and all(20 <= length <= 80 for length in found)


def test_the_file_of_augment_is_read_a_whole_unit_at_a_time(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pairs = goal_pairs(SHAPES["short"], 5, words)
    (tmp_path / "data").mkdir()
    pq.write_table(pairs, tmp_path / "data" / "part.parquet")
    assert training.read_goal_pairs(tmp_path, 2).equals(pairs.slice(0, 4))


def test_rows_of_a_step_are_those_of_its_units() -> None:
    from prefboost.training.data.units import UnitSampler

    table = units(6)
    rows = rows_in_order(table, step_units=2)
    order = list(UnitSampler(6, 0, lambda: 0))
    for step in range(3):
        wanted = {
            tuple(table["prompt_ids"][at][view].as_py()) for at in order[2 * step : 2 * step + 2] for view in (0, 1)
        }
        assert {tuple(row["prompt_ids"]) for row in rows[4 * step : 4 * step + 4]} == wanted


def test_padding_costs_the_longest_sequence_of_each_batch() -> None:
    rows = [{"prompt_ids": [1] * 2, "chosen_ids": [1] * chosen, "rejected_ids": [1]} for chosen in (3, 5)]
    assert lengths_of(rows) == [5, 3, 7, 3]
    assert padded_tokens(rows, 1) == 2 * 5 + 2 * 7
    assert padded_tokens(rows, 2) == 4 * 7


def test_ratios_are_those_of_trl_over_ours() -> None:
    found = summary(
        {
            ("short", "trl"): outcome("trl", 12.0, [0.69], peak=6.0),
            ("short", "trl_compact"): outcome("trl_compact", 8.0, [0.69]),
            ("short", "ours"): outcome("ours", 4.0, [0.69], peak=2.0, reference=1.0),
        }
    )
    assert json.loads(json.dumps(found)) == {
        "short": {
            "time_ratio": 3.0,
            "memory_ratio": 3.0,
            "time_ratio_cached": 4.0,
            "cpu_ratio": 3.0,
            "time_ratio_trl_compact": 2.0,
        }
    }


@pytest.mark.parametrize(
    ("name", "losses", "faults"), [("", [0.69, 0.5], 0), ("", [0.691, 0.4], 1), ("_fp32", [0.69, 0.5], 1)]
)
def test_losses_must_agree_in_the_first_step_and_at_float32_in_every_one(
    name: str, losses: list[float], faults: int
) -> None:
    outcomes = {
        ("short", f"trl{name}"): outcome("trl", 1.0, [0.69, 0.4]),
        ("short", f"ours{name}"): outcome("ours", 1.0, losses),
    }
    assert len(training.check_losses(outcomes)) == faults


def test_a_loss_that_is_no_number_is_a_fault() -> None:
    outcomes = {("short", name): outcome(name, 1.0, [float("nan")]) for name in ("trl", "ours")}
    assert training.check_losses(outcomes)


def options_for(**changes: object) -> argparse.Namespace:
    usual = {
        "quick": True, "data": None, "only": None, "names": None, "model": "m", "random": None, "batch": 4,
        "step_units": 4, "device": "cpu", "token_budget": None, "profile": False, "native": True,
    }  # fmt: skip
    return argparse.Namespace(**(usual | changes))


def test_every_contender_can_be_asked_for_alone_quick_or_not() -> None:
    for quick in (True, False):
        for name in training.NAMES:
            (run,) = training.plan_runs(options_for(quick=quick, only=["long_prompt"], names=[name]))
            assert (run.data, run.name) == ("long_prompt", name)


def test_the_whole_plan_has_every_contender_on_every_kind_of_data() -> None:
    runs = training.plan_runs(options_for(quick=False))
    assert {(run.data, run.name) for run in runs} == {(data, name) for data in SHAPES for name in training.NAMES}
    by_name = {run.name: run.job for run in runs}
    assert by_name["ours_fp32"].precision == "fp32" and by_name["ours_fp32"].recompute is False
    assert by_name["ours_stored"].recompute is False and by_name["trl_compact"].side == "trl_compact"


def test_without_bf16_units_only_float32_is_measured_unless_named() -> None:
    for quick in (True, False):
        runs = training.plan_runs(options_for(quick=quick, native=False))
        assert {run.name for run in runs} == {"trl_fp32", "ours_fp32"}
    (run,) = training.plan_runs(options_for(quick=True, native=False, only=["short"], names=["trl"]))
    assert run.job.precision == "bf16"


def test_what_each_would_choose_by_itself_is_compared() -> None:
    seconds = {"trl": 12.0, "ours_stored": 3.0, "ours_fp32": 6.0}
    outcomes = {("short", name): outcome(name, took, [0.69]) for name, took in seconds.items()}
    assert summary(outcomes, native=True)["short"]["time_ratio_defaults"] == 4.0
    assert summary(outcomes, native=False)["short"]["time_ratio_defaults"] == 2.0
    assert "time_ratio_defaults" not in summary(outcomes)["short"]


def test_the_rate_of_products_is_found_without_waiting_for_slow_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    import training_models

    now, sizes = [0.0], []

    def product(rows: int) -> None:
        sizes.append(rows)
        now[0] += 2 * rows**3 / 2.5e9  # bf16 without units

    class Matrix:
        def __init__(self, rows: int) -> None:
            self.rows = rows

        def __matmul__(self, other: object) -> None:
            product(self.rows)

    import torch

    monkeypatch.setattr(torch, "randn", lambda rows, *_, **__: Matrix(rows))
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    assert training_models.matmul_rate("cpu", "bf16") == pytest.approx(2.5e9)
    assert max(sizes) <= 512 and now[0] < 2


def test_measurements_of_several_calls_come_together_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    for name, seconds in (("trl", 12.0), ("ours", 5.0), ("ours", 4.0)):
        kept = Kept.open({"steps": 1, "data": None}, path)
        kept.add(Line("short", name, "bf16+GC", outcome(name, seconds, [0.69]), 1e12))
    assert Kept.open({"steps": 1, "data": None}, path).lines == kept.lines
    assert summary(Kept.read(path).outcomes)["short"]["time_ratio"] == 3.0
    with pytest.raises(SystemExit, match="steps 1, now 2"):
        Kept.open({"steps": 2, "data": None}, path)


def test_bars_are_met_or_missed_by_the_ratios_that_were_measured() -> None:
    found = list(bars({"alpaca_like": {"time_ratio": 3.0, "memory_ratio": 2.0}}, "cpu"))
    assert [met for _, met in found] == [True, False]
    assert found[0][0].endswith("pass") and found[1][0].endswith("FAIL")


def test_a_random_shape_has_a_token_for_every_one_of_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    import training_sides

    from prefboost.training.policy import model as policy
    from prefboost.training.policy.settings import Train

    monkeypatch.setattr(policy, "load_policy_tokenizer", lambda settings: range(1500))
    job = Job(side="ours", units="", folder="", model="m", shape="TINY")
    assert training_sides._policy(job, Train(model="m")).model.config.vocab_size == 1500


def test_a_quick_run_measures_three_kinds_of_data_with_trls_defaults_and_ours() -> None:
    runs = training.plan_runs(options_for())
    assert {run.data for run in runs} == {"alpaca_like", "long_prompt", "short"}
    assert {"trl", "ours"} <= {run.name for run in runs if run.data == "long_prompt"}
    assert all(run.job == Job(side="trl", units="", folder="", model="m") for run in runs if run.name == "trl")
