"""Files that training leaves behind: checkpoints to resume from, and a model folder that others can use as it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from prefboost.atomic import write_atomically
from prefboost.errors import RunError
from prefboost.training.claim import ADAPTER
from prefboost.training.policy.chat_template import rewrite_template
from prefboost.training.saving.generation_settings import write_generation
from prefboost.training.saving.saved_type import record_weight_type, round_weights

if TYPE_CHECKING:
    from prefboost.chat import SayGoal
    from prefboost.preferences.stated_goals import StatedGoals

__all__ = [
    "MARK",
    "Provenance",
    "Saving",
    "fingerprint_table",
    "last_complete",
    "mark_complete",
    "refuse_other_steps",
    "save_policy",
    "save_reward_model",
    "put_goal_in_template",
]

MARK = "complete.json"
"""The file of a checkpoint that is written last: the number of processes, and of units per step."""

_LIBRARIES = ("prefboost", "torch", "transformers", "trl", "accelerate", "peft")


def mark_complete(checkpoint: Path, layout: Mapping[str, int] | None = None) -> None:
    """Say that a checkpoint is whole; written last.

    Args:
        checkpoint: folder of it.
        layout: ``units_per_step`` and ``processes`` of the run.
    """
    # A kill must not leave a mark without its content: the checkpoint would count as whole, and could not be read.
    write_atomically(checkpoint / MARK, json.dumps(dict(layout or {})) + "\n")


def refuse_other_steps(checkpoint: Path, layout: Mapping[str, int]) -> None:
    """Refuse to resume where a step would have another number of units: units would be skipped or seen twice.

    Args:
        checkpoint: whole.
        layout: ``units_per_step`` and ``processes`` of the run that resumes.

    Raises:
        RunError: the steps before the checkpoint had another number of units.
    """
    before = json.loads((checkpoint / MARK).read_text(encoding="utf-8"))
    # Resuming skips as many units as the steps so far have seen, and counts them by the new size of a step.
    if before.get("units_per_step", layout["units_per_step"]) != layout["units_per_step"]:
        raise RunError(
            f"{checkpoint}: {before['processes']} processes trained on {before['units_per_step']} units per step; "
            f"with {layout['processes']} a step would have {layout['units_per_step']}, and the order of data another",
            remedy=f"start the same command with {before['processes']} processes, or another number by which the units "
            "of a step can be divided as before; or begin anew under another name",
        )


def last_complete(folder: Path) -> Path | None:
    """Find the latest whole checkpoint of a folder, and remove half-written ones, which a killed run leaves behind."""
    checkpoints: dict[int, Path] = {}
    # The mark is written last, so that a checkpoint without it was interrupted.
    for checkpoint in folder.glob("checkpoint-*") if folder.is_dir() else []:
        if (checkpoint / MARK).exists():
            checkpoints[int(checkpoint.name.removeprefix("checkpoint-"))] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return checkpoints[max(checkpoints)] if checkpoints else None


def fingerprint_table(table: pa.Table) -> str:
    """Hash a table's values and column names to 16 hex digits, whatever its chunks and the details of its types."""
    digest = hashlib.sha256(repr(table.column_names).encode())
    # Value by value, since Arrow's own bytes depend on chunks, offsets and string types.
    for batch in table.combine_chunks().to_batches(max_chunksize=4096):
        digest.update(json.dumps(batch.to_pylist(), sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Provenance:
    """The making of a model, as its folder states it.

    Args:
        settings: of the training, as they stand in a recipe.
        data: fingerprint, counts of pairs, units, dropped and shortened rows.
        goals: how, where and on which scales goals are said; None where nobody told.
        top: the score asked for when no goal is given; None where no goal is said.
        top_aspects: aspect -> score asked for by itself.
    """

    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    goals: StatedGoals | None = None
    top: float | None = None
    top_aspects: Mapping[str, float] | None = None

    @property
    def say(self) -> SayGoal | None:
        """Return how and where goals were said in the data; None where none was."""
        return None if self.goals is None or (self.top is None and not self.top_aspects) else self.goals.say

    def as_json(self) -> dict[str, Any]:
        """Return what is stored as prefboost.json."""
        say = self.say
        return {
            "train": dict(self.settings),
            "data": dict(self.data),
            "say": None if say is None else say.model_dump(),
            "place": None if say is None else say.place,
            "top": self.top,
            "top_aspects": dict(self.top_aspects or {}),
            "scales": {} if self.goals is None else self.goals.record()["scales"],
            "versions": {name: _find_version(name) for name in _LIBRARIES},
        }


@dataclass(frozen=True)
class Saving:
    """The form in which weights are saved.

    Args:
        merge: adapters are merged and saved besides in ``adapter/``; False saves them alone.
        weights: all of them, where the model itself has but a part on this device.
        saved_type: number type on disk; None keeps that in memory.
    """

    merge: bool = True
    weights: Mapping[str, Any] | None = None
    saved_type: torch.dtype | None = None


_AS_IT_IS = Saving()


def put_goal_in_template(tokenizer: Any, provenance: Provenance) -> None:
    """Rewrite the tokenizer's chat template so that the model asks for the top score by itself (in place)."""
    say = provenance.say
    if say is None:
        return
    template = tokenizer.chat_template
    # Some models ship several templates by name, e.g. one for tools; all of them say the goal.
    templates = template if isinstance(template, dict) else {"default": template}
    rewritten = {
        name: rewrite_template(text, say, provenance.top, provenance.top_aspects, say.place)
        for name, text in templates.items()
    }
    tokenizer.chat_template = rewritten if isinstance(template, dict) else rewritten["default"]


def save_policy(
    model: Any,
    tokenizer: Any,
    provenance: Provenance,
    folder: Path,
    how: Saving = _AS_IT_IS,
) -> Path:
    """Write the model folder: safetensors, tokenizer with its new template, prefboost.json, model card.

    Args:
        model: unwrapped; None writes all but weights.
        tokenizer: with the model's own template.
        provenance: of the model.
        folder: appears under its name only when it is complete; an earlier one is replaced.
        how: weights are saved.
    """
    with _replace_folder(folder) as unfinished:
        _save_weights(model, unfinished, how)
        # This changes the caller's tokenizer too: the rehearsal, after which training starts, puts its template back.
        put_goal_in_template(tokenizer, provenance)
        tokenizer.save_pretrained(unfinished)
        _write_facts(provenance.as_json(), "model_card.md", unfinished)
    return folder


def save_reward_model(
    model: Any,
    tokenizer: Any,
    facts: Mapping[str, Any],
    folder: Path,
    how: Saving = _AS_IT_IS,
) -> Path:
    """Write the folder of a reward model: safetensors, tokenizer, prefboost.json, model card.

    Args:
        model: unwrapped; None writes all but weights.
        tokenizer: of the model.
        facts: settings (``train_reward``), ``heads``, ``data`` and ``metrics``.
        folder: appears under its name only when it is complete; an earlier one is replaced.
        how: weights are saved.
    """
    with _replace_folder(folder) as unfinished:
        _save_weights(model, unfinished, how)
        tokenizer.save_pretrained(unfinished)
        versions = {name: _find_version(name) for name in _LIBRARIES}
        _write_facts({**facts, "versions": versions}, "reward_card.md", unfinished)
    return folder


def _save_weights(model: Any, folder: Path, how: Saving) -> None:
    weights = how.weights
    if hasattr(model, "merge_and_unload"):
        # The adapter besides the merged model: it is small, and the only form that can be put on other weights.
        if how.merge:
            model.save_pretrained(folder / ADAPTER, state_dict=weights)
        else:
            alone = None if how.saved_type is None else round_weights(model, weights, how.saved_type)
            model.save_pretrained(folder, state_dict=alone or weights)
        # Merging changes the base's weights in place; nothing may need the adapters after this line.
        model = model.merge_and_unload() if how.merge else None
    if model is None:
        return
    if how.saved_type is not None:
        weights = round_weights(model, weights, how.saved_type) or weights
    model.save_pretrained(folder, state_dict=weights)
    if how.saved_type is not None:
        record_weight_type(folder, how.saved_type)
    write_generation(model, folder)


@contextmanager
def _replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write into, which takes its name when it is complete."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    # A rename is atomic: the new folder has its name only when it is whole. The removal of an earlier one is not.
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _write_facts(facts: Mapping[str, Any], card: str, folder: Path) -> None:
    # Everything that is needed to ask the model for a score later, without the run folder.
    (folder / "prefboost.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_open_cards().get_template(card).render(**facts), encoding="utf-8")


@cache
def _open_cards() -> Environment:
    # It keeps what it has compiled; a training saves twice, and a search of settings many times.
    return Environment(
        loader=PackageLoader("prefboost.training"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _find_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
