"""`prefboost inspect` on synthetic pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.audit import read_audit
from prefboost.cli.main import main
from prefboost.engines.local.engine import Local
from prefboost.errors import SettingsError
from prefboost.scoring.judges.llm import LlmJudge

WRITER = "{kind: 'made_writer:Writer'}"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What is tea?\nWhat is a fox?\nWho was Bach?\n")
    made = []
    for method, more in (("rmboost", ["label=both", "filters.max_edit_distance=1.0"]), ("rlcd", [])):
        out = tmp_path / f"{method}.parquet"
        assert main(["synthesize", method, str(prompts), f"generator={WRITER}", *more, "-o", str(out), "--quiet"]) == 0
        made.append(out)
    return made


def test_one_file_is_inspected_and_audited(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(files[0]), f"judge.engine={WRITER}", "judge.read=logprobs", "judge.ties=false"]) == 0
    shown = capsys.readouterr().out
    assert "6 rows of PreferencePairs" in shown
    for line in (
        "label noise",
        "50.0%",
        "order changes verdict",
        "100.0%",
        "chosen is the second",
        "calls per kept pair",
    ):
        assert line in shown


def test_several_files_make_a_table(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", *map(str, files)]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head.split() == ["synthetic", "pairs", "rmboost", "rlcd"]


def test_json_holds_the_same(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(files[0]), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["table"] == "PreferencePairs" and one["synthetic"][str(files[0])]["pairs"] == 6
    assert main(["inspect", *map(str, files), "--json"]) == 0
    assert [each["method"] for each in json.loads(capsys.readouterr().out)["synthetic"].values()] == ["rmboost", "rlcd"]


def test_what_is_asked_is_told_apart_from_columns_and_files() -> None:
    own, more, asked = read_audit(["columns.score=x", "b.parquet", "judge.engine=DIR", "pairs=7"])
    assert own == ["columns.score=x"] and more == ["b.parquet"] and asked is not None
    assert asked.judge == LlmJudge(engine=Local(model="DIR")) and asked.pairs == 7
    assert read_audit(["columns.score=x"]) == (["columns.score=x"], [], None)
    with pytest.raises(SettingsError, match="pairs"):
        read_audit(["pairs=0"])
