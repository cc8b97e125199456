"""AlpacaEval 2 against the leaderboard's own figures: raw, discrete, length-controlled, from stored preferences.

Files: ``alpaca_judgements.parquet`` (a row a model and prompt), ``alpaca_published.csv`` (leaderboard),
``alpaca_published_weights.csv`` (coefficients), ``alpaca_instruction_difficulty.csv`` and ``alpaca_gamed_rows.csv``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from prefboost.evaluation.alpaca.liblinear import length_control_liblinear
from prefboost.evaluation.alpaca.scores import AlpacaRules, score_preferences
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.statistics import Bootstrap, GamedRows, LengthRows, fit_length_control, measure_win_rate
from prefboost.statistics.columns import FloatColumn
from prefboost.statistics.length_control import GRID, predict_share
from published_figures.oracle import Check, Oracle

_JUDGED, _PUBLISHED = "alpaca_judgements.parquet", "alpaca_published.csv"
_WEIGHTS, _DIFFICULTY, _GAMED = (
    "alpaca_published_weights.csv", "alpaca_instruction_difficulty.csv", "alpaca_gamed_rows.csv",
)  # fmt: skip
_ALL = 805
_LC = "length_controlled_winrate"
_USABLE_C = GRID[4:]  # below, the penalty leaves no coefficient: upstream never chose those


class JudgedModel(NamedTuple):
    """Rows of one model, aligned as upstream aligns them: difficulty by position in the file.

    ``lengths`` are characters of the model's completions.
    """

    rows: LengthRows
    lengths: FloatColumn
    verdicts: list[JudgeVerdict]


@dataclass(frozen=True)
class AlpacaOracle:
    """Published figures and stored judgements.

    Args:
        published: model -> its row of the leaderboard, without empty cells.
        coefficients: model -> published coefficients of length, difficulty and model.
        difficulty: [805], one per prompt.
        gamed: rows that regularise the coefficient of length.
        judged: model -> its rows.
    """

    published: Mapping[str, Mapping[str, float]]
    coefficients: Mapping[str, list[float]]
    difficulty: FloatColumn
    gamed: GamedRows
    judged: Mapping[str, JudgedModel]

    def figures(self, name: str) -> dict[str, float]:
        """Return model -> published figure, for the models that have it."""
        return {model: self.published[model][name] for model in self.judged if name in self.published[model]}


def read_alpaca_oracle(folder: Path) -> AlpacaOracle:
    """Read all five files of a folder."""
    table = pl.read_csv(folder / _PUBLISHED).to_dicts()
    published = {row["model"]: {name: value for name, value in row.items() if value is not None} for row in table}
    weights = {row[0]: list(row[1:]) for row in pl.read_csv(folder / _WEIGHTS).iter_rows()}
    difficulty = pl.read_csv(folder / _DIFFICULTY)["instruction_difficulty"].to_numpy()
    columns = pl.read_csv(folder / _GAMED)
    shares, lengths, difficulties = (
        columns[name].to_numpy() for name in ("preference", "std_delta_len", "instruction_difficulty")
    )
    gamed = GamedRows(shares, lengths, difficulties)
    judgements = pl.read_parquet(folder / _JUDGED).sort("model", "row")
    judged = {
        str(model): read_rows(str(model), rows, difficulty, gamed)
        for (model,), rows in judgements.group_by("model", maintain_order=True)
    }
    return AlpacaOracle(published, weights, difficulty, gamed, judged)


def read_rows(model: str, rows: pl.DataFrame, difficulty: FloatColumn, gamed: GamedRows) -> JudgedModel:
    # A stored preference of 0 is upstream's mark for a tie.
    shares = rows["preference"].replace({0.0: 1.5}).to_numpy() - 1
    length_delta = (rows["len_1"] - rows["len_2"]).to_numpy()
    verdicts = [
        JudgeVerdict(str(uid), model, "one", float(share), {"len_1": first, "len_2": second})
        for uid, share, first, second in zip(
            rows["instruction_index"], shares, rows["len_1"], rows["len_2"], strict=True
        )
    ]
    length_rows = LengthRows(shares, length_delta, difficulty[: len(shares)], gamed)
    return JudgedModel(length_rows, rows["len_2"].to_numpy(), verdicts)


def check_raw_figures(folder: Path) -> Iterator[Check]:
    oracle = read_alpaca_oracle(folder)
    rates = {model: measure_win_rate(judged.rows.shares, how=_NO_INTERVAL) for model, judged in oracle.judged.items()}
    yield compare(oracle, "win_rate", {model: 100 * rate.share.estimate for model, rate in rates.items()}, 1e-9)
    yield compare(oracle, "standard_error", {model: 100 * rate.upstream_error for model, rate in rates.items()}, 1e-9)
    yield compare(oracle, "discrete_win_rate", {model: 100 * rate.discrete for model, rate in rates.items()}, 1e-6)
    complete = {model: judged for model, judged in oracle.judged.items() if len(judged.lengths) == _ALL}
    lengths = {model: float(int(judged.lengths.mean())) for model, judged in complete.items()}
    published = {model: value for model, value in oracle.figures("avg_length").items() if model in complete}
    yield Check("alpaca_eval", "avg_length (characters)", published, lengths, 0.0)


def check_published_coefficients(folder: Path) -> Iterator[Check]:
    oracle = read_alpaca_oracle(folder)
    predicted = {}
    for model, judged in oracle.judged.items():
        count = len(judged.lengths)
        shares = predict_share(oracle.coefficients[model], oracle.difficulty[:count], count)
        predicted[model] = 100 * float(shares.mean())
    yield compare(oracle, _LC, predicted, 1e-6, "from published coefficients")


def check_fit(folder: Path) -> Iterator[Check]:
    oracle = read_alpaca_oracle(folder)
    fitted = {model: 100 * fit_length_control(judged.rows).share for model, judged in oracle.judged.items()}
    yield compare(oracle, _LC, fitted, 0.16, "fitted")


def check_official_mode(folder: Path) -> Iterator[Check]:
    """Go the whole way from verdicts to results, in the official mode."""
    oracle = read_alpaca_oracle(folder)
    difficulty = {str(at): float(value) for at, value in enumerate(oracle.difficulty)}
    rules = AlpacaRules(mode="official", interval=_NO_INTERVAL)
    figures = {"win_rate": dict[str, float](), "lc_win_rate": dict[str, float]()}
    for model, judged in oracle.judged.items():
        results = score_preferences(judged.verdicts, rules, difficulty=difficulty, gamed=oracle.gamed)
        for name, computed in figures.items():
            value = results.figure(name, model).value
            if value is not None:
                computed[model] = value.estimate
    yield compare(oracle, "win_rate", figures["win_rate"], 1e-9, "from verdicts, official mode")
    yield compare(oracle, _LC, figures["lc_win_rate"], 0.16, "from verdicts, official mode")


def check_liblinear(folder: Path) -> Iterator[Check]:
    """Fit with upstream's solver, at the penalty of its grid that comes nearest to the published figure.

    Which penalty upstream's cross-validation chose was not published, and it depends on scikit-learn's release.
    """
    oracle = read_alpaca_oracle(folder)
    published = oracle.figures(_LC)
    nearest = {}
    for model, judged in oracle.judged.items():
        shares = [100 * length_control_liblinear(judged.rows, float(penalty)).share for penalty in _USABLE_C]
        nearest[model] = min(shares, key=lambda share: abs(share - published[model]))
    yield compare(oracle, _LC, nearest, 1e-5, "fitted by liblinear at upstream's penalty")


def compare(oracle: AlpacaOracle, figure: str, computed: Mapping[str, float], allowed: float, how: str = "") -> Check:
    published = oracle.figures(figure)
    what = f"{figure} (%){', ' if how else ''}{how}"
    shared = {model: computed[model] for model in computed if model in published}
    return Check("alpaca_eval", what, published, shared, allowed)


_NO_INTERVAL = Bootstrap(resamples=100)
_FILES = (_JUDGED, _PUBLISHED, _WEIGHTS, _DIFFICULTY, _GAMED)

_CHECKS: Mapping[str, Callable[[Path], Iterator[Check]]] = {
    "AlpacaEval 2, raw figures": check_raw_figures,
    "AlpacaEval 2, published coefficients": check_published_coefficients,
    "AlpacaEval 2, length control fitted": check_fit,
    "AlpacaEval 2, official mode": check_official_mode,
}

ALPACA_ORACLES = (
    *(Oracle(name, _FILES, checks) for name, checks in _CHECKS.items()),
    Oracle("AlpacaEval 2, liblinear", _FILES, check_liblinear, "sklearn"),
)
