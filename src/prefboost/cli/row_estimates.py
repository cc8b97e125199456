"""Estimates of ``--on`` for verbs that read and write records and ask no model: `augment` and `select`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefboost.addresses import find_address
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefboost.costs import RowMachines
    from prefboost.runs.augment.settings import Augment
    from prefboost.runs.select.settings import SelectCompletions
    from prefboost.sources import Source

__all__ = ["RowWork", "estimate_augment", "estimate_select", "measure_work"]


@dataclass(frozen=True)
class RowWork:
    """Input and output of a verb, as far as its cost depends on them.

    Args:
        records: of the input.
        part_records: records of a part, where no setting says how many.
        read_bytes: read from an object store, by all processes.
        shards: processes that share the work.
        output: what is written to an address; None: nothing.
    """

    records: int
    part_records: int
    read_bytes: float
    shards: int
    output: Literal["folder", "file"] | None


def measure_work(source: Any, machines: RowMachines, shard: str | None, out: Path | None) -> RowWork:
    """Measure the input of a verb by what its files tell.

    Args:
        source: a name, or the settings of a source.
        machines: name the number of records where the files do not tell it.
        shard: as given.
        out: as given.

    Raises:
        SettingsError: nothing tells how many records there are.
    """
    from prefboost.runs.augment.output import count_records
    from prefboost.runs.folder.manifest import list_input_files
    from prefboost.runs.folder.output_place import name_source
    from prefboost.runs.shards import Shard
    from prefboost.sources.readers.raw import BATCH_BYTES, MOST_ROWS
    from prefboost.sources.readers.remote import find_version
    from prefboost.sources.writers.file_types import names_single_file

    name = name_source(source)
    files = list_input_files(name)
    counted = count_records(files)
    records = machines.records or counted
    if records is None:
        raise SettingsError("the input does not tell how many records it has", remedy="add --on records=N")
    is_far = find_address(name) is not None
    size = find_version(name)[0] if is_far else sum(path.stat().st_size for path in files)
    # A file that is a sample of the input tells how large a record is.
    record_bytes = size / (counted or records)
    part = min(MOST_ROWS, max(1, int(BATCH_BYTES / max(record_bytes, 1))))
    shards = 1 if shard is None else Shard.parse(shard).count
    output: Literal["folder", "file"] | None = None
    if out is not None and find_address(out) is not None:
        output = "file" if names_single_file(out) else "folder"
    # Every shard reads the whole input.
    return RowWork(records, part, size * shards if is_far else 0, shards, output)


def estimate_augment(
    work: tuple[str | Source, Augment], on: list[str] | None, executor: str, shard: str | None, out: Path | None = None
) -> dict[str, float]:
    """Estimate time, price and traffic of `augment` on the machines of ``--on``; empty without them.

    Raises:
        SettingsError: no such machines can be, or the input does not tell how many records it has.
    """
    if not on:
        return {}
    from prefboost.cli.overrides import read_overrides
    from prefboost.costs import RowMachines, estimate_rows, estimate_traffic

    (data, settings), machines = work, read_overrides(RowMachines, on)
    rows = measure_work(data, machines, shard, out)
    part = settings.batch_rows or rows.part_records
    traffic = estimate_traffic(rows.records, part, machines, read_bytes=rows.read_bytes, output=rows.output)
    return {**estimate_rows(rows.records, part, machines, executor=executor, shards=rows.shards), **traffic}


def estimate_select(
    work: tuple[str, SelectCompletions],
    on: list[str] | None,
    places: tuple[str, str | None, Path],
    preview: Mapping[str, Any],
) -> dict[str, float]:
    """Estimate time, price and traffic of `select` on the machines of ``--on``; empty without them.

    A record is taken to cost what one of `augment` does, and the whole input to be like its first records.

    Args:
        work: the input and the settings.
        on: ``key=value`` of machines.
        places: executor, shard and output, as given.
        preview: counts of the first records.

    Raises:
        SettingsError: see `estimate_augment`.
    """
    if not on:
        return {}
    from prefboost.cli.overrides import read_overrides
    from prefboost.costs import RowMachines, estimate_rows, estimate_select_traffic

    (source, settings), (executor, shard, out) = work, places
    machines = read_overrides(RowMachines, on)
    rows = measure_work(source, machines, shard, out)
    share = preview["kept"] / max(preview["rows"], 1)
    if "shuffled_bytes" not in machines.model_fields_set:
        # Tasks leave each other the rows themselves, to bring them into the order of the input.
        machines = machines.model_copy(update={"shuffled_bytes": share * machines.output_bytes})
    selected = round(rows.records * share)
    parts = -(-rows.records // settings.file_records)
    traffic = estimate_select_traffic(
        selected, rows.records - selected, parts, machines, read_bytes=rows.read_bytes, output=rows.output
    )
    return {
        **estimate_rows(rows.records, rows.part_records, machines, executor=executor, shards=rows.shards),
        **traffic,
    }
