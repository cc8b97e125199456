"""A report survives the file in which it is kept."""

from __future__ import annotations

import json
from dataclasses import asdict

from prefboost.training.report import TrainReport


def test_a_report_is_read_back_from_its_json_as_it_was() -> None:
    report = TrainReport(
        "model", 3, 4, 8, 120, 1.5, {"too long": 2}, {}, ["2 rows are lost"], {"loss": 0.5}, 1, messages=["less memory"]
    )
    assert TrainReport(**json.loads(json.dumps(asdict(report)))) == report
