"""Settings of who does the work: this process, or the nodes of a Ray cluster. They change no byte of an output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prefboost.settings import Settings, choice

__all__ = ["EXECUTORS", "AnyExecutor", "OnRay", "OnThisMachine"]


class OnThisMachine(Settings):
    """Do the work in this process."""

    kind: Literal["local"] = Field("local", description="The executor's name in recipes.")


class OnRay(Settings):
    """Give the work to a Ray cluster, in parts that are repeated where a worker or a node dies."""

    kind: Literal["ray"] = Field("ray", description="The executor's name in recipes.")
    address: str | None = Field(
        None,
        description="HOST:PORT of the cluster, or auto for this machine's; none is that of RAY_ADDRESS, else one is "
        "started here for the time of the run.",
    )
    tasks: int | None = Field(
        None,
        ge=1,
        description="Parts in flight at once, and copies of each model; none is one part per core of the cluster, and "
        "as many copies as there is room for.",
    )


EXECUTORS: dict[str, type[Settings]] = {"local": OnThisMachine, "ray": OnRay}
"""Executors by kind; others cannot be plugged in."""

AnyExecutor = Annotated[OnThisMachine | OnRay, choice(EXECUTORS, others="(?!)")]
"""An executor by its kind. The pattern of other kinds fits none."""
