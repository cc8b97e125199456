import json
import math

import pytest

from prefboost.errors import DataError
from prefboost.evaluation.results import Figure, Results
from prefboost.statistics import Interval

MADE = Results(
    "alpaca_eval",
    "robust",
    (
        Figure("win_rate", "mine", Interval(50.0, 45.0, 55.0, 0.95, rows=100, clusters=50), 0, 100, error=2.5),
        Figure("win_rate", "other", None, 20, 100, bounds=(40.0, 60.0)),
    ),
    ("other gives one completion to all prompts",),
    {"judge": "a judge"},
)


def test_results_come_back_from_json_as_they_were():
    assert Results.of(json.loads(json.dumps(MADE.record(), allow_nan=False))) == MADE


def test_an_unknown_end_is_null_in_json_and_comes_back_unknown():
    one = Results("b", "robust", (Figure("f", "m", Interval(1.0, math.nan, math.nan, 0.95, 1, 1), 0, 1),))
    record = json.loads(json.dumps(one.record(), allow_nan=False))
    assert record["figures"][0]["value"]["low"] is None
    assert math.isnan(Results.of(record).figures[0].value.low)


def test_results_of_another_schema_are_refused():
    with pytest.raises(DataError, match="schema 99"):
        Results.of({**MADE.record(), "schema": 99})


def test_the_table_shows_what_is_withheld_with_its_bounds_and_every_alarm():
    table = MADE.markdown()
    assert "| other | win_rate (%) |  | withheld: 20 of 100 missing, between 40.00 and 60.00 | 100 | 20 |" in table
    assert "**Alarm:** other gives one completion" in table


def test_a_figure_is_found_by_name_and_an_unknown_one_is_named():
    assert MADE.figure("win_rate", "mine").error == 2.5
    with pytest.raises(DataError, match="no figure elo of mine"):
        MADE.figure("elo", "mine")
    assert MADE.models == ["mine", "other"]
