"""MT-Bench against stored judgements of GPT-4: every score read from the judge's words, and the mean of every model.

File: ``mt_bench_judgements.parquet`` with the judge's text and the score that the original parser read from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import polars as pl

from prefboost.evaluation.mt_bench.judging import MtRules, grade_of, stored_grades
from prefboost.evaluation.mt_bench.scores import mt_scores
from prefboost.evaluation.results import Mode
from prefboost.statistics import Bootstrap
from published_figures.oracle import Check, Oracle

_FILE = "mt_bench_judgements.parquet"
_NONE = -1.0  # FastChat writes this where it read no score


def check_scores(folder: Path) -> Iterator[Check]:
    rows = pl.read_parquet(folder / _FILE)
    published = {str(at): float(score) for at, score in enumerate(rows["score"])}
    for mode in get_args(Mode):
        read = [grade_of(text, mode) for text in rows["judgment"]]
        computed = {str(at): _NONE if grade is None else grade for at, grade in enumerate(read)}
        yield Check("mt_bench", f"stored scores read from the judge's words, {mode} mode", published, computed, 0.0)
    rules = MtRules(mode="official", interval=Bootstrap(resamples=100))
    scores = mt_scores(stored_grades(rows.to_dicts(), rules), rules)
    published_means = rows.filter(pl.col("score") != _NONE).group_by("model").agg(pl.col("score").mean())
    means = {score.model: score.overall.estimate for score in scores if score.overall is not None}
    yield Check("mt_bench", "score of a model (points), official mode", dict(published_means.iter_rows()), means, 1e-9)


MT_ORACLES = (Oracle("MT-Bench, stored judgements", (_FILE,), check_scores),)
