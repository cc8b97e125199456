"""``prefboost report``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "mine"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"settings": {"a": 1}, "command": ["prefboost", "train", "x.yaml"]}))
    (run / "train_log.jsonl").write_text('{"step": 1, "loss": 0.5}')
    return run


def test_a_page_is_written_and_its_parts_are_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("parts: Training curves, Command of mine, Settings of mine\n")
    assert shown.endswith(f"report: {tmp_path / 'page.html'}\n")
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_watching_a_run_that_has_ended_writes_one_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html"), "--watch"]) == 0
    assert "refresh" not in (tmp_path / "page.html").read_text().partition("<style>")[0]


def test_a_mistake_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is nothing to report on" in capsys.readouterr().err
