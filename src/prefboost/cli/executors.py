"""The options ``--executor``, ``--address`` and ``--tasks`` of verbs whose work may go to a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, RunError, SettingsError
from prefboost.recipes.executors import EXECUTORS, OnRay, OnThisMachine

if TYPE_CHECKING:
    from prefboost.forecast import Forecast
    from prefboost.runs.augment.settings import Augment, AugmentReport
    from prefboost.runs.select.settings import SelectCompletions
    from prefboost.settings import Settings
    from prefboost.sources import Source

__all__ = [
    "Address",
    "ExecutorName",
    "RecipeExecutor",
    "Tasks",
    "Workers",
    "augment_by",
    "read_executor",
    "refuse_memory",
    "select_by",
    "settle_executor",
    "share_models",
]

ExecutorName = Annotated[
    str, typer.Option("--executor", metavar="local|ray", help="Who does the work; ray: the nodes of a cluster.")
]

RecipeExecutor = Annotated[
    str | None,
    typer.Option("--executor", metavar="local|ray", help="Who does the work, over the recipe's setting executor."),
]

Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="HOST:PORT of the Ray cluster, or auto; none: RAY_ADDRESS, else one is started here."
    ),
]

Tasks = Annotated[
    int | None, typer.Option("--tasks", min=1, help="Parts in flight on the cluster; none: one per core.")
]

Workers = Annotated[
    int | None,
    typer.Option("--tasks", min=1, help="Copies of each model on the cluster; none: as many as there is room for."),
]


def read_executor(
    kind: str, address: str | None, tasks: int | None, without: Mapping[str, object] | None = None
) -> OnThisMachine | OnRay:
    """Read the executor from the options.

    Args:
        kind, address, tasks: as given.
        without: options that a cluster excludes, and their values; None is not given.

    Raises:
        SettingsError: there is no such executor, an option of Ray stands without it, or one stands beside it that it
            excludes.
    """
    if kind == "ray":
        for name, value in (without or {}).items():
            if value is not None:
                raise SettingsError(f"{name} and --executor ray exclude each other", remedy="choose one of them")
        return OnRay(address=address, tasks=tasks)
    if kind not in EXECUTORS:
        raise SettingsError(f"--executor {kind}: there is no such executor", remedy="--executor local or ray")
    for name, value in (("--address", address), ("--tasks", tasks)):
        if value is not None:
            raise SettingsError(
                f"{name} is for Ray, and this runs locally", remedy=f"add --executor ray, or drop {name}"
            )
    return OnThisMachine()


def settle_executor(
    recipe: OnThisMachine | OnRay, kind: str | None, address: str | None, tasks: int | None
) -> OnThisMachine | OnRay:
    """Choose the executor of a recipe's run: options win over the recipe, setting by setting.

    Args:
        recipe: as the recipe says.
        kind, address, tasks: as given; None is not given.

    Raises:
        SettingsError: see `read_executor`.
    """
    if isinstance(recipe, OnRay) and kind in (None, "ray"):
        options = {"address": address, "tasks": tasks}
        return recipe.model_copy(update={name: value for name, value in options.items() if value is not None})
    return read_executor(kind or "local", address, tasks)


@contextmanager
def share_models(
    executor: OnThisMachine | OnRay, settings: Settings, *, one_at_a_time: bool = False
) -> Iterator[Callable[[Forecast], Forecast]]:
    """Let the models of a verb run where the executor says while the block runs.

    Args:
        executor: this machine, or a cluster.
        settings: of the verb.
        one_at_a_time: the verb opens one model after the other.

    Yields:
        a function that adds to a forecast how many workers each model would have.
    """
    if isinstance(executor, OnThisMachine):
        yield lambda forecast: forecast
        return
    from dataclasses import replace

    from prefboost.runs.ray.asking import describe_pool, open_pool

    with open_pool(executor, settings, one_at_a_time=one_at_a_time) as pool:
        yield lambda forecast: replace(forecast, remarks=[*forecast.remarks, *describe_pool(pool, settings)])


def augment_by(
    executor: OnThisMachine | OnRay,
    work: tuple[str | Source, Augment],
    out: Path,
    *,
    overwrite: bool,
    push_to: str | None,
    quiet: bool,
) -> AugmentReport:
    """Make goal pairs here, or by the nodes of a cluster.

    Args:
        executor: who does the work.
        work: the source and the settings.
        out: a folder or file; by a cluster, on a disk that all nodes share, or at an address that all of them reach.
        overwrite, push_to: see `prefboost.runs.augment.augment.augment`; nothing is pushed by a cluster.
        quiet: no progress bar.
    """
    from prefboost.cli.bars import show_work
    from prefboost.runs.augment.augment import augment

    source, settings = work
    if isinstance(executor, OnThisMachine):
        with show_work(hidden=quiet, begin="augmenting") as tell:
            return augment(source, out, settings, overwrite=overwrite, push_to=push_to, progress=tell)
    refuse_memory(out)
    refuse_memory(getattr(source, "path", source))
    from prefboost.runs.ray.cluster import open_cluster
    from prefboost.runs.ray.data import augment_on
    from prefboost.runs.ray.data_spread import SpreadByRay

    with open_cluster(executor) as cluster:
        if not quiet:
            print(f"on {cluster}", file=sys.stderr)
        with show_work(hidden=quiet, begin="augmenting") as tell:
            return augment_on(SpreadByRay(cluster), source, out, settings, overwrite=overwrite, progress=tell)


def select_by(
    executor: OnThisMachine | OnRay, source: str, settings: SelectCompletions, out: Path, *, overwrite: bool
) -> Mapping[str, Any]:
    """Select completions here, or by the nodes of a cluster, and return the counts."""
    from prefboost.runs.select.select import select_source

    if isinstance(executor, OnThisMachine):
        return select_source(source, settings, out, overwrite=overwrite)
    refuse_memory(out)
    refuse_memory(source)
    from prefboost.runs.ray.data_spread import open_spread
    from prefboost.runs.ray.data_verbs import select_on

    with open_spread(executor) as spread:
        return select_on(spread, source, settings, out, overwrite=overwrite)


def refuse_memory(place: object) -> None:
    """Refuse an input or output of a cluster at an address of this process alone.

    Raises:
        RunError: it is one.
    """
    if (find_address(str(place)) or "").startswith("memory:"):
        raise RunError(
            "memory:// belongs to one process, and the tasks of a cluster are others",
            remedy="give an address that every node reaches (s3://), or a folder of a disk that all share",
            place=Place(format_place(str(place))),
        )
