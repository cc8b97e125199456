"""Alarms over completions: one completion for every prompt, and goals that change nothing.

A constant text was judged to win 86 % of AlpacaEval 2 (arXiv 2410.07137): such a figure must not stand without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence

from prefboost.evaluation.protocols import Completions

__all__ = ["SAME", "find_constant_completion", "raise_alarms"]

SAME = 0.1
"""Share of prompts with the same completion that raises an alarm."""
_IGNORED = 0.5
"""Share of prompts with the same completion for every goal that raises an alarm."""


def raise_alarms(
    completions: Mapping[str, Completions], sweeps: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """List the alarms over the completions of all models.

    Args:
        completions: model -> uid -> its completions, turn by turn.
        sweeps: model without its goal -> its names with each goal.
    """
    alarms = [
        alarm for model, answers in completions.items() for alarm in find_constant_completion(model, dict(answers))
    ]
    for model, names in (sweeps or {}).items():
        per_goal = [completions[name] for name in names if name in completions]
        shared = set.intersection(*map(set, per_goal)) if len(per_goal) > 1 else set()
        same = sum(len({tuple(answers[uid]) for answers in per_goal}) == 1 for uid in shared)
        if shared and same > _IGNORED * len(shared):
            alarm = f"{model} says the same for every goal in {same} of {len(shared)} prompts"
            alarms.append(f"{alarm}: it does not hear the goal")
    return alarms


def find_constant_completion(model: str, texts: Mapping[str, Hashable | Sequence[str]]) -> Iterator[str]:
    """Yield an alarm where a model gives the same completion to more than a tenth of the prompts, and to two or more.

    Args:
        model: name of the model.
        texts: uid -> its completion, or a hash of it.
    """
    # Verdict files hold a digest of the completion instead of its turns.
    counts = Counter(tuple(text) if isinstance(text, Sequence) else text for text in texts.values())
    most = max(counts.values(), default=0)
    if most > 1 and most > SAME * len(texts):
        yield f"{model} gives one and the same completion to {most} of {len(texts)} prompts: its win rate means nothing"
