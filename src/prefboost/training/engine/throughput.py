"""Speed of training: tokens, savings of packing, seconds per part of the work, and the share of the device's peak."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from prefboost.packing import Packed
from prefboost.training.engine.memory import peak_memory

__all__ = ["PEAK_FLOPS", "Cost", "Meter", "cost_of", "peak_flops"]

PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A10G": 70e12,
    "A10": 125e12,
    "A6000": 154.8e12,
    "L40S": 362e12,
    "L4": 121e12,
    "4090": 165.2e12,
    "3090": 71e12,
}
"""Floating-point operations a second, dense bf16 with float32 sums, by a word of the device's name; the first that
fits. From NVIDIA's data sheets (H200, H100, B200, A100, A10, RTX A6000, L40S, L4) and its GA102 and Ada papers."""


def peak_flops(device_name: str) -> float | None:
    """Look up the peak dense bf16 rate of a device, in operations per second; None where it is not known."""
    # Longer names come before their beginnings in the table: "H100 PCIe" before "H100".
    return next((rate for part, rate in PEAK_FLOPS.items() if re.search(rf"\b{part}\b", device_name)), None)


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of a model, forward and backward, without those of attention's scores.

    Args:
        body: of a token through the layers.
        head: of a scored token through the output layer.
    """

    body: float
    head: float

    def of(self, tokens: int, scored: int) -> float:
        """Count the operations of a stream."""
        return self.body * tokens + self.head * scored


def cost_of(model: Any, *, adapters: bool = False) -> Cost:
    """Count the cost from the weights: 6 operations per weight and token; 4 where weights are frozen (adapters)."""
    head = model.get_output_embeddings().weight.numel()
    # Embeddings are looked up, not multiplied: they cost no operations, unless the output layer is tied to them.
    embeddings = {id(layer.weight) for layer in model.modules() if isinstance(layer, torch.nn.Embedding)}
    body = sum(p.numel() for p in model.parameters() if id(p) not in embeddings)
    tied = id(model.get_output_embeddings().weight) in embeddings
    # A multiplication by a weight costs 2 forward, 2 for the inputs' gradient and 2 for the weight's gradient.
    factor = 4.0 if adapters else 6.0
    return Cost(body=factor * (body if tied else body - head), head=factor * head)


_PARTS_OF_A_STEP = ("data", "forward_backward", "optimizer")


@dataclass
class Meter:
    """Counts what is done between two lines of the log.

    Args:
        device: that computes.
        cost: of the model; None leaves the share of the peak out.
        processes: devices that do as much as this one.
    """

    device: torch.device
    cost: Cost | None = None
    processes: int = 1
    _seconds: dict[str, float] = field(default_factory=dict)
    _counts: dict[str, float] = field(default_factory=dict)
    _steps: int = 0
    _running: dict[str, float] = field(default_factory=dict)
    _whole: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time_part(self, part: str) -> Iterator[None]:
        """Count the seconds of the block for a part of the work."""
        self.begin(part)
        try:
            yield
        finally:
            self.end(part)

    def begin(self, part: str) -> None:
        """Begin a part of the work."""
        self._running[part] = time.monotonic()

    def end(self, part: str) -> None:
        """End the part, once the device has done its work."""
        # Kernels run on after the call returns; unwaited, their time would count for the next part.
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._steps += part == "optimizer"
        if part in self._running:
            self._seconds[part] = self._seconds.get(part, 0.0) + time.monotonic() - self._running.pop(part)

    def count(self, packed: Packed) -> None:
        """Count a stream that was trained on."""
        counts = {
            "computed": packed.tokens,
            "real": packed.unshared_tokens,
            "padded": packed.padded_tokens,
            "scored": len(packed.targets),
        }
        self._add(counts)

    def count_padded(self, batch: dict[str, Any]) -> None:
        """Count a padded batch that was trained on."""
        mask = batch["attention_mask"]
        scored = int(batch["completion_mask"].sum())
        self._add({"computed": mask.numel(), "real": int(mask.sum()), "padded": mask.numel(), "scored": scored})

    def _add(self, counts: dict[str, int]) -> None:
        for name, number in counts.items():
            self._counts[name] = self._counts.get(name, 0) + number

    def read(self) -> dict[str, float]:
        """Read the numbers since the last reading, for the log, and start again from zero.

        Returns:
            ``speed/tokens_per_s`` (real tokens: not padding, shared ones once a sequence, all devices),
            ``speed/padding_saved`` and ``speed/prefix_saved`` (1.5: half as much again would have been computed),
            ``speed/mfu`` (share of the peak, on known devices), ``memory/peak_gib``, ``time/*`` (seconds, of them
            ``time/step`` one step's). Speed is that of steps: evaluation, saving and the reference pass do not count.
        """
        # Evaluation, saving and the reference pass stand in the log beside the speed, and do not lower it.
        seconds = max(sum(self._seconds.get(part, 0.0) for part in _PARTS_OF_A_STEP), 1e-9)
        metrics = {f"time/{part}": round(value, 4) for part, value in self._seconds.items()}
        counts = self._counts
        if counts:
            computed, real = counts["computed"], counts["real"]
            metrics["speed/tokens_per_s"] = round(self.processes * real / seconds, 1)
            # Tokens of the same micro-batches padded to their longest sequence, per token that is real.
            metrics["speed/padding_saved"] = round(counts["padded"] / real, 4)
            metrics["speed/prefix_saved"] = round(real / computed, 4)
            peak = peak_flops(torch.cuda.get_device_name(self.device)) if self.device.type == "cuda" else None
            if self.cost is not None and peak is not None:
                operations = self.cost.of(int(computed), int(counts["scored"]))
                metrics["speed/mfu"] = round(operations / seconds / peak, 4)
        if self._steps:
            metrics["time/step"] = round(seconds / self._steps, 4)
        metrics["memory/peak_gib"] = round(peak_memory(self.device) / 2**30, 3)
        for name, number in {**counts, **metrics}.items():
            # Only what adds up is summed over the run; ratios are computed anew in `summary`.
            if name in counts or (name.startswith("time/") and name != "time/step"):
                self._whole[name] = self._whole.get(name, 0.0) + number
        self._seconds, self._counts, self._steps = {}, {}, 0
        return metrics

    def summary(self) -> dict[str, float]:
        """Summarise the whole run: tokens by kind, seconds by part, and savings."""
        whole = dict(self._whole)
        busy = sum(whole.get(f"time/{part}", 0.0) for part in _PARTS_OF_A_STEP)
        if whole.get("real"):
            whole["padding_saved"] = whole["padded"] / whole["real"]
            whole["prefix_saved"] = whole["real"] / whole["computed"]
            whole["tokens_per_s"] = self.processes * whole["real"] / busy if busy else 0.0
        whole["peak_gib"] = peak_memory(self.device) / 2**30
        return {name: round(number, 4) for name, number in whole.items()}
