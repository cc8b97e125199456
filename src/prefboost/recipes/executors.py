"""Settings of who does the work: this process, or the nodes of a Ray cluster. They change no byte of an output."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefboost.settings import Settings

__all__ = ["EXECUTORS", "OnRay", "OnThisMachine"]


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
    tasks: int | None = Field(None, ge=1, description="Parts in flight at once; none is one per core of the cluster.")


EXECUTORS: dict[str, type[Settings]] = {"local": OnThisMachine, "ray": OnRay}
"""Built-in executors by kind."""
