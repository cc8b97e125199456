"""`audit`: what synthetic pairs are worth before a reward model is trained on them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from prefboost.chat import join_text
from prefboost.errors import DataError, Place
from prefboost.scoring.judges.judge import Judge
from prefboost.statistics import Interval, bootstrap_mean
from prefboost.synthesis.calls import ModelCalls
from prefboost.synthesis.diversity import measure_distinct, measure_evenness
from prefboost.synthesis.filters import edit_distance
from prefboost.synthesis.labels import build_sides_table, judge_both_orders
from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["Audit", "LabelNoise", "audit", "label_noise"]

WORDS = 20_000
"""Words that distinct-n looks at, the same for all files."""


@dataclass(frozen=True)
class LabelNoise:
    """Share of labels that a judge contradicts.

    Args:
        judge: who.
        noise: share of pairs whose rejected side the judge prefers over both orders, undecided ones half. It counts
            the judge's own errors too.
        order_flips: share of pairs where the other order changes which side it prefers.
        unjudged: pairs that could not be judged, by reason.
    """

    judge: str
    noise: Interval
    order_flips: Interval
    unjudged: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """Figures about the pairs of one method in a file.

    Args:
        method: by the pairs' lineage.
        pairs: kept.
        prompts: among them.
        rejected: reason -> rejected pairs, where `prefboost synthesize` has noted it.
        requests, tokens, dollars: spent for each kept pair; NaN where it is not known.
        longer: share of pairs whose chosen side is the longer one, equal ones half.
        length_ratio: characters of chosen over those of rejected, geometric mean.
        second: share of pairs whose chosen side is the second completion.
        soft: mean of ``chosen_wins``, 1 where it is certain.
        edit_distance: between both sides, mean.
        distinct_1, distinct_2: distinct n-grams as a share of all, over the first 20,000 words.
        spread: mean cosine distance of embeddings; NaN without an embedding model.
        aspects: aspect -> pairs asked for it.
        aspect_evenness: their entropy as a share of the most there can be.
        noise: of the labels, where a judge was asked.
    """

    method: str
    pairs: int
    prompts: int
    rejected: Mapping[str, int]
    requests: float
    tokens: float
    dollars: float
    longer: Interval
    length_ratio: float
    second: Interval
    soft: float
    edit_distance: float
    distinct_1: float
    distinct_2: float
    spread: float
    aspects: Mapping[str, int]
    aspect_evenness: float
    noise: LabelNoise | None = None


def audit(
    table: Table, history: Mapping[str, Any] | None = None, noise: LabelNoise | None = None, spread: float = math.nan
) -> Audit:
    """Measure synthetic pairs.

    Args:
        table: PreferencePairs with lineage, of one method.
        history: what ``OUT.synthesize.json`` says.
        noise: what a judge said, by `label_noise`.
        spread: of embeddings, by `prefboost.synthesis.diversity.spread`.

    Raises:
        DataError: the table holds no pair with a lineage.
    """
    frame = table.frame
    has_lineage = table.spec is PREFERENCE_PAIRS and "lineage" in frame.columns
    frame = frame.filter(pl.col("lineage").is_not_null()) if has_lineage else frame.clear()
    if frame.is_empty():
        raise DataError(
            "no pair has a lineage, so their origin is unknown",
            remedy="give a file that `prefboost synthesize` wrote",
            place=Place(path=table.path, column="lineage"),
        )
    lineage = [json.loads(text) for text in frame["lineage"]]
    prompts = frame["prompt_id"].to_numpy()
    chosen, rejected = ([join_text(messages) for messages in frame[side]] for side in ("chosen", "rejected"))
    lengths = np.array(
        [[len(better), len(worse)] for better, worse in zip(chosen, rejected, strict=True)], dtype=np.float64
    )
    second = [0.5 if each.get("chosen") is None else float(each["chosen"] == "second") for each in lineage]
    wins = frame["chosen_wins"].fill_null(1.0) if "chosen_wins" in frame.columns else pl.Series([1.0])
    aspects = Counter(name for each in lineage for name in each.get("aspects") or ())
    cost: Mapping[str, float] = (history or {}).get("per_pair") or {}
    steps = (history or {}).get("steps") or [{}]
    return Audit(
        method=", ".join(sorted({str(each.get("method")) for each in lineage})),
        pairs=frame.height,
        prompts=frame["prompt_id"].n_unique(),
        rejected=dict(steps[-1].get("rejected", {})),
        requests=float(cost.get("requests", math.nan)),
        tokens=float(cost.get("prompt_tokens", math.nan)) + float(cost.get("tokens", math.nan)),
        dollars=float(cost.get("dollars", math.nan)),
        longer=bootstrap_mean((np.sign(lengths[:, 0] - lengths[:, 1]) + 1) / 2, clusters=prompts),
        length_ratio=float(np.exp(np.mean(np.log(np.maximum(lengths[:, 0], 1) / np.maximum(lengths[:, 1], 1))))),
        second=bootstrap_mean(np.array(second), clusters=prompts),
        soft=float(np.mean(wins.to_numpy())),
        edit_distance=float(np.mean([edit_distance(*both) for both in zip(chosen, rejected, strict=True)])),
        distinct_1=measure_distinct([*chosen, *rejected], 1, WORDS),
        distinct_2=measure_distinct([*chosen, *rejected], 2, WORDS),
        spread=spread,
        aspects=dict(sorted(aspects.items())),
        aspect_evenness=measure_evenness(aspects),
        noise=noise,
    )


def label_noise(table: Table, judge: Judge, name: str, calls: ModelCalls) -> LabelNoise:
    """Judge pairs anew, in both orders.

    Args:
        table: PreferencePairs.
        judge: who is asked; the judge does not see which side is the chosen one.
        name: of the judge.
        calls: asks.

    Raises:
        DataError: no pair could be judged.
    """
    frame = table.frame
    sides = [
        (row["prompt"], join_text(row["chosen"]), join_text(row["rejected"]))
        for row in frame.select("prompt", "chosen", "rejected").iter_rows(named=True)
    ]
    shares_by_order = judge_both_orders(judge, build_sides_table(sides), calls)
    both = [
        (at, orders) for at, orders in enumerate(shares_by_order) if all(isinstance(share, float) for share in orders)
    ]
    faults = Counter(share[0] for orders in shares_by_order for share in orders[:1] if isinstance(share, tuple))
    if not both:
        raise DataError(
            f"{name} could judge none of {len(sides):,} pairs: {next(iter(faults), 'there are none')}",
            remedy="use a judge that answers in the requested form, e.g. with judge.read=logprobs",
            place=Place(path=table.path),
        )
    shares = np.array([orders for _, orders in both], dtype=np.float64)
    prompts = frame["prompt_id"].to_numpy()[[at for at, _ in both]]
    wrong = (1 - np.sign(shares.mean(1) - 0.5)) / 2
    flips = (np.sign(shares[:, 0] - 0.5) != np.sign(shares[:, 1] - 0.5)).astype(np.float64)
    return LabelNoise(
        name, bootstrap_mean(wrong, clusters=prompts), bootstrap_mean(flips, clusters=prompts), dict(faults)
    )
