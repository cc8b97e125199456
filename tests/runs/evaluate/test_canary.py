import json

import pytest
from scripted_engine import Scripted

from prefboost.errors import DataError
from prefboost.runs.evaluate.canary import canary, canary_facts


def judge(lean: float = 0.0, name: str = "judge") -> Scripted:
    """Prefers what is written in fewer letters; ``lean`` draws it to the completion called M."""

    def weigh(prompt, choices):
        first, second = (prompt.count(letter) for letter in "eo")
        return [-1.0 + first % 5 / 10, -1.0 + second % 5 / 10 + lean]

    return Scripted.by(weigh=weigh, name=name)


def times(*stamps):
    left = iter(stamps)
    return lambda: next(left)


def test_the_first_time_is_kept_and_a_later_one_is_asked_anew_and_held_against_it(tmp_path):
    clock = times("2026-01-01T10:00:00Z", "2026-03-01T10:00:00Z", "2026-05-01T10:00:00Z")
    once = judge()
    first = canary(once, tmp_path, clock=clock)
    assert (first.drift, first.first_at, len(once.asked)) == (None, None, 50)
    again = canary(once, tmp_path, clock=clock)
    assert len(once.asked) == 100
    assert (again.first_at, again.drift.agree.estimate, again.drift.is_drift) == ("2026-01-01T10:00:00Z", 1, False)
    leaning = canary(judge(lean=1.0), tmp_path, clock=clock)
    assert leaning.first_at == "2026-01-01T10:00:00Z"
    assert leaning.drift.place.estimate > 0.1
    assert "the judge has drifted" in list(leaning.lines())
    assert canary_facts(tmp_path)["canary"]["drift"] is True
    assert sorted(path.suffix for path in (tmp_path / "canary").iterdir()) == [".jsonl"] * 3


def test_another_judge_is_not_compared_with_this_one(tmp_path):
    clock = times("2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z")
    canary(judge(), tmp_path, clock=clock)
    other = canary(judge(name="other"), tmp_path, clock=clock)
    assert other.drift is None
    assert "first time" in "\n".join(other.lines())
    assert json.loads((tmp_path / "canary.json").read_text())["first_time"] is True


def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path):
    asked = []

    def breaks(prompt, choices):
        asked.append(prompt)
        if len(asked) == 21:
            raise KeyboardInterrupt
        return [-0.5, -1.5]

    stamp = "2026-01-01T10:00:00Z"
    with pytest.raises(KeyboardInterrupt):
        canary(Scripted.by(weigh=breaks), tmp_path, clock=times(stamp))
    canary(Scripted.by(weigh=breaks), tmp_path, clock=times(stamp))
    assert len(asked) < 60
    assert canary_facts(tmp_path / "none") == {}


def test_a_judge_without_verdicts_is_no_comparison(tmp_path):
    clock = times("2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z")
    canary(Scripted.by(weigh=lambda *_: [-0.5, -1.5]), tmp_path, clock=clock)
    with pytest.raises(DataError, match="gave no verdict on any question"):
        canary(Scripted.by(weigh=lambda *_: [float("-inf")] * 2), tmp_path, clock=clock)
