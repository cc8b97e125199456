"""``prefboost score``: settings by key=value, counts, faults in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.scoring.conftest import policies  # noqa: F401 - a fixture

from prefboost.cli.main import main
from prefboost.cli.score import read_score
from prefboost.errors import SettingsError
from prefboost.scoring import ImplicitReward

pytestmark = pytest.mark.torch


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    file = tmp_path / "binary.jsonl"
    rows = [{"prompt": f"question {n}", "chosen": "yes " * (n % 3 + 1), "rejected": f"no {n}"} for n in range(6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_settings_of_the_scorer_stand_alone() -> None:
    settings = read_score(["kind=implicit", "policy=a", "reference=b", "scale=percentile", "columns.prompt=q"])
    assert isinstance(settings.scorer, ImplicitReward)
    assert settings.scorer.scale is not None and settings.columns.prompt == "q"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "no scorer is named"),
        (["kind=implicit", "polcy=a"], "polcy is not a setting here; did you mean policy"),
        (["kind=implicit", "policy=a"], "scorer.reference is missing"),
        (["kind=judge"], "'judge' is not a kind here"),
        (["kind=rules", "beta=1"], "scorer.beta is not a setting here"),
    ],
)
def test_faults_are_named(overrides: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_score(overrides)


def test_binary_pairs_get_scores_that_augment_takes(
    pairs_file: Path,
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "scored.parquet"
    asked = ["kind=implicit", f"policy={policies[0]}", f"reference={policies[1]}", "scale=percentile"]
    assert main(["score", str(pairs_file), *asked, "-o", str(out), "--quiet", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["rows"] == 6 and 0 < counts["chosen scores higher"] <= 1 and counts["out"] == str(out)
    contradictions = "relabel.contradictions=swap"
    assert main(["augment", str(out), contradictions, "-o", str(tmp_path / "goals.jsonl"), "--quiet"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "goals.jsonl").read_text().splitlines()]
    assert len(rows) == 12 and all(1 <= row["goal"] <= 10 for row in rows)


def test_counts_are_shown_to_people(
    pairs_file: Path,
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["kind=implicit", f"policy={policies[0]}", f"reference={policies[1]}", "max_length=40"]
    assert main(["score", str(pairs_file), *asked, "-o", str(tmp_path / "s.parquet"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "rows scored" in shown and "rejected: the conversation is longer" in shown


def test_a_missing_model_is_one_message(pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["kind=reward_model", f"model={tmp_path}", "-o", str(tmp_path / "s.parquet"), "--quiet"]
    assert main(["score", str(pairs_file), *asked]) == 2
    assert "error: cannot load" in capsys.readouterr().err


def test_a_dry_run_counts_what_would_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"prompt": [{"role": "user", "content": "q"}], "completion": "{}"}
    (tmp_path / "said.jsonl").write_text(json.dumps(record) + "\n")
    out = tmp_path / "o.jsonl"
    rows = [{"prompt": "one", "completion": f"c{at}"} for at in range(3)]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    rating = ["kind=rater", "engine.kind=replay", f"engine.path={tmp_path / 'said.jsonl'}"]
    budget = ["prices={}", "budget.requests=9"]
    line = ["score", str(tmp_path / "in.jsonl"), *rating, *budget, "-o", str(out), "--dry-run", "--json"]
    assert main(line) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["rows"], plan["questions"], plan["stored"]) == (3, 3, 0) and not out.exists()
