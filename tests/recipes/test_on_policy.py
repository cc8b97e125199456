"""The recipe of on-policy rounds."""

from __future__ import annotations

import pytest

from prefboost.errors import SettingsError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import dump, of_kind
from prefboost.recipes.on_policy import OnPolicy, RoundCompletions, engine_of_policy

TEXT = """
kind: on_policy
name: mine
prompts: prompts.txt
scorer: rules
train: {model: tiny}
"""


def made(*overrides: str) -> OnPolicy:
    found = of_kind(apply_overrides(parse(TEXT, path="mine.yaml"), overrides))
    assert isinstance(found, OnPolicy)
    return found


def test_the_defaults_are_those_of_published_on_policy_data() -> None:
    recipe = made()
    how = recipe.generate
    assert (how.n, how.sampling.temperature, how.sampling.top_p, how.goal) == (5, 0.8, 0.95, "plain")
    assert recipe.pair.kind == "best_vs_worst"  # type: ignore[attr-defined]
    assert recipe.prompts.path == "prompts.txt"  # type: ignore[attr-defined]
    assert of_kind(parse(dump(recipe))) == recipe


@pytest.mark.parametrize(
    ("goal", "share", "expected"),
    [("plain", 0.5, (5, 0)), ("top", 0.5, (0, 5)), ("mixture", 0.4, (3, 2)), ("mixture", 0.8, (1, 4))],
)
def test_completions_are_divided_by_what_is_asked_for(goal: str, share: float, expected: tuple[int, int]) -> None:
    counts = RoundCompletions(goal=goal, top_share=share).counts  # type: ignore[arg-type]
    assert (counts["plain"], counts["top"]) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generate={goal: mixture, top_share: 0.05}", "leaves nothing to one of the two"),
        ("scorer={kind: reward_model, model: m, scale: percentile}", "set the recipe's scale, which is kept"),
        ("train.reference=some/model", "write reference: start or last at the top instead"),
        ("relabel=plain&generate={goal: top}", "generate.goal must be plain"),
        ("rounds=2&train.lora={merge: false}", "an adapter alone cannot begin another round"),
        ("rounds=2&train.revision=abc", "download train.revision"),
        ("rounds=0", "rounds: input should be greater than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        made(*override.split("&"))


def test_a_mistake_is_named_with_its_line() -> None:
    text = TEXT.replace("scorer: rules", "scorer: rulez\nrouns: 2\ngenerate: {n: 1}")
    with pytest.raises(SettingsError) as caught:
        of_kind(parse(text, path="mine.yaml"))
    shown = str(caught.value)
    assert "mine.yaml:5: scorer: 'rulez' is not a kind here; did you mean rules?" in shown
    assert "mine.yaml:6: rouns is not a setting here; did you mean rounds?" in shown
    assert "mine.yaml:7: generate.n" in shown


def test_an_engine_needs_no_model_since_it_is_the_policy() -> None:
    assert engine_of_policy("vllm") == {"kind": "vllm", "model": "policy"}
    assert engine_of_policy({"kind": "local", "model": "mine"}) == {"kind": "local", "model": "mine"}
    assert engine_of_policy({"kind": "replay", "path": "x"}) == {"kind": "replay", "path": "x"}
    assert engine_of_policy(None) is None
