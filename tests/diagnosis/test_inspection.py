from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from tables_of import pair_scores, pair_table, prompt_scores, said, scored_table

from prefboost.diagnosis import inspect
from prefboost.diagnosis.inspection import _BINS
from prefboost.tables import Table


@given(prompt_scores)
def test_histograms_count_every_score_once(prompts: list[tuple[str, list[float | None]]]) -> None:
    found = inspect(scored_table(prompts))
    known = [score for _, scores in prompts for score in scores if score is not None]
    if known:
        at = found.scores["score"]
        assert sum(at.histogram.counts) == at.count == len(known)
        assert len(at.histogram.counts) == _BINS
        assert (at.low, at.high) == (min(known), max(known))
    else:
        assert found.scores == {}
    assert found.prompts == len(prompts)


@given(prompt_scores)
def test_distinct_is_the_share_of_all_pairs_of_a_prompt(prompts: list[tuple[str, list[float | None]]]) -> None:
    differ = [
        first != second
        for _, scores in prompts
        for position, first in enumerate(scores)
        for second in scores[position + 1 :]
        if first is not None and second is not None
    ]
    found = inspect(scored_table(prompts)).distinct
    assert found == (pytest.approx(sum(differ) / len(differ)) if differ else None)


@given(pair_scores)
def test_an_inspection_is_a_json_document(pairs: list[tuple[float | None, float | None]]) -> None:
    found = inspect(pair_table(pairs))
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["rows"] == len(pairs)


def test_a_prompt_of_a_benchmark_is_found() -> None:
    words = " ".join(f"word{number}" for number in range(20))
    table = pair_table([(9, 1)], [said("user", f"Please answer: {words}")])
    findings = inspect(table, against=[words.upper()]).findings
    assert [finding.count for finding in findings if finding.name == "contamination"] == [1]
    assert not [f for f in inspect(table, against=["quite another text"]).findings if f.name == "contamination"]


def test_rejects_are_counted_with_their_rows() -> None:
    from prefboost.preferences import pair

    made: Table = pair(scored_table([("a", [1.0, 2.0]), ("b", [3.0])]))
    found = inspect(made)
    assert found.rejects == {"the prompt has fewer than two scored completions": 1}
    assert found.reject_rows == {"the prompt has fewer than two scored completions": (2,)}


def test_real_scored_answers_are_measured_as_their_documentation_says(shared_dir: object) -> None:
    from pathlib import Path

    found = inspect(Path(str(shared_dir)) / "data" / "alpacaeval_scored.parquet")
    assert (found.records, found.rows, found.table) == (660, 14324, "ScoredCompletions")
    assert found.distinct == pytest.approx(0.997, abs=0.0005)
    assert found.lengths["completion"].most == 24456
    assert pl.Series(found.scores["score"].histogram.counts).sum() == 14324
