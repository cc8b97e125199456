"""Running out of memory: recognising it, and asking for less."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from prefboost.atomic import write_atomically
from prefboost.errors import RunError

__all__ = ["TokenBudget", "is_out_of_memory", "peak_memory"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_SIGNS = ("not enough memory", "DefaultCPUAllocator", "out of memory")
"""Words of the RuntimeError by which torch says that memory is short; only on CUDA it has a type of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is short, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use at once so far: of the device on CUDA, else of the process (0 on Windows)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import sys

    if sys.platform == "win32":
        return 0  # the standard library does not know it there
    import resource

    # ru_maxrss is in bytes on macOS and in kibibytes elsewhere.
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


@dataclass
class TokenBudget:
    """Most tokens of a stream, halved whenever memory runs short.

    Args:
        tokens: to begin with.
        alone: whether this process may decide by itself; several processes must stay in step.
        kept: file in which a lowered budget is kept, so that a resumed run goes on with it; None keeps none.
    """

    tokens: int
    alone: bool = True
    kept: Path | None = None
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take up what was kept, unless another budget is asked for now."""
        self._asked = self.tokens
        if self.kept is not None and self.kept.exists():
            stored = json.loads(self.kept.read_text(encoding="utf-8"))
            # Another budget in the settings means that the user has decided anew.
            if stored["asked"] == self._asked:
                self.tokens, self.messages = stored["tokens"], list(stored["messages"])

    def within(self, work: Callable[[int], T], undo: Callable[[], None], what: str) -> T:
        """Do something within the budget; where memory runs short, undo it, halve the budget and do it again.

        Args:
            work: the budget -> result.
            undo: forgets what an interrupted attempt has left.
            what: named in messages, e.g. ``step 3``.

        Raises:
            RunError: memory is short with the smallest budget too, or several processes would have to agree.
        """
        while True:
            try:
                return work(self.tokens)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Kept as text: the error holds its traceback, and with it every tensor of the attempt that failed.
                line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            # Outside of the except block, where the interpreter would still hold the traceback and its tensors.
            undo()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            remedy = "set gradient_checkpointing: true, a smaller max_length, adapters (lora), or precision: pure_bf16"
            if self.tokens <= _SMALLEST:
                raise RunError(f"{what} runs out of memory even for one pair at a time: {line}", remedy=remedy)
            # Halving finds a budget that fits in a few attempts, and never below half of the largest possible one.
            before, self.tokens = self.tokens, self.tokens // 2
            self.messages.append(f"memory ran short in {what}: token_budget {before:,} -> {self.tokens:,}")
            # Stored before the error below is raised: the next start has to begin with the lower budget.
            if self.kept is not None:
                record = {"asked": self._asked, "tokens": self.tokens, "messages": self.messages}
                write_atomically(self.kept, json.dumps(record) + "\n")
            # Other processes are waiting in an exchange of this step, so that it cannot be repeated here alone.
            if not self.alone:
                raise RunError(
                    f"{what} ran out of memory with token_budget {before:,}: {line}",
                    remedy=f"start the same command again: it resumes, with token_budget {self.tokens:,}; or {remedy}",
                )
            logger.warning("%s; redoing it", self.messages[-1])


_SMALLEST = 32
"""A budget below which a micro-batch is one unit in any case."""
