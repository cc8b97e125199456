"""Tasks by Ray Data: a data set of items, whose Arrow batches are mapped by the function of a pass."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from prefboost.errors import DataError, PrefboostError, RunError
from prefboost.recipes.executors import OnRay
from prefboost.runs.ray.cluster import Cluster, load_ray, open_cluster

__all__ = ["SpreadByRay", "open_spread"]

_RETRIES = 20
"""Attempts after the first one, where a worker or a node dies; an error that a task raises is final."""

_REMEDY = "give each worker more memory or --tasks fewer; finished parts are kept, and the same command resumes"
_GIVEN_UP = pickle.dumps((None, (f"{_RETRIES + 1} workers died over one part", _REMEDY, None, False)))


class SpreadByRay:
    """A `prefboost.runs.ray.data_plan.Spread` over the nodes of a cluster.

    Args:
        cluster: open.
        folder: of this process, in which relative paths begin; every node sees it.
    """

    def __init__(self, cluster: Cluster, folder: Path | None = None) -> None:
        self.tasks = cluster.tasks
        self.folder = Path.cwd() if folder is None else folder

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield what ``work`` returns for each item, as tasks end. The items are few and small, the rows are not here.

        Raises:
            PrefboostError: as a task has raised it.
        """
        if not len(items):
            return
        ray = load_ray()
        import ray.data as ray_data

        context = ray_data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        folder, sent = str(self.folder), ray.put((work, list(items)))

        def carry_out(batch: pa.Table) -> pa.Table:
            # Ray Data repeats a task without end where its worker dies, and no argument that stays limits that.
            core = ray.get_runtime_context().worker.core_worker
            if getattr(core, "get_current_task_attempt_number", int)() > _RETRIES:
                return pa.table({"result": pa.array([_GIVEN_UP] * len(batch), pa.large_binary())})
            call, everything = ray.get(sent)
            results = [_call_in(folder, call, everything[number.as_py()]) for number in batch["id"]]
            return pa.table({"result": pa.array(results, pa.large_binary())})

        if len(items) == 1:  # a data set of one item costs more than its task
            alone = ray.remote(num_cpus=1, max_retries=_RETRIES)(_call_in)
            yield _open_result(ray.get(alone.remote(folder, work, items[0])))
            return
        dataset = ray_data.range(len(items), override_num_blocks=len(items)).map_batches(
            carry_out,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray_data.TaskPoolStrategy(size=min(self.tasks, len(items))),
        )
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from (_open_result(result.as_py()) for result in batch["result"])


@contextmanager
def open_spread(executor: OnRay) -> Iterator[SpreadByRay]:
    """Connect to a cluster, or start one, for the tasks of the block; raises what `open_cluster` raises."""
    with open_cluster(executor) as cluster:
        yield SpreadByRay(cluster)


def _call_in(folder: str, work: Callable[[Any], Any], item: Any) -> bytes:
    """Call a function in a folder; return its result or its error as bytes: Ray would wrap an error, and report it."""
    try:
        try:
            os.chdir(folder)
        except OSError as error:
            raise RunError(
                f"a node does not see the folder {folder}: {error.strerror}",
                remedy="run in a folder of a disk that all nodes share",
            ) from None
        return pickle.dumps((work(item), None))
    except PrefboostError as error:
        return pickle.dumps((None, (error.message, error.remedy, error.place, isinstance(error, DataError))))
    except ImportError as error:
        remedy = "install on every node what this machine has: s3fs for s3://, gcsfs for gs://"
        return pickle.dumps((None, (f"a node lacks a library: {error}", remedy, None, False)))
    except (OSError, pl.exceptions.PolarsError) as error:
        return pickle.dumps((None, error))


def _open_result(result: bytes) -> Any:
    value, error = pickle.loads(result)
    if isinstance(error, tuple):
        message, remedy, place, is_of_data = error
        raise (DataError if is_of_data else RunError)(message, remedy=remedy, place=place)
    if error is not None:
        raise error
    return value
