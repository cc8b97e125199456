"""A bar tells how much is done, at which rate and cost; on stderr, or not at all."""

from __future__ import annotations

import pytest

from prefboost.cli.bars import describe_rates, open_progress, show_wait, show_work
from prefboost.cli.rich_bars import RichProgress
from prefboost.engines.budget import Spend
from prefboost.progress import WorkProgress


def test_a_bar_tells_its_name_how_much_is_done_and_its_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with show_work(hidden=False) as tell:
        tell(WorkProgress("score", 10, 4, unit="rows"))
        tell(WorkProgress("judge", 10, 10, unit="rows"))
        tell(WorkProgress("score", 10, 5, unit="rows"))
    printed = capsys.readouterr()
    assert printed.out.strip() == ""
    assert "score" in printed.err and "5/10" in printed.err and "rows/s" in printed.err
    assert "judge" in printed.err and "10/10" in printed.err


def test_without_a_terminal_the_last_line_tells_where_the_newest_bar_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with show_work(hidden=False, begin="score") as tell:
        tell(WorkProgress("score", 10, 10, unit="rows"))
    assert "score: 10/10" in capsys.readouterr().err


def test_hidden_bars_write_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_work(hidden=True, begin="score") as tell:
        tell(WorkProgress("score", 10, 4, unit="rows"))
    with show_wait("reading", hidden=True), open_progress(hidden=True) as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def test_a_training_gets_the_bars_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(hidden=False) as progress:
        assert isinstance(progress, RichProgress)
        progress.begin("training", 2)
        progress.advance(2)
    assert "training: 2/2" in capsys.readouterr().err


def test_rates_count_what_is_fresh_and_tell_cost_failures_and_the_store() -> None:
    assert describe_rates(WorkProgress("score", 10), 0.0) == ""
    work = WorkProgress(
        "score", 50, 25, stored=5, failed=2, spent=Spend(9, 900, 100, 0.5), unit="rows", note="judge 1/2"
    )
    assert describe_rates(work, 10.0) == "judge 1/2 2.0 rows/s 1,000 tokens $0.5000 2 failed (5 from the store)"
    assert describe_rates(WorkProgress("score", 50, 5, stored=5), 0.0) == "(5 from the store)"
    assert describe_rates(WorkProgress("score", None, 20), 10.0) == "2.0/s"
