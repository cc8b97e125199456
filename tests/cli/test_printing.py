"""A report is lines for people or one JSON document; lines that several verbs print are the same in all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefboost.cli.printing import (
    format_columns,
    list_changes,
    list_rejected,
    print_forecast,
    print_report,
)
from prefboost.forecast import Forecast


def test_a_report_is_printed_as_lines_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> Iterator[str]:
        raise AssertionError("nobody reads these lines")
        yield ""

    print_report({"a": 1}, ["one", "two"], as_json=False)
    assert capsys.readouterr().out == "one\ntwo\n"
    print_report({"é": Path("x")}, refuse(), as_json=True)
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"é": "x"} and "é" in shown


def test_a_forecast_is_printed_as_lines_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    forecast = Forecast("3 calls", {"rows": 3})
    print_forecast(forecast, as_json=False)
    assert capsys.readouterr().out == "3 calls\n"
    print_forecast(forecast, as_json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 3


def test_every_reason_has_its_line_its_count_and_its_share() -> None:
    assert list(list_rejected({"empty": 1_200, "cut": 3})) == ["1,200 rejected: empty", "3 rejected: cut"]
    assert list(list_rejected({"cut": 3}, total=12, indent="> ")) == ["> 3 (25.0%) rejected: cut"]
    assert list(list_rejected({})) == []


def test_models_that_changed_are_noted() -> None:
    from prefboost.runs.score.questions import MODEL_CHANGES

    assert list(list_changes({MODEL_CHANGES: ["m is now n"]})) == ["note: m is now n"]
    assert list(list_changes({})) == []


@pytest.mark.parametrize(
    ("columns", "text"),
    [("a", "a"), (("a", "b"), "a, b"), ({"a": "a"}, "a"), ({"a": "x.a", "b": "b"}, "a=x.a, b=b")],
)
def test_columns_are_written_without_python_in_them(columns: object, text: str) -> None:
    assert format_columns(columns) == text
