"""The reference's log-probs: computed once before training, kept in the run folder, never computed again on resume."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ReferenceCache", "Sequences", "sequences_of", "with_reference"]

_SAVE_EVERY_S = 60.0


@dataclass(frozen=True)
class Sequences:
    """Prompts and completions as token ids (arrays or lists), in one order."""

    prompts: Sequence[Sequence[int]]
    completions: Sequence[Sequence[int]]


def sequences_of(units: pa.Table) -> Sequences:
    """All sequences of the units: chosen completions of all views first, then rejected ones."""
    prompts, chosen, rejected = (_arrays(units[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    return Sequences(prompts + prompts, chosen + rejected)


def _arrays(column: pa.ChunkedArray) -> list[Any]:
    """The inner lists of a list<list<int>> column as arrays that share its memory."""
    inner = pc.list_flatten(column).combine_chunks()
    ends = np.cumsum(pc.list_value_length(inner).to_numpy(zero_copy_only=False))
    return np.split(pc.list_flatten(inner).to_numpy(zero_copy_only=False), ends[:-1]) if len(ends) else []


def with_reference(units: pa.Table, logps: Sequence[float]) -> pa.Table:
    """The units with columns ref_chosen and ref_rejected, from log-probs in the order of `sequences_of`."""
    views = [len(names) for names in units["view"].to_pylist()]
    offsets = np.concatenate([[0], np.cumsum(views)]).astype(np.int32)
    half = len(logps) // 2
    for name, part in (("ref_chosen", logps[:half]), ("ref_rejected", logps[half:])):
        column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(part, pa.float32()))
        units = units.append_column(name, column)
    return units


@dataclass
class ReferenceCache:
    """Log-probs by what they depend on: the token ids (key) and the model with its number types (file name).

    Args:
        folder: of the run.
        model_hash: of the reference's weights.
        numerics: number types and attention, e.g. ``bf16-float32-sdpa``.
    """

    folder: Path
    model_hash: str
    numerics: str
    _known: dict[bytes, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            with np.load(self.path) as stored:
                keys = [bytes(key) for key in stored["keys"]]
                self._known = dict(zip(keys, stored["logps"].tolist(), strict=True))

    @property
    def path(self) -> Path:
        """The file; another model or number type has another file."""
        tag = hashlib.sha256(f"{self.model_hash}/{self.numerics}".encode()).hexdigest()[:16]
        return self.folder / f"{tag}.npz"

    def fill(
        self,
        wanted: Sequences,
        compute: Callable[[list[Sequence[int]], list[Sequence[int]]], list[float]],
        batches: Callable[[list[int]], list[list[int]]],
        *,
        exchange: Callable[[dict[bytes, float]], dict[bytes, float]] = dict,
        writes: bool = True,
    ) -> list[float]:
        """Log-probs of all sequences, computing those that are not known.

        Args:
            wanted: sequences; equal ones are computed once.
            compute: log-probs of a batch.
            batches: lengths -> batches of indices, this process's share of them.
            exchange: what this process knows -> what all processes know.
            writes: whether this process stores the file.

        Returns:
            nats, float32 values, in the order of ``wanted``.
        """
        self._known = exchange(self._known)
        keys = [_key(p, c) for p, c in zip(wanted.prompts, wanted.completions, strict=True)]
        missing = [index for key, index in {key: i for i, key in enumerate(keys)}.items() if key not in self._known]
        lengths = [len(wanted.prompts[i]) + len(wanted.completions[i]) for i in missing]
        saved_at = time.monotonic()
        for batch in batches(lengths):
            rows = [missing[i] for i in batch]
            logps = compute([wanted.prompts[i] for i in rows], [wanted.completions[i] for i in rows])
            self._known.update(zip((keys[i] for i in rows), np.asarray(logps, dtype=np.float32).tolist(), strict=True))
            if writes and time.monotonic() - saved_at > _SAVE_EVERY_S:
                self.save()
                saved_at = time.monotonic()
        self._known = exchange(self._known)
        if writes and missing:
            self.save()
        return [self._known[key] for key in keys]

    def save(self) -> None:
        """Write the file; it is either the old or the new one, never half of one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(f".{os.getpid()}.unfinished")
        with unfinished.open("wb") as file:
            keys = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(-1, _KEY_BYTES)
            np.savez(file, keys=keys, logps=np.asarray(list(self._known.values()), dtype=np.float32))
        unfinished.replace(self.path)


_KEY_BYTES = 16


def _key(prompt: Sequence[int], completion: Sequence[int]) -> bytes:
    digest = hashlib.blake2b(digest_size=_KEY_BYTES)
    digest.update(np.asarray(prompt, dtype=np.int64).tobytes())
    digest.update(b"/")
    digest.update(np.asarray(completion, dtype=np.int64).tobytes())
    return digest.digest()
