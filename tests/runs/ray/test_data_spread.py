"""On a real cluster of several nodes: the same bytes, also when a worker, a node or the driver dies in mid-run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray")

from tests.runs.ray.rows import build_cases, read_output  # noqa: E402

from prefboost.errors import DataError, Place, RunError  # noqa: E402
from prefboost.progress import WorkProgress  # noqa: E402
from prefboost.recipes.executors import OnRay  # noqa: E402
from prefboost.runs.augment.augment import augment  # noqa: E402
from prefboost.runs.augment.settings import Augment  # noqa: E402
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
    cluster: Any, spread: SpreadByRay, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases["row groups"]
    augment(source, tmp_path / "here" / "out", settings)
    extra = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20)]
    cluster.wait_for_nodes()
    wide = SpreadByRay.__new__(SpreadByRay)
    wide.tasks, wide.folder = 3, spread.folder

    def remove_once(work: WorkProgress) -> None:
        if work.done and extra:
            cluster.remove_node(extra.pop(), allow_graceful=False)

    augment_on(wide, source, tmp_path / "many" / "out", settings, progress=remove_once)
    assert not extra, "the node was removed in mid-run"
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


DRIVER = """
import os, sys
from prefboost.cli import bars
from prefboost.cli.main import main
if sys.argv.pop(1) == "die":
    from contextlib import contextmanager
    @contextmanager
    def show_work(**options):
        yield lambda work: os._exit(9) if work.label == "augmenting" and work.done else None
    bars.show_work = show_work
sys.exit(main())
"""


def test_a_killed_driver_resumes_after_the_finished_parts_at_an_address(
    cluster: Any, spread: SpreadByRay, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases["scattered"]
    augment(source, tmp_path / "here" / "out", settings)
    # The address of a file system that the processes of all nodes reach, as they reach an object store.
    out = f"file://{tmp_path}/many/out"
    command = ["augment", str(source), "batch_rows=7", "-o", out, "--json"]
    command += ["--executor", "ray", "--address", cluster.address, "--tasks", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
    killed = subprocess.run([sys.executable, "-c", DRIVER, "die", *command], env=environment, check=False)
    assert killed.returncode == 9 and not (tmp_path / "many" / "out").exists()
    report = augment_on(spread, source, out, settings)
    assert 0 < report.parts_found < report.parts
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
