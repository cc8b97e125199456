"""The length-controlled win rate by upstream's solver: scikit-learn's liblinear, which stops at a tolerance.

The exact fit (`prefboost.statistics.length_control`) differs from it by up to some hundredths of a point. scikit-learn
comes with the extra ``eval``; nothing else imports it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from prefboost.errors import require_extra
from prefboost.statistics.columns import FloatColumn
from prefboost.statistics.length_control import LengthControl, LengthRows, build_design, predict_share
from prefboost.statistics.sparse_logistic import Matrix

__all__ = ["length_control_liblinear"]

_SEED = 123  # upstream's


def length_control_liblinear(rows: LengthRows, inverse_penalty: float | None = None) -> LengthControl:
    """Fit and predict as `alpaca_eval/metrics/glm_winrate.py` does.

    Args:
        rows: rows of one model, one per prompt.
        inverse_penalty: C; None lets LogisticRegressionCV choose.

    Raises:
        MissingExtra: scikit-learn is not installed.
        DataError: see `prefboost.statistics.length_control.fit_length_control`.
    """
    features, shares, weights = build_design(rows)
    features_twice = np.concatenate([features, features])
    sides = np.repeat([1, 0], len(shares))
    # A share between 0 and 1 becomes two rows, a win and a loss, weighted by the share and its complement.
    row_weights = np.concatenate([shares, 1 - shares]) * np.concatenate([weights, weights])
    coefficients, penalty = _fit(features_twice, sides, row_weights, inverse_penalty)
    count = np.asarray(rows.shares).size
    difficulty: FloatColumn | None = None if rows.difficulty is None else np.asarray(rows.difficulty, dtype=np.float64)
    predicted = predict_share(coefficients, difficulty, count)
    names = ["length", *([] if difficulty is None else ["difficulty"]), "model"]
    return LengthControl(
        float(predicted.mean()),
        float(predicted.std(ddof=1) / np.sqrt(count)),
        dict(zip(names, coefficients.tolist(), strict=True)),
        penalty,
        difficulty is None,
    )


def _fit(
    features: Matrix, sides: Any, weights: FloatColumn, inverse_penalty: float | None
) -> tuple[FloatColumn, float]:
    with require_extra("scikit-learn", "eval"):
        import sklearn
        from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
        from sklearn.metrics import make_scorer
        from sklearn.model_selection import GroupKFold
    # scikit-learn 1.8 renamed the argument that selects the L1 norm.
    is_old = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8)
    usual: dict[str, Any] = {"solver": "liblinear", "fit_intercept": False, "random_state": _SEED}
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        if inverse_penalty is not None:
            norm: dict[str, Any] = {"penalty": "l1"} if is_old else {"l1_ratio": 1.0}
            model = LogisticRegression(C=inverse_penalty, **usual, **norm).set_fit_request(sample_weight=True)
            model.fit(features, sides, sample_weight=weights)
            return np.ravel(model.coef_), inverse_penalty

        def compute_score(sides: FloatColumn, chances: FloatColumn, sample_weight: FloatColumn) -> float:
            # Upstream's score, a log-likelihood: both copies of a row together weigh as much as the row.
            clipped = np.clip(chances, 1e-15, 1 - 1e-15)
            return float(2 * np.mean(sample_weight * np.log(np.where(sides == 1, clipped, 1 - clipped))))

        score = make_scorer(compute_score, response_method="predict_proba").set_score_request(sample_weight=True)
        norms: dict[str, Any] = {"penalty": "l1"} if is_old else {"l1_ratios": (1.0,)}
        search = LogisticRegressionCV(cv=GroupKFold(5), scoring=score, **usual, **norms)
        search.set_fit_request(sample_weight=True)
        groups = np.tile(np.arange(len(sides) // 2), 2)
        search.fit(features, sides, groups=groups, sample_weight=weights)
        return np.ravel(search.coef_), float(np.ravel(search.C_)[0])
