"""A reproduction's claims and arms, and the demo's policies, are drawn as they were written."""

from __future__ import annotations

from dataclasses import asdict

from prefboost.reporting.run.comparison import (
    build_comparison_sections,
    build_demo_sections,
    list_claims_table,
    state_comparisons,
)
from prefboost.runs.reproduce.reproduce import ReproductionReport
from prefboost.runs.reproduce.verdicts import ArmFigure, ClaimVerdict
from prefboost.statistics import Interval

VALUE = Interval(5.0, 4.0, 6.0, 0.95, 20, 10)


def comparison() -> dict[str, object]:
    figures = tuple(
        ArmFigure(arm, "best", 0.1, 1e-5, measure, VALUE)
        for arm in ("dpo", "ra")
        for measure in ("score", "kl", "good_rejected")
    )
    claims = (ClaimVerdict("ra beats dpo", "yes", VALUE, "points"), ClaimVerdict("ra keeps more", "yes", VALUE, "nats"))
    return ReproductionReport("compare", figures, claims, 2, 9.0).record()


def demo() -> dict[str, object]:
    value = asdict(VALUE)
    top = {
        key: {"arm": {"name": f"{key}, beta 0.2"}, "kl": value, "proxy": value, "gold": value}
        for key in ("augmented", "plain")
    }
    by_goal = {"1": value, "10": value}
    policies = {key: {"by_goal": by_goal, "gold_by_goal": by_goal} for key in top}
    return {"verdict": ["It follows."], "top": top, "policies": policies, "unlearning": {"augmented": value}}


def test_claims_are_the_verdict() -> None:
    sentences = list(state_comparisons({"compare": comparison()}, {"demo": demo()}))
    assert sentences == [
        "ra beats dpo: yes, +5.00 [+4.00, +6.00] points.", "ra keeps more: yes, +5.00 [+4.00, +6.00] nats.",
        "It follows.",
    ]  # fmt: skip


def test_main_and_decided_claims_have_a_sentence_each_and_the_rest_share_one() -> None:
    unclear = Interval(0.1, -1.0, 1.2, 0.95, 20, 10)
    record = {
        "claims": [
            asdict(ClaimVerdict(f"claim {number}", verdict, VALUE if verdict == "yes" else unclear, "points"))
            for number, verdict in enumerate(["undecided", "undecided", "undecided", "undecided", "yes", "undecided"])
        ]
    }
    sentences = list(state_comparisons({"compare": record}, {}))
    assert [sentence.partition(":")[0] for sentence in sentences[:4]] == ["claim 0", "claim 1", "claim 2", "claim 4"]
    assert sentences[4:] == ["Undecided as well: claim 3; claim 5."]


def test_claims_of_one_unit_share_an_axis() -> None:
    table = list_claims_table(comparison())
    assert table.strip is not None and [len(marks) for marks in table.strip.marks] == [1, 0]
    assert table.rows[0] == ("ra beats dpo", "yes", "+5.00 [+4.00, +6.00]", "points")


def test_arms_are_drawn_against_kl_and_listed() -> None:
    sections = {section.title: section for section in build_comparison_sections({"compare": comparison()})}
    assert list(sections) == ["Claims", "Score against KL", "Arms"]
    points = sections["Score against KL"].plots[0].spec["data"]["values"]
    assert [(row["series"], row["x"], row["left"]) for row in points] == [
        ("dpo, best", 5.0, 4.0),
        ("ra, best", 5.0, 4.0),
    ]
    assert sections["Arms"].tables[0].rows[0] == ("dpo", "best", *["5.00 [4.00, 6.00]"] * 3)


def test_several_comparisons_name_their_folders_and_figures() -> None:
    sections = list(build_comparison_sections({"a": comparison(), "b": comparison()}, named=True))
    assert [section.title for section in sections][:2] == ["Claims of a", "Score against KL of a"]
    names = [plot.name for section in sections for plot in section.plots]
    assert len(names) == len(set(names)) == 4


def test_policies_of_the_demo_are_drawn_by_proxy_and_gold_score() -> None:
    sections = {section.title: section for section in build_demo_sections({"demo": demo()})}
    assert list(sections) == ["Score against KL", "Goal response", "Unlearning by score"]
    assert [plot.name for plot in sections["Score against KL"].plots] == ["frontier-proxy-demo", "frontier-gold-demo"]
    series = {row["series"] for row in sections["Goal response"].plots[0].spec["data"]["values"]}
    assert series == {f"{arm}, beta 0.2, {kind} score" for arm in ("augmented", "plain") for kind in ("proxy", "gold")}
    with_start = {**demo(), "facts": {"start": {"proxy": 5.5, "gold": 6.25}}}
    first = next(build_demo_sections({"demo": with_start}))
    assert "proxy score 5.50, gold score 6.25" in first.notes[1]
    assert [{"y": 6.25}] in [layer.get("data", {}).get("values") for layer in first.plots[1].spec["layer"]]
