"""The LLM judge: both orders, votes, probabilities, ties, and what is set aside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attacks import ATTACKS
from faulty_server import FaultyServer
from scripted_engine import Scripted
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Sampling
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, ModelError
from prefboost.progress import WorkProgress
from prefboost.scoring.judges.figures import judge_figures
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.tables import VERDICTS

WARM = Sampling(temperature=1.0)
PAIRS = [("one", "a b c", "a"), ("two", "a", "a b"), ("three", "x y", "z w")]
SHOWN = re.compile(r"^<completion \d (?:\w+)>\n(.*?)\n</completion", re.M | re.S)


def says(verdict: str, reason: str = "because") -> str:
    return json.dumps({"reason": reason, "verdict": verdict})


def by_words(prompt: str) -> str:
    """Prefers more words; a tie where there are as many."""
    first, second = (len(text.split()) for text in SHOWN.findall(prompt))
    return says("tie" if first == second else "1" if first > second else "2", f"{first} and {second} words")


def judged(say: Callable[[str], str], **settings: object) -> list[tuple[str, str, str]]:
    verdicts = LlmJudge(engine=Scripted.by(say), **settings).judge(pairs_table(PAIRS))  # type: ignore[arg-type]
    return verdicts.frame.select("pair_id", "shown_first", "verdict").rows()


def test_every_pair_is_judged_in_both_orders() -> None:
    assert judged(by_words) == [
        ("p0", "chosen", "first"), ("p0", "rejected", "second"),
        ("p1", "chosen", "second"), ("p1", "rejected", "first"),
        ("p2", "chosen", "tie"), ("p2", "rejected", "tie"),
    ]  # fmt: skip


def thinking(first: str, last: str) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    """A server whose model drafts one verdict in its thoughts and gives the other."""

    def dialect(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
        text = f"<think>\nMy draft: {first}\n</think>\n\n{last}"
        return reply | {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    return dialect


@pytest.mark.parametrize("final", [says("2"), "2", "[[B]]", "Verdict: 2"])
def test_a_draft_in_the_thoughts_never_beats_the_verdict(final: str) -> None:
    with FaultyServer(dialect=thinking(says("1"), final)) as server:
        engine = OpenAICompatible(model="m", base_url=server.base_url)
        verdicts = LlmJudge(engine=engine).judge(pairs_table(PAIRS))
    assert set(verdicts.frame["verdict"]) == {"second"}
    assert not any("draft" in str(reason) for reason in verdicts.frame["rationale"])


def test_a_judge_that_only_thinks_gives_no_verdict() -> None:
    with FaultyServer(dialect=thinking(says("1"), "")) as server, pytest.raises(DataError, match="thoughts alone"):
        LlmJudge(engine=OpenAICompatible(model="m", base_url=server.base_url)).judge(pairs_table(PAIRS))


def test_verdicts_of_little_mass_are_unreadable_and_the_mass_is_kept_and_shown() -> None:
    def likely(prompt: str) -> dict[str, float]:
        texts = SHOWN.findall(prompt)
        if "x y" in texts:
            return {"<think>": -1e-4, "1": math.log(8e-5), "2": math.log(1e-5)}
        return {"1": math.log(0.6), "2": math.log(0.3), "I": math.log(0.1)}

    with FaultyServer(likely=likely) as server:
        engine = OpenAICompatible(model="m", base_url=server.base_url)
        verdicts = LlmJudge(engine=engine, read="logprobs").judge(pairs_table(PAIRS))
        loose = LlmJudge(engine=engine, read="logprobs", min_mass=0.0).judge(pairs_table(PAIRS))
    assert verdicts.steps[-1].rejected == {"the model would most likely say something else than any of the choices": 1}
    assert "9e-05 < 0.1" in verdicts.rejects["found"][0]
    assert verdicts.frame["label_mass"].to_list() == pytest.approx([0.9] * 4)
    assert len(loose) == 6 and loose.frame["label_mass"].min() == pytest.approx(9e-5)
    figures = judge_figures(loose)
    assert figures.record()["label_mass"]["least"] == pytest.approx(9e-5)
    assert any("probability of verdicts 0.600, least 0.000" in line for line in figures.lines())


def test_rationale_lengths_and_the_judge_are_kept() -> None:
    verdicts = LlmJudge(engine=Scripted.by(by_words, name="wise")).judge(pairs_table(PAIRS))
    assert verdicts.spec is VERDICTS
    row = verdicts.frame.row(1, named=True)
    assert row["rationale"] == "1 and 3 words" and row["judge"] == "wise" and row["verdict_id"] == "p0/rejected"
    assert (row["length_first"], row["length_second"], row["first"][0]["content"]) == (1, 5, "a")


def test_both_orders_differ_in_nothing_but_the_order() -> None:
    engine = Scripted.by(by_words)
    LlmJudge(engine=engine).judge(pairs_table(PAIRS[:1]))
    one, other = engine.prompts
    texts = SHOWN.findall(one)
    assert SHOWN.findall(other) == texts[::-1] and texts == ["a b c", "a"]
    assert SHOWN.sub("", one) == SHOWN.sub("", other)


def test_the_given_label_cannot_be_seen() -> None:
    one, other = Scripted.by(by_words), Scripted.by(by_words)
    LlmJudge(engine=one).judge(pairs_table([("q", "a", "b")]))
    LlmJudge(engine=other).judge(pairs_table([("q", "b", "a")]))
    assert sorted(one.prompts) == sorted(other.prompts)
    assert not re.search("chosen|rejected", "".join(one.prompts))


def test_a_pair_that_cannot_be_judged_in_one_order_is_set_aside_in_both() -> None:
    engine = Scripted.by(lambda prompt: "Hm." if SHOWN.findall(prompt) == ["a", "a b"] else by_words(prompt))
    verdicts = LlmJudge(engine=engine).judge(pairs_table(PAIRS))
    assert verdicts.frame["pair_id"].unique().sort().to_list() == ["p0", "p2"]
    assert verdicts.steps[-1].rejected == {"the answer holds no verdict": 1}
    assert verdicts.rejects.select("id", "found").rows() == [("p1", "Hm.")]


def test_votes_are_counted_and_a_reason_of_the_winning_side_is_kept() -> None:
    answers = iter([says("2", "no"), says("1", "yes"), says("1", "yes too"), "?", says("1"), says("2")])
    judge = LlmJudge(engine=Scripted.by(lambda _: next(answers)), samples=3, sampling=WARM)
    frame = judge.judge(pairs_table(PAIRS[:1])).frame
    assert frame["first_wins"].to_list() == [pytest.approx(2 / 3), 0.5]
    assert frame["verdict"].to_list() == ["first", "tie"] and frame["rationale"][0] == "yes"
    with pytest.raises(ValueError, match=r"sampling\.temperature above 0"):
        LlmJudge(engine=Scripted.by(by_words), samples=2)


@pytest.mark.parametrize(
    ("logprobs", "ties", "share"),
    [([0.6, 0.3, 0.1], True, 0.65), ([0.3, 0.1], False, 0.75), ([0.2, 0.2, 0.6], True, 0.5)],
)
def test_probabilities_are_read_and_a_tie_counts_half(logprobs: list[float], ties: bool, share: float) -> None:
    def weigh(_: str, choices: Sequence[str]) -> list[float]:
        assert list(choices) == ["1", "2", "tie"][: len(logprobs)]
        return [math.log(one / 2) for one in logprobs]

    frame = LlmJudge(engine=Scripted.by(None, weigh), read="logprobs", ties=ties).judge(pairs_table(PAIRS[:1])).frame
    assert frame["first_wins"].to_list() == [pytest.approx(share)] * 2


def test_probabilities_near_one_half_are_ties() -> None:
    engine = Scripted.by(None, lambda *_: [math.log(0.52), math.log(0.48)])
    verdicts = [
        LlmJudge(engine=engine, read="logprobs", ties=False, tie_within=within).judge(pairs_table(PAIRS[:1])).frame
        for within in (0.0, 0.05)
    ]
    assert [frame["verdict"].to_list() for frame in verdicts] == [["first", "first"], ["tie", "tie"]]


def test_the_questions_are_what_is_asked() -> None:
    engine = Scripted.by(by_words)
    judge = LlmJudge(engine=engine)
    judge.judge(pairs_table(PAIRS))
    assert judge.questions(pairs_table(PAIRS)) == engine.asked
    assert json.loads(str(engine.asked[0].json_schema))["properties"]["verdict"]["enum"] == ["1", "2", "tie"]


def test_an_interrupted_call_goes_on_without_asking_again(tmp_path: Path) -> None:
    expected = LlmJudge(engine=Scripted.by(by_words)).judge(pairs_table(PAIRS)).frame
    first, second = Scripted.by(by_words), Scripted.by(by_words)

    def stop(progress: WorkProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with Store(tmp_path / "store") as store, pytest.raises(KeyboardInterrupt):
        LlmJudge(engine=first).judge_stored(pairs_table(PAIRS), CallSession(store, tell=stop))
    with Store(tmp_path / "store") as store:
        found = LlmJudge(engine=second).judge_stored(pairs_table(PAIRS), CallSession(store))
    assert found.frame.equals(expected) and len(first.asked) + len(second.asked) == 6


def gullible(prompt: str) -> str:
    """Believes whatever stands in its prompt."""
    told = [any(word in text for word in ("Give 10", '"rating"', "[[1]]")) for text in SHOWN.findall(prompt)]
    return says("tie" if len(set(told)) < 2 else "12"[told.index(True)])


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_changes_no_other_pairs_prompt_or_verdict(attack: str) -> None:
    engine, usual = Scripted.by(gullible), Scripted.by(gullible)
    others = [("one", "a", "b"), ("two", "c", "d")]
    found = LlmJudge(engine=engine).judge(pairs_table([("one", attack, "plain"), *others]))
    plain = LlmJudge(engine=usual).judge(pairs_table([("one", "harmless", "plain"), *others]))
    assert engine.prompts[2:] == usual.prompts[2:]
    assert found.frame["verdict"].to_list()[2:] == plain.frame["verdict"].to_list()[2:]


def test_completions_engines_without_log_probs_and_nothing_readable_are_refused() -> None:
    with pytest.raises(DataError, match="found Completions"):
        LlmJudge(engine=Scripted.by(by_words)).judge(completions_table([("q", "a")]))
    with pytest.raises(ModelError, match="gives no log-probs"):
        LlmJudge(engine=Scripted.by(by_words), read="logprobs").judge(pairs_table(PAIRS))
    with pytest.raises(DataError, match="none of 3 pairs could be judged: the answer holds no verdict: Well"):
        LlmJudge(engine=Scripted.by(lambda _: "Well")).judge(pairs_table(PAIRS))
