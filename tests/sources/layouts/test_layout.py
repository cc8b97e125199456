"""The guess for the shapes in use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import DataError
from prefboost.sources import read
from prefboost.sources.columns import Columns
from prefboost.sources.layouts.layout import guess

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SAID = {"from": "gpt", "value": "a"}
SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "p", "chosen": "a", "rejected": "b"}, "pairs"),
    ({"chosen": CHAT, "rejected": CHAT}, "pairs"),
    ({"prompt": "p", "completion": "c", "score": 1}, "flat"),
    ({"query": "p", "response": "c", "reward": 1}, "flat"),
    ({"instruction": "p", "completions": [{"response": "c", "overall_score": 1}]}, "nested"),
    ({"input": "p", "generations": ["c"], "ratings": [1.0]}, "parallel"),
    ({"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 0}, "preference"),
    ({"instruction": "p", "response_a": "a", "response_b": "b", "label": 1}, "preference"),
    ({"prompt": "p", "source": "s"}, "prompts"),
    ({"conversations": [{"from": "human", "value": "q"}], "chosen": SAID, "rejected": SAID}, "pairs"),
    ({"messages": CHAT[:1], "chosen": CHAT[1], "rejected": CHAT[1]}, "pairs"),
    ({"query": "q", "response": "a", "rejected_response": "b"}, "pairs"),
    ({"messages": CHAT, "rejected_response": "b"}, "pairs"),
    ({"messages": CHAT, "rejected_messages": CHAT}, "pairs"),
]


@pytest.mark.parametrize(("record", "shape"), SHAPES)
def test_columns_tell_the_shape(record: dict[str, Any], shape: str) -> None:
    assert guess(pl.DataFrame([record]), Columns(), "f").shape == shape


def test_aspects_are_found_in_annotations_by_name_and_by_prefix() -> None:
    nested = {"prompt": "p", "completions": [{"text": "c", "annotations": {"honesty": {"Rating": "5"}}}]}
    assert guess(pl.DataFrame([nested]), Columns(), "f").aspects == {"honesty": "annotations.honesty.Rating"}
    flat = {"prompt": "p", "completion": "c", "helpfulness": 1, "score.wit": 2}
    assert guess(pl.DataFrame([flat]), Columns(), "f").aspects == {"wit": "score.wit", "helpfulness": "helpfulness"}
    pair = {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen.wit": 1, "score_rejected.wit": 2}
    layout = guess(pl.DataFrame([pair]), Columns(), "f")
    assert (layout.aspects, layout.aspects_rejected) == ({"wit": "score_chosen.wit"}, {"wit": "score_rejected.wit"})


def test_the_description_says_which_parts_the_user_named() -> None:
    record = pl.DataFrame([{"x": "p", "completion": "c", "score": 1}])
    assert guess(record, Columns(prompt="x"), "f").describe() == {
        "shape": "flat",
        "prompt": "x",
        "score": "score",
        "completion": "completion",
        "named by the user": ["prompt"],
    }


def test_half_of_a_pair_of_scores_is_refused() -> None:
    record = pl.DataFrame([{"prompt": "p", "chosen": "a", "rejected": "b", "s": 1}])
    with pytest.raises(DataError, match="without its counterpart"):
        guess(record, Columns(score_chosen="s"), "f")
    with pytest.raises(DataError, match="no column holds it for both sides"):
        guess(record, Columns(aspects=("wit",)), "f")


def test_an_ignored_margin_leaves_binary_pairs() -> None:
    record = pl.DataFrame([{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 1.5}])
    assert not guess(record, Columns(ignore=("margin",)), "f").scored


BOTH = {"prompt": "p", "chosen": "a", "rejected": "b", "response": "c", "rating": 1, "texts": ["d"], "response_a": "e"}


@pytest.mark.parametrize(
    ("named", "shape"),
    [
        ({}, "pairs"),
        ({"completion": "response"}, "flat"),
        ({"completion": "response", "score": "rating"}, "flat"),
        ({"completions": "texts"}, "parallel"),
        ({"chosen": "response", "rejected": "response_a"}, "pairs"),
        ({"prompt": "response_a"}, "pairs"),
    ],
)
def test_what_the_user_names_steers_the_shape(named: dict[str, str], shape: str) -> None:
    layout = guess(pl.DataFrame([BOTH]), Columns.model_validate(named), "f")
    assert layout.shape == shape
    assert named.items() <= layout.parts.items()


def test_a_name_that_no_shape_has_a_use_for_is_refused() -> None:
    with pytest.raises(DataError, match=r"the shape pairs .* does not use columns.score"):
        guess(pl.DataFrame([{"prompt": "p", "chosen": "a", "rejected": "b", "s": 1}]), Columns(score="s"), "f")


def test_a_list_under_the_name_of_one_completion_is_a_list_of_them(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "response": [f"a{n}", f"b{n}"], "score": [n, 3]} for n in range(3)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    table = read(path)
    assert table.frame["score"].to_list() == [0, 3, 1, 3, 2, 3] and table.rejects.is_empty()
    talk = [{"role": "assistant", "content": "a"}]
    sample = pl.DataFrame({"prompt": ["q"], "response": [talk], "score": [1]})
    assert guess(sample, Columns(), "f").shape == "flat"
