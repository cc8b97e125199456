"""Parts stand on the page where there are data, in one order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefboost.runs.report.parts import build_parts, choose_samples, state_outcome
from prefboost.runs.report.sources import read_sources


def test_parts_of_a_run_are_in_the_order_of_the_page(run_folder: Callable[..., Path]) -> None:
    titles = [part.title for part in build_parts(read_sources([run_folder()]), 10)]
    assert titles == ["Before and after relabelling", "Training curves", "Samples", "Data card", "Cost and time",
                      "Command of mine", "Settings of mine"]  # fmt: skip


def test_an_evaluation_brings_win_rates_and_samples(evaluation_folder: Path) -> None:
    sources = read_sources([evaluation_folder])
    titles = [part.title for part in build_parts(sources, 10)]
    assert titles[:2] == ["Figures", "By the goal asked for"] and titles[-1] == "Samples"
    assert next(state_outcome(sources)).startswith("Best of 2: m@1")


def test_the_progress_of_trainings_is_the_verdict_only_where_nothing_was_measured(
    run_folder: Callable[..., Path], evaluation_folder: Path
) -> None:
    folder = run_folder()
    assert [text.partition(":")[0] for text in state_outcome(read_sources([folder]))] == ["mine"]
    both = list(state_outcome(read_sources([folder, evaluation_folder])))
    assert len(both) == 1 and both[0].startswith("Best of 2")


def test_groups_share_the_limit_of_samples(run_folder: Callable[..., Path], evaluation_folder: Path) -> None:
    samples = choose_samples(read_sources([run_folder(pairs=40), evaluation_folder]), 8)
    assert samples is not None
    assert samples.groups == [str(evaluation_folder), "mine, pairs"]
    assert sum(sample.group == "mine, pairs" for sample in samples.rows) == 4
    assert samples.note.startswith("8 of 84")
    assert choose_samples(read_sources([run_folder("other")]), 0) is not None
