"""From tables to a reward model: mix files, pair what is scored, set validation rows aside, train."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from prefboost.preferences import PAIR_STRATEGIES, AllPairs, PairStrategy, pair
from prefboost.preferences.gather import gather
from prefboost.preferences.mix import Mix, mix
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import read_recipe_text
from prefboost.recipes.validate import validate
from prefboost.runs.folder.executor import choose_executor
from prefboost.runs.outputs import write_rejects
from prefboost.runs.pipelines.goal_pairs import REJECTS, split_rows
from prefboost.settings import Settings, choice
from prefboost.sources import Columns, read
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.tables import SCORED_COMPLETIONS, Table
from prefboost.training import TrainReport, TrainReward, train_reward
from prefboost.training.reward.train import Origin

if TYPE_CHECKING:
    from prefboost.forecast import Forecast
    from prefboost.progress import Progress

__all__ = [
    "RewardRun",
    "load_reward_run",
    "read_mixture",
    "forecast_reward_run",
    "prepare_reward_rows",
    "train_reward_on",
]

_ALL_PAIRS = AllPairs()
_NO_COLUMNS = Columns()


class RewardRun(Settings):
    """Settings of ``prefboost train-reward``."""

    train: TrainReward = Field(description="Training of the reward model.")
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        AllPairs(), description="Pairs to make of a prompt's scored completions; plays no part for a regression."
    )
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")
    mix: Mix | None = Field(None, description="Several files of pairs as one, e.g. real and synthetic ones.")


def load_reward_run(recipe: str | Path, overrides: Iterable[str] = ()) -> RewardRun:
    """Read a recipe of a reward model: YAML with ``train``, and ``mix`` with the files of pairs.

    Args:
        recipe: the file.
        overrides: ``dotted.path=value``, applied in order.

    Raises:
        SettingsError: it cannot be read, or one line for every wrong setting.
    """
    path = Path(recipe)
    return validate(RewardRun, apply_overrides(parse(read_recipe_text(path), path=str(path)), overrides))


def read_mixture(settings: Mix, columns: Columns = _NO_COLUMNS) -> Table:
    """Read the parts of a mixture and draw from them.

    Args:
        settings: files, shares, weights, size.
        columns: of the files, where they are not guessed right.
    """
    return mix({name: read(part.data, columns=columns) for name, part in settings.parts.items()}, settings)


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
    evaluated on. Rows are told apart by their texts, whatever ids they have (`prefboost.preferences.gather`): each is
    trained on once, and no prompt is on both sides of the split. Rows set aside are in ``out/rejects.parquet``.

    Args:
        table: PreferencePairs, or ScoredCompletions, of which a loss that compares gets pairs.
        settings: how to train.
        out: run folder; the model is saved in ``out/model``.
        strategy: which scored completions of a prompt are compared.
        progress: is told how far training has come.

    Raises:
        RunError, DataError, ModelError: see `prefboost.training.reward.train`; the run folder lies around an input.
    """
    refuse_inputs([out], [], [settings])  # a run keeps the pairs that it trains on in the same folder
    prepared = prepare_reward_rows(table, settings, strategy)
    rows, evaluation = split_rows(prepared.frame.to_arrow())
    # Of the overall score and of aspects, where a scale or the source declares the range.
    declared = find_declared_range(prepared)
    ranges = {} if declared is None else {"overall": declared}
    ranges |= {name or "overall": (scale.values[0], scale.values[-1]) for name, scale in prepared.scales.items()}
    origin = Origin(dict(Counter(prepared.rejects["reason"].to_list())), ranges)
    report = train_reward(rows, settings, Path(out), eval_rows=evaluation, origin=origin, progress=progress)
    if choose_executor(os.environ).is_main_process:
        write_rejects(prepared.rejects, Path(out) / REJECTS)
    return report


def forecast_reward_run(table: Table, settings: TrainReward, *, strategy: PairStrategy = _ALL_PAIRS) -> Forecast:
    """Forecast the training of a reward model: steps, tokens, time, memory. Nothing is written.

    Args:
        table: as in `train_reward_on`.
        settings: how to train.
        strategy: which scored completions of a prompt are compared.

    Raises:
        DataError, ModelError: see `prefboost.training.reward.train`.
    """
    from prefboost.training.forecast import forecast_reward

    rows, evaluation = split_rows(prepare_reward_rows(table, settings, strategy).frame.to_arrow())
    return forecast_reward(rows, settings, eval_rows=evaluation)


def prepare_reward_rows(table: Table, settings: TrainReward, strategy: PairStrategy = _ALL_PAIRS) -> Table:
    """Prepare the rows to train and evaluate on: pairs where the loss compares, each once, by question."""
    if table.spec is SCORED_COMPLETIONS and settings.loss.compares:
        table = pair(table, strategy)
    return gather(table)
