"""The files beside an output: its rejects, its store, and the history of what was done."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prefboost.addresses import SEGMENTS, find_address
from prefboost.atomic import replace_atomically, write_atomically
from prefboost.sources.readers.remote import guard_address, put_files
from prefboost.sources.write import write
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.tables import Table

if TYPE_CHECKING:  # data verbs write outputs too, and ask no engine
    from prefboost.engines.store.interface import AnswerStore

__all__ = [
    "locate_rejects",
    "locate_sign",
    "locate_store",
    "open_target",
    "place_store",
    "write_history",
    "write_output",
    "write_rejects",
    "write_sorted_rejects",
]


def locate_store(out: str | Path) -> Path:
    """Return the folder beside an output that keeps every completion as it finishes."""
    target = Path(out)
    return target.with_name(f"{target.name}.store")


def place_store(out: str | Path | None, store: str | Path | None) -> str | Path | None:
    """Return the place of a verb's store: the one that is named, or the folder or address beside its output.

    ``segments:`` alone is that folder, with a store of segments; without output and name there is none.
    """
    if out is not None and str(store) == SEGMENTS:
        return f"{SEGMENTS}{locate_store(out)}"
    return store if store is not None else None if out is None else locate_store(out)


def locate_sign(out: str | Path | None, store: str | Path | None) -> str | Path | None:
    """Return the folder or address of a verb's store, by which its outputs are known as its own."""
    from prefboost.engines.store.opening import find_segments

    place = place_store(out, store)
    return None if place is None else find_segments(place) or place


def locate_rejects(out: str | Path) -> Path:
    """Return the file of rejects beside an output: one row per prompt, with the reason."""
    target = Path(out)
    return target.with_name(f"{target.name}.rejects.parquet")


def write_output(
    table: Table,
    target: Path,
    *,
    store: AnswerStore | None = None,
    history: Mapping[str, Callable[[Table], Mapping[str, Any]]] | None = None,
    format: str = "prefboost",
    overwrite: bool = True,
) -> Table:
    """Write a verb's table, its rejects and its history.

    Args:
        table: the rows, with their rejects.
        target: ``.parquet`` or ``.jsonl`` file, or the address of one, to which all is put once it is whole here.
        store: excludes other processes that work on the same output, so that files of two calls do not mix.
        history: verb, which names the file ``OUT.VERB.json`` -> what counts the written rows for it.
        format: see `prefboost.sources.write.write`.
        overwrite: replace other rows.

    Returns:
        the table as it was written.
    """
    with open_target(target, table, overwrite=overwrite, store=store) as place:
        written = write(table, place, format=format, overwrite=overwrite)
        write_sorted_rejects(written.read_sorted_rejects(), locate_rejects(place))
        for verb, count in (history or {}).items():
            write_history(written, place.with_name(f"{place.name}.{verb}.json"), count(written))
    return written


@contextmanager
def open_target(target: Path, source: object, *, overwrite: bool, store: AnswerStore | None = None) -> Iterator[Path]:
    """Give the place of a verb's output: the target, or one on this machine, whose files go to its address at the end.

    Args:
        target: a path or an address.
        source: what is read; see `prefboost.sources.readers.remote.guard_address`.
        overwrite: what stands at the address may be replaced.
        store: excludes other processes while files are written.
    """
    alone = nullcontext() if store is None else store.exclude_others()
    if (address := find_address(target)) is None:
        with alone:
            yield target
        return
    folder, _, name = address.rpartition("/")
    if not overwrite:
        guard_address(address, source, overwrite=False)
    with tempfile.TemporaryDirectory(prefix="prefboost-") as here:
        # Once it is whole: whoever reads there sees files of one call, but not all of them at one moment.
        yield Path(here) / name
        with alone:
            put_files(Path(here), folder, absent=[locate_rejects(name).name])


def write_rejects(rejects: pl.DataFrame, path: Path) -> None:
    """Write the rows that were set aside, in their order; where there are none, a file of an earlier call goes."""
    write_sorted_rejects([rejects.sort("row", maintain_order=True)] if len(rejects) else [], path)


def write_sorted_rejects(frames: Iterable[pl.DataFrame], path: Path) -> None:
    """Write rejects that come in their order, frame by frame; without frames a file of an earlier call goes."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        path.unlink(missing_ok=True)
        return
    with replace_atomically(path) as waiting:
        FILE_TYPES["parquet"].write_all(chain([first], frames), waiting)


def write_history(table: Table, path: Path, counts: Mapping[str, Any]) -> None:
    """Write what was done to a table beside it: its steps, its scales, and counts."""
    steps: list[Mapping[str, Any]] = [
        {"verb": step.verb, "settings": dict(step.settings), "rows_in": step.rows_in, "rows_out": step.rows_out,
         "rejected": dict(step.rejected), "notes": dict(step.notes)}
        for step in table.steps
    ]  # fmt: skip
    scales = {name: scale.model_dump(mode="json") for name, scale in table.scales.items()}
    text = json.dumps({"steps": steps, "scales": scales, **counts}, indent=2, ensure_ascii=False, default=str)
    write_atomically(path, text + "\n")
