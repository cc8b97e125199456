"""Prompts as items, and what became of requests as drafts."""

from __future__ import annotations

from collections.abc import Callable

from prefboost.engines.engine import Failure, Result
from prefboost.synthesis.proposal import BUDGET_SPENT, Draft, Proposal, build_draft, list_prompt_items
from prefboost.tables import Table


def test_every_prompt_is_taken_once(prompts: Callable[[int], Table]) -> None:
    import polars as pl

    table = prompts(3)
    doubled = Table(table.spec, pl.concat([table.frame, table.frame]))
    assert [item.prompt_id for item in list_prompt_items(doubled)] == ["q0", "q1", "q2"]


def test_outcomes_become_drafts() -> None:
    done = build_draft(Result(" hello \n", "length", 3, 4), "m")
    assert (done.text, done.raw, done.finish_reason, done.fault) == ("hello", " hello \n", "length", None)
    assert build_draft(None, "m").fault == (BUDGET_SPENT, "")
    assert build_draft(Failure("HTTP 500", 3), "m").fault == ("the engine gave no completion", "HTTP 500")


def test_a_fault_of_a_draft_is_the_pairs(prompts: Callable[[int], Table]) -> None:
    item = list_prompt_items(prompts(1))[0]
    assert Proposal(item, Draft("a"), Draft(fault=("x", "y"))).why_not == ("x", "y")
    assert Proposal(item, Draft("a"), Draft("b")).why_not is None
