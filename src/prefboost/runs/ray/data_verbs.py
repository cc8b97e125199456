"""Tables of verbs and of recipes by many: `select`, the goal pairs of an offline recipe, and pairs as they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.addresses import find_address
from prefboost.atomic import replace_atomically
from prefboost.errors import SettingsError
from prefboost.preferences.condition import resolve_place
from prefboost.preferences.score_hint import refuse_unscored_completions
from prefboost.preferences.score_selection import UNSCORED, select_by_score
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.recipe import Recipe
from prefboost.runs.augment.settings import Augment
from prefboost.runs.outputs import locate_rejects, open_target, write_history, write_sorted_rejects
from prefboost.runs.preparation import list_goal_aspects, make_goal_pairs
from prefboost.runs.ray.data_order import RowFormat
from prefboost.runs.ray.data_plan import Spread
from prefboost.runs.ray.data_tables import TableJob, Verbs, find_collection, hash_table, open_table
from prefboost.runs.select.counts import count_part, sum_counts
from prefboost.runs.select.folder import SelectFolder
from prefboost.runs.select.select import drop_cut_completions
from prefboost.runs.select.settings import SelectCompletions
from prefboost.runs.table_pieces import PieceTable
from prefboost.settings import dump_with_kind
from prefboost.sources.readers.remote import guard_address
from prefboost.sources.write import find_extras, find_table_export, refuse_other_rows
from prefboost.sources.writers.file_types import find_file_type
from prefboost.sources.writers.outputs import list_output_files, refuse_foreign, refuse_inputs
from prefboost.tables import Table

if TYPE_CHECKING:
    from prefboost.chat.template import Render

__all__ = ["choose_selection", "count_shaped", "pair_on", "prepare_on", "select_into_folder", "select_on"]


def select_on(
    spread: Spread,
    source: Any,
    how: SelectCompletions,
    out: str | Path,
    *,
    overwrite: bool = False,
    rows: int | None = None,
) -> Mapping[str, Any]:
    """Do what `prefboost.runs.select.select.select_completions` does, by tasks; one row group is here at a time.

    Args:
        spread: runs the tasks.
        source: of files on a disk that all tasks see; not a stream.
        how, overwrite: see there.
        out: a file or folder on such a disk, or an address that all tasks reach.
        rows: records per part, about.

    Returns:
        the counts that it writes to ``OUT.select.json``, or to the manifest of a folder.

    Raises:
        RunError: the source is no files, the output is the input, not of `select`, or holds other rows.
        DataError: the source cannot be read, or has no scored completions.
    """
    collection = find_collection(source)
    folder = SelectFolder.at(out, how, source, in_place=True)
    selection = Augment(select=how.select, columns=how.columns, batch_rows=rows)
    if folder is not None:
        return select_into_folder(spread, source, selection, folder, overwrite=overwrite)
    target, kind = Path(out), find_file_type(Path(out))
    files = list_output_files(out, ".select.json")
    refuse_inputs(files, [collection], far=True)
    refuse_foreign(files, files[-1:], "select")
    if not overwrite and (address := find_address(out)) is not None:
        guard_address(address, source, overwrite=False)
    with _open_selected(spread, source, target, selection, how) as (job, head, parts):
        ordered = job.order(head, _choose_form(kind.ending, how, parts))
        table = ordered.as_table(head)
        counts = sum_counts(parts, table.rejected)
        with open_target(target, source, overwrite=overwrite) as place:
            with replace_atomically(place) as waiting:
                if kind.is_json:
                    kind.join(ordered.open_files("rows"), waiting)
                else:
                    kind.write_all(table.read_rows(), waiting)
                if not overwrite:
                    refuse_other_rows(waiting, place)
            write_sorted_rejects(table.read_rejects() if table.rejected else [], locate_rejects(place))
            write_history(head, place.with_name(f"{place.name}.select.json"), counts)
    return counts


def select_into_folder(
    spread: Spread, source: Any, selection: Augment, folder: SelectFolder, *, overwrite: bool
) -> Mapping[str, Any]:
    """Write an output folder of `select`: the nodes write its files, which are given their names here.

    Args:
        spread, source, overwrite, raises: see `select_on`.
        selection: which rows tasks read, and in what parts.
        folder: of the output.
    """
    finished = folder.read_finished()
    if finished is not None:
        return finished
    # As the parts are kept under this key, so that what a killed command was publishing is known as its own.
    folder = replace(folder, place=replace(folder.place, executor=f"ray {selection.batch_rows}"))
    folder.refuse_existing(overwrite=overwrite)
    how, path = folder.how, folder.place.path
    with _open_selected(spread, source, path, selection, how, parts_key=folder.place.parts_key) as (job, head, parts):
        for each in job.order(head, _choose_form(folder.kind.ending, how, parts)).ranges:
            if each["number"] not in job.staging.entries:
                counted = {"rows": each["rows"], "rejected": each["rejected"]}
                job.staging.add_described(each["number"], each["files"], {"made": counted})
        return folder.publish(job.staging, head, parts)


def _choose_form(ending: str, how: SelectCompletions, parts: Sequence[Mapping[str, Any]]) -> RowFormat:
    extras = {name for part in parts for name in part["extras"]}
    return RowFormat(ending, how.format, tuple(sorted(extras)))


@contextmanager
def _open_selected(
    spread: Spread,
    source: Any,
    place: Path,
    selection: Augment,
    how: SelectCompletions,
    *,
    parts_key: str | None = None,
) -> Iterator[tuple[TableJob, Table, list[Mapping[str, Any]]]]:
    """Select the rows of all parts; yield the job, the table without its rows, and the counts of the parts."""
    begin = drop_cut_completions if how.cut == "drop" else None
    key = parts_key or hash_table(source, selection, how.model_dump(mode="json"))
    with open_table(spread, source, place, selection, begin=begin, key=key) as opened:
        # Of one file for all rows, a piece of the input is a range.
        job = opened if parts_key is None else opened.cut_ranges(how.file_records)
        verb, count = partial(select_by_score, strategy=how.strategy, is_part=True), partial(count_shaped, how.format)
        head, parts = job.make(verb, count=count)
        chosen = head.steps[-1]
        if chosen.rejected.get(UNSCORED) == chosen.rows_in > 0:
            refuse_unscored_completions(replace(head, frame=head.frame.clear(1)), "selected by it")
        yield job, head, parts


def count_shaped(format: str, table: Table, selected: Table) -> Mapping[str, Any]:
    """Count a part as `count_part` does, and find what its rows need of the form that all are written in."""
    extras = find_extras(selected.frame, find_table_export(selected, format))
    return {**count_part(table, selected), "extras": extras}


@contextmanager
def prepare_on(
    spread: Spread, recipe: Recipe, render: Render | None, place: Path, *, rows: int | None = None
) -> Iterator[PieceTable]:
    """Do what `prefboost.runs.pipelines.offline.prepare` does, by tasks; the pieces are there while the block runs.

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
    verbs = [dump_with_kind(each) for each in (recipe.scale, recipe.keep, recipe.pair, recipe.relabel, say)]
    selection = choose_selection(recipe, rows)
    with open_table(spread, recipe.data, place, selection, key=hash_table(recipe.data, selection, verbs)) as job:
        scales = job.fit(recipe.scale, list_goal_aspects(recipe))
        settings = Augment(keep=recipe.keep, pair=recipe.pair, relabel=recipe.relabel)
        head, _ = job.make(partial(make_goal_pairs, settings=settings, scales=scales, say=say), scales=scales)
        # Tasks were told the place, and not why it is there.
        last = head.steps[-1]
        explained = replace(head, steps=(*head.steps[:-1], replace(last, notes={**last.notes, "because": because})))
        yield job.order(head).as_table(explained)


def pair_on(spread: Spread, source: Any, selection: Augment, verb: Verbs, place: Path, *, settings: Any) -> Table:
    """Read and select rows and make pairs of them, by tasks that see the same disk; all pairs are gathered here.

    Args:
        spread: runs the tasks.
        source: of files.
        selection: see `open_table`.
        verb: makes the pairs of a part.
        place: a file beside which parts wait, on a disk that all tasks see.
        settings: of the verb, as JSON values.
    """
    with open_table(spread, source, place, selection, key=hash_table(source, selection, settings)) as job:
        head, _ = job.make(verb)
        return job.order(head).as_table(head).collect()


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
