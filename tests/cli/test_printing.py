"""A report is lines for people or one JSON document; lines that several verbs print are the same in all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from prefboost.cli.printing import (
    format_columns,
    list_changes,
    list_costs,
    list_rejected,
    list_stored,
    print_report,
)


@dataclass(frozen=True)
class Plan:
    prompt_tokens: int = 12_345
    most_tokens: int = 678
    most_dollars: float | None = None
    estimated: bool = False
    stored: int = 0
    again: int = 0
    refused: int = 0


def test_a_report_is_printed_as_lines_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> Iterator[str]:
        raise AssertionError("nobody reads these lines")
        yield ""

    print_report({"a": 1}, ["one", "two"], as_json=False)
    assert capsys.readouterr().out == "one\ntwo\n"
    print_report({"é": Path("x")}, refuse(), as_json=True)
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"é": "x"} and "é" in shown


def test_tokens_are_a_guess_only_where_no_tokenizer_counts_them() -> None:
    assert list(list_costs(Plan())) == ["12,345 tokens to read, at most 678 to write"]
    about = list(list_costs(Plan(most_dollars=1.5, estimated=True)))
    assert about == ["about 12,345 tokens to read, at most 678 to write", "about $1.50 at most"]


def test_the_store_and_earlier_failures_are_told_where_there_are_any() -> None:
    assert list(list_stored(Plan(), "are there")) == []
    lines = list(list_stored(Plan(stored=1_200, refused=2, again=3), "are there"))
    assert lines[0] == "1,200 more are there"
    assert "2 of them" in lines[1] and "--retry refused" in lines[1]
    assert lines[2].startswith("3 of those to be asked") and "--retry none" in lines[2]


def test_every_reason_has_its_line_its_count_and_its_share() -> None:
    assert list(list_rejected({"empty": 1_200, "cut": 3})) == ["1,200 rejected: empty", "3 rejected: cut"]
    assert list(list_rejected({"cut": 3}, total=12, indent="> ")) == ["> 3 (25.0%) rejected: cut"]
    assert list(list_rejected({})) == []


def test_models_that_changed_are_noted() -> None:
    from prefboost.runs.generate.generate import MODEL_CHANGES

    assert list(list_changes({MODEL_CHANGES: ["m is now n"]})) == ["note: m is now n"]
    assert list(list_changes({})) == []


@pytest.mark.parametrize(
    ("columns", "text"),
    [("a", "a"), (("a", "b"), "a, b"), ({"a": "a"}, "a"), ({"a": "x.a", "b": "b"}, "a=x.a, b=b")],
)
def test_columns_are_written_without_python_in_them(columns: object, text: str) -> None:
    assert format_columns(columns) == text
