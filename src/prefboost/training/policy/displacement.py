"""Warnings while a policy trains: likelihood displacement, distance from the reference, and goals that are ignored.

They read the log that is written anyway (`prefboost.training.policy.watch`), so they cost no forward pass. The log is
averaged over all processes, and a checkpoint restores it, so every process and every resumed run reads the same lines.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from prefboost.training.policy.settings import Train

__all__ = ["WINDOW", "DisplacementWatch", "WarningThresholds", "describe_displacement"]

logger = logging.getLogger(__name__)

WINDOW = 8
"""Logged steps over which metrics are averaged before they are compared: one step has a single batch, and is noisy."""

CHOSEN, CHOSEN_TOKEN_MEAN = "displacement/chosen", "displacement/chosen_token_mean"
MARGIN, DISTANCE = "displacement/margin", "displacement/distance_token_mean"
_FOLLOWED, _IGNORED = "goal/followed", "goal/ignored"


@dataclass(frozen=True)
class WarningThresholds:
    """Changes of log-probs that bring a warning; 0 switches it off.

    Args:
        displacement: nats per token that chosen completions lose while the margin grows.
        displacement_sum: nats per completion that they lose as well.
        divergence: mean absolute change in nats per token.
        ignored_goals: nats by which the preference within a pair moves the same way under both goals.
        owner: what stands before the names of settings in a warning, e.g. ``train.``.
        likelihood: how a likelihood term is added.
    """

    displacement: float
    displacement_sum: float
    divergence: float
    ignored_goals: float
    likelihood: str
    owner: str = ""

    @classmethod
    def of_training(cls, settings: Train) -> WarningThresholds:
        """Return those of prefboost's own training."""
        return cls(
            settings.warn_displacement,
            settings.warn_displacement_sum,
            settings.warn_divergence,
            settings.warn_ignored_goals,
            owner="train.",
            likelihood="train.loss.kind: sum, with sft",
        )


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
        thresholds: of the warnings.
        from_reference: changes count from the reference; otherwise from the first logged step.
    """

    def __init__(self, thresholds: WarningThresholds, *, from_reference: bool = True) -> None:
        self.thresholds = thresholds
        self._from_reference = from_reference
        self._watches = True
        self._origin: Mapping[str, float] | None = {} if from_reference else None
        self._window: deque[Mapping[str, float]] = deque(maxlen=WINDOW)
        self._warnings: dict[str, str] = {}

    @classmethod
    def of_training(cls, settings: Train) -> DisplacementWatch:
        """Return the watch of prefboost's own training."""
        watch = cls(WarningThresholds.of_training(settings), from_reference=settings.reference == "start")
        # Losses of plug-ins need not declare it.
        watch._watches = settings.uses_reference and getattr(settings.loss, "needs_reference", False)
        return watch

    @property
    def messages(self) -> list[str]:
        """Return the warnings so far, those from before a resume included."""
        return list(self._warnings.values())

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the log up to the checkpoint that a run resumes from; its warnings were printed before."""
        for line in state.log_history:
            self._take_line(self.read_line(line, args), args.get_warmup_steps(state.max_steps))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Print a warning at the first window that crosses its threshold."""
        line = self.read_line({"step": state.global_step, **(logs or {})}, args)
        for message in self._take_line(line, args.get_warmup_steps(state.max_steps)):
            if state.is_world_process_zero:
                logger.warning("%s", message)

    def read_line(self, line: Mapping[str, float], args: Any) -> Mapping[str, float]:
        """Return a line of the log with the metrics ``displacement/*``; without them it is not watched."""
        return line

    def _take_line(self, line: Mapping[str, float], warmup_steps: int) -> list[str]:
        """Add a line of the log to the window, and return the warnings that it brings for the first time."""
        # Lines of evaluations and of the end have other metrics.
        if not self._watches or CHOSEN not in line:
            return []
        if self._origin is None:
            self._origin = line
        # In the warm-up the policy has hardly moved: its lines would only delay a warning.
        if line["step"] <= warmup_steps:
            return []
        self._window.append(line)
        if len(self._window) < WINDOW:
            return []
        names = [CHOSEN, CHOSEN_TOKEN_MEAN, MARGIN, DISTANCE]
        # Only goal pairs whose views stand in one step have these.
        names += [name for name in (_FOLLOWED, _IGNORED) if all(name in each for each in self._window)]
        changes = {
            name: sum(each[name] for each in self._window) / WINDOW - self._origin.get(name, 0.0) for name in names
        }
        due = dict(describe_displacement(changes, line["step"], self.thresholds, self._from_reference))
        fresh = {kind: text for kind, text in due.items() if kind not in self._warnings}
        self._warnings |= fresh
        return list(fresh.values())


def describe_displacement(
    changes: Mapping[str, float], step: float, thresholds: WarningThresholds, from_reference: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each warning that is due.

    Args:
        changes: mean of each ``displacement/*`` metric over a window, counted from where the training began.
        step: optimiser step at which the window ends.
        thresholds: of the warnings.
        from_reference: changes count from the reference; otherwise from the first logged step.
    """
    owner = thresholds.owner
    origin = "under the reference" if from_reference else "at the first logged step"
    means = f"mean of the last {WINDOW} logged steps"
    chosen, per_token, margin = changes[CHOSEN], changes[CHOSEN_TOKEN_MEAN], changes[MARGIN]
    # Both must be crossed: a long completion loses many nats at a small change per token, a short one few nats
    # at a large one.
    falls = per_token < -thresholds.displacement and chosen < -thresholds.displacement_sum
    if thresholds.displacement and falls and margin > 0:
        yield (
            "displacement",
            f"warning: likelihood displacement at step {step:,}: the margin grew by {margin:.2f} nats, but chosen "
            f"completions are less likely than {origin}, by {-chosen:.2f} nats per completion and "
            f"{-per_token:.3f} per token ({means}; {owner}warn_displacement: {thresholds.displacement:g}) -> "
            f"lower {owner}learning_rate, raise the loss's beta, or add a likelihood term or raise its weight "
            f"({thresholds.likelihood})",
        )
    if thresholds.divergence and changes[DISTANCE] > thresholds.divergence:
        excess = "" if from_reference else ", more than at the first logged step"
        yield (
            "divergence",
            f"warning: divergence at step {step:,}: log-probs of the completions trained on differ by "
            f"{changes[DISTANCE]:.3f} nats per token from those under the reference{excess} ({means}, of absolute "
            f"changes, not a KL; {owner}warn_divergence: {thresholds.divergence:g}) -> lower "
            f"{owner}learning_rate, raise the loss's beta, or train for fewer steps",
        )
    followed, ignored = changes.get(_FOLLOWED, 0.0), changes.get(_IGNORED, 0.0)
    # While goals are being learned a part is shared too; what is harmful has next to no part that follows them.
    if thresholds.ignored_goals and ignored > thresholds.ignored_goals and ignored > 4 * followed:
        yield (
            "ignored goals",
            f"warning: goals are ignored at step {step:,}: the preference within a pair moved {ignored:.2f} nats the "
            f"same way under both goals, and {followed:.2f} with the goal ({means}; {owner}warn_ignored_goals: "
            f"{thresholds.ignored_goals:g}) -> lower {owner}learning_rate or raise {owner}batch_size; then take more "
            "steps, or a wording of the goal that the model knows (condition.wording)",
        )
