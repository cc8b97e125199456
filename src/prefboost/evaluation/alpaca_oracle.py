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
from prefboost.evaluation.alpaca.scores import AlpacaRules, alpaca_results
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.oracle import Check, Oracle
from prefboost.statistics import Bootstrap, GamedRows, LengthRows, length_control, win_rate
from prefboost.statistics.columns import Column
from prefboost.statistics.length_control import GRID, predicted_share

__all__ = ["ALPACA_ORACLES", "AlpacaOracle", "JudgedModel", "read_alpaca_oracle"]

_JUDGED, _PUBLISHED = "alpaca_judgements.parquet", "alpaca_published.csv"
_WEIGHTS, _DIFFICULTY, _GAMED = (
    "alpaca_published_weights.csv", "alpaca_instruction_difficulty.csv", "alpaca_gamed_rows.csv",
)  # fmt: skip
_ALL = 805
_LC = "length_controlled_winrate"
_USABLE_C = GRID[4:]  # below, the penalty leaves no coefficient: upstream never chose those


class JudgedModel(NamedTuple):
    """Rows of one model as upstream has them: difficulty by position in the file; lengths of its own completions."""

    rows: LengthRows
    lengths: Column
    verdicts: list[JudgeVerdict]


@dataclass(frozen=True)
class AlpacaOracle:
    """What was published.

    Args:
        published: model -> its row of the leaderboard; what it lacks is absent.
        coefficients: model -> of length, difficulty and the model.
        difficulty: of the 805 prompts.
        gamed: rows that hold the coefficient of length.
        judged: model -> its rows.
    """

    published: Mapping[str, Mapping[str, float]]
    coefficients: Mapping[str, list[float]]
    difficulty: Column
    gamed: GamedRows
    judged: Mapping[str, JudgedModel]

    def figures(self, name: str) -> dict[str, float]:
        """Model -> the published figure, of the models that have it."""
        return {model: self.published[model][name] for model in self.judged if name in self.published[model]}


def read_alpaca_oracle(folder: Path) -> AlpacaOracle:
    """Read all five files.

    Args:
        folder: that holds them.
    """
    table = pl.read_csv(folder / _PUBLISHED).to_dicts()
    published = {row["model"]: {name: one for name, one in row.items() if one is not None} for row in table}
    weights = {row[0]: list(row[1:]) for row in pl.read_csv(folder / _WEIGHTS).iter_rows()}
    difficulty = pl.read_csv(folder / _DIFFICULTY)["instruction_difficulty"].to_numpy()
    columns = pl.read_csv(folder / _GAMED)
    shares, lengths, harder = (
        columns[name].to_numpy() for name in ("preference", "std_delta_len", "instruction_difficulty")
    )
    gamed = GamedRows(shares, lengths, harder)
    told = pl.read_parquet(folder / _JUDGED).sort("model", "row")
    judged = {
        str(model): _judged(str(model), rows, difficulty, gamed)
        for (model,), rows in told.group_by("model", maintain_order=True)
    }
    return AlpacaOracle(published, weights, difficulty, gamed, judged)


def _judged(model: str, rows: pl.DataFrame, difficulty: Column, gamed: GamedRows) -> JudgedModel:
    shares = rows["preference"].replace({0.0: 1.5}).to_numpy() - 1
    longer = (rows["len_1"] - rows["len_2"]).to_numpy()
    verdicts = [
        JudgeVerdict(str(uid), model, "one", float(share), {"len_1": first, "len_2": second})
        for uid, share, first, second in zip(
            rows["instruction_index"], shares, rows["len_1"], rows["len_2"], strict=True
        )
    ]
    return JudgedModel(LengthRows(shares, longer, difficulty[: len(shares)], gamed), rows["len_2"].to_numpy(), verdicts)


def _raw(folder: Path) -> Iterator[Check]:
    told = read_alpaca_oracle(folder)
    found = {model: win_rate(one.rows.shares, how=_NO_INTERVAL) for model, one in told.judged.items()}
    yield _check(told, "win_rate", {model: 100 * one.share.estimate for model, one in found.items()}, 1e-9)
    yield _check(told, "standard_error", {model: 100 * one.upstream_error for model, one in found.items()}, 1e-9)
    yield _check(told, "discrete_win_rate", {model: 100 * one.discrete for model, one in found.items()}, 1e-6)
    whole = {model: one for model, one in told.judged.items() if len(one.lengths) == _ALL}
    lengths = {model: float(int(one.lengths.mean())) for model, one in whole.items()}
    wanted = {model: value for model, value in told.figures("avg_length").items() if model in whole}
    yield Check("alpaca_eval", "avg_length (characters)", wanted, lengths, 0.0)


def _predicted(folder: Path) -> Iterator[Check]:
    told = read_alpaca_oracle(folder)
    ours = {
        model: 100 * float(predicted_share(told.coefficients[model], told.difficulty[: len(one.lengths)],
                                           len(one.lengths)).mean())
        for model, one in told.judged.items()
    }  # fmt: skip
    yield _check(told, _LC, ours, 1e-6, "from published coefficients")


def _fitted(folder: Path) -> Iterator[Check]:
    told = read_alpaca_oracle(folder)
    ours = {model: 100 * length_control(one.rows).share for model, one in told.judged.items()}
    yield _check(told, _LC, ours, 0.16, "fitted")


def _official(folder: Path) -> Iterator[Check]:
    """The whole way from verdicts to results, in the official mode."""
    told = read_alpaca_oracle(folder)
    harder = {str(at): float(value) for at, value in enumerate(told.difficulty)}
    rules = AlpacaRules(mode="official", interval=_NO_INTERVAL)
    found = {"win_rate": dict[str, float](), "lc_win_rate": dict[str, float]()}
    for model, one in told.judged.items():
        results = alpaca_results(one.verdicts, rules, difficulty=harder, gamed=told.gamed)
        for name, ours in found.items():
            value = results.figure(name, model).value
            if value is not None:
                ours[model] = value.estimate
    yield _check(told, "win_rate", found["win_rate"], 1e-9, "from verdicts, official mode")
    yield _check(told, _LC, found["lc_win_rate"], 0.16, "from verdicts, official mode")


def _liblinear(folder: Path) -> Iterator[Check]:
    """Upstream's solver at the penalty that upstream's release of it chose: the one of the grid that comes nearest."""
    told = read_alpaca_oracle(folder)
    wanted = told.figures(_LC)
    ours = {}
    for model, one in told.judged.items():
        shares = [100 * length_control_liblinear(one.rows, float(penalty)).share for penalty in _USABLE_C]
        ours[model] = min(shares, key=lambda share: abs(share - wanted[model]))
    yield _check(told, _LC, ours, 1e-5, "fitted by liblinear at upstream's penalty")


def _check(told: AlpacaOracle, figure: str, ours: Mapping[str, float], allowed: float, how: str = "") -> Check:
    wanted = told.figures(figure)
    what = f"{figure} (%){', ' if how else ''}{how}"
    return Check("alpaca_eval", what, wanted, {model: ours[model] for model in ours if model in wanted}, allowed)


_NO_INTERVAL = Bootstrap(resamples=100)
_FILES = (_JUDGED, _PUBLISHED, _WEIGHTS, _DIFFICULTY, _GAMED)

_WAYS: Mapping[str, Callable[[Path], Iterator[Check]]] = {
    "AlpacaEval 2, raw figures": _raw,
    "AlpacaEval 2, published coefficients": _predicted,
    "AlpacaEval 2, length control fitted": _fitted,
    "AlpacaEval 2, official mode": _official,
}

ALPACA_ORACLES = (
    *(Oracle(name, _FILES, checks) for name, checks in _WAYS.items()),
    Oracle("AlpacaEval 2, liblinear", _FILES, _liblinear, "sklearn"),
)
"""What is checked of AlpacaEval 2."""
