"""General ability of the policies of a reproduction: academic tasks, question by question."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from prefboost.chat import SayGoal
from prefboost.engines.local.engine import Local
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.protocols import Contestant
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import tell_bar
from prefboost.runs.diagnose.policy_completions import PromptMeasures
from prefboost.runs.reproduce.settings import Reproduction

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["check_academic_data", "measure_ability", "time_question"]

ACADEMIC = "academic"
"""Name of the measure."""


def check_academic_data(settings: Reproduction) -> None:
    """Check that the tasks that are asked for can be run, before anything is trained.

    Raises:
        DataError: data are neither present nor may be fetched.
        MissingExtra: lm-eval is not installed.
    """
    if settings.academic is not None:
        settings.academic.settle(settings.assets or Assets())


def measure_ability(
    settings: Reproduction, model: str, stated: StatedGoals | None, folder: Path, progress: Progress | None
) -> PromptMeasures:
    """Let a policy answer academic tasks; finished ones are not answered again.

    Args:
        settings: the tasks; none measures nothing.
        model: the policy.
        stated: how goals stand in the pairs that it was trained on: it is asked for the highest overall score, or left
            to ask for the highest of its aspects by itself. None: nothing is asked for.
        folder: of the logs.
        progress: receives a sentence for every task.

    Returns:
        ``academic``: TASK/QUESTION to percent, by the first way of reading an answer.
    """
    if settings.academic is None:
        return {}
    # "" is the overall score's scale; a vector has others besides.
    goal = None if stated is None or any(stated.scales) else stated.say.high
    contestant = Contestant("policy", Local(model=model), goal, SayGoal() if stated is None else stated.say)
    measured = settings.academic.measure(
        [contestant], settings.assets or Assets(), folder=folder, tell=tell_bar(progress)
    )
    shares: dict[str, float] = {}
    for verdict in measured.verdicts:
        if verdict.value is not None:
            # Of several ways of reading the same answer (gsm8k) the first counts.
            shares.setdefault(verdict.uid, 100 * verdict.value)
    return {ACADEMIC: shares}


def time_question(settings: Reproduction) -> float:
    """Time a question of every task: three of each less one of each, so that loading the model does not count.

    Returns:
        seconds, of one question of each task together.
    """
    assert settings.academic is not None
    took = []
    with tempfile.TemporaryDirectory(prefix="prefboost-") as folder:
        for limit in (1, 3):
            few = settings.model_copy(update={"academic": settings.academic.model_copy(update={"limit": limit})})
            began = time.monotonic()
            measure_ability(few, settings.recipe.train.model, None, Path(folder) / str(limit), None)
            took.append(time.monotonic() - began)
    return max(0.0, took[1] - took[0]) / 2
