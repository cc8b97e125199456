"""The run folder of a training: claimed by one set of settings and data, finished once, taken up after a kill."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from prefboost.atomic import write_atomically
from prefboost.devices.launch import read_rank
from prefboost.errors import MissingExtra, Place, RunError
from prefboost.locks import LockHeldError, hold_lock
from prefboost.settings.secrets import without_secrets

__all__ = [
    "ADAPTER",
    "BEGUN",
    "LOCK",
    "LOG",
    "MANIFEST",
    "MODEL",
    "REPORT",
    "TRAINING",
    "TRAINING_LOCK",
    "hold_folder",
    "begin",
    "check_installed",
    "last_metrics",
    "is_main_process",
    "leave_group_at_exit",
    "read_claim",
    "read_log",
    "read_first_day",
]

_FREED_S = 0.5
"""Seconds in which gloo's threads free the tensors of the last exchange; it takes them milliseconds."""

MODEL, LOG, REPORT, MANIFEST = "model", "train_log.jsonl", "train_report.json", "manifest.json"
"""Names in a run folder: the trained model, one line per step, the report, and the file that describes the run."""

ADAPTER = "adapter"
"""Folder within that of a merged model: the adapter alone, on the weights that training began with."""

TRAINING = "training"
"""The section of the manifest that claims the folder for one training: its settings, data and first day."""

BEGUN = "begun.json"
"""The file in which earlier versions noted that claim."""


@cache
def check_installed(*extras: str) -> None:
    """Check that every library that training imports is installed, in a version that prefboost supports.

    Once in a process: it reads the metadata of each, and a comparison trains many times.

    Args:
        extras: of prefboost, besides ``train``.

    Raises:
        MissingExtra: it is not installed.
        RunError: it is, in a version that prefboost does not support.
    """
    # Looked up, not imported: the import of torch takes seconds.
    for library in ("torch", "transformers", "accelerate", "peft"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtra(library, "train")
    from packaging.requirements import Requirement

    try:
        requirements = metadata.requires("prefboost") or ()
    except metadata.PackageNotFoundError:
        return  # a source tree that is not installed states no versions
    for requirement in map(Requirement, requirements):
        # What has no marker is needed by every verb, and not the business of a training.
        marker = requirement.marker
        brought_by = [extra for extra in ("train", *extras) if marker is not None and marker.evaluate({"extra": extra})]
        if not brought_by or requirement.name == "prefboost":
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            raise MissingExtra(requirement.name, brought_by[0]) from None
        if not requirement.specifier.contains(version, prereleases=True):
            raise RunError(
                f"{requirement.name} {version} is installed, and training supports {requirement.specifier}",
                remedy=f'pip install --upgrade "prefboost[{brought_by[0]}]"',
            )


LOCK = ".lock"
"""The file of a folder that the process at work in it holds."""

TRAINING_LOCK = ".training.lock"
"""The same for a training, which may run inside a run that holds `LOCK`."""


@contextmanager
def hold_folder(folder: Path, lock: str = LOCK) -> Iterator[None]:
    """Keep other processes out of a run folder, which is made where it is missing.

    The system lets go of the lock when the process ends in whatever way.

    Args:
        folder: of the run.
        lock: the name of the file that is held.

    Raises:
        RunError: another one is at work in it.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            note = f"process {os.getpid()} on {platform.node()}\n"
            stack.enter_context(hold_lock(folder / lock, wait=False, note=note, optional=True))
        # The note in the lock's file says which process, and on which machine.
        except LockHeldError as error:
            raise RunError(
                f"another process is using this run folder{f' ({error})' if str(error) else ''}",
                remedy="wait for it, or give another folder",
                place=Place(str(folder)),
            ) from None
        except OSError as error:
            raise RunError(
                f"cannot write to the run folder: {error.strerror}",
                remedy="give another folder, or free space on its disk",
                place=Place(str(folder)),
            ) from None
        yield


def is_main_process(environment: Mapping[str, str]) -> bool:
    """Return whether this process does what only one of several may: launchers number them in ``RANK``."""
    return read_rank(environment) == 0


def begin(out: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Claim the folder for one training, in the section `TRAINING` of its manifest.

    A folder that an earlier version claimed in `BEGUN` is taken up.

    Args:
        out: the folder; made where it is missing.
        identity: settings (under ``train``) and fingerprints of the data, as JSON values.

    Returns:
        The report of a training that was finished before, else None.

    Raises:
        RunError: the folder belongs to a run with other settings or data, or a model lies where this one would be
            saved and no training of this folder wrote it.
    """
    # Through JSON, since tuples come back as lists and keys as strings: both sides have to compare equal.
    identity = json.loads(without_secrets(json.dumps(identity), os.environ))
    earlier = read_claim(out)
    # A link that points nowhere counts too: writing would go through it.
    if not earlier and os.path.lexists(out / MODEL):
        raise RunError(
            "a model, or something of that name, exists and would be replaced, but no training in this folder wrote it",
            remedy="choose another folder, or move it elsewhere",
            place=Place(str(out / MODEL)),
        )
    if earlier:
        # An earlier version noted the wording before its place and decimals were settled; the data show what was said.
        loose = {"say"} if TRAINING not in _read_json(out / MANIFEST) else set[str]()
        changed = [key for key in identity if key not in loose and earlier.get(key) != identity[key]]
        if changed:
            before, after = earlier.get("train") or {}, identity["train"]
            differences = [
                f"{key}: {before.get(key)} -> {after[key]}" for key in after if before.get(key) != after[key]
            ]
            details = f" ({'; '.join(differences[:5])})" if differences else ""
            raise RunError(
                f"{out} holds a run with other {', '.join(changed)}{details}",
                remedy="choose another folder, or delete this one",
            )
        # The report is written after the model, so that both together mean that the training is finished.
        if (out / REPORT).exists() and (out / MODEL).is_dir():
            report: dict[str, Any] = json.loads((out / REPORT).read_text(encoding="utf-8"))
            return report
    if is_main_process(
        os.environ
    ):  # the first process also writes the rest of the manifest: two writers would lose lines
        # The first day stays: templates that print the date must print the same one after a resume.
        claim = {**identity, "day": earlier.get("day") or date.today().isoformat()}
        text = json.dumps({**_read_json(out / MANIFEST), TRAINING: claim}, indent=2, ensure_ascii=False)
        write_atomically(out / MANIFEST, text + "\n")
    return None


def read_claim(out: Path) -> dict[str, Any]:
    """Return what claimed a folder for a training; empty where nothing did."""
    claim: dict[str, Any] = _read_json(out / MANIFEST).get(TRAINING) or _read_json(out / BEGUN)
    return claim


def read_first_day(out: Path) -> str | None:
    """Return the day on which the folder's run began, as YYYY-MM-DD; None where no run did.

    Chat templates may print the date: a run that is taken up on another day has to see the tokens it began with.
    """
    return read_claim(out).get("day")


def _read_json(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return record


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a `JsonLog`, without a half-written last one; none where there is no file."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        # A kill in the middle of a write leaves half a line, which can only be the last one.
        except json.JSONDecodeError:
            break
    return lines


def last_metrics(out: Path) -> dict[str, float]:
    """Read the last value of every metric in a run's log; a metric that ended as null is absent."""
    metrics: dict[str, Any] = {}
    for line in read_log(out / LOG):
        # Later lines win; metrics of evaluation stand in lines of their own.
        metrics |= {name: value for name, value in line.items() if name != "step"}
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float))}


def leave_group_at_exit(processes: int) -> None:
    """Leave the group of processes at exit, all at once: one that just ends while another talks to it may abort."""
    import torch.distributed as group

    def leave_group() -> None:
        if group.is_initialized():
            # A thread of gloo may still be freeing the tensors of the last exchange, for which it needs the
            # interpreter's lock. The collection below holds that lock while it waits for this thread: they would wait
            # for each other.
            time.sleep(_FREED_S)
            group.destroy_process_group()
            # What still holds the group (a trainer in a cycle) lets go of it while Python lives: gloo's threads, once
            # they outlive it, abort the process when they free the tensors of the last exchange.
            gc.collect()

    # Registered late, so that it runs before the handlers of torch and of the interpreter.
    if processes > 1:
        atexit.register(leave_group)
