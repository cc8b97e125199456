"""Warnings while a policy trains: likelihood displacement, distance from the reference, and goals that are ignored.

They read the log that is written anyway (`prefboost.training.policy.watch`), so they cost no forward pass. The log is
averaged over all processes, and a checkpoint restores it, so every process and every resumed run reads the same lines.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import TrainerCallback

from prefboost.training.policy.settings import Train

__all__ = ["WINDOW", "DisplacementWatch"]

logger = logging.getLogger(__name__)

WINDOW = 8
"""Logged steps over which metrics are averaged before they are compared: one step has a single batch, and is noisy."""

_CHOSEN, _CHOSEN_TOKEN_MEAN = "displacement/chosen", "displacement/chosen_token_mean"
_MARGIN, _DISTANCE = "displacement/margin", "displacement/distance_token_mean"
_FOLLOWED, _IGNORED = "goal/followed", "goal/ignored"


class DisplacementWatch(TrainerCallback):
    """Warns once per kind when the policy moves away from the reference in a way that harms it.

    *Displacement* (arXiv 2410.08847): the margin grows while chosen completions become less likely.
    *Divergence*: the mean of |change of log-prob| per token, over the completions trained on, is large. It is no KL: a
    KL averages over the policy's own samples, and these completions are mostly somebody else's. It is 0 where nothing
    moved, but probability that went to texts outside of the data is seen only by what the data lost.
    *Ignored goals*: the policy has come to prefer one completion of a pair far more, but the same one under both goals.
    Their gradients nearly cancel then, and an optimiser that divides by their size overshoots on every pair.

    Changes count from the reference. Where that is another model than the start, they count from the first logged
    step, since the difference between both models is not what the training did. Losses without a reference have no
    warnings: nothing holds their policy to it.

    Args:
        settings: of the training; ``warn_displacement``, ``warn_displacement_sum``, ``warn_divergence`` and
            ``warn_ignored_goals``.
    """

    def __init__(self, settings: Train) -> None:
        self.settings = settings
        # Losses of plug-ins need not declare it.
        self._watches = settings.uses_reference and getattr(settings.loss, "needs_reference", False)
        self._origin: Mapping[str, float] | None = {} if settings.reference == "start" else None
        self._window: deque[Mapping[str, float]] = deque(maxlen=WINDOW)
        self._warnings: dict[str, str] = {}

    @property
    def messages(self) -> list[str]:
        """Return the warnings so far, those from before a resume included."""
        return list(self._warnings.values())

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the log up to the checkpoint that a run resumes from; its warnings were printed before."""
        for line in state.log_history:
            self._take_line(line, args.warmup_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Print a warning at the first window that crosses its threshold."""
        for message in self._take_line({"step": state.global_step, **(logs or {})}, args.warmup_steps):
            if state.is_world_process_zero:
                logger.warning("%s", message)

    def _take_line(self, line: Mapping[str, float], warmup_steps: int) -> list[str]:
        """Add a line of the log to the window, and return the warnings that it brings for the first time."""
        # Lines of evaluations and of the end have other metrics.
        if not self._watches or _CHOSEN not in line:
            return []
        if self._origin is None:
            self._origin = line
        # In the warm-up the policy has hardly moved: its lines would only delay a warning.
        if line["step"] <= warmup_steps:
            return []
        self._window.append(line)
        if len(self._window) < WINDOW:
            return []
        names = [_CHOSEN, _CHOSEN_TOKEN_MEAN, _MARGIN, _DISTANCE]
        # Only goal pairs whose views stand in one step have these.
        names += [name for name in (_FOLLOWED, _IGNORED) if all(name in each for each in self._window)]
        changes = {
            name: sum(each[name] for each in self._window) / WINDOW - self._origin.get(name, 0.0) for name in names
        }
        due = dict(describe_displacement(changes, line["step"], self.settings))
        fresh = {kind: text for kind, text in due.items() if kind not in self._warnings}
        self._warnings |= fresh
        return list(fresh.values())


def describe_displacement(changes: Mapping[str, float], step: float, settings: Train) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each warning that is due.

    Args:
        changes: mean of each ``displacement/*`` metric over a window, counted from where the training began.
        step: optimiser step at which the window ends.
        settings: of the training.
    """
    starts_there = settings.reference == "start"
    origin = "under the reference" if starts_there else "at the first logged step"
    means = f"mean of the last {WINDOW} logged steps"
    chosen, per_token, margin = changes[_CHOSEN], changes[_CHOSEN_TOKEN_MEAN], changes[_MARGIN]
    # Both must be crossed: a long completion loses many nats at a small change per token, a short one few nats
    # at a large one.
    falls = per_token < -settings.warn_displacement and chosen < -settings.warn_displacement_sum
    if settings.warn_displacement and falls and margin > 0:
        yield (
            "displacement",
            f"warning: likelihood displacement at step {step:,}: the margin grew by {margin:.2f} nats, but chosen "
            f"completions are less likely than {origin}, by {-chosen:.2f} nats per completion and "
            f"{-per_token:.3f} per token ({means}; train.warn_displacement: {settings.warn_displacement:g}) -> "
            "lower train.learning_rate, raise the loss's beta, or add a likelihood term or raise its weight "
            "(train.loss.kind: sum, with sft)",
        )
    if settings.warn_divergence and changes[_DISTANCE] > settings.warn_divergence:
        excess = "" if starts_there else ", more than at the first logged step"
        yield (
            "divergence",
            f"warning: divergence at step {step:,}: log-probs of the completions trained on differ by "
            f"{changes[_DISTANCE]:.3f} nats per token from those under the reference{excess} ({means}, of absolute "
            f"changes, not a KL; train.warn_divergence: {settings.warn_divergence:g}) -> lower "
            "train.learning_rate, raise the loss's beta, or train for fewer steps",
        )
    followed, ignored = changes.get(_FOLLOWED, 0.0), changes.get(_IGNORED, 0.0)
    # While goals are being learned a part is shared too; what is harmful has next to no part that follows them.
    if settings.warn_ignored_goals and ignored > settings.warn_ignored_goals and ignored > 4 * followed:
        yield (
            "ignored goals",
            f"warning: goals are ignored at step {step:,}: the preference within a pair moved {ignored:.2f} nats the "
            f"same way under both goals, and {followed:.2f} with the goal ({means}; train.warn_ignored_goals: "
            f"{settings.warn_ignored_goals:g}) -> lower train.learning_rate or raise train.batch_size; then take more "
            "steps, or a wording of the goal that the model knows (condition.wording)",
        )
