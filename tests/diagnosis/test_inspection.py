from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from tables_of import pair_scores, pair_table, prompt_scores, said, scored_table

from prefboost.diagnosis import inspect
from prefboost.diagnosis.measures import BINS
from prefboost.tables import Table


@given(prompt_scores)
def test_histograms_count_every_score_once(prompts: list[tuple[str, list[float | None]]]) -> None:
    result = inspect(scored_table(prompts))
    labels = [score for _, scores in prompts for score in scores if score is not None]
    if labels:
        at = result.scores["score"]
        assert sum(at.histogram.counts) == at.count == len(labels)
        assert len(at.histogram.counts) == BINS
        assert (at.low, at.high) == (min(labels), max(labels))
    else:
        assert result.scores == {}
    assert result.prompts == len(prompts)


@given(prompt_scores)
def test_distinct_is_the_share_of_all_pairs_of_a_prompt(prompts: list[tuple[str, list[float | None]]]) -> None:
    differ = [
        first != second
        for _, scores in prompts
        for position, first in enumerate(scores)
        for second in scores[position + 1 :]
        if first is not None and second is not None
    ]
    result = inspect(scored_table(prompts)).distinct
    assert result == (pytest.approx(sum(differ) / len(differ)) if differ else None)


@given(pair_scores)
def test_an_inspection_is_a_json_document(pairs: list[tuple[float | None, float | None]]) -> None:
    result = inspect(pair_table(pairs))
    assert json.loads(result.to_json())["rows"] == len(pairs)


def test_a_prompt_of_a_benchmark_is_found() -> None:
    words = " ".join(f"word{number}" for number in range(20))
    table = pair_table([(9, 1)], [said("user", f"Please answer: {words}")])
    findings = inspect(table, against=[words.upper()]).findings
    assert [finding.count for finding in findings if finding.name == "contamination"] == [1]
    assert not [f for f in inspect(table, against=["quite another text"]).findings if f.name == "contamination"]


def test_rejects_are_counted_with_their_rows() -> None:
    from prefboost.preferences import pair

    built: Table = pair(scored_table([("a", [1.0, 2.0]), ("b", [3.0])]))
    result = inspect(built)
    assert result.rejects == {"the prompt has fewer than two scored completions": 1}
    (seen,) = result.reject_examples.values()
    assert [example.row for example in seen] == [2]


def test_examples_say_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"q{n}", "chosen": "a good\n one", "rejected": "-" if n == 3 else "poor"} for n in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (result,) = [finding for finding in inspect(path).findings if finding.name == "near_empty" and finding.examples]
    texts = {example.row: example.text for example in result.examples}
    assert texts[3] == "chosen: a good one | rejected: - | prompt: q3"
    assert result.examples[0].path == str(path)


def test_rejects_of_a_file_show_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    rows = [{"prompt": "q", "completion": f"c {n}", "score": "much" if n == 4 else n} for n in range(6)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = inspect(path)
    ((example,),) = result.reject_examples.values()
    assert (example.row, example.text) == (4, "much")
    assert result.records == result.rows + sum(result.rejects.values())


def test_batches_give_the_same_as_a_whole_table(tmp_path: Path) -> None:
    from prefboost.sources import Columns, File, read, read_batches

    class Small(File):
        def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
            return read_batches(File(path=self.path), columns=columns, rows=2)

    path = tmp_path / "scored.jsonl"
    rows = [{"prompt": f"q{n // 3}", "completion": f"c {n % 7}", "score": n % 5} for n in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    whole, parts = inspect(read(path)), inspect(Small(path=str(path)))
    assert parts.as_dict() == whole.as_dict()


@pytest.mark.parametrize("format", ["prefboost", "trl", "openrlhf", "axolotl", "llamafactory"])
def test_what_augment_wrote_is_held_to_its_facts(tmp_path: Path, format: str) -> None:
    from prefboost.runs.augment.augment import augment
    from prefboost.runs.augment.settings import Augment

    rows = [{"prompt": f"q{n}", "chosen": f"a good one {n}", "rejected": f"a poor one {n}", "score_chosen": 8 + n % 2,
             "score_rejected": 1 + n % 5} for n in range(6)]  # fmt: skip
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    augment(tmp_path / "in.jsonl", tmp_path / "out", Augment.model_validate({"format": format}))
    result = inspect(tmp_path / "out")
    assert (result.table, result.rows, result.prompts) == ("GoalPairs", 12, 6)
    assert result.views == {"chosen": 6, "rejected": 6, "flipped": 6}
    assert [finding.name for finding in result.findings if finding.severity == "error"] == []


def test_goal_pairs_spoiled_in_a_file_are_found_by_row(tmp_path: Path, goal_table: Callable[..., Table]) -> None:
    frame = goal_table(2).frame
    frame = frame.vstack(goal_table(3).frame.slice(4, 1).with_columns(score_chosen=0.0, goal=7.0))
    frame.write_parquet(tmp_path / "goal.parquet")
    result = {finding.name: finding for finding in inspect(tmp_path / "goal.parquet").findings}
    assert result["broken_fact"].rows == (frame.height - 1,)
    assert result["half_pairs"].severity == "note"


def test_real_scored_answers_are_measured_as_their_documentation_says(shared_dir: object) -> None:
    result = inspect(Path(str(shared_dir)) / "data" / "alpacaeval_scored.parquet")
    assert (result.records, result.rows, result.table) == (660, 14324, "ScoredCompletions")
    assert result.distinct == pytest.approx(0.997, abs=0.0005)
    assert result.lengths["completion"].most == 24456
    assert pl.Series(result.scores["score"].histogram.counts).sum() == 14324


def test_columns_that_may_be_the_score_are_named_where_none_was_found(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n // 2}", "response": f"a{n}", "gpt4_grade": n} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    remedy = next(finding.remedy for finding in inspect(tmp_path / "a.jsonl").findings if finding.name == "no_scores")
    assert remedy.startswith(
        "if the column gpt4_grade holds the score, name it: columns.score=gpt4_grade; or score the"
    )
