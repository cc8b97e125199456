"""A cluster is reached, or the error says in plain words why not."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from prefboost.errors import DataError, MissingExtra, Place, RunError  # noqa: E402
from prefboost.recipes.executors import OnRay  # noqa: E402
from prefboost.runs.ray import cluster as module  # noqa: E402
from prefboost.runs.ray.cluster import find_cause, load_ray, open_cluster  # noqa: E402


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"prefboost\[ray\]"):
        load_ray()


def test_an_address_at_which_nothing_listens_is_an_error_at_once() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with (
            pytest.raises(RunError, match=f"no Ray cluster answers at {address}"),
            open_cluster(OnRay(address=address)),
        ):
            pass


@pytest.mark.parametrize(("address", "word"), [("head", "HOST:PORT"), ("ray://head:10001", "Ray client")])
def test_an_address_of_another_form_is_refused(address: str, word: str) -> None:
    with pytest.raises(RunError, match=word), open_cluster(OnRay(address=address)):
        pass


@pytest.mark.usefixtures("settled")
def test_a_cluster_is_joined_left_and_described(cluster: Any) -> None:
    with open_cluster(OnRay(address=cluster.address, tasks=3)) as opened:
        assert (opened.address, opened.nodes, opened.cores, opened.tasks) == (cluster.address, 2, 2, 3)
        assert not opened.started and cluster.address in str(opened)
        with open_cluster(OnRay()) as inner:
            assert inner.address == opened.address and inner.tasks == 2
        assert ray.is_initialized(), "only whoever connected disconnects"
    assert not ray.is_initialized()


def test_nodes_with_another_version_are_named(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__version__", "99.0")
    with (
        pytest.raises(RunError, match=r"has prefboost \d\S*, not 99.0"),
        open_cluster(OnRay(address=cluster.address)),
    ):
        pass
    assert not ray.is_initialized()


@pytest.mark.usefixtures("settled")
def test_a_node_that_has_left_and_is_still_listed_is_passed_over(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def list_nodes(list_real: Any = ray.nodes) -> list[Any]:
        nodes = list_real()
        return [*nodes, {**nodes[0], "NodeID": "0" * len(nodes[0]["NodeID"])}]

    monkeypatch.setattr(ray, "nodes", list_nodes)
    with open_cluster(OnRay(address=cluster.address)) as opened:
        assert opened.cores == 2
    assert not ray.is_initialized()


def test_the_error_of_a_task_arrives_as_it_was_raised(cluster: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise DataError("no score", remedy="name one", place=Place("rows.jsonl", row=3))

    with open_cluster(OnRay(address=cluster.address)):
        with pytest.raises(DataError) as caught:
            ray.get(fail.remote())
        cause = find_cause(caught.value)
    assert type(cause) is DataError and str(cause) == "rows.jsonl, row 3: no score\n  -> name one"
    other = ValueError("a fault of ours")
    assert find_cause(other) is other


def test_verbs_without_an_executor_import_no_ray() -> None:
    code = "import sys, prefboost, prefboost.runs.augment.augment, prefboost.cli.augment, prefboost.cli.executors\n"
    code += "import prefboost.runs.pipelines.run\nsys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
