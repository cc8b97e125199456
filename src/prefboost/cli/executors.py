"""The options ``--executor``, ``--address`` and ``--tasks`` of verbs whose work may go to a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from prefboost.errors import SettingsError
from prefboost.recipes.executors import EXECUTORS, OnRay, OnThisMachine

__all__ = ["Address", "ExecutorName", "Tasks", "read_executor"]

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
