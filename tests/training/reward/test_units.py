"""Pairs and scored completions become units in which every text stands once; what cannot be used is counted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import CHATML, build_tokenizer

from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import DataError, MissingScores
from prefboost.training.reward import units as module
from prefboost.training.reward.units import LossNeeds, build_reward_units

PAD = 258


def said(role: str, text: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text, "extra": None}]


def pair(number: int, prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    scores = {"score_chosen": None, "score_rejected": None}
    ids = {"pair_id": f"p{number}", "prompt_id": prompt}
    sides = {
        "prompt": said("user", prompt),
        "chosen": said("assistant", chosen),
        "rejected": said("assistant", rejected),
    }
    return {**ids, **sides, **scores, **more}


def completion(number: int, prompt: str, text: str, **scores: Any) -> dict[str, Any]:
    ids = {"completion_id": f"c{number}", "prompt_id": prompt}
    return {**ids, "prompt": said("user", prompt), "completion": said("assistant", text), **scores}


def made(rows: list[dict[str, Any]], wanted: LossNeeds | None = None) -> module.RewardUnits:
    return build_reward_units(pa.Table.from_pylist(rows), ChatEncoder(build_tokenizer()), PAD, wanted or LossNeeds())


def test_pairs_of_a_prompt_share_their_texts() -> None:
    rows = [pair(0, "x", "best", "worst"), pair(1, "x", "best", "middle"), pair(2, "x", "middle", "worst")]
    [unit] = made([*rows, pair(3, "y", "a", "b")]).units.to_pylist()[:1]
    assert len(unit["texts"]) == 3 and unit["items"] == 3
    assert list(zip(unit["chosen"], unit["rejected"], strict=True)) == [(0, 1), (0, 2), (2, 1)]
    assert unit["ids"] == ["p0", "p1", "p2"]


def test_a_question_asked_in_two_ways_is_two_units_of_one_prompt() -> None:
    rows = [pair(0, "x", "best", "worst"), pair(1, "x?", "best", "worst"), pair(2, "x", "best", "middle")]
    units = made([{**row, "prompt_id": "x"} for row in rows]).units
    assert units["unit_id"].to_pylist() == ["x", "x#2"] and set(units["prompt_id"].to_pylist()) == {"x"}
    assert units["items"].to_pylist() == [2, 1]


def test_lengths_are_told_beyond_the_mean_of_a_prompt() -> None:
    [unit] = made([pair(0, "x", "best!!", "no")]).units.to_pylist()
    assert unit["excess_length"] == pytest.approx([0.02, -0.02]) and unit["length_delta"] == pytest.approx([0.04])


def test_a_pair_may_be_a_unit_of_its_own() -> None:
    rows = [pair(0, "x", "best", "worst"), pair(1, "x", "best", "middle")]
    assert made(rows, LossNeeds(by_prompt=False)).units["unit_id"].to_pylist() == ["p0", "p1"]


def test_texts_are_the_template_s_whole_conversation() -> None:
    [unit] = made([pair(0, "x", "best", "worst")]).units.to_pylist()
    text = build_tokenizer().decode(unit["texts"][0])
    assert text == "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\nbest<|im_end|>\n"


def test_unusable_pairs_are_counted() -> None:
    rows = [
        pair(0, "x", "same", "same"),
        pair(1, "x", "far too long" * 20, "short"),
        pair(2, "x", "a", "b", score_chosen=3.0),
        pair(3, "x", "c", "b", score_chosen=3.0, score_rejected=1.0),
    ]
    found = made(rows, LossNeeds(needs_gap=True, max_length=100))
    assert found.dropped == {module.EQUAL: 1, module.TOO_LONG: 1, module.NO_GAP: 1}
    assert found.rows == 4 and found.units["gap"].to_pylist() == [[2.0]]


def test_scored_completions_give_a_label_a_head() -> None:
    rows = [
        completion(0, "x", "a", score=7.0, **{"score.style": None}),
        completion(1, "x", "b", score=None, **{"score.style": 2.0}),
        completion(2, "y", "c", score=None, **{"score.style": None}),
    ]
    found = made(rows, LossNeeds(heads=("overall", "style"), compares=False))
    assert found.units["labels"].to_pylist() == [[[7.0, None], [None, 2.0]]]
    assert found.dropped == {module.NO_LABEL: 1}


def test_scored_pairs_serve_a_regression_too() -> None:
    rows = [pair(0, "x", "a", "b", score_chosen=5.0, score_rejected=2.0), pair(1, "x", "a", "c", score_chosen=5.0)]
    [unit] = made(rows, LossNeeds(compares=False)).units.to_pylist()
    assert unit["labels"] == [[5.0], [2.0], [None]] and unit["items"] == 3


def test_completions_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="preference pairs, found columns"):
        made([completion(0, "x", "a", score=1.0)])


def test_scores_that_are_wanted_must_be_there() -> None:
    for wanted in (LossNeeds(needs_gap=True), LossNeeds(compares=False, heads=("style",))):
        with pytest.raises(MissingScores, match="uses scores"):
            made([pair(0, "x", "a", "b")], wanted)


def test_pairs_keep_probabilities_weights_and_lengths() -> None:
    rows = [pair(0, "q", "abcde", "ab", chosen_wins=0.75, pair_weight=2.0), pair(1, "q", "ab", "abc")]
    unit = made(rows).units.to_pylist()[0]
    assert (unit["wins"], unit["weight"]) == ([0.75, None], [2.0, None])
    tokens = [len(text) for text in unit["texts"]]
    lengths = [(tokens[a] - tokens[b]) / 100 for a, b in zip(unit["chosen"], unit["rejected"], strict=True)]
    assert unit["length_delta"] == pytest.approx(lengths) and lengths[0] > 0 > lengths[1]


def test_conversations_that_cannot_be_rendered_whole_are_rejected_with_their_row() -> None:
    system = {"role": "system", "content": "Be brief.", "extra": None}
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    call = {"role": "assistant", "content": "", "extra": '{"tool_calls": [{"name": "f", "arguments": {}}]}'}
    rows = [
        pair(0, "x", "best", "worst", row=3),
        {**pair(1, "y", "best", "worst", row=4), "prompt": [system, *said("user", "y")]},
        {**pair(2, "z", "best", "worst", row=5), "rejected": [call]},
    ]
    table = pa.Table.from_pylist(rows)
    found = build_reward_units(table, ChatEncoder(build_tokenizer(refusing)), PAD, LossNeeds(positions=4))
    assert found.units["unit_id"].to_pylist() == ["x"]
    assert sum(found.dropped.values()) == 2 and [row["row"] for row in found.loss.rejected] == [4, 5]
    assert found.loss.shortened == {"beyond positions": 1}
    merging = ChatEncoder(build_tokenizer(refusing), merge_system=True)
    assert build_reward_units(table, merging, PAD, LossNeeds()).units["unit_id"].to_pylist() == ["x", "y"]


def test_a_negative_gap_cannot_weight_a_loss() -> None:
    rows = [pair(at, "x", "a", "b", score_chosen=2.0, score_rejected=2.0 + at) for at in range(2)]
    weighted = made(rows, LossNeeds(needs_gap=True, gap_weights=True))
    assert weighted.dropped == {module.NEGATIVE_GAP: 1} and weighted.units["gap"].to_pylist() == [[0.0]]
    assert made(rows, LossNeeds(needs_gap=True)).dropped == {}
