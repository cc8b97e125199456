"""Whether a model can be run over packed streams: tried on a small example, not guessed from its name."""

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

__all__ = ["Support", "measure_difference", "probe_support"]

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Most relative difference of log-probs between the packed and the padded forward; 0.05 in half precision."""


_SWITCH = 13
"""Length at which LongRoPE switches its frequencies while the example is run: two of its sequences are longer."""


@dataclass(frozen=True)
class Support:
    """Whether and how a model runs over packed streams.

    Args:
        ok: whether it does.
        backend: how its attention is computed; empty where it does not.
        reason: why it does not, in a sentence; empty where it does.
    """

    ok: bool
    backend: str = ""
    reason: str = ""


def probe_support(model: Any) -> Support:
    """Run a small example packed and padded; enables packing on the model, and leaves it enabled where it works.

    Every layer must have asked the packed attention once (layers that mix tokens in another way, such as state-space
    layers, convolutions or linear attention, do not), and the log-probs must be those of the padded forward (of each
    sequence alone, and on both sides of the switch, where rotary frequencies depend on its length).

    Args:
        model: a causal language model of transformers, not wrapped, on the device on which it will run: attention is
            computed in another way on another device.
    """
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    before = model.config._attn_implementation
    adapts = getattr(model, "_can_set_attn_implementation", bool)()
    found = _tried(model, layers, dense=not adapts)
    if found.ok or not adapts:
        return found
    model.set_attn_implementation(before)
    older = _tried(model, layers, dense=True) if not found.backend else found
    return older if older.ok else Support(False, reason=found.reason)


def _tried(model: Any, layers: int | None, *, dense: bool) -> Support:
    """The outcome of one way; where it fails, ``backend`` says whether any layer asked the packed attention."""
    name = type(model).__name__
    try:
        enable_packing(model, dense=dense)
        calls, backend, difference = _try(model)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, LookupError) as error:
        return Support(False, reason=f"{name} cannot be run over a packed stream: {_first_line(error)}")
    if not dense and calls != layers:
        reason = f"{name} attends in {calls} of {layers} layers through transformers' attention interface"
        return Support(False, backend, reason)
    if not difference < 1.0:
        reason = f"{name} gives other log-probs over a packed stream than over padded sequences"
        return Support(False, backend, reason)
    return Support(True, "dense" if dense else backend)


def measure_difference(called: Any, vocabulary: int, device: torch.device, dtype: torch.dtype) -> float:
    """How far log-probs over a stream are from those of padded sequences, in units of what is tolerated (below 1).

    For a model inside its wrappers, e.g. once several devices hold parts of its weights.

    Args:
        called: takes ``packed`` (`enable_packing`) and padded sequences with ``completion_mask``.
        vocabulary: of the model.
        device: on which it runs.
        dtype: in which it computes.
    """
    packed, padded = _inputs(vocabulary, device)
    with _evaluating(called), torch.no_grad():
        return _distance(called(packed=packed), called(**padded), dtype)


def _try(model: Any) -> tuple[int, str, float]:
    """Calls of the packed attention, its backend, and the difference in units of what is tolerated."""
    parameter = next(model.parameters())
    packed, padded = _inputs(int(model.config.get_text_config().vocab_size), parameter.device)
    packed = replace(packed, cache={"calls": []})
    switches = find_lowest_switch(model) is not None
    with _evaluating(model), torch.no_grad(), lower_switch(model, _SWITCH):  # the example stands on both sides of it
        expected = (
            _alone(model, parameter.device)
            if switches
            else compute_logps(model, padded["input_ids"], padded["attention_mask"], padded["completion_mask"])
        )
        worst = _distance(compute_packed_logps(model, packed), expected, parameter.dtype)
    calls = packed.cache["calls"]
    backends = {str(call) for call in calls}
    return len(calls), "+".join(sorted(backends)), worst


def _alone(model: Any, device: torch.device) -> Tensor:
    """Log-probs [S] of the example, each sequence in a forward of its own: frequencies are those of its own length."""
    logps = []
    for prompt, completion in zip(*_example(int(model.config.get_text_config().vocab_size)), strict=True):
        whole = torch.tensor([prompt + completion], device=device)
        logits = model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        logps.append(logits.log_softmax(-1).gather(-1, whole[0, len(prompt) :, None]).sum())
    return torch.stack(logps)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _distance(found: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    found, expected = found.double(), expected.double()
    tolerance = _TOLERANCE.get(dtype, 0.05)
    return float(((found - expected).abs() / (tolerance * (1 + expected.abs()))).max())


def _inputs(vocabulary: int, device: torch.device) -> tuple[Packed, dict[str, Tensor]]:
    """The example, packed and padded."""
    prompts, completions = _example(vocabulary)
    padded = {name: tensor.to(device) for name, tensor in pad_sequences(prompts, completions, 0).items()}
    return pack(prompts, completions, min_shared=1).to(device), padded


def _example(vocabulary: int) -> tuple[list[list[int]], list[list[int]]]:
    """Two prompts with a common beginning, two completions each."""
    draw = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return [int(token) for token in torch.randint(1, vocabulary, (count,), generator=draw)]

    common = tokens(5)
    prompts = [common + tokens(3), common + tokens(6)]
    return [prompt for prompt in prompts for _ in range(2)], [tokens(count) for count in (7, 4, 1, 9)]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
