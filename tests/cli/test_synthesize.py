"""`prefboost synthesize` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from prefboost.cli.main import main
from prefboost.cli.synthesize import read_synthesize
from prefboost.engines.local.engine import Local
from prefboost.errors import SettingsError
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.edits import RMBoost
from prefboost.synthesis.rlaif import RLAIF
from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs

WRITER = "generator={kind: 'made_writer:Writer'}"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("What is tea?\nWhat is a fox?\nWho was Bach?\n")
    return path


def call(prompts: Path, *arguments: str) -> int:
    return main(["synthesize", "rmboost", str(prompts), WRITER, "sampling.max_tokens=16", *arguments])


def test_pairs_are_written_and_counted(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prompts.parent / "pairs.parquet"
    assert call(prompts, "label=both", "filters.max_edit_distance=1.0", "-o", str(out)) == 0
    assert pl.read_parquet(out).height == 6
    shown = capsys.readouterr()
    assert shown.out.startswith(f"6 pairs of 3 prompts: {out}\nspent: 9 calls, ")
    assert "3/3" in shown.err


def test_rejects_are_shown_with_an_example(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prompts.parent / "pairs.jsonl"
    assert call(prompts, "filters.patterns=['.']", "-o", str(out), "--quiet") == 0
    told = capsys.readouterr().out
    assert "3 (100.0%) rejected: a completion matches a pattern of filters.patterns\n    e.g. first: …" in told
    assert f"rejects: {out}.rejects.parquet" in told


def test_a_dry_run_shows_calls_and_writes_nothing(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prompts.parent / "pairs.parquet"
    assert call(prompts, "prices={writer: {prompt: 0, completion: 1000000}}", "-o", str(out), "--dry-run") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "3 pairs of 3 prompts, before filters"
    assert told[1].startswith("completions: 3 calls, ") and told[1].endswith("at most 48 to write, at most $48.00")
    assert [path.name for path in prompts.parent.iterdir()] == ["prompts.txt"]


def test_counts_as_json(prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prompts.parent / "pairs.parquet"
    assert call(prompts, "filters.max_edit_distance=1.0", "-o", str(out), "--json", "--quiet") == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["pairs"], counts["prompts"], counts["spent"]["requests"]) == (3, 3, 6)


def test_models_are_written_as_for_generate() -> None:
    method = read_synthesize("rmboost", ["generator=package:some", "generator.dtype=float32", "editor=DIR"]).method
    assert isinstance(method, RMBoost)
    assert method.generator == Local(model="package:some", dtype="float32") and method.editor == Local(model="DIR")
    judged = read_synthesize("rlaif", ["generator=A", "judge.engine=B", "judge.read=logprobs", "budget.tokens=9"])
    assert isinstance(judged.method, RLAIF) and judged.budget.tokens == 9
    assert judged.method.judge == LlmJudge(engine=Local(model="B"), read="logprobs")
    pool = read_synthesize("ultrafeedback", ["pool=[A, B]", "n=2", "scorer.kind=rater", "scorer.engine=C"]).method
    assert isinstance(pool, UltraFeedbackPairs) and pool.pool == (Local(model="A"), Local(model="B"))


@pytest.mark.parametrize(
    ("method", "override", "words"),
    [
        ("rmbost", [], "did you mean rmboost"),
        ("rmboost", ["labell=both"], "did you mean label"),
        ("rmboost", [], "generator"),
        ("rmboost", ["generator=A", "aspects.task=poetry"], "no task 'poetry'"),
        ("rlaif", ["generator=A"], "judge"),
    ],
)
def test_what_is_wrong_is_said(method: str, override: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_synthesize(method, override)


def test_a_method_of_anyones_own_is_named_by_its_class() -> None:
    settings = read_synthesize("prefboost.synthesis.rlcd:RLCD", ["generator=A", "phrases=harmless"])
    assert type(settings.method).__name__ == "RLCD" and settings.method.generator == Local(model="A")  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="nowhere"):
        read_synthesize("nowhere:Class", [])


def test_languages_are_left_alone_by_a_word_that_yaml_takes_for_no_truth_value() -> None:
    method = read_synthesize("rlcd", ["generator=A", "filters.language=any"]).method
    assert method.filters.language == "any"  # type: ignore[attr-defined]
