"""`score` writes scores beside their history and rejects, and loses nothing when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from length_scorer import LengthScorer
from tests.scoring.conftest import completions_table, pairs_table, policies  # noqa: F401 - a fixture

from prefboost.preferences.scales.apply import apply_scale
from prefboost.preferences.scales.fit import fit_scale
from prefboost.preferences.scales.kinds import Percentile
from prefboost.progress import WorkProgress
from prefboost.runs.outputs import locate_store
from prefboost.runs.score.score import count_scores, score
from prefboost.scoring import ImplicitReward, RulesScorer
from prefboost.sources import read
from prefboost.sources.read import join_tables, read_batches
from prefboost.sources.stored import read_stored
from prefboost.tables import PREFERENCE_PAIRS, Step, StoredTable, Table

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
    table = completions_table([("one", "a b c"), ("two", "")])
    rules = json.dumps([{"kind": "at_most_words", "count": 2}])
    frame = table.frame.with_columns(rules=pl.lit(rules))
    ruled = table.derive(table.spec, frame, Step("read", {}, 2, 2))
    scored = score(ruled, RulesScorer(), tmp_path / "o.jsonl")
    counts = count_scores(scored)
    assert counts["rows"] == 2 and counts["score mean"] == 1.0 and counts["empty completions, scored 1"] == 1


class ScaledLength(LengthScorer):
    """Lengths by percentile, so that every score depends on all others."""

    kind: Literal["test_score:ScaledLength"] = "test_score:ScaledLength"  # type: ignore[assignment]

    def score(self, table: Table) -> Table:
        scored = super().score(table)
        names = ["score_chosen", "score_rejected"] if "chosen" in table.schema else ["score"]
        return apply_scale(scored, fit_scale(Percentile(), scored.read_columns(names).get_columns()))


@pytest.mark.parametrize(
    ("scorer", "ending"),
    [
        (LengthScorer(limit=25), "jsonl.gz"),
        (ScaledLength(limit=25), "parquet"),
        (ScaledLength(limit=25), "jsonl"),
        (RulesScorer(aspects=True), "parquet"),
        (RulesScorer(aspects=True), "jsonl"),
    ],
)
def test_rows_that_wait_on_disk_give_the_same_bytes(scorer: Any, ending: str, tmp_path: Path) -> None:
    rules = [json.dumps([{"kind": "at_most_words", "count": 3}]), "[]", "no rules"]
    records = [
        {"prompt": f"q{row % 41}", "completion": "word " * (row % 7), "rules": rules[row % 41 % 3], "score": row % 5}
        for row in range(300)
    ]
    path = tmp_path / "in.jsonl"
    pl.DataFrame(records).write_ndjson(path)
    stored = read_stored(path, rows=160)
    assert isinstance(stored, StoredTable)
    outputs = []
    for name, table in (("stored", stored), ("held", join_tables(list(read_batches(path, rows=160))))):
        (tmp_path / name).mkdir()
        scored = score(table, scorer, tmp_path / name / f"out.{ending}")
        assert len(scored) + len(scored.rejects) >= 300
        outputs.append({each.name: each.read_bytes() for each in (tmp_path / name).iterdir() if each.is_file()})
    assert outputs[0] == outputs[1]
    assert set(outputs[0]) == {f"out.{ending}", f"out.{ending}.rejects.parquet", f"out.{ending}.score.json"}
