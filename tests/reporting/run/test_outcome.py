"""Sentences and tables say what the manifest and the log hold."""

from __future__ import annotations

from dataclasses import asdict

from prefboost.engines.budget import Spend
from prefboost.reporting.run.outcome import (
    build_cost_by_stage_section,
    build_rounds_section,
    state_progress,
    state_rounds,
    state_trainings,
)
from prefboost.reporting.run.record import RunRecord, TrainingRecord
from prefboost.statistics import Interval

LOG = [
    {"step": step, "loss": 1.0 / step, "rewards/accuracies": 0.75, "logp_change/chosen_score>=5": 1.0,
     "logp_change/rejected_score<5": -1.0, "logp_change/rejected_score>=5": -6.5}
    for step in (1, 2, 4)
]  # fmt: skip
REPORT = {
    "steps": 4, "seconds": 300.0, "tokens": 1_000, "engine": "packed", "precision": "bf16",
    "messages": ["Memory ran short."],
    "speed": {"time/forward_backward": 250.0, "tokens_per_s": 166.0, "peak_gib": 5.25},
}  # fmt: skip


def rounds(gain: Interval) -> RunRecord:
    score = asdict(Interval(6.0, 5.0, 7.0, 0.95, 8, 4))
    notes = {"score": score, "characters": 15.0}
    stages = {
        "start/evaluate": {"took_s": 3.0, "notes": {**notes, "gain": None}},
        "round 1/evaluate": {"took_s": 4.0, "notes": {**notes, "gain": asdict(gain)}},
    }
    return RunRecord("mine", {"stages": stages})


def test_a_training_is_stated_with_its_loss_and_its_good_rejected_completions() -> None:
    sentences = list(state_trainings(RunRecord("mine", {}, {"": TrainingRecord(LOG, REPORT)})))
    assert sentences[0].startswith("mine: trained for 4 steps, loss 1.000 to 0.250; ") and "75%" in sentences[0]
    assert "score of at least 5: -6.5 nats (chosen ones of that score: +1.0)" in sentences[1]
    assert sentences[2] == "mine: Memory ran short."


def test_an_unfinished_training_is_in_training_and_an_empty_one_is_not_stated() -> None:
    assert next(state_trainings(RunRecord("mine", {}, {"": TrainingRecord(LOG)}))).startswith("mine: in training for 4")
    assert not list(state_trainings(RunRecord("mine", {}, {"": TrainingRecord()})))


def test_a_run_at_work_names_its_stage() -> None:
    running = RunRecord("mine", {"begun": {"train": "key"}, "stages": {"pairs": {}}}, running=True)
    assert list(state_progress(running)) == ["mine: still at work on train; 1 stages are finished."]
    assert not list(state_progress(RunRecord("mine", {})))


def test_rounds_are_above_below_or_not_told_apart_from_the_start() -> None:
    for ends, words in (((0.5, 1.5), "above"), ((-1.5, -0.5), "below"), ((-0.5, 0.5), "not distinguishable from")):
        run = rounds(Interval(sum(ends) / 2, *ends, 0.95, 4, 4))
        assert f"it is {words} the start model" in next(state_rounds(run))


def test_the_score_of_every_round_is_a_point_and_a_row() -> None:
    section = build_rounds_section([rounds(Interval(1.0, 0.5, 1.5, 0.95, 4, 4))])
    assert section is not None
    assert [row["x"] for row in section.plots[0].spec["data"]["values"]] == [0, 1]
    assert section.tables[0].rows[1] == ("mine, round 1", "6.00 [5.00, 7.00]", "+1.00 [+0.50, +1.50]", "15")
    assert build_rounds_section([RunRecord("mine", {})]) is None


def test_cost_is_listed_by_stage_and_by_part_of_the_training() -> None:
    run = RunRecord("mine", {"stages": {"train": {"took_s": 310.0}}}, {"": TrainingRecord(LOG, REPORT)})
    section = build_cost_by_stage_section([run])
    assert section is not None
    assert section.tables[0].rows == (("mine", "train", "5 min", ""),)
    assert section.tables[1].rows[0][:4] == ("mine", "packed bf16", "5 min", "4 min")
    assert section.tables[1].rows[0][-3:] == ("1,000", "166", "5.2")
    asked = build_cost_by_stage_section([RunRecord("mine", {}, spending={"answers": Spend(1_200, 90, 8, 0.5)})])
    assert asked is not None and asked.tables[0].rows == (("mine", "answers", "1,200", "90", "8", "0.50"),)
    assert build_cost_by_stage_section([RunRecord("mine", {})]) is None
