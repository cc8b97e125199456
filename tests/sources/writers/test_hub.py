"""Uploads, tried on a stand-in for the hub."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefboost.errors import RunError, SettingsError
from prefboost.sources.writers.hub import find_licence, refuse_repository, upload


def test_pushing_uploads_the_folder_to_a_private_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            calls.append((name, options))

        def upload_folder(self, **options: Any) -> None:
            calls.append(("upload", options))

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    assert upload(tmp_path, "me/pairs", "dataset") == "https://huggingface.co/datasets/me/pairs"
    assert calls == [
        ("me/pairs", {"repo_type": "dataset", "private": True, "exist_ok": True}),
        ("upload", {"folder_path": str(tmp_path), "repo_id": "me/pairs", "repo_type": "dataset"}),
    ]


def test_a_hub_that_refuses_is_one_message_that_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            raise OSError("401 Client Error\nInvalid username or password.")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    with pytest.raises(RunError, match="the hub refused it as me/pairs: 401 Client Error Invalid") as caught:
        upload(tmp_path, "me/pairs", "dataset")
    assert "hf auth login" in str(caught.value)


def test_a_name_that_is_none_of_the_hub_is_refused_beforehand() -> None:
    refuse_repository("me/pairs")
    for name in ("pairs", "https://huggingface.co/me/pairs", "a/b/c", ""):
        with pytest.raises(SettingsError, match="not a data set of the hub"):
            refuse_repository(name)


def test_the_licence_of_a_base_model_is_asked_for_and_missing_where_the_hub_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Api:
        def model_info(self, name: str) -> Any:
            if name == "org/gone":
                raise OSError("offline")
            return SimpleNamespace(card_data=SimpleNamespace(license="mit") if name == "org/base" else None)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    assert [find_licence(name) for name in ("org/base", "org/bare", "org/gone")] == ["mit", None, None]
