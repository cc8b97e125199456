"""Every metric of a log has its figure; several runs share one as long as their curves can be told apart."""

from __future__ import annotations

from typing import Any

from prefboost.reporting.run.curves import build_curves_section
from prefboost.reporting.run.record import RunRecord, TrainingRecord
from prefboost.reporting.sections import Section

LINE = {
    "loss": 0.5, "eval_loss": 0.6, "rewards/chosen": 1.0, "rewards/margins": 2.0, "rewards/accuracies": 0.75,
    "accuracy/goal_high": 1.0, "logps/chosen": -50.0, "logp_change/rejected_score>=4<7": -3.0, "kl/forward": 1.5,
    "speed/tokens_per_s": 900.0, "memory/peak_gib": 3.5, "learning_rate": 1e-5,
    "speed/padding_saved": 1.2, "epoch": 1.0,
}  # fmt: skip


def section_of(*names: str, line: dict[str, Any] = LINE) -> Section:
    log = [{"step": step, **line} for step in (1, 2)]
    section = build_curves_section([RunRecord(name, {}, {"": TrainingRecord(log)}) for name in names])
    assert section is not None
    return section


def series(section: Section, name: str) -> list[str]:
    plot = next(plot for plot in section.plots if plot.name == name)
    return list(dict.fromkeys(row["series"] for row in plot.spec["data"]["values"]))


def test_every_metric_has_its_figure() -> None:
    section = section_of("mine")
    assert [plot.name for plot in section.plots] == [
        "loss", "margins", "accuracy", "log-probs", "log-prob-change", "kl", "speed", "memory", "learning-rate"
    ]  # fmt: skip
    assert series(section, "loss") == ["training", "evaluation"]
    assert series(section, "margins") == ["chosen", "margins"], "accuracies are a share, and no reward"
    assert series(section, "accuracy") == ["all", "goal high"]
    assert series(section, "log-prob-change") == ["rejected, score ≥ 4 < 7"]
    assert series(section, "speed") == ["training"], "not the padding that was saved"


def test_runs_share_a_figure_and_are_parted_where_there_are_too_many_curves() -> None:
    two = section_of("a", "b")
    assert series(two, "loss") == ["a: training", "a: evaluation", "b: training", "b: evaluation"]
    assert series(two, "speed") == ["a", "b"]
    four = section_of("a", "b", "c", "d")
    assert [plot.title for plot in four.plots if plot.name.startswith("loss")] == [f"Loss: {name}" for name in "abcd"]


def test_the_points_of_a_page_are_limited_however_many_runs_it_has() -> None:
    log = [{"step": step, **LINE} for step in range(1, 2_001)]
    section = build_curves_section([RunRecord(str(at), {}, {"": TrainingRecord(log)}) for at in range(20)])
    assert section is not None
    assert sum(len(plot.spec["data"]["values"]) for plot in section.plots) < 40_000
    assert "at most 100 per curve" in section.plots[0].caption


def test_a_log_without_steps_has_no_section() -> None:
    assert build_curves_section([RunRecord("new", {}, {"": TrainingRecord()})]) is None
    assert build_curves_section([]) is None
