"""Workers that die are replaced, work that kills every worker is given up, and faults of a model come as they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefboost.devices.numbers import NUMBERS_FILE, keep_numbers
from prefboost.engines.pool import LostWork
from prefboost.errors import ModelError, RunError
from prefboost.runs.ray.asking_crew import BatchWorker, Copies, Crew


class Doubler:
    """A model that doubles numbers; it dies over 13 until the file exists, and always over -1."""

    def __init__(self, folder: str) -> None:
        if folder == "nowhere":
            raise ModelError("there is no such model", remedy="name another")
        self.folder = Path(folder)

    @property
    def identity(self) -> str:
        """Whatever the recorded number type is."""
        from prefboost.devices.numbers import read_recorded_numbers

        return f"doubler/{read_recorded_numbers()}"

    def double(self, numbers: list[int]) -> Iterator[int]:
        if -1 in numbers or (13 in numbers and not (self.folder / "died").exists()):
            (self.folder / "died").touch()
            os._exit(1)
        yield from (2 * number for number in numbers)


def build_crew(folder: Path | str, count: int = 2) -> Crew:
    # By value: workers do not find this file.
    import sys

    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return Crew(BatchWorker, Copies(count, 0, 0.25), (Doubler, (str(folder),)), lambda crew: None)


def test_the_work_of_a_worker_that_dies_is_done_by_another(connected: Any, tmp_path: Path) -> None:
    crew = build_crew(tmp_path)
    try:
        with ThreadPoolExecutor(crew.at_once) as threads:
            batches = [[number, number + 1] for number in range(0, 30, 2)]
            values = list(threads.map(lambda batch: crew.call("double", batch), batches))
        assert values == [[2 * number for number in batch] for batch in batches]
        assert (tmp_path / "died").exists()
        with pytest.raises(LostWork, match="3 workers died over these rows"):
            crew.call("double", [-1])
        assert crew.call("double", [4]) == [8], "other work goes on"
    finally:
        crew.close()
    with pytest.raises(RunError, match="closed"):
        crew.call("double", [4])


def test_a_model_that_cannot_be_opened_says_so_in_its_own_words(connected: Any) -> None:
    crew = build_crew("nowhere")
    try:
        with pytest.raises(ModelError, match="there is no such model") as error:
            crew.call("double", [1])
        assert error.value.remedy == "name another"
    finally:
        crew.close()


def test_workers_take_the_number_type_that_a_store_has_recorded_and_start_again_after_a_release(
    connected: Any, tmp_path: Path
) -> None:
    (tmp_path / NUMBERS_FILE).write_text(json.dumps({"numbers": "float16"}))
    crew = build_crew(tmp_path, 1)
    try:
        with keep_numbers(tmp_path / NUMBERS_FILE):
            assert crew.call("identity") == "doubler/float16"
        crew.release()
        assert crew.call("identity") == "doubler/float16"
    finally:
        crew.close()
