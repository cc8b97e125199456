"""The command can be pasted, and all settings are there."""

from __future__ import annotations

import yaml

from prefboost.reporting.run.record import RunRecord
from prefboost.reporting.run.settings import build_settings_sections


def test_the_command_is_quoted_for_a_shell_and_settings_are_yaml() -> None:
    manifest = {
        "command": ["/usr/local/bin/prefboost", "train", "my recipe.yaml", "train.loss={kind: dpo}"],
        "settings": {"name": "mine", "train": {"loss": {"kind": "dpo", "beta": 0.1}}},
        "versions": {"torch": "2.6"}, "inputs": {"rows.jsonl": "90feb"},
        "revisions": [{"at": "2026-01-01", "changed": ["train.beta was 0.1, is 0.2"]}],
    }  # fmt: skip
    command, settings = build_settings_sections([RunRecord("mine", manifest)])
    assert command.code == "prefboost train 'my recipe.yaml' 'train.loss={kind: dpo}'"
    assert yaml.safe_load(settings.code) == manifest["settings"]
    assert ("hash of rows.jsonl", "90feb") in command.tables[0].rows
    assert ("changed 2026-01-01", "train.beta was 0.1, is 0.2") in command.tables[0].rows


def test_a_training_alone_shows_the_settings_of_its_claim() -> None:
    (section,) = build_settings_sections([RunRecord("mine", {"training": {"train": {"model": "m"}}})])
    assert yaml.safe_load(section.code) == {"model": "m"}
