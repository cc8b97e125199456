"""From a table to a reward model: pair what is scored, set validation rows aside, train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from prefboost.preferences import PAIR_STRATEGIES, AllPairs, PairStrategy, pair
from prefboost.runs.stages import split_rows
from prefboost.settings import Settings, choice
from prefboost.sources import Columns
from prefboost.tables import SCORED_COMPLETIONS, Table
from prefboost.training import TrainReport, TrainReward, train_reward

if TYPE_CHECKING:
    from prefboost.training.callbacks import Progress

__all__ = ["RewardRun", "train_reward_on"]

_ALL_PAIRS = AllPairs()


class RewardRun(Settings):
    """What ``prefboost train-reward`` does with a file."""

    train: TrainReward = Field(description="How the reward model is trained.")
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        AllPairs(), description="Which scored completions of a prompt are compared; plays no part for a regression."
    )
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")


def train_reward_on(
    table: Table,
    settings: TrainReward,
    out: str | Path = "reward_model",
    *,
    strategy: PairStrategy = _ALL_PAIRS,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a reward model: ``pb.train_reward(pb.read("pairs.jsonl"), pb.TrainReward(model=...))``.

    The same call after an interruption goes on where it stopped. Rows whose ``split`` is validation or test are
    evaluated on.

    Args:
        table: PreferencePairs, or ScoredCompletions, of which a loss that compares gets pairs.
        settings: how to train.
        out: run folder; the model is saved in ``out/model``.
        strategy: which scored completions of a prompt are compared.
        progress: is told how far training has come.

    Raises:
        RunError, DataError, ModelError: see `prefboost.training.train_reward`.
    """
    if table.spec is SCORED_COMPLETIONS and settings.loss.compares:
        table = pair(table, strategy)
    rows, evaluation = split_rows(table.frame.to_arrow())
    return train_reward(rows, settings, Path(out), eval_rows=evaluation, progress=progress)
