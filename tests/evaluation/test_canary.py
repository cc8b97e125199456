import hashlib
from dataclasses import replace

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.evaluation import canary
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.canary import CANARY_SHA256, build_canary_requests, measure_drift
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=200)


def verdicts(shift: float = 0.0, place: float = 0.0) -> list[JudgeVerdict]:
    """A judge with an opinion on every pair; ``place`` draws it to the second-shown completion."""
    found = []
    for request in build_canary_requests():
        opinion = int(hashlib.sha256(request.uid.encode()).hexdigest(), 16) % 60 / 100 + 0.2
        drawn = -place if request.facts["model_first"] else place
        value = float(np.clip(opinion + shift + drawn, 0, 1))
        found.append(JudgeVerdict(request.uid, request.model, request.part, value, request.facts))
    return found


def test_there_are_fifty_questions_on_25_pairs_in_both_orders():
    requests = build_canary_requests()
    assert len(requests) == 50
    assert len({request.uid for request in requests}) == 25
    assert all(request.needs_call for request in requests)
    assert sum(bool(request.facts["model_first"]) for request in requests) == 25


def test_another_set_than_that_of_this_version_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "canary.jsonl"
    changed.write_text("{}\n")
    monkeypatch.setattr(canary, "_FILE", changed)
    with pytest.raises(DataError, match="is not the set of this version"):
        build_canary_requests()
    assert len(CANARY_SHA256) == 64


def test_a_judge_that_did_not_change_has_not_drifted():
    found = measure_drift(verdicts(), verdicts(), how=QUICK)
    assert (found.agree.estimate, found.difference.estimate, found.apart, found.moved) == (1, 0, 0, ())
    assert not found.is_drift
    assert list(found.lines())[-1] == "no drift is seen"


def test_drift_of_merit_and_drift_towards_a_place_are_told_apart():
    merit = measure_drift(verdicts(), verdicts(shift=0.1), how=QUICK)
    place = measure_drift(verdicts(), verdicts(place=0.1), how=QUICK)
    assert merit.difference.estimate == pytest.approx(0.1)
    assert (merit.is_drift, merit.place.estimate) == (True, pytest.approx(0, abs=1e-9))
    assert place.place.estimate == pytest.approx(0.1)
    assert (place.is_drift, place.difference.estimate) == (True, pytest.approx(0, abs=1e-9))
    assert merit.moved
    assert merit.record()["drift"] is True


def test_a_question_without_a_verdict_is_counted():
    later = verdicts()
    later[3] = replace(later[3], value=None, fault="no answer")
    found = measure_drift(verdicts(), later, how=QUICK)
    assert (found.asked, found.missing, found.agree.rows) == (50, 1, 49)
    with pytest.raises(DataError, match="no question has a verdict at both times"):
        measure_drift(verdicts(), [replace(one, value=None) for one in later], how=QUICK)


def test_other_questions_are_never_compared():
    with pytest.raises(DataError, match="2 questions were asked at one time only"):
        measure_drift(verdicts(), verdicts()[2:], how=QUICK)
