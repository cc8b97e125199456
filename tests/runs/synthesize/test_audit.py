"""Files of synthetic pairs, audited as they lie on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from made_writer import Writer

from prefboost.errors import UnreadableFile
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.synthesize.audit import Auditing, audit_file, is_synthetic
from prefboost.runs.synthesize.synthesize import Synthesize, synthesize
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.edits import RMBoost
from prefboost.synthesis.filters import Filters


@pytest.fixture(params=["parquet", "jsonl"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"Question {at}?\n" for at in range(8)))
    out = tmp_path / f"pairs.{request.param}"
    method = RMBoost(generator=Writer.by(), label="both", filters=Filters())
    synthesize(read_prompts(prompts), Synthesize(method=method), out)
    return out


def test_synthetic_files_are_known_by_their_lineage(written: Path) -> None:
    assert is_synthetic(written)
    assert not is_synthetic(written.with_name("prompts.txt")) and not is_synthetic("nowhere.parquet")


def test_what_was_spent_and_half_of_the_labels_are_found(written: Path) -> None:
    found = audit_file(written, Auditing())
    assert (found.pairs, found.requests) == (16, 1.5)
    assert found.second.estimate == 0.5 and found.noise is None and math.isnan(found.spread)


def test_a_judge_is_asked_about_so_many_pairs_and_not_twice(written: Path) -> None:
    for asked in (10, 0):
        judge = Writer.by(model="judge")
        settings = Auditing(judge=LlmJudge(engine=judge, read="logprobs", ties=False), pairs=5)
        found = audit_file(written, settings)
        assert found.noise is not None and found.noise.noise.rows == 5 and found.noise.judge == "llm/judge"
        assert len(judge.asked) == asked


def test_a_broken_history_is_named(written: Path) -> None:
    written.with_name(f"{written.name}.synthesize.json").write_text("{")
    with pytest.raises(UnreadableFile, match=r"synthesize\.json"):
        audit_file(written, Auditing())


def test_a_damaged_file_is_left_to_whoever_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    path.write_bytes(b"PAR1 and nothing else PAR1")
    assert not is_synthetic(path)
