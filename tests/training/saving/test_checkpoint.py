"""Only whole checkpoints are resumed from, and a model folder says how it was made."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from tests.training.conftest import CHATML, build_model, build_tokenizer

from prefboost.chat import SayGoal
from prefboost.errors import RunError
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.training.saving.checkpoint import (
    Provenance,
    fingerprint_table,
    last_complete,
    mark_complete,
    put_goal_in_template,
    refuse_other_steps,
    save_policy,
)

PROVENANCE = Provenance(
    settings={"model": "org/base", "loss": {"kind": "dpo", "beta": 0.1}},
    data={"fingerprint": "abc", "rows": 5, "pairs": 4, "units": 2, "dropped": {"too long": 1}, "shortened": {}},
    goals=StatedGoals(SayGoal(place="user")),
    top=10.0,
    top_aspects={"style": 9.0},
)


def test_the_last_whole_checkpoint_is_found_and_halves_are_removed(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "absent") is None
    for step in (2, 10, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    mark_complete(tmp_path / "checkpoint-2")
    mark_complete(tmp_path / "checkpoint-10")
    assert last_complete(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()


def test_a_mark_that_is_cut_off_marks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="cut off"):
        patch.setattr(os, "fsync", cut_off)
        mark_complete(tmp_path / "checkpoint-2", {"units_per_step": 8})
    assert last_complete(tmp_path) is None


def cut_off(file: int) -> None:
    """Stand for the end of the process when a file is opened and not yet whole."""
    raise RuntimeError("cut off")


def test_a_checkpoint_is_not_resumed_from_where_steps_would_have_other_units(tmp_path: Path) -> None:
    mark_complete(tmp_path, {"units_per_step": 8, "processes": 2})
    refuse_other_steps(tmp_path, {"units_per_step": 8, "processes": 4})
    with pytest.raises(RunError, match=r"2 processes trained on 8 units per step; with 3 a step would have 6"):
        refuse_other_steps(tmp_path, {"units_per_step": 6, "processes": 3})
    mark_complete(tmp_path)  # as earlier versions did
    refuse_other_steps(tmp_path, {"units_per_step": 6, "processes": 3})


def test_a_fingerprint_depends_on_values_not_on_chunks() -> None:
    table = pa.table({"a": [1, 2, 3]})
    assert fingerprint_table(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == fingerprint_table(table)
    assert fingerprint_table(pa.table({"a": [1, 2, 4]})) != fingerprint_table(table)
    assert fingerprint_table(pa.table({"b": [1, 2, 3]})) != fingerprint_table(table)


def test_a_model_folder_appears_whole_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    save_policy(build_model(), build_tokenizer(), PROVENANCE, folder)
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "prefboost.json", "README.md", "chat_template.jinja"} <= names
    assert "old" not in names and not (tmp_path / "model.unfinished").exists()
    card = (folder / "README.md").read_text()
    for said in ("base_model: org/base", "first user turn", "style: 9", "1 rows: too long", "Fingerprint `abc`"):
        assert said in card


def test_every_named_template_of_a_tokenizer_is_rewritten() -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = {"default": CHATML, "tool_use": CHATML}
    put_goal_in_template(tokenizer, PROVENANCE)
    assert all(text != CHATML and text.endswith(CHATML) for text in tokenizer.chat_template.values())


def test_without_goals_the_template_stays() -> None:
    tokenizer = build_tokenizer()
    put_goal_in_template(tokenizer, Provenance(settings={}, data={}))
    assert tokenizer.chat_template == CHATML
