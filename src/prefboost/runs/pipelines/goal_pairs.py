"""Goal pairs of a recipe: made of a table, counted, written into a run folder, and split for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.atomic import replace_atomically
from prefboost.errors import DataError, Place
from prefboost.preferences import fit_scales
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.recipes.kinds import PolicyRecipe
from prefboost.recipes.on_policy import OnPolicy
from prefboost.runs.folder.manifest import names_input
from prefboost.runs.preparation import (
    Scales,
    build_renderer,
    choose_rows,
    count_tokens_by,
    list_goal_aspects,
    make_goal_pairs,
)
from prefboost.runs.table_pieces import PieceTable
from prefboost.sources.writers.file_types import cut_groups, write_groups
from prefboost.tables import EVALUATION_SPLITS, Table

if TYPE_CHECKING:
    from prefboost.chat.template import Render

__all__ = [
    "PAIRS",
    "REJECTS",
    "PairCounts",
    "choose_recipe_rows",
    "count_pairs",
    "list_input_paths",
    "load_renderer",
    "make_recipe_pairs",
    "read_stated_goals",
    "split_rows",
    "write_goal_pairs",
]

PAIRS, REJECTS = "pairs.parquet", "rejects.parquet"
"""Names of the goal pairs and of the rejected rows, in a run folder."""


@dataclass(frozen=True)
class PairCounts:
    """Counts of a recipe's data: one step per stage, and all rejected rows by reason."""

    goal_pairs: int
    steps: tuple[Mapping[str, Any], ...]
    rejected: Mapping[str, int] = field(default_factory=dict)


def choose_recipe_rows(recipe: PolicyRecipe, table: Table) -> Table:
    """Keep the rows that the recipe selects; the tokenizer of its model is loaded only where a limit is in tokens."""
    count_tokens = None
    if recipe.select is not None and recipe.select.counts_tokens:
        from prefboost.training.policy.model import load_policy_tokenizer

        count_tokens = count_tokens_by(load_policy_tokenizer(recipe.train))
    return choose_rows(table, recipe, count_tokens)


def make_recipe_pairs(recipe: PolicyRecipe, table: Table, render: Render | None, fitted: Scales | None = None) -> Table:
    """Make GoalPairs of scored rows, on scales that are fitted to them.

    Args:
        recipe: scale, keep, pair, relabel, condition.
        table: ScoredCompletions or PreferencePairs.
        render: the chat template of the model to train.
        fitted: the scales where they were fitted before; None fits them to this table.
    """
    if fitted is None and recipe.scale is not None:
        fitted = fit_scales(
            recipe.scale, [table], aspects=list_goal_aspects(recipe), declared=find_declared_range(table)
        )
    return make_goal_pairs(table, recipe, fitted or {}, recipe.condition, render)


def load_renderer(recipe: PolicyRecipe) -> Render:
    """Return the chat template of the model to train, as a function.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    from prefboost.training.policy.model import load_policy_tokenizer

    return build_renderer(load_policy_tokenizer(recipe.train))


def list_input_paths(recipe: PolicyRecipe) -> list[str]:
    """List paths, patterns and addresses that the recipe reads; data sets on the hub are pinned by their revision."""
    source = recipe.prompts if isinstance(recipe, OnPolicy) else recipe.data
    paths = [getattr(source, "path", None), *recipe.decontaminate]
    return [str(path) for path in paths if path and names_input(path)]


def count_pairs(table: Table | PieceTable) -> PairCounts:
    """Count goal pairs, the rows of every step, and rejects by reason."""
    pieces = table if isinstance(table, PieceTable) else PieceTable.of(table)
    steps = tuple(
        {"verb": step.verb, "rows_in": step.rows_in, "rows_out": step.rows_out, "rejected": dict(step.rejected)}
        for step in pieces.head.steps
    )
    return PairCounts(pieces.rows, steps, dict(pieces.rejected))


def write_goal_pairs(table: Table | PieceTable, folder: Path) -> dict[str, Any]:
    """Write goal pairs and rejects into a folder; of a table in pieces no more than a row group is in memory.

    Returns:
        Counts, steps, and how the goals stand in the prompts (`StatedGoals.record`), as JSON values.

    Raises:
        DataError: no pair is left.
    """
    pieces = table if isinstance(table, PieceTable) else PieceTable.of(table)
    counts = count_pairs(pieces)
    if not pieces.rows:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in counts.rejected.items())
        raise DataError(
            f"no goal pair is left to train on; rows rejected: {reasons or 'none, the input is empty'}",
            remedy="`prefboost inspect` shows what is in the data",
            place=Place(pieces.head.path),
        )
    # Rejects stand in the order of the file, whoever found them.
    for name, read in ((PAIRS, pieces.read_rows), (REJECTS, pieces.read_rejects)):
        with replace_atomically(folder / name) as waiting:
            write_groups(cut_groups(read()), waiting)
    goals = StatedGoals.of_table(pieces.head)
    return {
        "goal_pairs": counts.goal_pairs,
        "steps": list(counts.steps),
        "rejected": counts.rejected,
        **({} if goals is None else goals.record()),
    }


def read_stated_goals(recipe: PolicyRecipe, notes: Mapping[str, Any]) -> StatedGoals:
    """Return how goals stand in the pairs that a stage wrote.

    Args:
        recipe: settles it anew where an earlier version wrote the pairs, which noted the scales alone.
        notes: of that stage.
    """
    if "say" in notes:
        return StatedGoals.from_record(notes)
    scales = StatedGoals.from_record({"say": {}, "because": "", **notes}).scales
    return StatedGoals.settle(recipe.condition, scales, list_goal_aspects(recipe), load_renderer(recipe))


def split_rows(pairs: Any) -> tuple[Any, Any]:
    """Split an Arrow table into rows to train on, and those whose ``split`` is for evaluation (None without any)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "split" not in pairs.column_names:
        return pairs, None
    held_out = pc.fill_null(pc.is_in(pairs["split"], value_set=pa.array(EVALUATION_SPLITS)), False)
    evaluation = pairs.filter(held_out)
    return pairs.filter(pc.invert(held_out)), evaluation if len(evaluation) else None
