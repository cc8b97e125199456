"""Errors of a judge are normal, belong to a completion, stay between the ends, and hide from nobody's store."""

from __future__ import annotations

import math

import polars as pl
import pytest
from length_scorer import LengthScorer
from tests.scoring.conftest import completions_table

from prefboost.engines.budget import UNLIMITED
from prefboost.errors import DataError
from prefboost.runs.reproduce.noise import NoisyScorer, ScoreNoise, add_noise
from prefboost.runs.score.questions import open_call_session
from prefboost.scoring.rater import Rater
from prefboost.scoring.scorer import RangedScorer, StoredScorer
from prefboost.tables import Table

MANY = [(f"prompt {number % 50}", "x" * (1 + number % 9) + str(number)) for number in range(4_000)]


@pytest.fixture(scope="module")
def scored() -> Table:
    return LengthScorer().score(completions_table(MANY))


def errors(noisy: Table, scored: Table) -> pl.Series:
    return noisy.frame["score"] - scored.frame["score"]


def test_errors_are_normal_with_the_deviation_that_is_asked_for(scored: Table) -> None:
    drawn = errors(add_noise(scored, ScoreNoise(deviation=2.0, ends=(-100, 100))), scored)
    # Five standard errors of the mean and of the deviation; normal: 68 and 95 % within one and two deviations.
    assert abs(drawn.mean()) < 5 * 2 / math.sqrt(len(drawn))
    assert abs(drawn.std() - 2) < 5 * 2 / math.sqrt(2 * len(drawn))
    for deviations, share in ((1, 0.683), (2, 0.954)):
        assert abs((drawn.abs() < 2 * deviations).mean() - share) < 0.04


def test_an_error_belongs_to_a_completion_whatever_stands_beside_it(scored: Table) -> None:
    noise = ScoreNoise(deviation=2.0, ends=(-100, 100))
    whole = add_noise(scored, noise)
    half = add_noise(LengthScorer().score(completions_table(MANY[::-2])), noise)
    scores = {str(row[:2]): row[2] for row in whole.frame.select("prompt", "completion", "score").rows()}
    assert all(scores[str(row[:2])] == row[2] for row in half.frame.select("prompt", "completion", "score").rows())
    other = add_noise(scored, noise.model_copy(update={"seed": 1}))
    both = pl.DataFrame({"a": errors(whole, scored), "b": errors(other, scored)})
    assert abs(both.select(pl.corr("a", "b")).item()) < 0.1


def test_scores_stay_between_the_ends_and_aspects_err_by_themselves(scored: Table) -> None:
    table = Table(scored.spec, scored.frame.with_columns(pl.col("score").alias("score.size")))
    noisy = add_noise(table, ScoreNoise(deviation=3.0, ends=(2.0, 6.0))).frame
    assert noisy["score"].min() == 2.0 and noisy["score"].max() == 6.0
    assert noisy["score.size"].min() == table.frame["score.size"].min()
    assert (noisy["score"] != noisy["score.size"]).mean() > 0.9


def test_pairs_are_refused(scored: Table) -> None:
    from prefboost.preferences import pair

    with pytest.raises(DataError, match="a noisy judge needs ScoredCompletions, found PreferencePairs"):
        add_noise(pair(scored), ScoreNoise(deviation=1.0))


def test_the_scorer_is_the_other_one_with_noise_stored_or_not(scored: Table) -> None:
    noise = ScoreNoise(deviation=2.0, ends=(-100, 100))
    scorer = NoisyScorer(scorer=LengthScorer(), noise=noise)
    expected = add_noise(scored, noise).frame["score"]
    assert scorer.score(completions_table(MANY)).frame["score"].equals(expected)
    assert isinstance(scorer, StoredScorer) and isinstance(scorer, RangedScorer)
    with open_call_session(None, None, UNLIMITED, lambda _: None) as session:
        assert scorer.score_stored(completions_table(MANY), session).frame["score"].equals(expected)
    assert NoisyScorer(**scorer.model_dump(mode="json", exclude={"kind"})) == scorer
    rater = Rater(engine={"kind": "local", "model": "m"})
    assert NoisyScorer(scorer=rater, noise={"deviation": 1.0}).find_range() == rater.find_range()
