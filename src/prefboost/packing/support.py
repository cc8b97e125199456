"""Probe whether a model can be run over packed streams: on a small example, not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from prefboost.losses.completion_logps import compute_logps, pad_sequences
from prefboost.losses.rope_by_length import find_lowest_switch, lower_switch
from prefboost.packing.logps import compute_packed_logps, enable_packing
from prefboost.packing.stream import Packed, pack

__all__ = ["Support", "evaluation_mode", "measure_difference", "probe_support"]

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Most relative difference of log-probs between the packed and the padded forward; 0.05 in half precision."""

_SWITCH = 13
"""Length at which LongRoPE switches its frequencies while the example is run: two of the sequences are longer."""


@dataclass(frozen=True)
class Support:
    """Outcome of the probe.

    Args:
        ok: whether the model runs over packed streams.
        backend: how its attention is computed; empty where no layer came through the interface.
        reason: why it does not run, in a sentence; empty where it does.
    """

    ok: bool
    backend: str = ""
    reason: str = ""


def probe_support(model: Any) -> Support:
    """Run a small example packed and padded; enable packing on the model, and leave it enabled where it works.

    Every layer must call the packed attention once (layers that mix tokens in another way, such as state-space layers,
    convolutions or linear attention, do not), and the log-probs must be those of the padded forward. Where rotary
    frequencies depend on length, they must be those of each sequence alone, on both sides of the switch.

    Args:
        model: a causal language model of transformers, not wrapped, on the device on which it will run: the backend
            of attention depends on the device.
    """
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    before = model.config._attn_implementation
    # The question that transformers itself asks before it lets a class change its implementation.
    adapts = getattr(model, "_can_set_attn_implementation", bool)()
    support = _try_packing(model, layers, dense=not adapts)
    if support.ok or not adapts:
        return support
    model.set_attn_implementation(before)
    # No layer came through the interface: the model is of an older kind, which may take a dense mask. Where some came,
    # the others mix tokens in another way, and a mask would not reach them.
    dense = _try_packing(model, layers, dense=True) if not support.backend else support
    return dense if dense.ok else Support(False, reason=support.reason)


def _try_packing(model: Any, layers: int | None, *, dense: bool) -> Support:
    """Try one way; where it fails, ``backend`` says whether any layer called the packed attention."""
    name = type(model).__name__
    try:
        enable_packing(model, dense=dense)
        calls, backend, difference = _run_example(model)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, LookupError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return Support(False, reason=f"{name} cannot be run over a packed stream: {first_line}")
    # One call per layer: fewer mean that some layers mix tokens in another way and would see across sequences.
    if not dense and calls != layers:
        reason = f"{name} attends in {calls} of {layers} layers through transformers' attention interface"
        return Support(False, backend, reason)
    if not difference < 1.0:  # NaN counts as a difference
        reason = f"{name} gives other log-probs over a packed stream than over padded sequences"
        return Support(False, backend, reason)
    return Support(True, "dense" if dense else backend)


def measure_difference(model: Any, vocabulary: int, device: torch.device, dtype: torch.dtype) -> float:
    """Measure how far log-probs over a stream are from those of padded sequences.

    For a model inside its wrappers, e.g. once several devices hold parts of its weights.

    Args:
        model: takes ``packed`` (`enable_packing`) and padded sequences with ``completion_mask``.
        vocabulary: tokens that the model knows.
        device: on which it runs.
        dtype: in which it computes.

    Returns:
        in units of the tolerance of ``dtype``: below 1 the two agree.
    """
    packed, padded = _build_inputs(vocabulary, device)
    with evaluation_mode(model), torch.no_grad():
        return _measure_distance(model(packed=packed), model(**padded), dtype)


def _run_example(model: Any) -> tuple[int, str, float]:
    """Return calls of the packed attention, its backends, and the difference in units of the tolerance."""
    parameter = next(model.parameters())
    vocabulary = int(model.config.get_text_config().vocab_size)
    packed, padded = _build_inputs(vocabulary, parameter.device)
    packed = replace(packed, cache={"calls": []})
    switches = find_lowest_switch(model) is not None
    with evaluation_mode(model), torch.no_grad(), lower_switch(model, _SWITCH):
        if switches:
            # Sequences of the example are shorter and longer than the switch, and padding would mix their frequencies:
            # one forward per sequence.
            logps = []
            for prompt, completion in zip(*_draw_example(vocabulary), strict=True):
                whole = torch.tensor([prompt + completion], device=parameter.device)
                logits = model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
                logps.append(logits.log_softmax(-1).gather(-1, whole[0, len(prompt) :, None]).sum())
            expected = torch.stack(logps)
        else:
            expected = compute_logps(model, padded["input_ids"], padded["attention_mask"], padded["completion_mask"])
        difference = _measure_distance(compute_packed_logps(model, packed), expected, parameter.dtype)
    calls = packed.cache["calls"]
    return len(calls), "+".join(sorted({str(call) for call in calls})), difference


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Switch dropout off while the block runs; afterwards the model is in the mode that it was in, also on an error."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _measure_distance(logps: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    logps, expected = logps.double(), expected.double()
    tolerance = _TOLERANCE.get(dtype, 0.05)
    return float(((logps - expected).abs() / (tolerance * (1 + expected.abs()))).max())


def _build_inputs(vocabulary: int, device: torch.device) -> tuple[Packed, dict[str, Tensor]]:
    """Build the example, packed and padded."""
    prompts, completions = _draw_example(vocabulary)
    padded = {name: tensor.to(device) for name, tensor in pad_sequences(prompts, completions, 0).items()}
    return pack(prompts, completions, min_shared=1).to(device), padded


def _draw_example(vocabulary: int) -> tuple[list[list[int]], list[list[int]]]:
    """Draw two prompts with a common beginning and two completions of each; the seed is fixed."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> list[int]:
        return [int(token) for token in torch.randint(1, vocabulary, (count,), generator=generator)]

    # What can go wrong is covered: a shared beginning, a completion of one token, positions that restart at a branch.
    common = draw(5)
    prompts = [common + draw(3), common + draw(6)]
    return [prompt for prompt in prompts for _ in range(2)], [draw(count) for count in (7, 4, 1, 9)]
