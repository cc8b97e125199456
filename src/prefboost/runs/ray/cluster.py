"""A Ray cluster: one that is there already, or one that is started on this machine for the time of a run.

This module alone decides how Ray is reached: lazily imported, quiet, with the same versions on every node.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from prefboost import __version__
from prefboost.errors import PrefboostError, RunError, require_extra
from prefboost.recipes.executors import OnRay

__all__ = ["Cluster", "find_cause", "load_ray", "open_cluster"]

_STORE_BYTES = 512 << 20
"""Object store of a cluster that is started here: parts go to disk, and the store holds counts and sketches."""

_CONNECT_S = 10.0
_PROBE_S = 120.0


@dataclass(frozen=True)
class Cluster:
    """An open cluster.

    Args:
        address: HOST:PORT.
        nodes: how many are alive.
        cores: of all of them.
        tasks: parts that may be in flight at once.
        started: whether it was started for this run.
    """

    address: str
    nodes: int
    cores: int
    tasks: int
    started: bool

    def __str__(self) -> str:
        where = "a Ray cluster of this machine" if self.started else f"the Ray cluster at {self.address}"
        return f"{where}: {self.nodes:,} nodes, {self.cores:,} cores, {self.tasks:,} parts at once"


def load_ray() -> Any:
    """Import Ray.

    Raises:
        MissingExtra: Ray is not installed.
    """
    # Read at import: neither usage reports nor warnings about accelerators that nothing here asks for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with require_extra("ray", "ray"):
        import ray
    return ray


@contextmanager
def open_cluster(settings: OnRay) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine; what was started or connected here is closed at the end.

    A process that is connected already, as a notebook may be, stays so.

    Raises:
        MissingExtra: Ray is not installed.
        RunError: the address does not answer, or Python, Ray or prefboost have other versions on a node.
    """
    ray = load_ray()
    address = settings.address or os.environ.get("RAY_ADDRESS")
    connected = ray.is_initialized()
    if not connected:
        _connect(ray, address)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        if connected or address is not None:
            _check_versions(ray, nodes)
        cores = int(ray.cluster_resources().get("CPU", 0))
        if not cores:
            raise RunError("no node of the Ray cluster offers a core", remedy="ray start --address ... --num-cpus N")
        started = not connected and address is None
        yield Cluster(
            ray.get_runtime_context().gcs_address, len(nodes), cores, settings.tasks or cores, started=started
        )
    finally:
        if not connected:
            ray.shutdown()


def find_cause(error: BaseException) -> BaseException:
    """Find what went wrong in a task, below the wrapping that Ray gives it.

    Returns:
        an error of prefboost where there is one, else the error as it came.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, PrefboostError):
            # Ray raises a class of both; this is the plain one, whose text has no traceback of a worker.
            plain = getattr(at, "cause", None)
            return plain if isinstance(plain, PrefboostError) else at
        at = getattr(at, "cause", None) or at.__cause__
    return error


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    # One task has one core, and Polars would start a thread per core of the node.
    environment = {"env_vars": {"POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", "1")}}
    if address is None:
        ray.init(
            address="local", object_store_memory=_STORE_BYTES, include_dashboard=False, runtime_env=environment, **quiet
        )
        return
    if "://" in address:
        raise RunError(
            f"{address} is the address of a Ray client, through which no rows are sent",
            remedy="start this command on a node of the cluster, with --address auto, or with ray job submit",
        )
    if address not in ("auto", "local"):
        _check_answers(address)
    try:
        ray.init(address=address, runtime_env=environment, **quiet)
    except RuntimeError as error:
        if "Version mismatch" not in str(error):
            raise
        raise RunError(
            f"the Ray cluster at {address} has other versions: {_describe_mismatch(str(error))}",
            remedy="start this command in the environment that the nodes have",
        ) from None
    except (ConnectionError, OSError) as error:
        raise RunError(
            f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}",
            remedy="ray start --head starts one on this machine; or leave the address out",
        ) from None


def _describe_mismatch(text: str) -> str:
    cluster, _, here = text.partition("This process")
    theirs, ours = (
        ", ".join(line.strip() for line in part.splitlines() if line.startswith("    ")) for part in (cluster, here)
    )
    return f"{theirs} there; {ours} here"


def _check_answers(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself would wait for it for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        if not host or not port.isdecimal():
            raise OSError("it is not HOST:PORT")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise RunError(
            f"no Ray cluster answers at {address}: {error.strerror or error}",
            remedy="`ray status` on its head node shows the address; or leave it out to start a cluster here",
        ) from None


def _check_versions(ray: Any, nodes: list[dict[str, Any]]) -> None:
    """See that every node computes with what this process has, by one short task on each."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def read_versions() -> dict[str, str]:
        # Sent by value: a node without prefboost could not import this module.
        import platform
        from importlib import metadata

        def find(name: str) -> str:
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                return "none"

        try:
            from prefboost import __version__ as version
        except ImportError:
            version = "none"
        return {
            "python": platform.python_version(),
            "prefboost": version,
            **{n: find(n) for n in ("polars", "pyarrow")},
        }

    here = {
        "python": platform.python_version(),
        "prefboost": __version__,
        **{name: metadata.version(name) for name in ("polars", "pyarrow")},
    }
    task = ray.remote(num_cpus=0, max_retries=1)(read_versions)
    answers = {
        node["NodeManagerAddress"] + "/" + node["NodeID"][:8]: task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    }
    differing = defaultdict(list)
    for name, answer in answers.items():
        try:
            there = ray.get(answer, timeout=_PROBE_S)
        except ray.exceptions.TaskUnschedulableError:
            continue  # a node that has left is listed as alive for some seconds
        except (ray.exceptions.RayError, TimeoutError) as error:
            differing[f"does not run a task ({str(error).splitlines()[0]})"].append(name)
            continue
        unlike = [f"{what} {there[what]}, not {here[what]}" for what in here if there[what] != here[what]]
        if unlike:
            differing[f"has {', '.join(unlike)}"].append(name)
    if differing:
        raise RunError(
            "; ".join(f"node {', '.join(sorted(names)[:3])} {what}" for what, names in differing.items()),
            remedy="install the same versions on every node: outputs would differ between them",
        )
