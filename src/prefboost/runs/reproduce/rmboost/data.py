"""Pairs of every arm: from the same prompts and engine, at equal calls or at equal pairs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from prefboost.errors import DataError, Place
from prefboost.forecast import Forecast
from prefboost.preferences.draw import draw_rank
from prefboost.progress import Tell
from prefboost.runs.outputs import locate_store
from prefboost.runs.pipelines.train_reward import train_reward_on
from prefboost.runs.reproduce.rmboost.arms import HUMAN, build_method
from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
from prefboost.runs.synthesize.synthesize import Synthesize, forecast_synthesis, synthesize
from prefboost.scoring import RewardModelScorer
from prefboost.tables import PREFERENCE_PAIRS, PROMPTS, Step, Table
from prefboost.training.claim import MODEL

__all__ = ["ArmPairs", "choose_prompts", "forecast_arms", "make_arm_pairs"]

_SEED = 20240716
"""Of the draws of prompts and pairs: a constant, so that arms of equal budgets have equal prompts."""


@dataclass(frozen=True)
class ArmPairs:
    """Pairs of one arm.

    Args:
        table: PreferencePairs.
        prompts: that were written to.
        proposed: pairs before filters.
        calls: of the engine, judgements included.
    """

    table: Table
    prompts: int
    proposed: int
    calls: int


def choose_prompts(labelled: Table, count: int | None = None) -> Table:
    """Choose prompts of labelled pairs, always in the same order.

    Args:
        labelled: the training part.
        count: at most; None: all.
    """
    names = [column.name for column in PROMPTS.columns if column.name in labelled.frame.columns]
    frame = labelled.frame.select(names).unique("prompt_id", keep="first", maintain_order=True)
    frame = frame.sort(draw_rank(_SEED, "prompt_id")).head(frame.height if count is None else count)
    return labelled.derive(PROMPTS, frame, Step("prompts", {}, len(labelled), frame.height), scales={})


def forecast_arms(labelled: Table, settings: RewardReproduction) -> dict[str, Forecast]:
    """Forecast what every arm that writes asks for: at equal calls each for the prompts that its budget pays.

    Args:
        labelled: the training part.
        settings: arms, budget.

    Raises:
        DataError: the budget does not pay a single prompt of an arm.
    """
    everyone = choose_prompts(labelled)
    sample = choose_prompts(labelled, 1)
    needs = {
        # Calls of a prompt are the same for all prompts: samples, edits, and two orders of a judgement.
        arm: _forecast(sample, arm, settings).total.calls
        for arm in dict.fromkeys(("rmboost", *settings.arms))
        if arm != HUMAN
    }
    budget = settings.calls or needs["rmboost"] * len(everyone)
    forecasts = {}
    for arm in settings.arms:
        if arm == HUMAN:
            continue
        paid = len(everyone) if settings.equal == "pairs" else min(len(everyone), budget // needs[arm])
        if not paid:
            raise DataError(
                f"{budget:,} calls pay no prompt of {arm}, which needs {needs[arm]} for one", remedy="raise calls"
            )
        forecasts[arm] = _forecast(choose_prompts(labelled, paid), arm, settings)
    return forecasts


def _forecast(prompts: Table, arm: str, settings: RewardReproduction) -> Forecast:
    return forecast_synthesis(prompts, Synthesize(method=build_method(arm, settings)))


def make_arm_pairs(labelled: Table, settings: RewardReproduction, folder: Path, tell: Tell) -> dict[str, ArmPairs]:
    """Make the pairs of every arm; what an earlier call wrote or asked is not written or asked again.

    Args:
        labelled: the training part of the data: its prompts are written to, and its labels train the base model.
        settings: arms, engine, budget.
        folder: of the pairs, their stores, and the base model.
        tell: is told the progress.

    Raises:
        DataError: an arm has no pairs.
        ModelError, RunError: see `synthesize`.
    """
    arms: dict[str, ArmPairs] = {}
    for arm, forecast in forecast_arms(labelled, settings).items():
        out, base = folder / f"{arm}.parquet", None
        if arm == "west_of_n":
            base = _train_base(labelled, settings, folder / "base")
        if arm == "rmboost_judged" and "rmboost" in arms and not locate_store(out).exists():
            # The same requests: the completions of the other arm are taken, and only the judge is asked. By a rename,
            # so that a kill leaves no half of a store, which the next call would open.
            copy = folder / f".{locate_store(out).name}.partial"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(locate_store(folder / "rmboost.parquet"), copy)
            copy.rename(locate_store(out))
        prompts = choose_prompts(labelled, forecast.counts["prompts"])
        table = synthesize(prompts, Synthesize(method=build_method(arm, settings, base)), out, progress=tell)
        arms[arm] = ArmPairs(table, len(prompts), table.steps[-1].rows_in, forecast.total.calls)
    if HUMAN in settings.arms:
        most = max((len(each.table) for each in arms.values()), default=len(labelled))
        table = _draw_pairs(labelled, most)
        arms[HUMAN] = ArmPairs(table, table.frame["prompt_id"].n_unique(), len(table), 0)
    for arm, each in arms.items():
        if not len(each.table):
            raise DataError(
                f"no pair of {arm} is left of {each.proposed:,} that were proposed",
                remedy=f"look at {folder / arm}.rejects.parquet for the reasons, or leave the arm out",
                place=Place(path=str(folder)),
            )
    if settings.equal == "pairs":
        fewest = min(len(each.table) for each in arms.values())
        arms = {arm: replace(each, table=_draw_pairs(each.table, fewest)) for arm, each in arms.items()}
    return {arm: arms[arm] for arm in settings.arms}


def _draw_pairs(table: Table, count: int) -> Table:
    """Draw pairs; smaller numbers are parts of larger ones."""
    frame = table.frame.sort(draw_rank(_SEED, "pair_id")).head(count).drop("split", strict=False)
    return Table(PREFERENCE_PAIRS, frame, path=table.path)


def _train_base(labelled: Table, settings: RewardReproduction, folder: Path) -> RewardModelScorer:
    """Train the reward model that West-of-N takes its best and worst by."""
    train_reward_on(_draw_pairs(labelled, settings.base_pairs), settings.train, folder)
    return RewardModelScorer(model=str(folder / MODEL), dtype="float32")
