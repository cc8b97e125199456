"""A Ray cluster of this machine with several nodes, for the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")


def start_head(node: dict[str, Any]) -> Any:
    """Start a cluster. Ray gives its first node half a minute, which is too short on a busy machine."""
    from ray.cluster_utils import Cluster

    for _ in range(9):
        with suppress(Exception):
            return Cluster(initialize_head=True, head_node_args=node)
        ray.shutdown()
    return Cluster(initialize_head=True, head_node_args=node)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Head and one more node, a core each; a test that removes a node adds its own first."""
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
        node = {"num_cpus": 1, "object_store_memory": 80 << 20}
        cluster = start_head({**node, "include_dashboard": False})
        try:
            cluster.add_node(**node)
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
