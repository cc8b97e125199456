from __future__ import annotations

import json

import polars as pl
import pytest
from length_scorer import LengthScorer

from prefboost.errors import DataError, UnreadableFile
from prefboost.evaluation.reward_models.scores import score_rewardbench, score_rewardbench2, score_rm_bench
from prefboost.evaluation.reward_models.sets import build_reward_set, collect_items, read_reward_set

ONE = [{"id": 7, "prompt": "Q", "chosen": "long one", "rejected": "short", "subset": "hep-go"}]
TWO = [
    {"id": "1", "prompt": "Q", "chosen": ["longest of all"], "rejected": ["a", "bb", "ccc"], "subset": "Math"},
    {"id": "tied:1", "prompt": "Q", "chosen": ["red", "tan"], "rejected": ["x"], "subset": "Ties", "num_correct": 2},
    {"id": "ref:1", "prompt": "Q", "chosen": ["red"], "rejected": ["x"], "subset": "Ties", "num_correct": 1},
]
STYLES = [
    {
        "id": "chat/1",
        "prompt": "Q",
        "chosen": ["a" * 5, "a" * 9, "a" * 12],
        "rejected": ["b" * 4, "b" * 8, "b" * 11],
        "domain": "chat",
    }
]


@pytest.mark.parametrize(("rows", "bench"), [(ONE, "rewardbench"), (TWO, "rewardbench2"), (STYLES, "rm_bench")])
@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_each_benchmark_is_known_by_its_shape(tmp_path, rows, bench, ending):
    path = tmp_path / f"bench.{ending}"
    if ending == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)) if ending == "jsonl" else json.dumps(rows))
    found = read_reward_set(path)
    assert found.bench == bench
    assert len(found.items) == len(rows)


def test_a_file_of_plain_pairs_is_none_of_them(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "Q", "chosen": "a", "rejected": "b"}))
    assert read_reward_set(path) is None
    assert read_reward_set(tmp_path / "absent.jsonl") is None
    assert read_reward_set("someone/hub-id") is None


def test_scores_come_back_to_their_items():
    found = build_reward_set(TWO, "rewardbench2")
    items, missing = collect_items(found, LengthScorer().score(found.table))
    assert missing == {}
    assert [(item.chosen, item.rejected) for item in items] == [((14,), (1, 2, 3)), ((3, 3), (1,)), ((3,), (1,))]
    figures = score_rewardbench2(items)
    assert figures["Math"] == 1
    assert figures["Ties"] == pytest.approx(0.3 + 0.3 + 0.2 + 0.2 + 0.01)  # no spread, a clear gap
    one = build_reward_set(ONE, "rewardbench")
    assert score_rewardbench(collect_items(one, LengthScorer().score(one.table))[0])["Reasoning"] == 1
    three = build_reward_set(STYLES, "rm_bench")
    assert score_rm_bench(collect_items(three, LengthScorer().score(three.table))[0]) == {
        "chat": pytest.approx(2 / 3), "hard": 0, "normal": 1, "easy": 1, "overall": pytest.approx(2 / 3),
    }  # fmt: skip


def test_a_prompt_of_which_one_completion_has_no_score_is_missing_with_its_reason():
    found = build_reward_set(TWO, "rewardbench2")
    items, missing = collect_items(found, LengthScorer(limit=10).score(found.table))
    assert [item.item_id for item in items] == ["tied:1", "ref:1"]
    assert missing == {"the conversation is longer than the model can see": 1}


def test_prompts_may_be_conversations():
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}, {"role": "user", "content": "C"}]
    found = build_reward_set([{**ONE[0], "prompt": turns}], "rewardbench")
    assert [turn["content"] for turn in found.table.frame["prompt"][0]] == ["A", "B", "C"]


def test_broken_files_and_records_are_named(tmp_path):
    with pytest.raises(DataError, match="row 0: a record needs a prompt"):
        build_reward_set([{**ONE[0], "rejected": ""}], "rewardbench")
    path = tmp_path / "bench.jsonl"
    path.write_text('{"prompt": ')
    with pytest.raises(UnreadableFile, match=r"bench\.jsonl: JSONDecodeError"):
        read_reward_set(path)


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({**ONE[0], "prompt": "one\u2028two\x85three"}, ensure_ascii=False), encoding="utf-8")
    assert len(read_reward_set(path).items) == 1
