"""The warnings of `DisplacementWatch` for a policy that TRL's DPOTrainer trains."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

from prefboost.training.policy.displacement import (
    CHOSEN,
    CHOSEN_TOKEN_MEAN,
    DISTANCE,
    MARGIN,
    DisplacementWatch,
    WarningThresholds,
)
from prefboost.training.policy.settings import Train

__all__ = ["TrlDisplacementWatch"]

logger = logging.getLogger(__name__)

_DEFAULTS = Train.model_fields
"""Settings of prefboost's own training, whose thresholds are the usual ones here too."""

_COUNTED = 1000
"""Rows of the data set whose completions are counted for their mean length."""


class TrlDisplacementWatch(DisplacementWatch):
    """Warns of likelihood displacement and divergence in TRL's DPOTrainer.

    ``DPOTrainer(..., callbacks=[TrlDisplacementWatch()])``. TRL logs rewards, which are beta x the change of the
    log-prob against the reference; divided by beta, and by the mean tokens of a completion, they are what `prefboost
    train` watches. TRL logs no absolute changes: the size of the mean change stands for them, which is at most as
    large, so that this warning of divergence comes later or not at all.

    Args:
        warn_displacement: nats per token that chosen completions lose while the margin grows; 0: no such warning.
        warn_displacement_sum: nats per completion that they lose as well.
        warn_divergence: nats per token; 0: no such warning.
    """

    def __init__(
        self,
        *,
        warn_displacement: float = _DEFAULTS["warn_displacement"].default,
        warn_displacement_sum: float = _DEFAULTS["warn_displacement_sum"].default,
        warn_divergence: float = _DEFAULTS["warn_divergence"].default,
    ) -> None:
        # TRL's log tells nothing of goals.
        thresholds = WarningThresholds(
            warn_displacement, warn_displacement_sum, warn_divergence, 0.0, likelihood='loss_type=["sigmoid", "sft"]'
        )
        super().__init__(thresholds)
        self._lengths: tuple[float, float] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the tokens of completions, and read the log up to the checkpoint that a run resumes from."""
        rows = getattr(kwargs.get("train_dataloader"), "dataset", None)
        sides = ("chosen_ids", "rejected_ids")
        first = [] if rows is None else [[len(row[side]) for side in sides] for row in islice(rows, _COUNTED)
                                         if all(side in row for side in sides)]  # fmt: skip
        if first:
            chosen, rejected = (max(1.0, sum(lengths) / len(first)) for lengths in zip(*first, strict=True))
            self._lengths = chosen, rejected
        else:
            logger.warning("displacement is not watched: the rows have no chosen_ids and rejected_ids")
        super().on_train_begin(args, state, control, **kwargs)

    def read_line(self, line: Mapping[str, float], args: Any) -> Mapping[str, float]:
        """Add the metrics ``displacement/*`` to a line of TRL's log."""
        if self._lengths is None or "rewards/chosen" not in line or "rewards/rejected" not in line:
            return line
        chosen, rejected = (line[f"rewards/{side}"] / args.beta for side in ("chosen", "rejected"))
        per_token = [change / length for change, length in zip((chosen, rejected), self._lengths, strict=True)]
        return {
            **line,
            CHOSEN: chosen,
            CHOSEN_TOKEN_MEAN: per_token[0],
            MARGIN: chosen - rejected,
            DISTANCE: (abs(per_token[0]) + abs(per_token[1])) / 2,
        }
