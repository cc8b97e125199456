"""Bars on a terminal, plain lines elsewhere: never silent for half a minute, and the time left before all else."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from waiting import PATIENCE_S, wait_until

from prefboost.cli.rich_bars import FIRST_LINE_S, LINE_EVERY_S, Bars, RichProgress, line_of
from prefboost.progress import phase


class Shown:
    """Lines that were printed so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.lines: list[str] = []

    def wait_for(self, start: str) -> None:
        wait_until(lambda: any(line.startswith(start) for line in self.read()), f"a line begins with {start}")

    def read(self) -> list[str]:
        self.lines += self.capsys.readouterr().err.splitlines()
        return self.lines


def test_a_line_appears_at_least_every_thirty_seconds_even_on_a_busy_machine() -> None:
    assert max(FIRST_LINE_S, LINE_EVERY_S) <= 20


def test_without_a_terminal_lines_appear_while_nothing_advances(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown(capsys)
    with Bars(first_line_s=0.05, line_every_s=0.05) as bars:
        shown.wait_for("working:")  # before any task is known
        bars.add_task("training (pairs)", total=314, completed=12, detail="0.5/s")
        shown.wait_for("training")
    pattern = r"training \(pairs\): 12/314, (\d+ s|\d+ min|\d+\.\d h) left, \d+ s so far, 0.5/s"
    assert any(re.fullmatch(pattern, line) for line in shown.lines), shown.lines


def test_short_work_prints_where_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(first_line_s=PATIENCE_S) as bars:
        bars.add_task("loading", total=None, detail="")
        bars.update(bars.add_task("score", total=10, detail=""), completed=10, detail="2/s")
    assert re.fullmatch(r"score: 10/10, \d+ s so far, 2/s\n", capsys.readouterr().err)
    with Bars(first_line_s=PATIENCE_S) as bars:
        bars.add_task("loading", total=None, detail="")
    assert capsys.readouterr().err == "", "what is not counted ends without a word"


def test_between_counted_pieces_of_work_lines_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown(capsys)
    with Bars(first_line_s=0.05, line_every_s=0.05) as bars:
        bars.update(bars.add_task("score", total=10, detail=""), completed=10)
        seen = len(shown.read())
        wait_until(lambda: any(line.startswith("working:") for line in shown.read()[seen:]), "lines go on")


@pytest.mark.parametrize("ends", [True, False])
def test_work_that_ended_before_its_total_is_not_shown_again(ends: bool, capsys: pytest.CaptureFixture[str]) -> None:
    progress = RichProgress(first_line_s=0.05, line_every_s=0.05)
    shown = Shown(capsys)
    with progress:
        progress.begin("from the cache", 576)
        shown.wait_for("from the cache: 0/576")
        if ends:
            progress.end()
        progress.begin("training (pairs)", 2)
        progress.advance(2)
        progress.end()
        seen = len(shown.read())
        wait_until(lambda: any(line.startswith("working:") for line in shown.read()[seen:]), "lines go on")
    assert not any(line.startswith("from the cache") for line in shown.lines[seen:])


def test_a_piece_of_work_that_is_not_counted_says_how_long_it_has_taken() -> None:
    bars = Bars()
    task = bars.add_task("loading a model", total=None, detail="")
    assert re.fullmatch(r"loading a model: \d+ s so far", line_of(bars.tasks[task], 5.0))
    assert line_of(None, 12.0) == "working: 12 s so far"


@given(st.integers(1, 10**9), st.floats(0, 1), st.text(max_size=40))
def test_a_line_is_one_line_whatever_a_task_says(total: int, share: float, detail: str) -> None:
    bars = Bars()
    task = bars.add_task("work", total=total, completed=int(total * share), detail=detail)
    line = line_of(bars.tasks[task], 0.0)
    assert len(line.splitlines()) == 1
    assert f"{total:,}" in line


def test_progress_counts_rates_and_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    progress = RichProgress(clock=lambda: now[0])
    try:
        progress.begin("training (pairs)", 10)
        now[0] = 2.0
        progress.advance(10, tokens=1000, loss=0.25)
        [task] = progress._bars.tasks
        assert (task.completed, task.fields["detail"]) == (10, "5.0/s  500 tokens/s  loss 0.25")
        progress.end()
        with phase(progress, "loading"):
            assert [each.description for each in progress._bars.tasks] == ["training (pairs)", "loading"]
        assert [each.description for each in progress._bars.tasks] == ["training (pairs)"]
        progress.advance(1)  # nothing is under way
    finally:
        progress.close()


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_keeps_count_and_time_left_and_cuts_the_details(width: int) -> None:
    bars = Bars()
    detail = "0.1/s  1,234 tokens/s  loss 0.6931  accuracy 0.55"
    bars.add_task("reference log-probs (train)", total=628, completed=300, detail=detail)
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(bars.make_tasks_table(bars.tasks))
    [line] = captured.get().splitlines()
    assert "reference log-probs (train)" in line and "300/628" in line and "0.1/s" in line
    assert re.search(r"-:--:--|\d:\d\d:\d\d", line), "time left"


def test_on_a_terminal_bars_are_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bars() as bars:
        bars.add_task("score", total=10, completed=4, detail="2/s")
    shown = capsys.readouterr().err
    assert "score" in shown and "4/10" in shown and "2/s" in shown


def test_a_reader_that_went_away_does_not_stop_the_work() -> None:
    code = (
        "import sys, time\nfrom prefboost.cli.rich_bars import Bars\n"
        "with Bars(first_line_s=0.01, line_every_s=0.01) as bars:\n"
        "    bars.add_task('work', total=2, completed=1, detail='')\n    sys.stderr.close()\n    time.sleep(0.3)\n"
        "print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout == "done\n"
