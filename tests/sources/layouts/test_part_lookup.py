"""Parts among the columns: the user's names first, then known ones."""

from __future__ import annotations

import polars as pl
import pytest

from prefboost.errors import DataError
from prefboost.sources.columns import Columns
from prefboost.sources.layouts.part_lookup import PartLookup, list_columns

ALPACA = pl.DataFrame([{"instruction": "i", "input": "x", "context": "c", "history": "h", "system": "s"}])


def test_the_input_of_an_instruction_is_a_further_prompt_unless_the_user_names_the_prompt() -> None:
    assert PartLookup(ALPACA, Columns(), "f").find_further_prompts("instruction") == ("input",)
    assert PartLookup(ALPACA, Columns(prompt="instruction"), "f").find_further_prompts("instruction") == ()
    named = PartLookup(ALPACA, Columns(prompt=("context", "instruction")), "f")
    assert (named("prompt"), named.find_further_prompts("context")) == ("context", ("instruction",))
    with pytest.raises(DataError, match="names 'nope', which does not exist"):
        PartLookup(ALPACA, Columns(prompt=("context", "nope")), "f").find_further_prompts("context")


def test_a_history_is_a_list_of_turns_not_a_text() -> None:
    assert "history" not in PartLookup(ALPACA, Columns(), "f").find_prompt()
    turns = pl.DataFrame([{"prompt": "p", "history": [["a", "b"]]}])
    assert PartLookup(turns, Columns(), "f").find_prompt() == {"prompt": "prompt", "history": "history"}


def test_ignored_columns_are_absent_and_lists_of_columns_stay_short() -> None:
    assert PartLookup(ALPACA, Columns(ignore=("input", "system")), "f").find_further_prompts("instruction") == (
        "context",
    )
    assert len(list_columns({f"column{n}": pl.String() for n in range(500)})) <= 403
