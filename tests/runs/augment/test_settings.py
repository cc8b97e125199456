"""The settings of `augment`."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from prefboost.preferences import MarginAtLeast, MinMax, Plain
from prefboost.preferences.select import Select
from prefboost.runs.augment.settings import Augment, AugmentReport, Reject


@pytest.mark.parametrize(
    "settings",
    [
        Augment(),
        Augment(pair=MarginAtLeast(margin=2), relabel=Plain(repeat=2), scale=MinMax(), select=Select(), format="trl"),
        Augment(scale=None, test_share=0.1, file_type="jsonl.zst", decontaminate=("a.jsonl",)),
    ],
)
def test_settings_load_from_their_own_dump(settings: Augment) -> None:
    assert Augment.model_validate(json.loads(settings.model_dump_json())) == settings


@pytest.mark.parametrize("wrong", [{"format": "trlx"}, {"test_share": 1}, {"file_type": "csv"}, {"batch_rows": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augment.model_validate(wrong)


def test_a_report_is_json() -> None:
    report = AugmentReport(
        "out",
        "trl",
        1,
        1,
        2,
        {"train": 2},
        (Reject("read", "bad", 1),),
        (),
        "1 to 10",
        "system",
        "as set",
        {},
        None,
        "cmd",
    )
    assert json.loads(json.dumps(report.as_json()))["rejects"] == [{"stage": "read", "reason": "bad", "count": 1}]
