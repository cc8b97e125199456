"""`prefboost push` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.cli.main import main


def test_what_cannot_be_pushed_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(tmp_path), "me/data"]) == 2
    assert "neither a model that prefboost trained" in capsys.readouterr().err


def test_a_wrong_setting_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(tmp_path), "me/data", "license=mit"]) == 2
    assert "did you mean licence?" in capsys.readouterr().err
