"""Proposals to pairs: lineage on every one, reasons for all others, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from made_writer import Writer

from prefboost.synthesis.edits import RMBoost
from prefboost.synthesis.filters import REASONS
from prefboost.synthesis.pairs import build_pairs_table
from prefboost.synthesis.proposal import Draft, Proposal, list_prompt_items
from prefboost.tables import Table

Prompts = Callable[[int], Table]
METHOD = RMBoost(generator=Writer.by())


def proposal(prompts: Prompts, wins: float, **changes: object) -> Proposal:
    first = Draft("one fine answer on rivers", "m", "stop", " one fine answer on rivers")
    second = Draft("quite another answer on rivers", "n", "length", "plan ==== quite another answer on rivers", "plan")
    made = Proposal(
        list_prompt_items(prompts(1))[0], first, second, wins, "x", {"direction": "better", "aspects": ["wit"]}
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_pair_carries_how_it_came_about(prompts: Prompts) -> None:
    row = build_pairs_table(prompts(1), METHOD, [proposal(prompts, 0.2)], {}).frame.row(0, named=True)
    assert row["pair_id"] == "q0/rmboost/x"
    assert row["chosen"][0]["content"] == "quite another answer on rivers" and row["finish_chosen"] == "length"
    assert row["rejected"][0]["content"] == "one fine answer on rivers"
    assert row["chosen_wins"] == 0.8
    assert json.loads(row["lineage"]) == {
        "method": "rmboost",
        "models": {"first": "m", "second": "n"},
        "direction": "better",
        "aspects": ["wit"],
        "chosen": "second",
        "plan": "plan",
        "first": " one fine answer on rivers",
        "second": "plan ==== quite another answer on rivers",
        "passed": list(REASONS),
    }


def test_a_certain_label_has_no_probability(prompts: Prompts) -> None:
    assert build_pairs_table(prompts(1), METHOD, [proposal(prompts, 1.0)], {}).frame["chosen_wins"].to_list() == [None]


def test_scores_stand_on_their_sides(prompts: Prompts) -> None:
    scores = ({"": 1.0, "wit": 2.0}, {"": 5.0, "wit": None})
    frame = build_pairs_table(prompts(1), METHOD, [proposal(prompts, 0.0, scores=scores)], {}).frame
    sides = ("score_chosen", "score_rejected", "score_chosen.wit", "score_rejected.wit")
    assert frame.select(sides).row(0) == (5.0, 1.0, None, 2.0)


def test_every_proposal_is_a_pair_or_a_reject(prompts: Prompts) -> None:
    proposals = [
        proposal(prompts, 0.0),
        proposal(prompts, 0.0, name="y", second=Draft("one fine answer on rivers")),
        proposal(prompts, 0.0, name="z", fault=("the judge has no preference", "0.5")),
    ]
    table = build_pairs_table(prompts(1), METHOD, proposals, {"prompts": 1})
    assert len(table) == 1 and table.rejects["id"].to_list() == ["q0/rmboost/y", "q0/rmboost/z"]
    assert table.steps[-1].rejected == {"the completions are nearly the same": 1, "the judge has no preference": 1}


def test_no_pair_at_all_is_an_empty_table(prompts: Prompts) -> None:
    assert len(build_pairs_table(prompts(1), METHOD, [], {})) == 0
