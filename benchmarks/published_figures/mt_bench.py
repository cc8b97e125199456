"""MT-Bench against stored judgements of GPT-4: every score read from the judge's words, and the mean of every model.

File: ``mt_bench_judgements.parquet`` with the judge's text and the score that the original parser read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.mt_bench.judging import CATEGORIES, MtRules, parse_grade
from prefboost.evaluation.mt_bench.scores import score_grades
from prefboost.evaluation.record_texts import require_text
from prefboost.evaluation.results import Mode
from prefboost.statistics import Bootstrap
from published_figures.oracle import Check, Oracle

_FILE = "mt_bench_judgements.parquet"
_NONE = -1.0  # FastChat writes this where it read no score
_NEEDED = ("question_id", "model", "turn", "judgment")


def read_grades(rows: Iterable[Mapping[str, Any]], mode: Mode) -> Iterator[JudgeVerdict]:
    """Read grades of a judgement file of FastChat (`model_judgment/*_single.jsonl`) from the judge's words.

    Args:
        rows: records with question_id, model, turn and judgment.
        mode: see `parse_grade`.

    Raises:
        DataError: a record lacks one of them.
    """
    for at, row in enumerate(rows):
        missing = [name for name in _NEEDED if row.get(name) is None]
        if missing or row["turn"] not in (1, 2):
            raise DataError(
                f"record {at} is no grade of MT-Bench: it has no {', '.join(missing) or 'turn 1 or 2'}",
                remedy="give a file of model_judgment with single-answer grades",
            )
        judge = row.get("judge") or ""
        uid, turn = str(row["question_id"]), row["turn"]
        yield JudgeVerdict(
            uid,
            str(row["model"]),
            f"turn{turn}",
            parse_grade(require_text(row["judgment"], "judgment", Place(row=at)), mode),
            {"category": find_category(uid), "turn": turn},
            judge if isinstance(judge, str) else str(judge[0]),
        )


def find_category(question_id: str) -> str:
    """Return the category of a published question, by its number 81 to 160; ``other`` for any other."""
    at = (int(question_id) - 81) // 10 if question_id.isdecimal() else -1
    return CATEGORIES[at] if 0 <= at < len(CATEGORIES) else "other"


def check_scores(folder: Path) -> Iterator[Check]:
    rows = pl.read_parquet(folder / _FILE)
    published = {str(at): float(score) for at, score in enumerate(rows["score"])}
    for mode in get_args(Mode):
        grades = [parse_grade(text, mode) for text in rows["judgment"]]
        computed = {str(at): _NONE if grade is None else grade for at, grade in enumerate(grades)}
        yield Check("mt_bench", f"stored scores read from the judge's words, {mode} mode", published, computed, 0.0)
    rules = MtRules(mode="official", interval=Bootstrap(resamples=100))
    figures = score_grades(read_grades(rows.to_dicts(), "official"), rules)
    scored = rows.filter(pl.col("score") != _NONE).group_by("model").agg(pl.col("score").mean())
    means = {figure.model: figure.value.estimate for figure in figures if not figure.group and figure.value is not None}
    yield Check("mt_bench", "score of a model (points), official mode", dict(scored.iter_rows()), means, 1e-9)


MT_ORACLES = (Oracle("MT-Bench, stored judgements", (_FILE,), check_scores),)
