"""On a real cluster of several nodes: the same bytes, also when a worker, a node or the driver dies in mid-run."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from ray.util.annotations import RayDeprecationWarning  # noqa: E402
from tests.runs.ray.rows import build_cases, read_output  # noqa: E402

from prefboost.cli.main import main  # noqa: E402
from prefboost.errors import DataError, Place, RunError  # noqa: E402
from prefboost.progress import WorkProgress  # noqa: E402
from prefboost.recipes.executors import OnRay  # noqa: E402
from prefboost.runs.augment.augment import augment  # noqa: E402
from prefboost.runs.augment.settings import Augment  # noqa: E402
from prefboost.runs.ray import data_spread  # noqa: E402
from prefboost.runs.ray.cluster import open_cluster  # noqa: E402
from prefboost.runs.ray.data import augment_on  # noqa: E402
from prefboost.runs.ray.data_plan import Item  # noqa: E402
from prefboost.runs.ray.data_spread import SpreadByRay  # noqa: E402

SOURCE = Path(__file__).parents[3] / "src"


@pytest.fixture(scope="module")
def spread(cluster: Any) -> Iterator[SpreadByRay]:
    """A spread of the session's cluster: workers, once started, serve all tests."""
    with open_cluster(OnRay(address=cluster.address)) as opened:
        yield SpreadByRay(opened)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Augment]]:
    return build_cases(tmp_path_factory.mktemp("rows"))


def test_results_arrive_once_each_and_an_error_of_ours_as_it_was_raised(spread: SpreadByRay) -> None:
    assert sorted(spread(lambda number: number * number, range(9))) == [number * number for number in range(9)]
    assert list(spread(str, [])) == []

    def fail(number: int) -> None:
        raise DataError(f"no score in {number}", remedy="name one", place=Place("rows.jsonl"))

    for items in ([7], range(3)):
        with pytest.raises(DataError, match="no score in") as caught:
            list(spread(fail, items))
        assert caught.value.remedy == "name one" and caught.value.place == Place("rows.jsonl")

    def lack(number: int) -> None:
        raise ImportError("Install s3fs to access S3")

    with pytest.raises(RunError, match="a node lacks a library: Install s3fs"):
        list(spread(lack, [7]))


def test_no_argument_is_used_that_ray_withdraws(spread: SpreadByRay) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RayDeprecationWarning)
        assert sorted(spread(str, [1, 2])) == ["1", "2"]


def test_a_part_over_which_worker_after_worker_dies_is_given_up(
    spread: SpreadByRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_spread, "_RETRIES", 0)
    with pytest.raises(RunError, match="workers died over one part"):
        list(spread(lambda _: os._exit(1), range(2)))


class Deadly(SpreadByRay):
    """A spread whose worker dies once for some items of parts: made, but not yet told."""

    def __init__(self, inner: SpreadByRay, marks: Path) -> None:
        self.tasks, self.folder, self.marks = inner.tasks, inner.folder, marks

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        def die_once(marks: Path, item: Any) -> Any:
            result, mark = work(item), marks / getattr(item, "name", "")
            if isinstance(item, Item) and item.start == 0 and not mark.exists():
                mark.touch()
                os._exit(1)
            return result

        return super().__call__(partial(die_once, self.marks), items)


def test_a_killed_worker_costs_the_part_in_flight(
    spread: SpreadByRay, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases["ids and splits"]
    (marks := tmp_path / "marks").mkdir()
    augment(source, tmp_path / "here" / "out", settings)
    augment_on(Deadly(spread, marks), source, tmp_path / "many" / "out", settings)
    assert list(marks.iterdir()), "a worker died"
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_a_removed_node_costs_the_parts_in_flight(
    cluster: Any, spread: SpreadByRay, spare_node: Any, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    local, settings = cases["row groups"]
    # An address of a file system that all nodes reach, whose Parquet is fetched by row groups.
    source = f"file://{local}"
    augment(source, tmp_path / "here" / "out", settings)
    wide = SpreadByRay.__new__(SpreadByRay)
    wide.tasks, wide.folder = 3, spread.folder

    def remove_once(work: WorkProgress) -> None:
        if work.done and spare_node in cluster.worker_nodes:
            cluster.remove_node(spare_node, allow_graceful=False)

    augment_on(wide, source, tmp_path / "many" / "out", settings, progress=remove_once)
    assert spare_node not in cluster.worker_nodes, "the node was removed in mid-run"
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


DRIVER = """
import os, sys
from threading import Event
from prefboost.cli.main import main
from prefboost.runs.ray.data_spread import SpreadByRay
fatal = sys.argv.pop(1)
def die_in_mid_pass(spread, work, items, run=SpreadByRay.__call__):
    def do_first_half(item):
        # The others are in work when this process dies, however quick they are.
        return work(item) if items.index(item) * 2 < len(items) else Event().wait()
    for result in run(spread, do_first_half if fatal in str(work) else work, items):
        yield result
        if fatal in str(work) and result:
            os._exit(9)
SpreadByRay.__call__ = die_in_mid_pass
sys.exit(main())
"""
"""The command as it is; it dies when a pass has made something, and those who called for it know."""


def run_until_death(fatal: str, command: Sequence[str]) -> None:
    """Run a command in a process that dies in the midst of a pass, named by its function."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
    killed = subprocess.run([sys.executable, "-c", DRIVER, fatal, *command], env=environment, check=False)
    assert killed.returncode == 9


def test_a_killed_driver_resumes_after_the_finished_parts_at_an_address(
    cluster: Any, spread: SpreadByRay, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases["scattered"]
    augment(source, tmp_path / "here" / "out", settings)
    # The address of a file system that the processes of all nodes reach, as they reach an object store.
    out = f"file://{tmp_path}/many/out"
    command = ["augment", str(source), "batch_rows=7", "-o", out, "--json"]
    command += ["--executor", "ray", "--address", cluster.address, "--tasks", "1"]
    run_until_death("write_item", command)
    assert not (tmp_path / "many" / "out").exists()
    report = augment_on(spread, source, out, settings)
    assert 0 < report.parts_found < report.parts
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_a_select_whose_driver_was_killed_is_finished_by_the_same_command(
    cluster: Any, spread: SpreadByRay, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, out = cases["several files"][0], tmp_path / "many" / "best.jsonl"
    command = ["select", str(source), "kind=best_of_n", "select.dedupe=prompt", "-o"]
    assert main([*command, str(tmp_path / "here" / "best.jsonl")]) == 0
    ray_options = ["--executor", "ray", "--address", cluster.address, "--tasks", "1"]
    run_until_death("make_table_item", [*command, str(out), *ray_options])
    assert not out.exists() and list(out.parent.glob(".best.jsonl.partial/made.*.json"))
    assert main([*command, str(out), *ray_options]) == 0
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


@pytest.mark.torch
def test_a_recipe_prepares_its_data_where_it_says_and_an_option_wins(
    cluster: Any, spread: SpreadByRay, cases: dict[str, tuple[Path, Augment]], tiny_model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "r.yaml").write_text(
        f"name: r\ndata: {cases['row groups'][0]}\nscale: min_max\ntrain: {{model: {tiny_model}}}\n"
        f"executor: {{kind: ray, address: '{cluster.address}', tasks: 1}}\n"
    )
    passes: list[Any] = []
    run_pass = SpreadByRay.__call__
    monkeypatch.setattr(
        SpreadByRay, "__call__", lambda self, work, items: passes.append(self.tasks) or run_pass(self, work, items)
    )
    command = ["run", str(tmp_path / "r.yaml"), "--until", "pairs", "--json", "--runs-dir"]
    assert main([*command, str(tmp_path / "here"), "--executor", "local"]) == 0 and not passes
    assert main([*command, str(tmp_path / "many"), "--tasks", "2"]) == 0 and set(passes) == {2}
    outputs = [read_output(tmp_path / place / "r") for place in ("here", "many")]
    assert all(outputs[0][name] == outputs[1][name] for name in ("pairs.parquet", "rejects.parquet"))
    assert set(outputs[0]) == set(outputs[1]), "nothing else is left"
