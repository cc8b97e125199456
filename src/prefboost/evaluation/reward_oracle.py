"""RewardBench 1 and 2 and RM-Bench against what their own scoring functions gave on random scores.

File: ``rewardbench_golden.json`` with inputs and outputs: sections, best of four, ties, the matrix of styles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefboost.evaluation.oracle import Check, Oracle
from prefboost.evaluation.reward_models.scores import RewardItem, best_of, rm_bench, section_shares, ties_score

__all__ = ["REWARD_ORACLES"]

_FILE = "rewardbench_golden.json"
_NAMES = {"total_avg_acc": "overall"}


def _golden(folder: Path) -> Iterator[Check]:
    golden = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    yield _check("rewardbench", "sections and overall", _sections(golden["sections"]), 1e-12)
    yield _check("rewardbench2", "best of four", _best(golden["bon"]), 0.0)
    yield _check("rewardbench2", "Ties", _ties(golden["ties"]), 1e-12)
    yield _check("rm_bench", "domains, levels and overall", _styles(golden["rmbench"]), 1e-12)


def _check(benchmark: str, what: str, both: Sequence[tuple[float, float]], allowed: float) -> Check:
    """From pairs of published figure and ours."""
    published = {str(at): one for at, (one, _) in enumerate(both)}
    return Check(benchmark, f"{what} (share)", published, {str(at): own for at, (_, own) in enumerate(both)}, allowed)


def _sections(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    found = []
    for case in cases:
        ours, wanted = section_shares(case["metrics"]), case["sections"]
        found += [(wanted[name], ours[name]) for name in wanted]
        found.append((float(np.mean(list(wanted.values()))), float(np.mean(list(ours.values())))))
    return found


def _best(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [
        (wanted, best_of(_item("0", "Math", scores, 1)))
        for case in cases
        for scores, wanted in zip(case["scores"], case["results"], strict=True)
    ]


def _ties(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [
        (
            case["overall"],
            ties_score([_item(one["id"], "Ties", one["scores"], one["num_correct"]) for one in case["samples"]]),
        )
        for case in cases
    ]


def _styles(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    found = []
    for case in cases:
        ours = rm_bench(
            [
                RewardItem(str(at), row["domain"], tuple(row["score_chosen"]), tuple(row["score_rejected"]))
                for at, row in enumerate(case["results"])
            ]
        )
        found += [(value, ours[_NAMES.get(name, name.removesuffix("_acc"))]) for name, value in case["out"].items()]
    return found


def _item(item_id: str, subset: str, scores: Sequence[float], right: int) -> RewardItem:
    return RewardItem(item_id, subset, tuple(scores[:right]), tuple(scores[right:]))


REWARD_ORACLES = (Oracle("RewardBench and RM-Bench, golden values", (_FILE,), _golden),)
"""What is checked of benchmarks of reward models."""
