"""A bar says how much is done and what its owner adds to that; on stderr, or not at all."""

from __future__ import annotations

import pytest

from prefboost.cli.bars import bars


def test_a_bar_shows_its_title_how_much_is_done_and_its_detail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with bars("score", hidden=False) as shown:
        shown.add_task("score", total=10, completed=4, detail="2/s")
    found = capsys.readouterr()
    assert found.out.strip() == ""
    assert "score" in found.err and "4/10" in found.err and "2/s" in found.err


def test_hidden_bars_write_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with bars("score", hidden=True) as shown:
        shown.add_task("score", total=10, completed=4, detail="")
    assert capsys.readouterr().err == ""
