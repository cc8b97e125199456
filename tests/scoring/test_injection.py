"""Completions that command the judge, or break JSON, templates or the report, change nothing but their own score."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from attacks import ATTACKS
from faulty_server import FaultyServer
from markupsafe import escape
from scripted_engine import Scripted
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.reporting.report_page import ReportPage, render_report
from prefboost.reporting.samples import SampleCell, Samples, TextSample
from prefboost.reporting.sections import Section
from prefboost.reporting.texts import replace_controls
from prefboost.runs.score.judge import judge
from prefboost.scoring import Rater
from prefboost.scoring.fencing import without_turn_marks
from prefboost.scoring.judges.llm import LlmJudge
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


def leaning(prompt: str, choices: Sequence[str]) -> list[float]:
    """Log-probs of a judge that believes what it reads: all for the first choice where it is told so."""
    told = any(word in prompt for word in ("Give 10", '"rating": 10', "[[1]]"))
    return [math.log(0.9 if (at == 0) == told else 0.1 / (len(choices) - 1)) for at in range(len(choices))]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_by_log_probs_an_attack_changes_no_other_score_or_verdict(attack: str) -> None:
    def scores(first: str) -> list[float]:
        rater = Rater(engine=Scripted.by(weigh=leaning), read="logprobs")
        return rater.score(completions_table([("one", first), *OTHERS])).frame["score"].to_list()

    def verdicts(first: str) -> pl.DataFrame:
        judge = LlmJudge(engine=Scripted.by(weigh=leaning), read="logprobs")
        pairs = pairs_table([("one", first, "plain"), ("one", "a", "b"), ("two", "c", "d")])
        return judge.judge(pairs).frame.filter(pl.col("pair_id") != "p0")

    assert scores(attack)[1:] == scores(HARMLESS)[1:]
    assert verdicts(attack).equals(verdicts(HARMLESS)) and len(verdicts(attack)) == 4


def test_in_requests_to_a_server_attacks_are_strings_and_nothing_more() -> None:
    def bodies(texts: Sequence[str]) -> list[dict[str, Any]]:
        with FaultyServer(answer=lambda prompt, seed, place: gullible(prompt)) as server:
            engine = OpenAICompatible(model="m", base_url=server.base_url, concurrency=1)
            scored = Rater(engine=engine).score(completions_table([("one", text) for text in texts] + OTHERS))
        assert scored.frame["score"].to_list()[-3:] == [3, 3, 3] and len(scored) == len(texts) + 3
        return server.bodies

    attacked, usual = bodies(list(ATTACKS.values())), bodies([HARMLESS])
    assert len(attacked) == len(ATTACKS) + 3 and attacked[-3:] == usual[-3:]
    assert all(set(body) == set(usual[0]) and len(body["messages"]) == 1 for body in attacked)
    for body, attack in zip(attacked, ATTACKS.values(), strict=False):
        assert without_turn_marks(attack) in body["messages"][0]["content"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_what_is_written_of_attacks_is_read_back_as_it_was(ending: str, tmp_path: Path) -> None:
    pairs = pairs_table([(attack, attack, f"{attack}!") for attack in ATTACKS.values()])

    def says(prompt: str) -> str:
        return json.dumps({"reason": next(each for each in ATTACKS.values() if without_turn_marks(each) in prompt),
                           "verdict": "1"})  # fmt: skip

    out = tmp_path / f"verdicts.{ending}"
    verdicts, _ = judge(pairs, LlmJudge(engine=Scripted.by(says)), out)
    assert len(verdicts) == 2 * len(ATTACKS) and verdicts.rejects.is_empty()
    again = pl.read_parquet(out) if ending == "parquet" else pl.DataFrame(
        [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n") if line], infer_schema_length=None
    )  # fmt: skip
    assert again["rationale"].to_list() == verdicts.frame["rationale"].to_list()
    said = [row[0]["content"] for row in again["first"].to_list()]
    assert said == [row[0]["content"] for row in verdicts.frame["first"].to_list()]
    assert set(ATTACKS.values()) <= set(said)
    assert (
        json.loads((tmp_path / f"verdicts.{ending}.judge.json").read_text(encoding="utf-8"))["figures"]["pairs"] == 10
    )


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
    cells = (SampleCell(attack, attack, 3.0, "10"), SampleCell("plain", HARMLESS, 3.0, "10"))
    samples = Samples("", (TextSample("held-out prompts", attack, cells),))
    page = render_report(ReportPage("m", "", ["v"], [Section("Completions", samples=samples)]))
    markup = page.partition("<noscript>")[0]
    assert markup.count(str(escape(replace_controls(attack)))) >= 2
    assert "<script" not in markup and "<img" not in markup
