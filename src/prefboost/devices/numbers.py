"""Number types: bfloat16 where a device computes it natively, float32 otherwise; float16 on request only.

A CPU without bf16 units computes bf16 products 6 to 60 times slower than float32 ones, mostly in the backward pass, so
the choice decides whether a training ends. Everything that loads weights or opens an autocast context calls
`choose_numbers`.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from prefboost.atomic import write_atomically
from prefboost.errors import RunError

if TYPE_CHECKING:
    import torch

__all__ = [
    "NUMBERS_FILE",
    "NumberSetting",
    "NumberChoice",
    "NumberName",
    "log_number_choice",
    "choose_numbers",
    "resolve_device",
    "keep_numbers",
    "read_recorded_numbers",
    "record_numbers",
    "start_keeping",
    "stop_keeping",
]

NumberName = Literal["bfloat16", "float16", "float32"]
"""Number types by their names in torch."""

NumberSetting = Literal["auto", "bfloat16", "float16", "float32"]
"""Values of a setting; ``auto`` leaves the choice to `choose_numbers`."""

_MOST_RATIO = 1.25
"""bf16 is native if its products take at most this multiple of the float32 time; with units it is 0.2 to 0.5."""

_PROBES = 3
"""A busy machine can spoil one measurement; bf16 units are only doubted after this many."""

_PROBE_SECONDS = 0.05
"""Seconds after which a measurement is not repeated."""

NUMBERS_FILE = "numbers.json"
"""File in the folder of a run or a store that records its number type."""

_RECORDS: list[tuple[Path, bool]] = []
"""Files of the runs and stores in progress, the innermost last, and whether they may be written."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NumberChoice:
    """The number type of a computation, and why.

    Args:
        name: of the type.
        reason: in a phrase, for people.
        unwise: an explicit choice that this device computes much slower than float32.
    """

    name: NumberName
    reason: str
    unwise: bool = False

    @property
    def line(self) -> str:
        """One line for the user, e.g. ``numbers: float32 (this CPU has no bf16 units; bf16 would be 12x slower)``."""
        return f"numbers: {self.name} ({self.reason})"


def choose_numbers(setting: NumberSetting, device: str = "auto", *, exact: str | None = None) -> NumberChoice:
    """Choose the number type of weights and matrix products.

    Args:
        setting: a number type, or ``auto``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``; ``auto`` as in `resolve_device`.
        exact: why the computation needs float32 on every device (a measurement must not round weights), if it does.

    Returns:
        the setting itself unless it is ``auto``. For ``auto``: bfloat16 where the device computes it natively and
        nothing needs float32, else float32.
    """
    if setting != "auto":
        # Only CPUs are measured: a GPU runs bf16 or refuses it.
        device = resolve_device(device)
        on_cpu = device.partition(":")[0] == "cpu"
        native = _choose_native(device) if on_cpu and setting == "bfloat16" else None
        if native is None or native.name != "float32":
            return NumberChoice(setting, "as asked")
        return NumberChoice(setting, f"as asked; {native.reason.replace('would be', 'is')}", unwise=True)
    if exact is not None:
        return NumberChoice("float32", exact)
    here = _choose_native(resolve_device(device))
    # The recorded choice of a run in progress counts; without one this is recorded, for the time when it resumes.
    name = read_recorded_numbers() or here.name
    record_numbers(name)
    if name == here.name:
        return here
    return NumberChoice(name, f"with which this was begun; here it would be {here.name}: {here.reason}", unwise=True)


def read_recorded_numbers() -> NumberName | None:
    """Return the number type that the run or store in progress has recorded; None where none has one."""
    names = (_read_choice(path) for path, _ in reversed(_RECORDS))
    return next((name for name in names if name is not None), None)


def record_numbers(name: NumberName) -> None:
    """Record a number type for the runs and stores in progress that have none."""
    for path, writes in _RECORDS:
        if writes and not path.exists():
            with suppress(OSError, RunError):
                write_atomically(path, json.dumps({"numbers": name}) + "\n")


@contextmanager
def keep_numbers(path: Path) -> Iterator[None]:
    """Let ``auto`` choose what a file records while the block runs; write the file if it is new.

    Work that is begun on one machine and resumed on another is then computed alike from beginning to end.

    Args:
        path: JSON file, in the folder of a run or a store. Where blocks are nested, the innermost file that exists
            decides. A file that cannot be written (a read-only folder) is left out.
    """
    start_keeping(path)
    try:
        yield
    finally:
        stop_keeping(path)


def start_keeping(path: Path, *, writes: bool = True) -> None:
    """Begin what `keep_numbers` does, to be followed by `stop_keeping`; without ``writes`` the file is only read."""
    _RECORDS.append((path, writes))


def stop_keeping(path: Path) -> None:
    """End what `start_keeping` began last for this file."""
    at = max(index for index, (record, _) in enumerate(_RECORDS) if record == path)
    del _RECORDS[at]


def resolve_device(device: str = "auto") -> str:
    """Resolve ``auto`` to ``cuda`` where there is a GPU, else to ``cpu``; other names are returned unchanged."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache
def log_number_choice(choice: NumberChoice) -> None:
    """Log the choice once per process; a warning where the device computes the asked type much slower than float32."""
    logger.log(logging.WARNING if choice.unwise else logging.INFO, "%s", choice.line)


def _read_choice(path: Path) -> NumberName | None:
    try:
        name: Any = json.loads(path.read_text(encoding="utf-8"))["numbers"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cast(NumberName, name) if name in get_args(NumberName) else None


@functools.cache
def _choose_native(device: str) -> NumberChoice:
    """Decide once per process and device, so that all parts of a command compute alike."""
    import torch

    kind = device.partition(":")[0]
    try:
        if kind == "cpu":
            return _choose_for_cpu()
        if kind == "cuda":
            name, (major, minor) = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
            # Older GPUs emulate bf16: torch.cuda.is_bf16_supported() says yes for them as well.
            if (major, minor) >= (8, 0):
                return NumberChoice("bfloat16", f"{name} has bf16 units")
            return NumberChoice("float32", f"{name}, compute capability {major}.{minor}, has no bf16 units")
        if kind == "mps":
            works = False
            # Apple's GPUs take bf16 from macOS 14 on; older systems refuse it with an error.
            with suppress(RuntimeError, TypeError):
                ones = torch.ones(8, 8, device=device, dtype=torch.bfloat16)
                works = bool((ones @ ones).sum().item() == 8**3)
            if works:
                return NumberChoice("bfloat16", "this GPU computes bf16")
            return NumberChoice("float32", "this GPU or this macOS does not compute bf16")
        if kind == "xpu":
            if torch.xpu.is_bf16_supported():
                return NumberChoice("bfloat16", "this GPU has bf16 units")
            return NumberChoice("float32", "this GPU has no bf16 units")
    except (RuntimeError, AssertionError):  # there is no such device, which whoever puts a model on it reports
        return NumberChoice("float32", f"{device} cannot be used")
    return NumberChoice("float32", f"nothing is known about bf16 on {kind}")


def _choose_for_cpu() -> NumberChoice:
    has_units = _cpu_has_bf16_units()
    ratio = measure_bf16_ratio()
    for _ in range(_PROBES - 1 if has_units else 0):
        if ratio <= _MOST_RATIO:
            break
        ratio = min(ratio, measure_bf16_ratio())
    if has_units and ratio <= _MOST_RATIO:
        return NumberChoice("bfloat16", f"this CPU has bf16 units; float32 would be {1 / ratio:.1f}x slower")
    if has_units:
        return NumberChoice("float32", f"this CPU has bf16 units, yet bf16 would be {ratio:.1f}x slower")
    # Without units a fast probe would be an accident of a small shape: backward products decide, and they are slow.
    slower = f"{ratio:.0f}x slower" if ratio >= 1.5 else "no faster"
    return NumberChoice("float32", f"this CPU has no bf16 units; bf16 would be {slower}")


def _cpu_has_bf16_units() -> bool:
    """Return whether the CPU multiplies bf16 matrices in hardware, and torch may use that.

    oneDNN already reports bf16 as supported on any AVX-512 CPU, where it is emulated; hence the units themselves are
    queried as well. ``ONEDNN_MAX_CPU_ISA=AVX2`` and ``ATEN_CPU_CAPABILITY=avx2`` are respected.
    """
    import torch

    built_in: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (built_in and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True  # Arm: oneDNN looks for the BF16 extension itself
    if not torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX")):
        return False
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, flag, lambda: False)() for flag in flags)


def measure_bf16_ratio() -> float:
    """Measure the time of bf16 products over that of float32 products, forward and backward; takes milliseconds.

    The shapes are those of a small model's linear layer: x [128, 256], weight [768, 256], gradient [128, 768].
    """
    import torch

    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, weight, gradient = (torch.ones(shape, dtype=dtype) for shape in ((128, 256), (768, 256), (128, 768)))
        # The first repetition, a warm-up, counts only if it is long.
        began, shortest = time.perf_counter(), math.inf
        for repetition in range(9):
            start = time.perf_counter()
            _compute_layer(x, weight, gradient)
            now = time.perf_counter()
            if repetition > 0 or now - start > _PROBE_SECONDS:
                shortest = min(shortest, now - start)
            if now - began > _PROBE_SECONDS and shortest < math.inf:
                break
        seconds[dtype] = shortest
    return seconds[torch.bfloat16] / seconds[torch.float32]


def _compute_layer(x: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor) -> None:
    """Compute the forward product and both products of the backward pass, whose operands are laid out differently."""
    import torch

    with torch.inference_mode():
        torch.nn.functional.linear(x, weight)
        torch.mm(gradient, weight)
        torch.mm(gradient.t(), x)
