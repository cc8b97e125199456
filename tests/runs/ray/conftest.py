"""A Ray cluster of this machine with several nodes, for the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from waiting import PATIENCE_S, wait_until

ray = pytest.importorskip("ray")

T = TypeVar("T")
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def find_node_patiently(find: Callable[..., Any], *arguments: Any) -> Any:
    """Find what a cluster knows of a node. Ray lets a node register for half a minute: too short on a busy machine."""
    nodes: list[Any] = []

    def look() -> bool:
        with suppress(RuntimeError):
            nodes.append(find(*arguments))
        raylets = [child for child in psutil.Process().children() if child.name() == "raylet"]
        newest = max(raylets, key=psutil.Process.create_time, default=None)
        return bool(nodes) or (newest is not None and newest.status() == psutil.STATUS_ZOMBIE)

    wait_until(look, "the node registers with the cluster")
    if not nodes:
        raise ChildProcessError("the node ended before it had registered")
    return nodes[0]


def start_again(start: Callable[[], T]) -> T:
    """Start a node, several times: what it starts itself has half a minute for that, or the node ends."""
    attempts = 9
    while True:
        before = set(psutil.Process().children(recursive=True))
        try:
            return start()
        except Exception:
            attempts -= 1
            if not attempts:
                raise
        for left in set(psutil.Process().children(recursive=True)) - before:
            with suppress(psutil.NoSuchProcess):
                left.kill()


def start_head() -> Any:
    """Start a cluster with its first node."""
    from ray.cluster_utils import Cluster

    ray.shutdown()  # what a failed start has left
    return Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Head and one more node, a core each; a test that removes a node takes `spare_node`."""
    from ray._private import services

    source = str(Path(__file__).parents[3] / "src")
    with pytest.MonkeyPatch.context() as patch:
        # Nodes are processes, which find the package and the tests as this one does.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray gives workers the least share of a busy machine, on which they would hardly run.
        patch.setenv("RAY_worker_niceness", "0")
        # Short, since paths of sockets may have 107 characters, and those of pytest take half of them.
        folder = tempfile.mkdtemp(prefix="r-")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setattr(services, "get_node", partial(find_node_patiently, services.get_node))
        cluster = start_again(start_head)
        try:
            start_again(partial(cluster.add_node, **NODE))
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def connected(cluster: Any) -> Iterator[Any]:
    """One connection of this process for all tests of a file: each would take seconds to make its own."""
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()


@pytest.fixture
def spare_node(cluster: Any) -> Iterator[Any]:
    """One more node, to be removed in mid-run. A test that counts nodes takes `settled` besides."""
    node = start_again(partial(cluster.add_node, **NODE))
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture
def settled(cluster: Any) -> None:
    """Wait until the cluster lists its two nodes alone: it lists one that died for a quarter of a minute."""
    cluster.wait_for_nodes(timeout=PATIENCE_S)
