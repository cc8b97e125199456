from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.evaluation.academic.scores import (
    Sample,
    compare_samples,
    parse_samples,
    read_academic_score,
    score_samples,
)
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=200)


def samples(seed: int, task: str = "t", count: int = 40, choices: int = 4) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [Sample(task, f"q{at}", "none", float(rng.random() < 0.6), choices=choices) for at in range(count)]


def test_subtasks_weigh_by_their_size_and_are_rescaled_by_their_chance():
    small = [Sample("small", f"q{at}", "none", 1.0, choices=2) for at in range(10)]
    large = [Sample("large", f"q{at}", "none", 0.0, choices=4) for at in range(30)]
    score = score_samples("b", [*small, *large], how=QUICK)
    assert score.readings["none"].estimate == 25
    assert {name: one.estimate for name, one in score.tasks.items()} == {"small": 100, "large": 0}
    assert score.rescaled == 50  # worse than chance is 0, not less
    mixed = [replace(one, value=0.75) for one in small]
    assert score_samples("b", mixed, how=QUICK).rescaled == 50


def test_every_way_of_reading_an_answer_has_its_own_share():
    free = [Sample("gsm8k", f"q{at}", reading, float(reading == "flexible-extract" or at == 0))
            for at in range(5) for reading in ("strict-match", "flexible-extract")]  # fmt: skip
    score = score_samples("gsm8k", free, how=QUICK)
    assert {name: one.estimate for name, one in score.readings.items()} == {"strict-match": 20, "flexible-extract": 100}
    assert score.rescaled is None
    assert "strict-match 20.00" in score.line()


def test_models_are_compared_question_by_question():
    one = samples(1)
    other = [replace(sample, value=sample.value if at % 4 else 0.0) for at, sample in enumerate(one)]
    found = compare_samples(one, other[::-1], how=QUICK)["none"]
    assert found.estimate == pytest.approx(100 * np.mean([a.value - b.value for a, b in zip(one, other, strict=True)]))
    assert compare_samples(one, one, how=QUICK)["none"].estimate == 0
    with pytest.raises(DataError, match="one side only"):
        compare_samples(one, other[:-1], how=QUICK)


def test_logs_are_read_with_the_number_of_choices():
    record = {
        "doc_hash": "h",
        "filter": "none",
        "acc_norm": 1.0,
        "prompt_hash": "p",
        "arguments": [("a", "b"), ("a", "c")],
    }
    assert parse_samples({"t": [record]}, "acc_norm") == [Sample("t", "h", "none", 1.0, "p", 2)]
    with pytest.raises(DataError, match="a record of t has no acc"):
        parse_samples({"t": [{"doc_hash": "h", "filter": "none"}]}, "acc")


def test_a_score_comes_back_from_its_record():
    score = score_samples("b", samples(2), how=QUICK, settings={"limit": 3})
    assert read_academic_score(json.loads(json.dumps(score.record()))) == score


def test_no_samples_are_no_score():
    with pytest.raises(DataError, match="no question of bbh was answered"):
        score_samples("bbh", [])
