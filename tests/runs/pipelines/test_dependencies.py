"""Stages read no setting of a recipe that they do not name as a dependency: else a change would leave them stale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import of_kind
from prefboost.recipes.on_policy import RoundCompletions, RoundEvaluation
from prefboost.runs.folder.executor import LocalExecutor
from prefboost.runs.folder.manifest import open_run
from prefboost.runs.folder.schedule import Stage, carry_out
from prefboost.runs.pipelines.run import build_stages
from prefboost.training import Train

NESTED = (Train, RoundCompletions, RoundEvaluation)

HARMLESS = {"budget", "prices", "train.trust_remote_code"}
"""Settings that decide whether a stage can be done and what it costs, and not what it writes."""

BY_FINGERPRINT = {"train.model", "train.revision"}
"""Settings that a stage depends on by its ``inputs``, or by the training that it comes after."""


class Traced:
    """A recipe, or a part of one, that notes which of its settings are read."""

    def __init__(self, value: Any, reads: set[str], path: str = "") -> None:
        self._value, self._reads, self._path = value, reads, path

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._value)

    def __getattr__(self, name: str) -> Any:
        kind, path = type(self._value), f"{self._path}{name}"
        if name not in kind.model_fields:
            derived = getattr(kind, name, None)
            if isinstance(derived, property) and derived.fget is not None:
                return derived.fget(self)  # what it reads is noted in its turn
            self._reads.add(self._path.removesuffix(".") or "everything")
            return getattr(self._value, name)
        value = getattr(self._value, name)
        if isinstance(value, NESTED):
            return Traced(value, self._reads, f"{path}.")
        self._reads.add(path)
        return value


def names_setting(settings: Mapping[str, Any], path: str) -> bool:
    """Whether settings of a stage hold a setting of the recipe: by its dotted path, or in a tree."""
    if path in settings:
        return True
    head, _, rest = path.partition(".")
    inner = settings.get(head)
    return isinstance(inner, Mapping) and bool(rest) and names_setting(inner, rest)


def find_missing(recipe: Any, folder: Path) -> dict[str, set[str]]:
    """Run every stage on a traced recipe; return stage -> settings that it read without naming them."""
    reads: set[str] = set()
    missing: dict[str, set[str]] = {}
    run = open_run(folder, recipe.name, recipe.model_dump(mode="json"))

    def traced(stage: Stage) -> Stage:
        def work() -> Mapping[str, Any]:
            reads.clear()
            notes = stage.work()
            unnamed = {path for path in reads - HARMLESS if not names_setting(stage.settings, path)}
            if stage.inputs or any(name.endswith("train") for name in stage.after):
                unnamed -= BY_FINGERPRINT
            missing[stage.name] = unnamed
            return notes

        return replace(stage, work=work)

    stages = build_stages(Traced(recipe, reads), run)  # type: ignore[arg-type]
    carry_out(run, [traced(stage) for stage in stages], LocalExecutor())
    return missing


def test_a_read_that_is_not_named_is_noticed() -> None:
    recipe = of_kind(parse("name: x\ndata: a.jsonl\ntrain: {model: m}\n"))
    reads: set[str] = set()
    traced: Any = Traced(recipe, reads)
    assert isinstance(traced, type(recipe)) and traced.train.model == "m" and traced.relabel is not None
    assert traced.train.reference == "start"
    assert reads == {"train.model", "relabel", "train.reference"}
    settings = {"relabel": {"kind": "plain"}, "train": {"model": "m"}}
    assert [path for path in sorted(reads) if not names_setting(settings, path)] == ["train.reference"]


@pytest.mark.torch
def test_stages_of_an_offline_recipe_name_all_that_they_read(tiny_model: Path, tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "scored.jsonl"
    text = f"""
name: mine
data: {json.dumps(str(example))}
train: {{model: {json.dumps(str(tiny_model))}, precision: fp32, max_steps: 1, max_length: 1200, max_prompt_length: 900}}
"""
    assert find_missing(of_kind(parse(text)), tmp_path / "run") == {"pairs": set(), "train": set()}


@pytest.mark.torch
def test_stages_of_on_policy_rounds_name_all_that_they_read(on_policy_text: str, tmp_path: Path) -> None:
    # A chat template is named where there is one, and a scorer by its range alone: the prompts of round 1 state that.
    named_otherwise = {"start/evaluate": {"train.chat_template"}, "round 1/generate": {"train.chat_template", "scorer"}}
    overrides = ["rounds=1", "train.max_steps=1", "prompts_a_round=parts"]
    missing = find_missing(of_kind(apply_overrides(parse(on_policy_text), overrides)), tmp_path / "run")
    assert missing == {name: named_otherwise.get(name, set()) for name in missing} and len(missing) == 7


@pytest.mark.torch
def test_stages_of_implicit_rewards_name_all_that_they_read(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "Go away."} for n in range(6)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = f"""
kind: implicit_reward
name: ira
data: {json.dumps(str(tmp_path / "pairs.jsonl"))}
train: {{model: {json.dumps(str(tiny_model))}, precision: fp32, max_steps: 1, max_length: 1000, max_prompt_length: 700,
        loss: {{kind: dpo, beta: 0.2}}}}
"""
    # Beta is that of the first training's loss, and is named as a number; a recipe of this kind never has a keep.
    named_otherwise = {"score": {"first", "train.loss"}, "augmented/pairs": {"keep"}}
    missing = find_missing(of_kind(parse(text)), tmp_path / "run")
    assert missing == {name: named_otherwise.get(name, set()) for name in missing} and len(missing) == 6
