"""An audit finds what was planted: noise, length bias, position bias, cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from made_writer import Writer

from prefboost.errors import DataError
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.audit import audit, label_noise
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.labels import build_sides_table
from prefboost.tables import Table

PROMPT = [{"role": "user", "content": "Hi", "extra": None}]


def pairs(rows: Sequence[tuple[str, str]], **lineage: Sequence[Any]) -> Table:
    table = build_sides_table([(PROMPT, chosen, rejected) for chosen, rejected in rows])
    told = [
        json.dumps({"method": "rmboost", **{name: values[at] for name, values in lineage.items()}})
        for at in range(len(rows))
    ]
    return Table(table.spec, table.frame.with_columns(lineage=pl.Series(told, dtype=pl.String)))


def likes_good(prompt: str, choices: Sequence[str]) -> list[float]:
    first = prompt.index("good") < prompt.index("bad")
    return [math.log(0.9 if first else 0.1), math.log(0.1 if first else 0.9)]


def test_the_realised_noise_is_the_share_of_labels_that_the_judge_denies() -> None:
    table = pairs([("good", "bad")] * 15 + [("bad", "good")] * 5)
    judge = LlmJudge(engine=Writer.by(weigh=likes_good), read="logprobs", ties=False)
    found = label_noise(table, judge, "m", Calls())
    assert found.noise.estimate == 0.25 and found.order_flips.estimate == 0.0
    assert found.noise.low < 0.25 < found.noise.high


def test_a_judge_that_goes_by_the_place_is_found_out_and_decides_nothing() -> None:
    judge = LlmJudge(engine=Writer.by(), read="logprobs", ties=False)
    found = label_noise(pairs([("good", "bad")] * 4), judge, "m", Calls())
    assert found.noise.estimate == 0.5 and found.order_flips.estimate == 1.0


def test_pairs_that_cannot_be_judged_are_counted_and_none_at_all_is_an_error() -> None:
    def answer(prompt: str, sample: int) -> str:
        return "nothing" if "odd" in prompt else '{"reason": "x", "verdict": "1"}'

    judge = LlmJudge(engine=Writer.by(answer))
    found = label_noise(pairs([("good", "bad"), ("odd", "bad")]), judge, "m", Calls())
    assert sum(found.unjudged.values()) == 1 and found.noise.rows == 1
    with pytest.raises(DataError, match="could judge none of 1 pairs"):
        label_noise(pairs([("odd", "bad")]), judge, "m", Calls())


def test_biases_cost_and_aspects_are_read_off() -> None:
    table = pairs(
        [("long text", "short"), ("long again", "abc"), ("a", "bcd"), ("xy", "zw")],
        chosen=["first", "second", "second", "second"],
        aspects=[["wit"], ["wit"], ["ease"], ["ease", "wit"]],
    )
    history = {"per_pair": {"requests": 2.5, "prompt_tokens": 10, "tokens": 5, "dollars": 0.0},
               "steps": [{"rejected": {"too long": 3}}]}  # fmt: skip
    found = audit(table, history)
    assert (found.method, found.pairs, found.prompts) == ("rmboost", 4, 4)
    assert found.longer.estimate == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert found.second.estimate == 0.75
    assert (found.requests, found.tokens, found.rejected) == (2.5, 15, {"too long": 3})
    assert found.aspects == {"ease": 2, "wit": 3}
    assert math.isnan(found.spread) and found.soft == 1.0


def test_soft_labels_show_their_mean() -> None:
    table = pairs([("a", "b"), ("c", "d")])
    frame = table.frame.with_columns(chosen_wins=pl.Series([0.6, None], dtype=pl.Float64))
    assert audit(Table(table.spec, frame)).soft == pytest.approx(0.8)


def test_pairs_without_a_lineage_are_refused() -> None:
    with pytest.raises(DataError, match="lineage"):
        audit(build_sides_table([(PROMPT, "a", "b")]))
