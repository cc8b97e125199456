from __future__ import annotations

import json

import pytest

from prefboost.errors import DataError, UnreadableFile
from prefboost.evaluation import prompt_sets
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.prompt_sets import arena_answers, arena_prompts, mt_answers, mt_prompts


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


@pytest.fixture
def unchecked(monkeypatch, tmp_path):
    """Files of a test in the place of published ones."""
    monkeypatch.setattr(Assets, "path", lambda self, name: tmp_path / f"{name}.jsonl")
    return tmp_path


def test_prompts_of_arena_hard_carry_their_subcategory(unchecked):
    rows = [
        {"uid": "a", "category": "hard_prompt", "subcategory": "coding", "prompt": "P"},
        {"uid": "b", "category": "creative_writing", "subcategory": "creative_writing", "prompt": "Q"},
    ]
    lines(unchecked / "arena_hard_v20_questions.jsonl", rows)
    found = arena_prompts(Assets())
    assert [(p.uid, p.turns, p.category) for p in found] == [
        ("a", ("P",), "hard_prompt/coding"), ("b", ("Q",), "creative_writing"),
    ]  # fmt: skip


def test_answers_of_arena_hard_are_text_or_hold_it(tmp_path):
    rows = [
        {"uid": "a", "messages": [{"role": "user", "content": "P"}, {"role": "assistant", "content": {"answer": "X"}}]},
        {"uid": "b", "messages": [{"role": "assistant", "content": "Y"}]},
    ]
    assert arena_answers(lines(tmp_path / "m.jsonl", rows)) == {"a": ("X",), "b": ("Y",)}
    with pytest.raises(DataError, match="row 0: a record of answers has no answer"):
        arena_answers(lines(tmp_path / "n.jsonl", [{"uid": "a"}]))


def test_questions_of_mt_bench_get_the_chosen_references(unchecked):
    lines(unchecked / "mt_bench_questions.jsonl", [
        {"question_id": 81, "category": "writing", "turns": ["A", "B"]},
        {"question_id": 111, "category": "math", "turns": ["C", "D"]},
    ])  # fmt: skip
    for name, said in (("mt_bench_references", "5"), ("mt_bench_references_gpt4_0125", "4")):
        lines(unchecked / f"{name}.jsonl", [{"question_id": 111, "choices": [{"turns": [said, said]}]}])
    assert [prompt.reference for prompt in mt_prompts(Assets())] == [(), ("4", "4")]
    assert mt_prompts(Assets(), "mt_bench_references")[1].reference == ("5", "5")
    assert mt_answers(unchecked / "mt_bench_references.jsonl") == {"111": ("5", "5")}


def test_broken_lines_are_named(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"uid": \n')
    with pytest.raises(UnreadableFile, match=r"m\.jsonl:1"):
        arena_answers(path)
    with pytest.raises(DataError, match="a record has no choices"):
        mt_answers(lines(tmp_path / "n.jsonl", [{"question_id": 1}]))
    assert prompt_sets.__all__
