"""Costs of verbs that read and write records and ask no model: time, price, shuffles, object-store traffic."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from prefboost.costs.fleet import Fleet, Workload, estimate_cost
from prefboost.settings import Settings

__all__ = ["RowMachines", "estimate_rows", "estimate_select_traffic", "estimate_traffic"]

_ROW_US = {"local": 19.4, "ray": 38.2}
"""CPU microseconds of `augment` per record of short texts, as measured by benchmarks/ray_augment.py."""


_OUTPUT_REQUESTS, _PART_REQUESTS = 24, 8
"""Requests of `augment` to an object store, per output and per part with rejects, as counted in a run."""

_SELECT_REQUESTS, _SELECT_FOLDER_REQUESTS = 10, 20
"""Requests of `select` besides those of a folder's parts, for a single file and for a folder, as counted in a run."""

_REJECT_BYTES, _REJECT_PART_BYTES = 7.0, 3200.0
"""Bytes of a completion that `select` did not keep, and of a part that lists such ones, as counted in a run."""

_FILE_PART_BYTES = 2.1
"""Bytes of the parts of a single file, which are put together by the command, per byte of the file."""


class RowMachines(Settings):
    """Machines for which a dry run of `augment` or `select` estimates time and price."""

    nodes: int = Field(1, ge=1, description="Number of machines.")
    cores: int = Field(16, ge=1, description="Cores of a machine, each with a part or a shard at a time.")
    records: int | None = Field(None, ge=1, description="Records of the input; null: what its files tell.")
    row_us: float | None = Field(
        None,
        gt=0,
        description="CPU microseconds per record; null: 38.2 with --executor ray and 19.4 without, measured.",
    )
    read_us: float = Field(
        6.0, ge=0, description="Of these, what reading a record takes: each shard reads all of them."
    )
    part_ms: float = Field(72.0, ge=0, description="CPU milliseconds per part besides its records, measured.")
    driver_ms: float = Field(
        20.0, ge=0, description="Milliseconds of the command's own process per part on a cluster; assumed."
    )
    shuffled_bytes: float = Field(
        31.0,
        ge=0,
        description="Bytes per record that tasks of a cluster leave each other; measured 31 with ids, a fitted scale "
        "and select.dedupe=prompt, 2.5 without all three.",
    )
    output_bytes: float = Field(
        172.0, ge=0, description="Bytes per record of an output at an address; measured with short texts, as Parquet."
    )
    mtbf_hours: float | None = Field(None, gt=0, description="Mean hours between failures of a machine; null: none.")
    dollars: float | None = Field(None, ge=0, description="Price of a machine for an hour; null: unknown.")


def estimate_rows(
    records: int, part_records: int, machines: RowMachines, *, executor: str = "local", shards: int = 1
) -> dict[str, float]:
    """Estimate what `augment` costs on some machines.

    A cluster has parts on all cores, and a process that hands them out. Shards are processes without one, and each of
    them reads the whole input. Without either, one core does everything.

    Args:
        records: of the input.
        part_records: records of a part.
        machines: that do the work.
        executor: local or ray.
        shards: processes that share the work of the executor ``local``.

    Returns:
        ``hours``, ``machine_hours``, ``shuffled_bytes``, and ``dollars`` where a machine-hour has a price.
    """
    row_s = (_ROW_US[executor] if machines.row_us is None else machines.row_us) / 1e6
    part_s = machines.part_ms / 1e3
    fleet = Fleet(machines.nodes, machines.cores, machines.mtbf_hours or math.inf)
    if executor == "ray":
        driver_s = machines.driver_ms / 1e3
        work = Workload(
            records, row_s, part_records, part_s, driver_s, shuffled_bytes=machines.shuffled_bytes
        )  # fmt: skip
    else:
        read_s = min(machines.read_us / 1e6, row_s)
        parts = -(-records // part_records)
        work = Workload(shards, records * (read_s + (row_s - read_s) / shards) + parts * part_s / shards, 1)
        if shards == 1:
            fleet = Fleet(1, 1, fleet.mtbf_hours)
    cost = estimate_cost(work, fleet)
    held = cost.seconds * fleet.nodes / 3600
    estimate = {"hours": cost.seconds / 3600, "machine_hours": held, "shuffled_bytes": cost.shuffled_bytes}
    return estimate | ({} if machines.dollars is None else {"dollars": held * machines.dollars})


def estimate_traffic(
    records: int,
    part_records: int,
    machines: RowMachines,
    *,
    read_bytes: float,
    output: Literal["folder", "file"] | None,
) -> dict[str, float]:
    """Estimate what `augment` exchanges with an object store.

    Parts are put there, and copied by the store to a folder. A single file is put together by the command, which reads
    its parts and writes the file.

    Args:
        records: of the input.
        part_records: records of a part.
        machines: with the bytes of the output per record.
        read_bytes: of inputs at addresses, by all processes that read them.
        output: what is written to an address; None: nothing.

    Returns:
        ``object_read_bytes``, ``object_written_bytes`` and ``object_requests``; empty without addresses.
    """
    if output is None:
        return (
            {"object_read_bytes": read_bytes, "object_written_bytes": 0.0, "object_requests": 1.0} if read_bytes else {}
        )
    final = records * machines.output_bytes
    parts = final if output == "folder" else final * _FILE_PART_BYTES
    again = 0.0 if output == "folder" else 1.0
    return {
        "object_read_bytes": read_bytes + again * parts,
        "object_written_bytes": parts + again * final,
        "object_requests": float(_OUTPUT_REQUESTS + _PART_REQUESTS * -(-records // part_records)),
    }


def estimate_select_traffic(
    selected: int,
    rejected: int,
    parts: int,
    machines: RowMachines,
    *,
    read_bytes: float,
    output: Literal["folder", "file"] | None,
) -> dict[str, float]:
    """Estimate what `select` exchanges with an object store.

    A single file is written as a whole. Parts of a folder list what they did not keep; the command reads these lists
    and writes them as one file.

    Args:
        selected: completions that are written.
        rejected: completions that are listed as not kept.
        parts: files of a folder.
        machines, read_bytes, output: see `estimate_traffic`.

    Returns:
        see `estimate_traffic`.
    """
    if output is None:
        return estimate_traffic(selected, 1, machines, read_bytes=read_bytes, output=None)
    lists = rejected * _REJECT_BYTES
    in_parts = lists + parts * _REJECT_PART_BYTES if output == "folder" else 0.0
    requests = _SELECT_REQUESTS if output == "file" else _SELECT_FOLDER_REQUESTS + _PART_REQUESTS * parts
    return {
        "object_read_bytes": read_bytes + in_parts,
        "object_written_bytes": selected * machines.output_bytes + lists + in_parts,
        "object_requests": float(requests),
    }
