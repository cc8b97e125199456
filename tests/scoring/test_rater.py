"""The rater: what is asked, how ratings become scores, and what is set aside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import Scripted
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Sampling
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, ModelError
from prefboost.progress import WorkProgress
from prefboost.scoring import Rater
from prefboost.tables import PREFERENCE_PAIRS, SCORED_COMPLETIONS

WARM = Sampling(temperature=1.0)
TEXTS = [("one", "a b c"), ("one", "a"), ("two", "a b"), ("two", "a b c d")]


def shown(prompt: str) -> list[str]:
    """The completions of a rater's prompt, in the order in which they stand."""
    return re.findall(r"^<completion \d+ (?:\w+)>\n(.*?)\n</completion", prompt, re.M | re.S)


def by_words(prompt: str) -> str:
    """Rates a completion by its number of words."""
    return json.dumps({"ratings": [{"candidate": at, "reason": "words", "rating": len(text.split())}
                                   for at, text in enumerate(shown(prompt), 1)]})  # fmt: skip


def test_ratings_become_scores_with_the_raters_identity_and_range() -> None:
    scored = Rater(engine=Scripted.by(by_words)).score(completions_table(TEXTS))
    assert scored.spec is SCORED_COMPLETIONS
    assert scored.frame["score"].to_list() == [3, 1, 2, 4]
    notes = scored.steps[-1].notes
    assert notes["rater"] == "scripted" and re.fullmatch(r"overall/[0-9a-f]{16}", notes["rubric"])
    assert (scored.scales[""].knots, scored.scales[""].kind) == ((1.0, 10.0), "declared")


def test_aspects_stand_in_their_columns_and_na_stays_null() -> None:
    def say(prompt: str) -> str:
        first = "N/A" if "a b c" in prompt else 5
        return json.dumps({"instruction_following": 3, "honesty": first, "truthfulness": 4, "helpfulness": 2})

    scored = Rater(engine=Scripted.by(say), rubric="ultrafeedback").score(completions_table(TEXTS[:2]))
    assert scored.frame["score.honesty"].to_list() == [None, 5]
    assert scored.frame["score"].to_list() == [3.0, 3.5]
    assert scored.scales["honesty"].knots == (1.0, 5.0)


def test_both_sides_of_pairs_are_rated() -> None:
    scored = Rater(engine=Scripted.by(by_words)).score(pairs_table([("q", "a b c", "a"), ("r", "a", "a b")]))
    assert scored.spec is PREFERENCE_PAIRS
    assert scored.frame.select("score_chosen", "score_rejected").rows() == [(3, 1), (1, 2)]


def test_answers_that_cannot_be_read_are_set_aside_with_the_reason_and_counted() -> None:
    said = {"a b c": "I would not say.", "a": '{"rating": 42}', "a b": '{"rating": 5}<cut>', "a b c d": '{"rating": 5}'}
    engine = Scripted.by(lambda prompt: said[shown(prompt)[0]])
    scored = Rater(engine=engine).score(completions_table(TEXTS))
    assert scored.frame["score"].to_list() == [5]
    assert scored.steps[-1].rejected == {
        "the answer holds no ratings": 1,
        "a rating lies outside of the rubric's range": 1,
        "the answer was cut at max_tokens": 1,
    }
    assert scored.rejects.filter(scored.rejects["row"] == 0)["found"].to_list() == ["I would not say."]


def test_where_no_answer_can_be_read_the_first_is_shown() -> None:
    with pytest.raises(DataError, match="the answer holds no ratings: Hm"):
        Rater(engine=Scripted.by(lambda _: "Hm")).score(completions_table(TEXTS))


def test_completions_shown_together_are_shuffled_by_the_seed_and_their_places_kept() -> None:
    table = completions_table([("one", f"{'w ' * n}x") for n in range(5)] + [("two", "y")])
    orders = set()
    for seed in range(8):
        engine = Scripted.by(by_words)
        scored = Rater(engine=engine, together=5, seed=seed).score(table)
        assert scored.frame["score"].to_list() == [1, 2, 3, 4, 5, 1]
        places = scored.frame["shown_at"].to_list()
        assert [len(text.split()) - 1 for text in shown(engine.prompts[0])] == sorted(
            range(5), key=lambda at: places[at]
        )
        again = Rater(engine=Scripted.by(by_words), together=5, seed=seed).score(table)
        assert again.frame["shown_at"].to_list() == places
        orders.add(tuple(places))
    assert len(orders) > 3


def test_groups_are_as_even_as_can_be_and_no_larger_than_asked() -> None:
    engine = Scripted.by(by_words)
    Rater(engine=engine, together=4).score(completions_table([("one", "w " * n) for n in range(1, 10)]))
    assert sorted(len(shown(prompt)) for prompt in engine.prompts) == [3, 3, 3]


def test_one_of_several_read_wrong_sets_only_its_group_aside() -> None:
    engine = Scripted.by(lambda prompt: "no" if "y" in shown(prompt) else by_words(prompt))
    scored = Rater(engine=engine, together=2).score(completions_table([("one", "a"), ("one", "a b"), ("two", "y")]))
    assert scored.frame["score"].to_list() == [1, 2]


def test_samples_are_averaged_over_those_that_can_be_read() -> None:
    answers = iter(['{"rating": 4}', "no", '{"rating": 7}'])
    scored = Rater(engine=Scripted.by(lambda _: next(answers)), samples=3, sampling=WARM).score(
        completions_table(TEXTS[:1])
    )
    assert scored.frame["score"].to_list() == [5.5]
    assert scored.steps[-1].notes["answers not used: the answer holds no ratings"] == 1
    with pytest.raises(ValueError, match="temperature above 0"):
        Rater(engine=Scripted.by(by_words), samples=3)


def test_the_expectation_is_taken_over_the_probabilities_of_all_ratings(tmp_path: Path) -> None:
    """Probabilities 0.1, 0.3 and 0.6 of which half the mass was on the choices: 0.1 + 2 * 0.3 + 3 * 0.6 = 2.5."""
    rubric = tmp_path / "three.jinja"
    rubric.write_text("{% set low, high = 1, 3 %}Rate it.")

    def weigh(prompt: str, choices: Sequence[str]) -> list[float]:
        assert list(choices) == ["1", "2", "3"] and "one whole number from 1 to 3" in prompt
        return [math.log(share / 2) for share in (0.1, 0.3, 0.6)]

    scored = Rater(engine=Scripted.by(None, weigh), rubric=str(rubric), read="logprobs").score(
        completions_table(TEXTS[:1])
    )
    assert scored.frame["score"].to_list() == [pytest.approx(2.5)]
    assert scored.steps[-1].notes["mean probability of the choices"] == pytest.approx(0.5)
    assert scored.frame["label_mass"].to_list() == [pytest.approx(0.5)]


def test_pairs_keep_the_mass_of_each_side_and_words_have_none() -> None:
    def weigh(prompt: str, choices: Sequence[str]) -> list[float]:
        return [math.log((0.5 if "longer" in prompt else 0.25) / len(choices))] * len(choices)

    table = pairs_table([("a", "longer text", "text")])
    rated = Rater(engine=Scripted.by(None, weigh), read="logprobs").score(table)
    assert rated.frame["label_mass_chosen"].to_list() == [pytest.approx(0.5)]
    assert rated.frame["label_mass_rejected"].to_list() == [pytest.approx(0.25)]
    again = Rater(engine=Scripted.by(lambda prompt: '{"rating": 7}')).score(rated)
    assert not [name for name in again.frame.columns if "mass" in name]


def test_ratings_that_begin_alike_are_asked_for_as_letters() -> None:
    def weigh(prompt: str, choices: Sequence[str]) -> list[float]:
        assert list(choices) == list("ABCDEFGHIJ") and "J for 10" in prompt
        return [-math.inf] * 9 + [-0.1]

    scored = Rater(engine=Scripted.by(None, weigh), read="logprobs").score(completions_table(TEXTS[:1]))
    assert scored.frame["score"].to_list() == [10]


def test_every_aspect_gets_its_own_question_by_log_probs() -> None:
    engine = Scripted.by(
        None, lambda prompt, choices: [0.0 if "honesty?" in prompt and c == "5" else -30.0 for c in choices]
    )
    rater = Rater(engine=engine, rubric="ultrafeedback", read="logprobs", min_mass=0.0)
    scored = rater.score(completions_table(TEXTS[:1]))
    assert scored.frame["score.honesty"][0] == pytest.approx(5) and scored.frame["score.helpfulness"][
        0
    ] == pytest.approx(3)
    assert len(engine.asked) == 4


def test_choices_that_are_not_among_the_likely_tokens_set_the_row_aside() -> None:
    engine = Scripted.by(None, lambda prompt, _: [-math.inf] * 10 if "a b c" in prompt else [-1.0] * 10)
    scored = Rater(engine=engine, read="logprobs").score(completions_table(TEXTS[:2]))
    assert scored.steps[-1].rejected == {"none of the choices is among the model's likely answers": 1}


def test_an_engine_without_log_probs_is_named() -> None:
    with pytest.raises(ModelError, match="scripted gives no log-probs"):
        Rater(engine=Scripted.by(by_words), read="logprobs").score(completions_table(TEXTS))


def test_the_schema_that_is_asked_for_holds_what_is_read() -> None:
    engine = Scripted.by(by_words)
    Rater(engine=engine, reason=False).score(completions_table(TEXTS[:1]))
    schema: Any = json.loads(str(engine.asked[0].json_schema))
    entry = schema["properties"]["ratings"]["items"]
    assert entry["required"] == ["candidate", "rating"] == list(entry["properties"])
    assert entry["properties"]["rating"]["anyOf"][0]["enum"] == list(range(1, 11))


def test_an_interrupted_call_goes_on_without_asking_again(tmp_path: Path) -> None:
    table = completions_table(TEXTS)
    expected = Rater(engine=Scripted.by(by_words)).score(table).frame
    first, second = Scripted.by(by_words), Scripted.by(by_words)

    def stop(progress: WorkProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with Store(tmp_path / "store") as store, pytest.raises(KeyboardInterrupt):
        Rater(engine=first).score_stored(table, CallSession(store, tell=stop))
    with Store(tmp_path / "store") as store:
        assert Rater(engine=second).score_stored(table, CallSession(store)).frame.equals(expected)
    assert (len(first.asked), len(second.asked)) == (2, 2)


def test_pairs_are_not_shown_together() -> None:
    with pytest.raises(DataError, match="rated separately"):
        Rater(engine=Scripted.by(by_words), together=2).score(pairs_table([("q", "a", "b")]))


@pytest.mark.parametrize("settings", [{}, {"together": 2}, {"samples": 2, "sampling": WARM}, {"read": "logprobs"}])
def test_the_questions_are_what_is_asked(settings: dict[str, Any]) -> None:
    engine = Scripted.by(by_words, lambda _, choices: [-1.0] * len(choices))
    rater = Rater(engine=engine, **settings)
    rater.score(completions_table(TEXTS))
    assert rater.questions(completions_table(TEXTS)) == engine.asked
