"""The scale on which a model can be asked for a score, and a warning where a goal lies outside of it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from prefboost.chat import SayGoal
from prefboost.engines.engine import Engine
from prefboost.errors import UnreachableGoal

__all__ = ["goal_range", "warn_outside"]


def goal_range(engine: Engine, say: SayGoal) -> tuple[float, float] | None:
    """Give the lowest and highest score that a model was trained to be asked for.

    Args:
        engine: of a checkpoint of ours, which records how goals were said, or of any other model.
        say: how a model that does not say goals by itself is asked.

    Returns:
        the ends of the recorded scale, else those that the prompt names; None where the model says goals by itself and
        records none (a server, a recording).
    """
    folder = str(getattr(getattr(engine, "settings", None), "model", None))
    try:
        facts = json.loads((Path(folder).expanduser() / "prefboost.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        facts = None  # a hub id, a server's name, or a checkpoint of others
    recorded = facts.get("say") if isinstance(facts, dict) else None
    if isinstance(recorded, dict) and {"low", "high"} <= recorded.keys():
        return float(recorded["low"]), float(recorded["high"])
    return None if engine.says_goals else (say.low, say.high)


def warn_outside(goal: float | None, ends: tuple[float, float] | None) -> None:
    """Warn about a goal outside the scores of the training data; the model is asked for it all the same.

    Args:
        goal: None asks for nothing.
        ends: from `goal_range`.
    """
    if goal is None or ends is None or ends[0] <= goal <= ends[1]:
        return
    warnings.warn(
        f"the goal {goal:g} lies outside the scale of the scores, {ends[0]:g} to {ends[1]:g}: the model was not shown "
        "what it means",
        UnreachableGoal,
        stacklevel=3,
    )
