"""The prompt inside both sides, against a plain definition."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.sources.messages.implicit import split_prompts
from prefboost.tables import MESSAGES

MESSAGE = st.builds(
    lambda role, content: {"role": role, "content": content, "extra": None},
    st.sampled_from(["user", "assistant", "tool"]),
    st.sampled_from("ab"),
)
CONVERSATION = st.lists(MESSAGE, min_size=1, max_size=5)


def longest(chosen: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> int:
    shared = [n for n in range(min(len(chosen), len(rejected)) + 1) if chosen[:n] == rejected[:n]]
    return max((n for n in shared if n and chosen[n - 1]["role"] in ("user", "tool")), default=0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CONVERSATION, CONVERSATION, CONVERSATION), min_size=1, max_size=4))
def test_the_prompt_is_the_longest_shared_beginning_that_ends_with_a_question(rows: list[Any]) -> None:
    pairs = [(head + left, head + right) for head, left, right in rows]
    sides = [pl.Series(name, [pair[at] for pair in pairs], dtype=MESSAGES) for at, name in enumerate(("c", "r"))]
    split, inside = split_prompts(pl.Series("p", [None] * len(pairs), dtype=MESSAGES), *sides)
    for (chosen, rejected), row, taken in zip(pairs, split.iter_rows(named=True), inside, strict=True):
        assert taken == (chosen[0]["role"] != "assistant" or rejected[0]["role"] != "assistant")
        if taken:
            length = longest(chosen, rejected)
            assert row["prompt"] == (chosen[:length] or None)
            assert row["chosen"] == chosen[length:]
            assert row["rejected"] == rejected[length:]
