"""`score` writes scores beside their history and rejects, and loses nothing when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.scoring.conftest import completions_table, pairs_table, policies  # noqa: F401 - a fixture

from prefboost.progress import WorkProgress
from prefboost.runs.outputs import locate_store
from prefboost.runs.score.score import count_scores, score
from prefboost.scoring import ImplicitReward, RulesScorer
from prefboost.sources import read
from prefboost.tables import PREFERENCE_PAIRS, Step

pytestmark = pytest.mark.torch

PAIRS = [("one", "a cat", "b"), ("two", "yes", "no no"), ("one", "a dog", "b"), ("three", "x", "long " * 30)]


def implicit(policies: tuple[Path, Path], **changes: Any) -> ImplicitReward:  # noqa: F811
    return ImplicitReward(policy=str(policies[0]), reference=str(policies[1]), **({"batch_tokens": 64} | changes))


def test_what_is_written_is_read_back_as_scored_pairs(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "scored.parquet"
    scored = score(pairs_table(PAIRS), implicit(policies, max_length=100, scale="percentile"), out)
    again = read(out)
    assert again.spec is PREFERENCE_PAIRS
    assert again.frame["score_chosen"].to_list() == scored.frame["score_chosen"].to_list()
    history = json.loads((tmp_path / "scored.parquet.score.json").read_text())
    assert history["scales"][""]["kind"] == "percentile" and history["rows"] == 3
    assert history["rejected"] == {"the conversation is longer than the model can see": 1}
    assert (tmp_path / "scored.parquet.rejects.parquet").exists()
    told: list[WorkProgress] = []
    score(pairs_table(PAIRS), implicit(policies, max_length=100, scale="percentile"), out, progress=told.append)
    assert told[-1].stored == told[-1].done > 0, "a second call computes nothing"


def test_an_interrupted_call_goes_on_to_the_same_scores(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    table, out = pairs_table(PAIRS), tmp_path / "scored.jsonl"
    expected = score(table, implicit(policies)).frame

    def stop(progress: WorkProgress) -> None:
        if progress.name == "reference" and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(table, implicit(policies), out, progress=stop)
    assert not out.exists() and locate_store(out).exists()
    told: list[WorkProgress] = []
    assert score(table, implicit(policies), out, progress=told.append).frame.equals(expected)
    assert told[-1].stored and max(each.stored for each in told if each.name == "policy") == 8


def test_rules_score_too_and_counts_say_how(tmp_path: Path) -> None:
    import polars as pl

    table = completions_table([("one", "a b c"), ("two", "")])
    rules = json.dumps([{"kind": "at_most_words", "count": 2}])
    frame = table.frame.with_columns(rules=pl.lit(rules))
    ruled = table.derive(table.spec, frame, Step("read", {}, 2, 2))
    scored = score(ruled, RulesScorer(), tmp_path / "o.jsonl")
    counts = count_scores(scored)
    assert counts["rows"] == 2 and counts["score mean"] == 1.0 and counts["empty completions, scored 1"] == 1
