"""Tables of verbs and of recipes by many: `select`, the goal pairs of an offline recipe, and pairs as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.addresses import find_address
from prefboost.errors import Place, RunError, SettingsError
from prefboost.preferences.accept import UNSCORED, accept
from prefboost.preferences.condition import resolve_place
from prefboost.preferences.score_hint import refuse_unscored_completions
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.recipe import Recipe
from prefboost.runs.augment.settings import Augment
from prefboost.runs.outputs import write_output
from prefboost.runs.preparation import list_goal_aspects, make_goal_pairs
from prefboost.runs.ray.data_plan import Spread
from prefboost.runs.ray.data_tables import Verbs, find_collection, open_table
from prefboost.runs.select import SelectCompletions, count_part, drop_cut_completions, sum_counts
from prefboost.settings import dump_with_kind
from prefboost.sources.writers.file_types import find_file_type
from prefboost.sources.writers.outputs import companions, refuse_foreign, refuse_inputs
from prefboost.tables import Table

if TYPE_CHECKING:
    from prefboost.chat.template import Render

__all__ = ["choose_selection", "pair_on", "prepare_on", "select_on"]


def select_on(
    spread: Spread,
    source: Any,
    how: SelectCompletions,
    out: str | Path,
    *,
    overwrite: bool = False,
    rows: int | None = None,
) -> Mapping[str, Any]:
    """Do what `prefboost.runs.select.select_completions` does, by tasks that see the same disk.

    Args:
        spread: runs the tasks.
        source: of files; not a stream.
        how, overwrite: see there.
        out: a file on a disk that all tasks see.
        rows: records per part, about.

    Returns:
        the counts that it writes to ``OUT.select.json``.

    Raises:
        RunError: the source is no files, the output is an address, the input, not of `select`, or holds other rows.
        DataError: the source cannot be read, or has no scored completions.
    """
    if find_address(out) is not None:
        raise RunError(
            "parts are made on a disk that all nodes share, and an address is none",
            remedy="give a file on such a disk with -o, and copy it when it is finished",
            place=Place(str(out)),
        )
    find_file_type(Path(out))
    files = companions(out, ".select.json")
    refuse_inputs(files, [find_collection(source)])
    refuse_foreign(files, files[-1:], "select")
    selection = Augment(select=how.select, columns=how.columns, batch_rows=rows)
    begin = drop_cut_completions if how.cut == "drop" else None
    with open_table(spread, source, Path(out), selection, begin=begin, key=how.model_dump(mode="json")) as job:
        selected, parts = job.make(partial(accept, strategy=how.strategy, is_part=True), count=count_part)
        chosen = selected.steps[-1]
        if chosen.rejected.get(UNSCORED) == chosen.rows_in > 0:
            refuse_unscored_completions(replace(selected, frame=selected.frame.clear(1)), "selected by it")
        counts = sum_counts(parts, selected)
        history = {"select": lambda _: counts}
        write_output(selected, Path(out), history=history, format=how.format, overwrite=overwrite)
    return counts


def prepare_on(spread: Spread, recipe: Recipe, render: Render | None, place: Path, *, rows: int | None = None) -> Table:
    """Do what `prefboost.runs.pipelines.offline.prepare` does, by tasks that see the same disk.

    Args:
        spread: runs the tasks.
        recipe: see there; its data are files.
        render: the chat template of the model to train.
        place: a file beside which parts wait, on a disk that all tasks see.
        rows: records per part, about.

    Raises:
        SettingsError: a setting needs the whole table in one process.
    """
    if recipe.scale is None:
        raise SettingsError(
            "scale: null takes the range of goals from all pairs at once, which a cluster does not hold",
            remedy="name a scale, such as scale: min_max; or write executor: local",
        )
    where, because = resolve_place(recipe.condition, render)
    say = recipe.condition.model_copy(update={"place": where})
    key = [dump_with_kind(each) for each in (recipe.scale, recipe.keep, recipe.pair, recipe.relabel, say)]
    with open_table(spread, recipe.data, place, choose_selection(recipe, rows), key=key) as job:
        scales = job.fit(recipe.scale, list_goal_aspects(recipe))
        settings = Augment(keep=recipe.keep, pair=recipe.pair, relabel=recipe.relabel)
        table, _ = job.make(partial(make_goal_pairs, settings=settings, scales=scales, say=say), scales=scales)
    # Tasks were told the place, and not why it is there.
    last = table.steps[-1]
    return replace(table, steps=(*table.steps[:-1], replace(last, notes={**last.notes, "because": because})))


def pair_on(spread: Spread, source: Any, selection: Augment, verb: Verbs, place: Path, *, key: Any) -> Table:
    """Read and select rows and make pairs of them, by tasks that see the same disk.

    Args:
        spread: runs the tasks.
        source: of files.
        selection: see `open_table`.
        verb: makes the pairs of a part.
        place: a file beside which parts wait, on a disk that all tasks see.
        key: JSON values of the verb's settings.
    """
    with open_table(spread, source, place, selection, key=key) as job:
        return job.make(verb)[0]


def choose_selection(recipe: Recipe | ImplicitRewards, rows: int | None = None) -> Augment:
    """Return the settings by which tasks select the rows of a recipe.

    Raises:
        SettingsError: tokens are counted by a tokenizer that tasks do not load.
    """
    tokenizer = None
    if recipe.select is not None and recipe.select.counts_tokens:
        if recipe.train.revision is not None or recipe.train.trust_remote_code:
            raise SettingsError(
                "a limit of select is in tokens of a model with train.revision or train.trust_remote_code, whose "
                "tokenizer the nodes of a cluster do not load",
                remedy="download the model and name its folder; set the limit in words; or write executor: local",
            )
        tokenizer = recipe.train.model
    return Augment(select=recipe.select, decontaminate=recipe.decontaminate, tokenizer=tokenizer, batch_rows=rows)
