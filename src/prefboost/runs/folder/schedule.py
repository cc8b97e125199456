"""The stages of a run in their order: which are done, which are to be done and why, and doing them.

A stage names everything that it depends on: settings, inputs from outside, and stages before it. Its key is a
fingerprint of that, so that a change repeats the stages that depend on it and no other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.errors import RunError, suggest_name
from prefboost.runs.folder.executor import Executor
from prefboost.runs.folder.manifest import Run, hash_values, list_differences

__all__ = ["StageOutcome", "Stage", "StageStatus", "Work", "carry_out", "list_statuses"]

Work = Callable[[], Mapping[str, Any]]
"""Makes a stage's outputs, and returns what is worth noting."""


@dataclass(frozen=True)
class Stage:
    """One piece of work of a run.

    Args:
        name: how it is called in the manifest and on the screen.
        settings: JSON-able settings that it depends on, by dotted path or as a tree.
        outputs: names, inside the run folder, of the files or folders that it makes.
        work: makes them, and returns what is worth noting. Called again after a kill, it goes on where it stopped.
        after: names of stages whose outputs it reads.
        inputs: what it reads from outside the run folder, by name: a fingerprint.
        scraps: what else an attempt leaves, to be deleted before a different attempt.
        together: every process of a launch does the work, not the first alone.
    """

    name: str
    settings: Mapping[str, Any]
    outputs: tuple[str, ...]
    work: Work
    after: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    scraps: tuple[str, ...] = ()
    together: bool = False


@dataclass(frozen=True)
class StageStatus:
    """Status of a stage.

    Args:
        stage: which.
        key: fingerprint of ``depends``.
        depends: settings, inputs, and keys of the stages before.
        why: why it is to be done; None where it is done.
    """

    stage: Stage
    key: str
    depends: Mapping[str, Any]
    why: str | None

    @property
    def done(self) -> bool:
        """Nothing is to do."""
        return self.why is None


@dataclass(frozen=True)
class StageOutcome:
    """Outcome of a stage in one call: why it was done (None: it was skipped), its seconds, and its notes."""

    stage: str
    why: str | None
    seconds: float
    notes: Mapping[str, Any]


def list_statuses(run: Run, stages: Sequence[Stage]) -> list[StageStatus]:
    """List the status of every stage; nothing is written."""
    keys: dict[str, str] = {}
    statuses = []
    for stage in stages:
        after = {name: keys[name] for name in stage.after}
        depends = {"settings": stage.settings, "inputs": stage.inputs, "after": after}
        # As a manifest gives it back: tuples are lists there, and paths are text.
        depends = json.loads(json.dumps(depends, default=str))
        # Keys of earlier stages are part of the key, so that a change passes on to all that come after.
        keys[stage.name] = hash_values(depends)
        statuses.append(
            StageStatus(stage, keys[stage.name], depends, _explain_repeat(run, stage.name, keys[stage.name], depends))
        )
    return statuses


def carry_out(
    run: Run,
    stages: Sequence[Stage],
    executor: Executor,
    *,
    until: str | None = None,
    tell: Callable[[StageOutcome], None] = lambda _: None,
) -> list[StageOutcome]:
    """Do what is to be done, in order.

    Args:
        run: the folder.
        stages: all of them.
        executor: who does the work.
        until: the last stage to do; None does all.
        tell: is called after each stage.

    Raises:
        RunError: there is no stage of the name ``until``.
    """
    names = [stage.name for stage in stages]
    if until is not None and until not in names:
        hint = suggest_name(until, names, "did you mean {!r}? ")
        raise RunError(f"there is no stage {until!r}", remedy=f"{hint}stages: {', '.join(names)}")
    end = len(names) if until is None else names.index(until) + 1
    did = []
    for standing in list_statuses(run, stages)[:end]:
        begin = time.monotonic()
        if not standing.done:
            _do(run, standing, executor)
        done = StageOutcome(standing.stage.name, standing.why, time.monotonic() - begin, run.notes(standing.stage.name))
        did.append(done)
        tell(done)
    return did


def _do(run: Run, standing: StageStatus, executor: Executor) -> None:
    stage, key = standing.stage, standing.key

    def is_finished() -> bool:
        return run.is_done(stage.name, key)

    def begin() -> None:
        run.begin(stage.name, key, [*stage.outputs, *stage.scraps])

    def work() -> None:
        run.do(stage.name, key, stage.outputs, stage.work, standing.depends)

    def begin_and_work() -> None:
        begin()
        work()

    if not stage.together:
        executor.see_to(stage.name, is_finished, begin_and_work)
        return
    executor.see_to(stage.name, lambda: run.read_begun_key(stage.name) == key or is_finished(), begin)
    # All processes train together, so each does the work; the first alone notes it, since a manifest has one writer.
    if executor.is_main_process:
        work()
    else:
        stage.work()
        executor.see_to(stage.name, is_finished, lambda: None)


def _explain_repeat(run: Run, stage: str, key: str, depends: Mapping[str, Any]) -> str | None:
    entry = run.entry(stage)
    if not entry:
        return "begun and not finished" if run.read_begun_key(stage) == key else "not done yet"
    if entry.get("key") == key:
        damaged = run.list_damaged(stage)
        return f"{damaged[0]} is gone or was changed" if damaged else None
    # Manifests of the first versions hold keys alone: that they differ is known, and not in what.
    if "depends" not in entry:
        return "an earlier version did not note what it depends on"
    before = entry["depends"]
    changed = [
        line
        for part in ("settings", "inputs")
        for line in list_differences(before.get(part, {}), depends[part])
    ]  # fmt: skip
    upstream = [name for name, was in depends["after"].items() if before.get("after", {}).get(name) != was]
    changed += [f"{name} changed" for name in upstream]
    return "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")
