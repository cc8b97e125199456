"""What makes figures doubtful whatever a judge says: one completion for every prompt, and goals that change nothing.

A constant text was judged to win 86 % of AlpacaEval 2 (arXiv 2410.07137): such a figure must not stand without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence

from prefboost.evaluation.prepared import Completions

__all__ = ["SAME", "alarms_of", "constant"]

SAME = 0.1
"""Share of prompts with one and the same completion that raises an alarm."""
_DEAF = 0.5


def alarms_of(completions: Mapping[str, Completions], sweeps: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Alarms over what models said.

    Args:
        completions: model -> uid -> what it said, turn by turn.
        sweeps: model without its goal -> names of it with each goal.
    """
    found = [alarm for name, own in completions.items() for alarm in constant(name, dict(own.items()))]
    for model, names in (sweeps or {}).items():
        found += _deaf(model, [completions[name] for name in names if name in completions])
    return found


def constant(model: str, texts: Mapping[str, Hashable | Sequence[str]]) -> Iterator[str]:
    """An alarm where a model says the same to more than a tenth of the prompts, at least to two.

    Args:
        model: its name.
        texts: uid -> what it said, or a hash of it.
    """
    every = [tuple(said) if isinstance(said, Sequence) else said for said in texts.values()]
    most = max(Counter(every).values(), default=0)
    if most > 1 and most > SAME * len(every):
        yield f"{model} gives one and the same completion to {most} of {len(every)} prompts: its win rate means nothing"


def _deaf(model: str, goals: Sequence[Completions]) -> list[str]:
    shared = set.intersection(*(set(own) for own in goals)) if len(goals) > 1 else set()
    same = sum(len({tuple(own[uid]) for own in goals}) == 1 for uid in shared)
    if shared and same > _DEAF * len(shared):
        return [f"{model} says the same for every goal in {same} of {len(shared)} prompts: it does not hear the goal"]
    return []
