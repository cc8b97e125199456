"""Bars of the harness become states of work, and draw nothing."""

from __future__ import annotations

import pytest
from tqdm import tqdm as plain_bar
from tqdm.auto import tqdm

from prefboost.evaluation.academic.bars import forward_bars
from prefboost.progress import WorkProgress


def test_bars_are_reported_and_draw_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[WorkProgress] = []
    with forward_bars(told.append, "arc: "):
        # As lm-eval does: an explicit `disable` counts more than an environment variable.
        with plain_bar(total=3, desc="Running requests", disable=False, mininterval=0) as bar:
            bar.update(2)
            bar.update(1)
        list(tqdm([1, 2]))
        list(tqdm([1, 2], disable=True))
    assert capsys.readouterr() == ("", "")
    assert told[0] == WorkProgress("arc: Running requests", 3, 0)
    assert WorkProgress("arc: Running requests", 3, 2) in told
    assert [work for work in told if work.done == work.total] == [
        WorkProgress("arc: Running requests", 3, 3),
        WorkProgress("arc: questions", 2, 2),
    ]


def test_bars_are_drawn_again_afterwards_also_after_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="fault"), forward_bars(lambda _: None, ""):
        raise ValueError("fault")
    list(plain_bar([1], desc="mine"))
    assert "mine" in capsys.readouterr().err
