"""Callbacks of a training: progress for people, a log for machines, checkpoints by time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from prefboost.atomic import write_atomically
from prefboost.statistics.json_form import replace_nan
from prefboost.training.claim import read_log

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["JsonLog", "OptimizerClock", "SaveByTime", "StepProgress"]


class StepProgress(TrainerCallback):
    """Tells a `Progress` of every optimiser step: pairs and tokens on average over the run, and the last loss.

    Args:
        progress: is told.
        pairs_per_step: goal pairs of a step.
        tokens_per_pair: prompt and both completions, on average.
    """

    def __init__(self, progress: Progress, pairs_per_step: float, tokens_per_pair: float) -> None:
        self.progress = progress
        self.pairs_per_step = pairs_per_step
        self.tokens_per_pair = tokens_per_pair
        self._loss: dict[str, float] = {}
        self._done = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the bar at what a resumed run still has to do."""
        pairs = round((state.max_steps - state.global_step) * self.pairs_per_step)
        self.progress.begin("training (pairs)", pairs)
        self._done = round(state.global_step * self.pairs_per_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Keep what is shown beside the bar."""
        # Kept until the next line of the log, which may come many steps later.
        columns = {"loss": "loss", "rewards/accuracies": "accuracy"}
        self._loss |= {short: logs[name] for name, short in columns.items() if logs and name in logs}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar by the pairs of a step."""
        done = round(state.global_step * self.pairs_per_step)
        # Rounded totals are subtracted, so that rounding errors do not add up over the run.
        pairs, self._done = done - self._done, done
        self.progress.advance(pairs, tokens=pairs * self.tokens_per_pair, **self._loss)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the bar."""
        self.progress.end()


class OptimizerClock(TrainerCallback):
    """Tells a `Meter` when the optimiser works.

    Args:
        meter: has ``begin`` and ``end``.
    """

    def __init__(self, meter: Any) -> None:
        self.meter = meter

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock: the gradients are complete."""
        self.meter.begin("optimizer")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock: the weights have moved."""
        self.meter.end("optimizer")


class SaveByTime(TrainerCallback):
    """Asks for a checkpoint whenever the last one is so many minutes old, so that a kill never costs more.

    Writing takes a twentieth of the time at most: slow disks and large models get fewer checkpoints than asked for.

    Args:
        minutes: between two checkpoints; None: only ``save_every`` counts.
        clock: seconds.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutes = minutes
        self.clock = clock
        self._last = self._begun = clock()
        self._took = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restart the clock: the time before the first step does not count."""
        self._last = self.clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide; the first process does so for all, since they write together."""
        from accelerate.utils import broadcast_object_list

        self._begun = self.clock()
        if self.minutes is not None:
            # A checkpoint that took a minute is repeated after twenty minutes at the earliest.
            due = self._begun - self._last >= max(60 * self.minutes, 20 * self._took)
            control.should_save = broadcast_object_list([due])[0] or control.should_save

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when a checkpoint was written, and how long that took."""
        self._last = self.clock()
        # `on_step_end` is called right before writing begins, so its time is the start of writing.
        self._took = self._last - self._begun


class JsonLog(TrainerCallback):
    """Appends every log line (step, epoch, metrics) to a JSONL file; a resumed run continues it without doubles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget lines of steps that will be done again."""
        if not state.is_world_process_zero:
            return
        # Steps after the last checkpoint are repeated, and would be in the log twice.
        lines = [line for line in read_log(self.path) if line["step"] <= state.global_step]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Write one line."""
        if state.is_world_process_zero and logs:
            with self.path.open("a", encoding="utf-8") as file:
                # JSON knows no NaN: a loss that has diverged is null.
                file.write(json.dumps(replace_nan({"step": state.global_step, **logs}), allow_nan=False) + "\n")
