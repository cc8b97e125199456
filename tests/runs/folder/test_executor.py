"""Who does the work of a stage."""

from __future__ import annotations

import pytest

from prefboost.errors import RunError
from prefboost.runs.folder.executor import FirstOfMany, LocalExecutor, choose_executor


@pytest.mark.parametrize("executor", [LocalExecutor(), FirstOfMany(0)])
def test_work_is_done_here_only_if_it_is_not_done(executor: LocalExecutor | FirstOfMany) -> None:
    done: list[str] = []
    executor.see_to("data", lambda: bool(done), lambda: done.append("first"))
    executor.see_to("data", lambda: bool(done), lambda: done.append("second"))
    assert done == ["first"]


def test_other_processes_wait_and_never_work() -> None:
    looks = iter([False, False, True])

    def work() -> None:
        raise AssertionError("this falls to process 0")

    FirstOfMany(1, poll_s=0.001).see_to("data", lambda: next(looks), work)


def test_waiting_ends_with_an_error_that_names_the_stage() -> None:
    with pytest.raises(RunError, match="stage data of process 0"):
        FirstOfMany(3, wait_s=0.01, poll_s=0.001).see_to("data", lambda: False, lambda: None)


def test_the_executor_fits_the_launcher() -> None:
    assert isinstance(choose_executor({}), LocalExecutor)
    assert isinstance(choose_executor({"WORLD_SIZE": "", "RANK": ""}), LocalExecutor)
    assert isinstance(choose_executor({"WORLD_SIZE": "1", "RANK": "0"}), LocalExecutor)
    second = choose_executor({"WORLD_SIZE": "2", "RANK": "1"})
    assert isinstance(second, FirstOfMany)
    assert second.rank == 1
