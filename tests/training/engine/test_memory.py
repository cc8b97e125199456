"""Memory that runs short is asked for in smaller pieces, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prefboost.errors import RunError
from prefboost.training.engine.memory import TokenBudget, is_out_of_memory, peak_memory

SHORT = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError(SHORT), MemoryError()])
def test_what_says_that_memory_is_short(error: Exception) -> None:
    assert is_out_of_memory(error) and not is_out_of_memory(ValueError(SHORT))


def test_the_budget_is_halved_until_it_fits_and_what_was_left_is_undone() -> None:
    undone: list[int] = []

    def work(tokens: int) -> int:
        if tokens > 300:
            raise RuntimeError(SHORT)
        return tokens

    budget = TokenBudget(1000)
    assert budget.within(work, lambda: undone.append(1), "step 3") == 250
    assert budget.tokens == 250 and undone == [1, 1]
    assert budget.messages[0] == "memory ran short in step 3: token_budget 1,000 -> 500"


def test_a_lowered_budget_is_taken_up_again_unless_another_is_asked_for(tmp_path: Path) -> None:
    def work(tokens: int) -> None:
        if tokens > 300:
            raise RuntimeError(SHORT)

    kept = tmp_path / "checkpoints" / "token_budget.json"
    first = TokenBudget(1000, kept=kept)
    first.within(work, lambda: None, "step 3")
    again = TokenBudget(1000, kept=kept)
    assert (again.tokens, again.messages) == (250, first.messages)
    other = TokenBudget(2000, kept=kept)
    assert (other.tokens, other.messages) == (2000, [])


def test_several_processes_and_the_smallest_budget_give_up_with_a_remedy(tmp_path: Path) -> None:
    def work(tokens: int) -> None:
        raise torch.OutOfMemoryError("tried to allocate")

    kept = tmp_path / "token_budget.json"
    with pytest.raises(RunError, match=r"step 3 ran out of memory with token_budget 1,000") as error:
        TokenBudget(1000, alone=False, kept=kept).within(work, lambda: None, "step 3")
    assert "start the same command again: it resumes, with token_budget 500" in str(error.value)
    assert TokenBudget(1000, alone=False, kept=kept).tokens == 500
    with pytest.raises(RunError, match="even for one pair at a time"):
        TokenBudget(1000).within(work, lambda: None, "step 3")


def test_other_errors_pass() -> None:
    def work(tokens: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        TokenBudget(1000).within(work, lambda: None, "step 3")
    assert peak_memory(torch.device("cpu")) > 2**20
