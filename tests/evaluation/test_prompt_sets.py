from __future__ import annotations

import json

import pytest

from prefboost.errors import DataError, UnreadableFile, UnreadData
from prefboost.evaluation import prompt_sets
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.prompt_sets import (
    read_answers,
    read_arena_answers,
    read_arena_prompts,
    read_mt_answers,
    read_mt_prompts,
    read_mt_questions,
)


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
    found = read_arena_prompts(Assets())
    assert [(p.uid, p.turns, p.category) for p in found] == [
        ("a", ("P",), "hard_prompt/coding"), ("b", ("Q",), "creative_writing"),
    ]  # fmt: skip


def test_answers_of_arena_hard_are_text_or_hold_it(tmp_path):
    rows = [
        {"uid": "a", "messages": [{"role": "user", "content": "P"}, {"role": "assistant", "content": {"answer": "X"}}]},
        {"uid": "b", "messages": [{"role": "assistant", "content": "Y"}]},
    ]
    assert read_arena_answers(lines(tmp_path / "m.jsonl", rows)) == {"a": ("X",), "b": ("Y",)}
    with pytest.raises(DataError, match="row 0: a record of answers has no answer"):
        read_arena_answers(lines(tmp_path / "n.jsonl", [{"uid": "a"}]))


def test_questions_of_mt_bench_get_the_chosen_references(unchecked):
    lines(unchecked / "mt_bench_questions.jsonl", [
        {"question_id": 81, "category": "writing", "turns": ["A", "B"]},
        {"question_id": 111, "category": "math", "turns": ["C", "D"]},
    ])  # fmt: skip
    for name, said in (("mt_bench_references", "5"), ("mt_bench_references_gpt4_0125", "4")):
        lines(unchecked / f"{name}.jsonl", [{"question_id": 111, "choices": [{"turns": [said, said]}]}])
    assert [prompt.reference for prompt in read_mt_prompts(Assets())] == [(), ("4", "4")]
    assert read_mt_prompts(Assets(), "mt_bench_references")[1].reference == ("5", "5")
    assert read_mt_answers(unchecked / "mt_bench_references.jsonl") == {"111": ("5", "5")}


def test_broken_lines_are_named(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"uid": \n')
    with pytest.raises(UnreadableFile, match=r"m\.jsonl:1"):
        read_arena_answers(path)
    path.write_text("[1]\n")
    with pytest.raises(DataError, match=r"m\.jsonl:1: found \[1\], no object"):
        read_arena_answers(path)
    with pytest.raises(DataError, match="a record of answers has no choices"):
        read_mt_answers(lines(tmp_path / "n.jsonl", [{"question_id": 1}]))
    assert prompt_sets.__all__


def test_completions_come_from_files_of_three_shapes(tmp_path):
    prompts = [BenchmarkPrompt("1", ("A", "B"), "math"), BenchmarkPrompt("2", ("C", "D"), "math")]
    arena = [{"uid": "1", "messages": [{"role": "assistant", "content": "x"}]}]
    mt = [{"question_id": 1, "choices": [{"turns": ["x", "y"]}]}]
    plain = [{"instruction": "A", "output": "x", "turns": ["x", "y"]}, {"instruction": "else", "output": "z"}]
    for rows, said in ((arena, ("x",)), (mt, ("x", "y")), (plain, ("x", "y")), (plain[:1], ("x", "y"))):
        assert read_answers(lines(tmp_path / "m.jsonl", rows), prompts) == {"1": said}
    with pytest.raises(DataError, match="give instruction and output"):
        read_answers(lines(tmp_path / "m.jsonl", [{"prompt": "A"}]), prompts)


def test_questions_of_ones_own_bring_their_references(tmp_path):
    rows = [{"question_id": "m1", "category": "math", "turns": ["1+1?", "Twice?"], "reference": ["2", "4"]}]
    assert read_mt_questions(lines(tmp_path / "q.jsonl", rows))[0].reference == ("2", "4")


def test_a_line_separator_within_a_text_ends_no_record(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"uid": "a", "messages": [{"content": "x\u2028y\x85z"}]}, ensure_ascii=False) + "\n")
    assert read_arena_answers(path) == {"a": ("x\u2028y\x85z",)}


def test_answers_of_arena_hard_v01_are_read_from_their_objects(tmp_path):
    rows = [
        {"question_id": "a", "model_id": "m", "choices": [{"index": 0, "turns": [{"content": "X", "token_len": 1}]}]},
        {"question_id": "b", "model_id": "m", "choices": [{"index": 0, "turns": [{"content": "<think>hm</think>Y"}]}]},
    ]
    path = lines(tmp_path / "m.jsonl", rows)
    prompts = [BenchmarkPrompt(uid, ("P",)) for uid in "abc"]
    assert read_answers(path, prompts) == read_arena_answers(path) == {"a": ("X",), "b": ("Y",)}


NO_TEXT = [None, 7, True, {"token_len": 3}, {"content": None}, [], [None], {"content": {"image": "x"}}]


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize(
    "record",
    [
        lambda value: {"question_id": 1, "choices": [{"turns": ["good", value]}]},
        lambda value: {"uid": "a", "messages": [{"role": "assistant", "content": value}]},
        lambda value: {"instruction": "P", "output": "good", "turns": ["good", value]},
        lambda value: {"instruction": "P", "output": value},
    ],
)
def test_what_is_no_text_is_rejected_by_name_and_row_and_refused_where_it_is_all_there_is(tmp_path, record, value):
    good = {**record("good"), "question_id": 2, "uid": "b", "instruction": "Q"}
    prompts = [BenchmarkPrompt(uid, (text,)) for uid, text in (("P", "P"), ("b", "Q"))]
    with pytest.warns(UnreadData, match="1 of 2 records are rejected, and their prompts count as missing: row 1: "):
        answers = read_answers(lines(tmp_path / "m.jsonl", [good, record(value)]), prompts)
    assert len(answers) == 1 and next(iter(answers)) in ("b", "2")
    with pytest.raises(DataError, match="row 0"):
        read_answers(lines(tmp_path / "n.jsonl", [record(value)]), prompts)


@pytest.mark.parametrize(
    "choices", [[], None, [None], ["text"], [{}], [{"turns": None}], [{"turns": []}], [{"turns": "text"}]]
)
def test_choices_without_turns_are_refused_by_name(tmp_path, choices):
    with pytest.raises(DataError, match="choices"):
        read_answers(lines(tmp_path / "m.jsonl", [{"question_id": 1, "choices": choices}]), [])


@pytest.mark.parametrize("turns", ["one text", None, [], [None, "B"], [1, 2]])
def test_turns_and_references_of_questions_are_text(tmp_path, turns):
    with pytest.raises(DataError, match=r"turns"):
        read_mt_questions(lines(tmp_path / "q.jsonl", [{"question_id": 1, "category": "math", "turns": turns}]))
    if turns:
        row = {"question_id": 1, "category": "math", "turns": ["A", "B"], "reference": turns}
        with pytest.raises(DataError, match="reference"):
            read_mt_questions(lines(tmp_path / "r.jsonl", [row]))


def test_every_bad_record_is_named_whatever_the_shape(tmp_path):
    prompts = [BenchmarkPrompt(str(at), (f"P{at}",)) for at in range(9)]
    arena = [{"uid": str(at), "messages": [{"content": None if at % 3 else "x"}]} for at in range(9)]
    older = [{"question_id": at, "choices": [{"turns": [None if at % 3 else "x"]}]} for at in range(9)]
    plain = [{"instruction": f"P{at}", "output": "x", "turns": [None if at % 3 else "x"]} for at in range(9)]
    for rows in (arena, older, plain):
        with pytest.warns(UnreadData, match=r"6 of 9 records are rejected, .*: row 1: .*; row 7: .*; and 1 more"):
            answers = read_answers(lines(tmp_path / "m.jsonl", rows), prompts)
        assert answers == dict.fromkeys("036", ("x",))
    for rows, read in ((arena, read_arena_answers), (older, read_mt_answers)):
        with pytest.raises(DataError, match=r"6 of 9 records cannot be read: row 1: .*; row 7: .*; and 1 more"):
            read(lines(tmp_path / "m.jsonl", rows))


def test_two_different_answers_to_one_prompt_are_refused_and_two_equal_ones_are_one(tmp_path):
    rows = [{"uid": "a", "messages": [{"content": text}]} for text in "xxy"]
    assert read_arena_answers(lines(tmp_path / "m.jsonl", rows[:2])) == {"a": ("x",)}
    with pytest.raises(DataError, match="1 prompts have two different answers: a"):
        read_arena_answers(lines(tmp_path / "m.jsonl", rows))
