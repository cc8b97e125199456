"""Diagnoses are read in the form in which they are written."""

from __future__ import annotations

from typing import Any

from prefboost.diagnosis.controllability import BestVector, ControllabilityReport
from prefboost.diagnosis.frontier import PolicyPoint, measure_frontier
from prefboost.diagnosis.goal_control import GoalControl, GoalResponse
from prefboost.diagnosis.unlearning import BucketChange, ModelChange, UnlearningReport
from prefboost.reporting.run.evidence import (
    build_frontier_section,
    build_goal_response_section,
    build_unlearning_section,
    label_bucket,
    list_leads,
    state_diagnoses,
)
from prefboost.statistics import Interval

VALUE = Interval(5.0, 4.0, 6.0, 0.95, 20, 10)
FALL = Interval(-5.0, -6.0, -4.0, 0.95, 20, 10)


def diagnoses(slope: Interval = VALUE, displaced: bool = False) -> dict[str, dict[str, Any]]:
    goals = tuple(GoalResponse(goal, VALUE, VALUE, goal > 7) for goal in (1.0, 10.0))
    overall = GoalControl(goals, slope, VALUE, VALUE, VALUE, None, None)
    control = ControllabilityReport(overall, {}, None, {}, None, {})
    buckets = tuple(BucketChange("rejected", *ends, FALL, FALL, 0.9) for ends in ((None, 4.0), (4.0, None)))
    unlearning = UnlearningReport("start", (ModelChange("mine/model", "own", buckets, None, displaced),), 40, {})
    return {
        "control": {"diagnosis": "controllability", **control.record()},
        "unlearned": {"diagnosis": "unlearning", **unlearning.record()},
    }


def test_every_goal_is_a_point_and_a_row() -> None:
    section = build_goal_response_section(diagnoses())
    assert section is not None
    assert [row["x"] for row in section.plots[0].spec["data"]["values"]] == [1.0, 10.0]
    assert section.tables[0].rows[1] == ("control", "10", "5.00 [4.00, 6.00]", "5 [4, 6]", "yes")
    assert section.tables[1].rows[0][3] == "–", "there is no slope to share"


def test_goals_of_aspects_have_a_figure_of_their_own_and_the_effect_of_each_on_the_others() -> None:
    goals = tuple(GoalResponse(goal, VALUE, VALUE, False) for goal in (1.0, 5.0))
    controls = {name: GoalControl(goals, VALUE, VALUE, VALUE, VALUE, VALUE, None, {other: FALL})
                for name, other in (("depth", "<i>style</i>"), ("<i>style</i>", "depth"))}  # fmt: skip
    best = BestVector({"depth": 5.0, "<i>style</i>": 1.0}, "the overall score", VALUE, None)
    record = {"diagnosis": "controllability", **ControllabilityReport(None, {}, None, controls, best, {}).record()}
    section = build_goal_response_section({"control": record})
    assert section is not None and [plot.name for plot in section.plots] == ["goal-response-aspects"]
    assert {row["series"] for row in section.plots[0].spec["data"]["values"]} == {"depth", "<i>style</i>"}
    assert section.tables[1].rows[0] == ("depth", *["5.00 [4.00, 6.00]"] * 5)
    assert section.tables[2].rows[0] == ("depth", "<i>style</i>", "-5.00 [-6.00, -4.00]")
    sentences = list(state_diagnoses({"control": record}))
    assert "depth 5, <i>style</i> 1; on the others they achieve 5.00" in sentences[2]
    assert (
        sentences[0]
        == "control: the policy follows the goal of depth: +5.00 [+4.00, +6.00] points per point asked for."
    )
    both = build_goal_response_section({"a": record, **diagnoses()})
    assert both is not None and len(both.plots) == 2 and both.tables[2].rows[0][0] == "a, depth"


def test_every_bucket_is_a_row_of_its_policy() -> None:
    section = build_unlearning_section(diagnoses())
    assert section is not None
    assert [row["x"] for row in section.plots[0].spec["data"]["values"]] == [
        "rejected, score < 4",
        "rejected, 4 ≤ score",
    ]
    assert section.tables[0].rows[0][2:] == ("-5.00 [-6.00, -4.00]", "-5.000 [-6.000, -4.000]", "90", "20")


def test_sentences_follow_from_the_figures() -> None:
    sentences = list(state_diagnoses(diagnoses(displaced=True)))
    assert sentences[0].startswith("control: the policy follows the goal: +5.00")
    expected = "unlearned: rejected completions with the highest scores are less likely under "
    assert sentences[1].startswith(expected) and "-5.00 [" in sentences[1]
    assert "displaces likelihood" in sentences[2]
    unclear = Interval(0.1, -0.1, 0.3, 0.95, 20, 10)
    assert "does not visibly follow" in next(state_diagnoses(diagnoses(unclear)))
    bucket = BucketChange("completion", None, None, unclear, unclear, 0.5)
    report = UnlearningReport("start", (ModelChange("m", "own", (bucket,), None, displaced=False),), 4, {})
    assert list(state_diagnoses({"u": {"diagnosis": "unlearning", **report.record()}})) == [
        "u: completions with the highest scores are not shown to be more or less likely under m: +0.10 [-0.10, +0.30] "
        "nats per completion."
    ]


def frontier(start: float | None = 4.0, seeds: int = 1) -> dict[str, Any]:
    points = [
        PolicyPoint(arm, str(steps), seed, {"p": score, "q": score + 1}, {"p": kl, "q": kl})
        for arm, lead in (("dpo", 0.0), ("ra", 1.0))
        for steps, kl, score in ((100, 2.0, 5.0 + lead), (200, 6.0, 7.0 + lead))
        for seed in range(seeds)
    ]
    begin = None if start is None else {"p": start, "q": start}
    return {"diagnosis": "frontier", **measure_frontier(points, begin).record()}


def test_arms_are_joined_over_kl_and_compared_at_equal_kl() -> None:
    section = build_frontier_section("", frontier())
    values = section.plots[0].spec["data"]["values"]
    assert [(row["series"], row["x"]) for row in values] == [
        ("start model", 0.0), ("dpo", 2.0), ("dpo", 6.0), ("ra", 2.0), ("ra", 6.0)
    ]  # fmt: skip
    leads, points = section.tables
    assert leads.rows[0][:2] == ("ra", "dpo") and leads.rows[0][-1] == "undecided (one seed)"
    assert any(row[5].startswith("+1.00") for row in leads.rows[1:])
    assert points.rows[0][:2] == ("dpo", "100")
    assert "One training per setting" in section.notes[0]
    (note,) = build_frontier_section("a", frontier(seeds=2)).notes
    assert "One training per setting" not in note and note.endswith("over 2 seeds and prompts.")
    assert next(state_diagnoses({"f": frontier()})).startswith("f: ra less dpo at equal KL: +")


def test_arms_without_a_common_kl_are_not_compared() -> None:
    points = [
        PolicyPoint(arm, str(kl), 0, {"p": 5.0}, {"p": kl})
        for arm, kls in (("dpo", (1.0, 2.0)), ("ra", (8.0, 9.0)))
        for kl in kls
    ]
    record = {"diagnosis": "frontier", **measure_frontier(points).record()}
    assert [cells[0] for lead in record["leads"] for cells in list_leads(lead)] == ["no KL that both reach"]
    assert not list(state_diagnoses({"f": record}))


def test_without_a_diagnosis_there_is_no_section() -> None:
    assert build_goal_response_section({}) is None and build_unlearning_section({}) is None
    assert label_bucket({"side": "chosen", "low": None, "high": None}) == "chosen, all scores"
