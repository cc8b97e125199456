"""The reference's log-probs: computed once for a sequence, kept in the user's cache, reused by every later run."""

from __future__ import annotations

import hashlib
import logging
import math
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefboost.atomic import replace_atomically

__all__ = ["ReferenceCache", "Sequences", "find_reference_cache", "sequences_of", "with_reference"]

logger = logging.getLogger(__name__)

_SAVE_EVERY_S = 20.0

_MOST_FILES = 16
"""With more files than these, they are merged into one."""


def find_reference_cache(setting: str | None, environment: Mapping[str, str]) -> Path:
    """Find the folder of log-probs: the setting, or PREFBOOST_CACHE, or the platform's folder for caches."""
    if setting is not None:
        return Path(setting).expanduser()
    if environment.get("PREFBOOST_CACHE"):
        return Path(environment["PREFBOOST_CACHE"]) / "reference"
    places = {
        "darwin": Path.home() / "Library" / "Caches",
        "win32": Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"),
    }
    default = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return places.get(sys.platform, default) / "prefboost" / "reference"


@dataclass(frozen=True)
class Sequences:
    """Prompts and completions as token ids (arrays or lists), in one order."""

    prompts: Sequence[Sequence[int]]
    completions: Sequence[Sequence[int]]


def sequences_of(units: pa.Table) -> Sequences:
    """List all sequences of the units: chosen completions of all views first, then rejected ones."""
    # Chosen before rejected, as in the batches of training: `with_reference` cuts the log-probs in half.
    columns: list[list[Any]] = []
    for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
        inner = pc.list_flatten(units[name]).combine_chunks()
        # Views into Arrow's buffer: no token id becomes a Python object.
        ends = np.cumsum(pc.list_value_length(inner).to_numpy(zero_copy_only=False))
        ids = pc.list_flatten(inner).to_numpy(zero_copy_only=False)
        columns.append(np.split(ids, ends[:-1]) if len(ends) else [])
    prompts, chosen, rejected = columns
    return Sequences(prompts + prompts, chosen + rejected)


def with_reference(units: pa.Table, logps: Sequence[float]) -> pa.Table:
    """Add the columns ref_chosen and ref_rejected to units, from log-probs in the order of `sequences_of`."""
    views = [len(names) for names in units["view"].to_pylist()]
    offsets = np.concatenate([[0], np.cumsum(views)]).astype(np.int32)
    half = len(logps) // 2
    # float32, the type in which the cache stores them: a fresh value equals one that was read back.
    for name, part in (("ref_chosen", logps[:half]), ("ref_rejected", logps[half:])):
        column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(part, pa.float32()))
        units = units.append_column(name, column)
    return units


@dataclass
class ReferenceCache:
    """Log-probs by what they depend on: the token ids (key) and the model with its numerics (folder name).

    Every process writes files of its own, each of which is whole from the moment it has its name; what is known is the
    union of all files. So any number of processes may write at once, and a killed one loses a few seconds of work.

    Args:
        folder: of all models.
        model_hash: of the reference's weights and configuration.
        numerics: what else the bits depend on, e.g. ``packed-bf16-float32-cpu-sdpa``.
    """

    folder: Path
    model_hash: str
    numerics: str
    _known: dict[bytes, float] = field(default_factory=dict)
    _fresh: dict[bytes, float] = field(default_factory=dict)
    _name: str = field(default_factory=lambda: f"{uuid.uuid4().hex[:16]}.npz")

    def __post_init__(self) -> None:
        self._known = {key: logp for path in self._files() for key, logp in _read_file(path).items()}

    @property
    def place(self) -> Path:
        """The folder of this model and numerics."""
        tag = hashlib.sha256(f"{self.model_hash}/{self.numerics}".encode()).hexdigest()[:16]
        return self.folder / tag

    def fill(
        self,
        sequences: Sequences,
        compute: Callable[[list[Sequence[int]], list[Sequence[int]]], Sequence[float]],
        batches: Callable[[Sequences], list[list[int]]],
        *,
        exchange: Callable[[dict[bytes, float]], dict[bytes, float]] = dict,
    ) -> list[float]:
        """Return the log-probs of all sequences, computing those that the cache lacks.

        Args:
            sequences: sequences; equal ones are computed once.
            compute: log-probs of a batch.
            batches: sequences -> batches of indices, this process's share of them.
            exchange: what this process knows -> what all processes know.

        Returns:
            nats, float32 values, in the order of ``sequences``.
        """
        self._known = exchange(self._known)
        # Equal prompts with equal completions occur in many views, and are computed once.
        keys: list[bytes] = []
        for prompt, completion in zip(sequences.prompts, sequences.completions, strict=True):
            digest = hashlib.blake2b(digest_size=_KEY_BYTES)
            digest.update(np.asarray(prompt, dtype=np.int64).tobytes())
            # Without a mark between them, a token that moves from prompt to completion would not change the hash.
            digest.update(b"/")
            digest.update(np.asarray(completion, dtype=np.int64).tobytes())
            keys.append(digest.digest())
        missing = [index for key, index in {key: i for i, key in enumerate(keys)}.items() if key not in self._known]
        unknown = Sequences([sequences.prompts[i] for i in missing], [sequences.completions[i] for i in missing])
        saved_at = time.monotonic()
        for batch in batches(unknown):
            logps = compute([unknown.prompts[i] for i in batch], [unknown.completions[i] for i in batch])
            values = np.asarray(logps, dtype=np.float32).tolist()
            self._fresh.update(zip((keys[missing[i]] for i in batch), values, strict=True))
            # Often enough that a kill costs seconds, rarely enough that writing costs nothing.
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                self.save()
                saved_at = time.monotonic()
        self.save()
        # Each process has computed its share of the batches; all of them need all values.
        self._known = exchange(self._known | self._fresh)
        return [self._known[key] for key in keys]

    def save(self) -> None:
        """Write what this process has computed; the file is either the old or the new one, never half of one."""
        # What a fault of the moment made NaN must not outlive it: such a value is computed again by the next run.
        finite = {key: logp for key, logp in self._fresh.items() if math.isfinite(logp)}
        if not finite:
            return
        self.place.mkdir(parents=True, exist_ok=True)
        _write_file(self.place / self._name, finite)
        files = self._files()
        # Opening thousands of small files would take longer than reading their contents.
        if len(files) > _MOST_FILES:
            logps = {key: logp for path in files for key, logp in _read_file(path).items()}
            _write_file(self.place / f"{uuid.uuid4().hex[:16]}.npz", logps)
            # Only what the new file holds is deleted, so that others may write meanwhile.
            for path in files:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.place.glob("*.npz"))


def _write_file(path: Path, logps: Mapping[bytes, float]) -> None:
    with replace_atomically(path) as waiting, waiting.open("wb") as file:
        # One array of bytes per file: thousands of keys in a zip would take a header each.
        keys = np.frombuffer(b"".join(logps), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        np.savez(file, keys=keys, logps=np.asarray(list(logps.values()), dtype=np.float32))


def _read_file(path: Path) -> dict[bytes, float]:
    """Read the log-probs of a file; none where it is gone (merged by another process meanwhile) or damaged."""
    try:
        with np.load(path) as stored:
            keys = [bytes(key) for key in stored["keys"]]
            logps = dict(zip(keys, stored["logps"].tolist(), strict=True))
            return {key: logp for key, logp in logps.items() if math.isfinite(logp)}
    # Another process may merge files between our listing and our reading; its new file has the values.
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s cannot be read and is left out: %s", path, error)
        return {}


_KEY_BYTES = 16
