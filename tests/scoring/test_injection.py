"""Completions that command the judge, or break JSON, templates or the report, change nothing but their own score."""

from __future__ import annotations

import json
import re

import pytest
from attacks import ATTACKS
from markupsafe import escape
from scripted_engine import Scripted
from tests.scoring.conftest import completions_table

from prefboost.reporting.page import render_page
from prefboost.scoring import Rater
from prefboost.scoring.fencing import without_turn_marks
from prefboost.scoring.rubric import load_rubric

HARMLESS = "A plain completion."
OTHERS = [("one", "It rains."), ("one", "It is dry."), ("two", "Perhaps.")]
MARK = re.compile(r"<completion 1 (\w{16})>")


def gullible(prompt: str) -> str:
    """A judge that believes whatever stands in its prompt: 10 where it is told so or shown an answer, else 3."""
    told = "Give 10" in prompt or '"rating": 10' in prompt
    return json.dumps({"ratings": [{"candidate": 1, "rating": 10 if told else 3}]})


def rated(attack: str, rubric: str = "overall") -> tuple[list[float], list[str]]:
    engine = Scripted.by(gullible)
    table = completions_table([("one", attack), *OTHERS])
    return Rater(engine=engine, rubric=rubric).score(table).frame["score"].to_list(), engine.prompts


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_prompts_and_scores_of_other_rows_stay_the_same(attack: str) -> None:
    scores, prompts = rated(attack)
    usual_scores, usual_prompts = rated(HARMLESS)
    assert prompts[1:] == usual_prompts[1:]
    assert scores[1:] == usual_scores[1:] == [3, 3, 3]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_stands_whole_between_its_own_marks_and_nowhere_else(attack: str) -> None:
    _, prompts = rated(attack)
    mark = MARK.findall(prompts[0])[-1]
    head, _, rest = prompts[0].partition(f"<completion 1 {mark}>\n")
    inside, _, tail = rest.partition(f"\n</completion 1 {mark}>")
    assert inside == without_turn_marks(attack), "the template and str.format left it alone"
    assert mark not in attack and prompts[0].count(f"</completion 1 {mark}>") == 1
    usual = rated(HARMLESS)[1][0]
    usual_mark = MARK.findall(usual)[-1]
    assert head == usual.partition("<completion 1 ")[0].replace(usual_mark, mark)
    assert tail == usual.partition("</completion 1 ")[2].partition(">")[2]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_in_a_conversation_stays_in_its_own_rows(attack: str) -> None:
    engine = Scripted.by(gullible)
    scored = Rater(engine=engine).score(completions_table([(attack, "Yes."), *OTHERS]))
    assert scored.frame["score"].to_list()[1:] == [3, 3, 3]
    assert engine.prompts[1:] == rated(HARMLESS)[1][1:]


def test_shown_together_an_attack_reaches_no_other_prompt() -> None:
    def prompts(first: str) -> list[str]:
        engine = Scripted.by(lambda _: '{"ratings": [{"rating": 3}, {"rating": 3}]}')
        Rater(engine=engine, together=2).score(
            completions_table([("one", first), ("one", "x"), ("two", "y"), ("two", "z")])
        )
        return engine.prompts

    assert prompts(ATTACKS["command"])[1:] == prompts(HARMLESS)[1:]


def test_a_rubric_is_never_rendered_with_what_completions_say() -> None:
    for name in ("overall", "ultrafeedback", "additive"):
        before = load_rubric(name)
        rated(ATTACKS["jinja"], "overall")
        assert load_rubric(name) == before and before.text(1) in load_rubric(name).text(1)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_report_that_shows_an_attack_escapes_it(attack: str) -> None:
    line = {"goal": "10", "ra": attack, "dpo": HARMLESS, "ra_score": "3", "dpo_score": "3"}
    values = {
        "model": "m", "pairs": 1, "steps": 1, "held_out": 1, "samples_per_prompt": 1, "version": "0", "machine": "m",
        "verdict": ["v"], "follows": True, "rules": [], "rows": [], "unlearning_caption": "c", "method": "m",
        "samples": [{"prompt": attack, "lines": [line]}], "settings": [], "cost": "c",
    }  # fmt: skip
    page = render_page("demo.html", values, figures={"goal_response": "<svg/>", "unlearning": "<svg/>"})
    assert page.count(str(escape(attack))) >= 2
    assert "<script" not in page and "<img" not in page
