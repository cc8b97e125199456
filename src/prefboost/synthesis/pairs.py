"""Turn proposals into a table of pairs with their lineage; those that fail a filter are counted rejects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from prefboost.settings import Settings, kind_of
from prefboost.synthesis.filters import apply_filters
from prefboost.synthesis.method import Method
from prefboost.synthesis.proposal import Proposal
from prefboost.tables import PREFERENCE_PAIRS, REJECTS, Step, Table

__all__ = ["build_pairs_table"]


def build_pairs_table(prompts: Table, method: Method, proposals: Sequence[Proposal], notes: Mapping[str, Any]) -> Table:
    """Build pairs of all proposals that pass the filters.

    Args:
        prompts: what they were made for; its steps and rejects are kept.
        method: which made them.
        proposals: in order.
        notes: for the table's history.

    Returns:
        PreferencePairs with ``chosen_wins`` and ``lineage`` (JSON: method, models, prompt's hash, aspects, direction,
        plan, filters passed, both raw texts, and which of them is the chosen one); rejects with reasons.
    """
    settled = [apply_filters(method.filters, each) for each in proposals]
    rows = [_build_row(each, passed, method) for each, passed in settled if each.fault is None]
    rejected_rows = [
        {
            "stage": "synthesize", "path": prompts.path, "row": each.item.row, "id": _name_pair(each, method),
            "reason": each.fault[0], "found": each.fault[1][:200],
        }
        for each, _ in settled
        if each.fault is not None
    ]  # fmt: skip
    rejects = pl.DataFrame(rejected_rows, schema=REJECTS)
    # Aspects that some methods rate are columns of their own, beside the declared ones.
    types = {column.name: column.dtype for column in PREFERENCE_PAIRS.columns if not column.name.endswith(".*")}
    names = list(dict.fromkeys(name for row in rows for name in row)) or [
        column.name for column in PREFERENCE_PAIRS.columns if column.required
    ]
    schema = {name: types.get(name, pl.Float64) for name in names}
    frame = pl.DataFrame([{name: row.get(name) for name in names} for row in rows], schema=schema)
    step = Step(
        "synthesize",
        {"kind": kind_of(method), **(method.model_dump(mode="json") if isinstance(method, Settings) else {})},
        rows_in=len(proposals),
        rows_out=len(rows),
        rejected=dict(Counter(rejects["reason"].to_list())),
        notes={"rows_in_are": "proposed pairs", "rows_out_are": "pairs", **notes},
    )
    return prompts.derive(PREFERENCE_PAIRS, frame, step, rejects=rejects, scales={})


def _build_row(proposal: Proposal, passed: Sequence[str], method: Method) -> dict[str, Any]:
    item, wins = proposal.item, proposal.first_wins
    assert wins is not None
    drafts = (proposal.first, proposal.second)
    best = 0 if wins >= 0.5 else 1
    sides = {"chosen": best, "rejected": 1 - best}
    certainty = max(wins, 1.0 - wins)
    aspects = sorted({head for scores in proposal.scores for head in scores if head})
    first, second = drafts
    thoughts = {"first": first.reasoning, "second": second.reasoning}
    lineage = {
        "method": kind_of(method),
        "models": {"first": first.model, "second": second.model},
        "direction": None,
        "aspects": [],
        **proposal.lineage,
        "chosen": "first" if best == 0 else "second",
        "plan": second.plan,
        # All that the model answered: a plan, and white space too.
        "first": first.raw,
        "second": second.raw,
        **({"reasoning": thoughts} if any(thoughts.values()) else {}),
        "passed": list(passed),
    }
    return {
        "row": item.row,
        "pair_id": _name_pair(proposal, method),
        "prompt_id": item.prompt_id,
        "prompt": [dict(message) for message in item.prompt],
        **{side: [{"role": "assistant", "content": drafts[at].text, "extra": None}] for side, at in sides.items()},
        **{f"score_{side}": proposal.scores[at].get("") for side, at in sides.items()},
        **{f"score_{side}.{name}": proposal.scores[at].get(name) for name in aspects for side, at in sides.items()},
        **{f"finish_{side}": drafts[at].finish_reason for side, at in sides.items()},
        **item.carried,
        # Null where the label is certain by construction, so that losses take it as a hard one.
        "chosen_wins": None if certainty == 1.0 else certainty,
        "lineage": json.dumps(lineage, ensure_ascii=False),
    }


def _name_pair(proposal: Proposal, method: Method) -> str:
    return f"{proposal.item.prompt_id}/{kind_of(method)}/{proposal.name}"
