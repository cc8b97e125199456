"""Errors say where, what was found and what to do."""

from __future__ import annotations

import importlib
import inspect

import pytest

from prefboost import errors
from prefboost.errors import DataError, MissingExtra, Place, PrefboostError, require_extra, suggest_name

TREE = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, PrefboostError)]


@pytest.mark.parametrize("error", TREE, ids=lambda each: each.__name__)
def test_every_error_is_drawn_in_the_tree_and_documented(error: type[PrefboostError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
    assert error.__name__ in errors.__all__
    assert error.__doc__
    assert error.exit_code == 2


def test_a_message_has_place_finding_and_remedy() -> None:
    error = DataError("score is 'high'", remedy="give numbers", place=Place("f.jsonl", row=3, column="score"))
    assert str(error) == "f.jsonl, row 3, column 'score': score is 'high'\n  -> give numbers"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(), ""),
        (Place("a.yaml", line=3), "a.yaml:3"),
        (Place(row=0), "row 0"),
        (Place("a", column="b"), "a, column 'b'"),
    ],
)
def test_a_place_prints_what_is_known(place: Place, text: str) -> None:
    assert str(place) == text


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert 'pip install "prefboost[train]"' in str(MissingExtra("torch", "train"))


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    message = r"no_such_library is not installed\n  -> pip install \"prefboost\[demo\]\""
    with pytest.raises(MissingExtra, match=message), require_extra("no_such_library", "demo"):
        importlib.import_module("no_such_library")


def test_the_nearest_name_is_suggested_and_nothing_where_none_is_near() -> None:
    assert suggest_name("adamv", ["sgd", "adamw"]) == "; did you mean adamw?"
    assert suggest_name("first", ["last", "firs"], "did you mean {!r}? ") == "did you mean 'firs'? "
    assert suggest_name(None, ["sgd"]) == ""
