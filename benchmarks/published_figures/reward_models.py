"""RewardBench 1 and 2 and RM-Bench against what their own scoring functions gave on random scores.

File: ``rewardbench_golden.json`` with inputs and outputs: sections, best of four, ties, the matrix of styles.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefboost.evaluation.reward_models.scores import (
    RewardItem,
    average_sections,
    score_best_of,
    score_rm_bench,
    score_ties,
)
from published_figures.oracle import Check, Oracle

_FILE = "rewardbench_golden.json"
_NAMES = {"total_avg_acc": "overall"}


def check_golden_values(folder: Path) -> Iterator[Check]:
    golden = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    yield compare("rewardbench", "sections and overall", pair_sections(golden["sections"]), 1e-12)
    yield compare("rewardbench2", "best of four", pair_best_of_four(golden["bon"]), 0.0)
    yield compare("rewardbench2", "Ties", pair_ties(golden["ties"]), 1e-12)
    yield compare("rm_bench", "domains, levels and overall", pair_styles(golden["rmbench"]), 1e-12)


def compare(benchmark: str, what: str, pairs: Sequence[tuple[float, float]], allowed: float) -> Check:
    """Build a check from pairs of (published figure, computed figure)."""
    published, computed = ({str(at): pair[side] for at, pair in enumerate(pairs)} for side in (0, 1))
    return Check(benchmark, f"{what} (share)", published, computed, allowed)


def pair_sections(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    pairs = []
    for case in cases:
        computed, published = average_sections(case["metrics"]), case["sections"]
        pairs += [(published[name], computed[name]) for name in published]
        pairs.append((float(np.mean(list(published.values()))), float(np.mean(list(computed.values())))))
    return pairs


def pair_best_of_four(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [
        (published, score_best_of(build_item("0", "Math", scores, 1)))
        for case in cases
        for scores, published in zip(case["scores"], case["results"], strict=True)
    ]


def pair_ties(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [
        (
            case["overall"],
            score_ties(
                [
                    build_item(sample["id"], "Ties", sample["scores"], sample["num_correct"])
                    for sample in case["samples"]
                ]
            ),
        )
        for case in cases
    ]


def pair_styles(cases: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    pairs = []
    for case in cases:
        computed = score_rm_bench(
            [
                RewardItem(str(at), row["domain"], tuple(row["score_chosen"]), tuple(row["score_rejected"]))
                for at, row in enumerate(case["results"])
            ]
        )
        pairs += [(value, computed[_NAMES.get(name, name.removesuffix("_acc"))]) for name, value in case["out"].items()]
    return pairs


def build_item(item_id: str, subset: str, scores: Sequence[float], right: int) -> RewardItem:
    return RewardItem(item_id, subset, tuple(scores[:right]), tuple(scores[right:]))


REWARD_ORACLES = (Oracle("RewardBench and RM-Bench, golden values", (_FILE,), check_golden_values),)
