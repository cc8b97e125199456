from __future__ import annotations

import json

import pytest
from length_scorer import LengthScorer

from prefboost.errors import DataError
from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
from prefboost.evaluation.reward_models.reports import BenchReport, report_rewards
from prefboost.statistics import Bootstrap

QUICK = RewardAccuracy(interval=Bootstrap(resamples=100))


class Drifting(LengthScorer):
    """Scores that depend on how much is computed at once: what no scorer should do."""

    batch_tokens: int = 100

    def score(self, table):
        own = LengthScorer(sign=self.sign).score(table)
        moved = own.frame.with_columns(own.frame["score"] + (5 if self.batch_tokens > 1 else 0))
        return own.derive(own.spec, moved, own.steps[-1])


def bench(tmp_path, count=6):
    rows = [
        {"id": at, "prompt": "Q", "chosen": "right", "rejected": "no" * at, "subset": "hep-go"}
        for at in range(1, count + 1)
    ]
    path = tmp_path / "bench.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_every_prompt_of_a_benchmark_has_its_share_and_unscored_ones_are_named(tmp_path):
    found = report_rewards(bench(tmp_path), LengthScorer(limit=11), LengthScorer(limit=11).score, QUICK)
    assert found.shares == {"hep-go/1": 1, "hep-go/2": 1, "hep-go/3": 0, "hep-go/4": 0, "hep-go/5": 0}
    assert found.unscored == ("hep-go/6",)
    assert isinstance(found.report, BenchReport)
    assert found.report.figures is None
    assert "withheld" in "\n".join(found.report.lines())


def test_a_limit_takes_the_first_prompts_of_a_benchmark_and_the_first_pairs(tmp_path):
    found = report_rewards(bench(tmp_path), LengthScorer(), LengthScorer().score, QUICK, limit=2)
    assert (found.report.prompts, found.report.figures["overall"].estimate) == (2, 1)
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Q{at}", "chosen": "a" * (2 * at + 1), "rejected": "bbb"} for at in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)))
    pairs = report_rewards(path, LengthScorer(), LengthScorer().score, QUICK, limit=3)
    assert sorted(pairs.shares.values()) == [0, 0.5, 1]


def test_scores_that_move_with_the_batch_are_noticed_on_a_benchmark_too(tmp_path):
    steady = report_rewards(bench(tmp_path), LengthScorer(), LengthScorer().score, QUICK).report
    moving = report_rewards(bench(tmp_path), Drifting(), Drifting().score, QUICK).report
    assert steady.batch_change is None  # it has no batches
    assert moving.batch_change > 1
    assert "scores depend on the batch" in "\n".join(moving.lines())


def test_what_holds_no_pairs_is_refused(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "Q"}))
    with pytest.raises(DataError, match="found Prompts"):
        report_rewards(path, LengthScorer(), LengthScorer().score, QUICK)
