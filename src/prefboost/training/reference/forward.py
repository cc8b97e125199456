"""Log-probs under the reference: the same forward and number types as in training, without gradient."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from prefboost.losses.completion_logps import batch_by_length, pad_sequences
from prefboost.losses.rope_by_length import group_by_frequencies
from prefboost.packing import evaluation_mode, pack
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.engine.micro_batches import split_by_prompt_order
from prefboost.training.reference.cache import Sequences

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["REFERENCE_TOKENS", "ReferencePass", "hash_of_model", "numerics_of"]

REFERENCE_TOKENS = {"cpu": 4096, "cuda": 32768}
"""Tokens of a batch of the reference pass, which keeps no activations, by device."""


SUMS = "sum64-keys32"
"""The summation of our own forward; changes whenever its bits do, so that the cache is missed."""


def hash_of_model(model: Any) -> str:
    """Hash what a model computes: its weights and configuration. Call it before adapters are put on."""
    config = model.config.to_dict()
    # Entries that change with versions and places, and do not change what the model computes.
    ignored = {"transformers_version", "_name_or_path", "torch_dtype", "dtype", "use_cache", "architectures"}
    plain = json.dumps({key: value for key, value in config.items() if key not in ignored}, sort_keys=True, default=str)
    weights = hashlib.sha256()
    for _, weight in sorted(model.state_dict().items()):
        weights.update(str(weight.dtype).encode())
        # NumPy has neither bfloat16 nor float8.
        narrow = weight.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
        weights.update((weight.float() if narrow else weight).cpu().numpy().tobytes())
    return hashlib.sha256(f"{plain}/{weights.hexdigest()}".encode()).hexdigest()


def numerics_of(model: Any, engine: str, precision: str, device: torch.device) -> str:
    """Name everything that the bits of a log-prob depend on, besides weights and tokens."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    attention = model.config._attn_implementation
    rope = "" if group_by_frequencies(model, ()) is None else "-rope-by-length"  # earlier bits depended on neighbours
    return f"{engine}-{precision}-{model.dtype}-{name}-{attention}-torch{torch.__version__}-{SUMS}{rope}"


@dataclass
class ReferencePass:
    """Computes log-probs of batches of sequences.

    Args:
        model: its adapters, if any, are switched off.
        packed: stream or padded sequences.
        pad_id: any token id.
        autocast: the context of training's forward.
        budget: tokens of a batch.
        share: this process's index and the number of processes, which take the batches in turn.
        progress: is told, from the first sequence that has to be computed; what the cache holds has no bar.
        name: of its bar.
        in_step: several processes hold parts of the weights, and all compute equally often.
    """

    model: Any
    packed: bool
    pad_id: int
    autocast: Callable[[], AbstractContextManager[Any]]
    budget: TokenBudget
    share: tuple[int, int] = (0, 1)
    progress: Progress | None = None
    name: str = "reference log-probs"
    in_step: bool = False

    def batches(self, sequences: Sequences) -> list[list[int]]:
        """List this process's batches of indices: sequences with a common beginning together, or of similar length."""
        groups = self._split(sequences, self.budget.tokens)
        index, processes = self.share
        if self.in_step and groups:
            # Weights are gathered in every forward: a process without a batch would leave the others waiting.
            groups += groups[-1:] * (-len(groups) % processes)
        share = groups[index::processes]
        if self.progress is not None and share:
            self.progress.begin(self.name, sum(map(len, share)))
        return share

    def _split(self, sequences: Sequences, tokens: int) -> list[list[int]]:
        """Split sequences into batches of at most so many tokens, as the engine counts them: shared once, or padded."""
        if self.packed:
            return split_by_prompt_order(sequences.prompts, sequences.completions, tokens)
        lengths = [len(p) + len(c) for p, c in zip(sequences.prompts, sequences.completions, strict=True)]
        return batch_by_length(lengths, tokens)

    def compute(self, prompts: list[Sequence[int]], completions: list[Sequence[int]]) -> list[float]:
        """Compute the log-probs of a batch, in nats."""
        sequences = Sequences(prompts, completions)
        logps = self.budget.within(lambda tokens: self._within(tokens, sequences), lambda: None, "the reference pass")
        if self.progress is not None:
            self.progress.advance(len(prompts), tokens=sum(map(len, prompts)) + sum(map(len, completions)))
        return logps

    def _within(self, tokens: int, sequences: Sequences) -> list[float]:
        parts = [list(range(len(sequences.prompts)))]
        # The batches were made for a larger budget; cutting them again is cheap, and gives the same values.
        if self.budget.messages:  # it has been halved since the batches were made
            parts = self._split(sequences, tokens)
        logps = [0.0] * len(sequences.prompts)
        for part in parts:
            part_logps = self._forward([sequences.prompts[i] for i in part], [sequences.completions[i] for i in part])
            for index, logp in zip(part, part_logps, strict=True):
                logps[index] = logp
        return logps

    def _forward(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[float]:
        model = self.model
        device = next(model.parameters()).device
        # The reference is the model without its update, so that one copy of the weights serves as both.
        adapters_off = model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
        if self.packed:
            inputs: dict[str, Any] = {"packed": pack(prompts, completions).to(device)}
        else:
            padded = pad_sequences(prompts, completions, self.pad_id)
            inputs = {name: tensor.to(device) for name, tensor in padded.items()}
        # Dropout would make the reference random.
        with evaluation_mode(model), torch.no_grad(), adapters_off, self.autocast():
            output = model(**inputs)
        logps: list[float] = output.float().tolist()
        return logps
