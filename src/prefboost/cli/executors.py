"""The options ``--executor``, ``--address`` and ``--tasks`` of verbs whose work may go to a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.errors import SettingsError
from prefboost.recipes.executors import EXECUTORS, OnRay, OnThisMachine

if TYPE_CHECKING:
    from prefboost.forecast import Forecast
    from prefboost.settings import Settings

__all__ = ["Address", "ExecutorName", "Tasks", "Workers", "read_executor", "share_models"]

ExecutorName = Annotated[
    str, typer.Option("--executor", metavar="local|ray", help="Who does the work; ray: the nodes of a cluster.")
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


def read_executor(kind: str, address: str | None, tasks: int | None) -> OnThisMachine | OnRay:
    """Read the executor from the options.

    Raises:
        SettingsError: there is no such executor, or an option of Ray stands without it.
    """
    if kind == "ray":
        return OnRay(address=address, tasks=tasks)
    if kind not in EXECUTORS:
        raise SettingsError(f"--executor {kind}: there is no such executor", remedy="--executor local or ray")
    for name, value in (("--address", address), ("--tasks", tasks)):
        if value is not None:
            raise SettingsError(
                f"{name} is for Ray, and this runs locally", remedy=f"add --executor ray, or drop {name}"
            )
    return OnThisMachine()


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
