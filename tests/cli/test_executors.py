"""The options of executors."""

from __future__ import annotations

import pytest

from prefboost.cli.executors import read_executor
from prefboost.errors import SettingsError
from prefboost.recipes.executors import OnRay, OnThisMachine


def test_options_become_settings() -> None:
    assert read_executor("local", None, None) == OnThisMachine()
    assert read_executor("ray", "head:6379", 8) == OnRay(address="head:6379", tasks=8)


@pytest.mark.parametrize("options", [("local", "head:6379", None), ("local", None, 2), ("spark", None, None)])
def test_what_would_be_ignored_is_refused(options: tuple[str, str | None, int | None]) -> None:
    with pytest.raises(SettingsError, match="ray"):
        read_executor(*options)


@pytest.mark.parametrize("option", ["--shard", "--push"])
def test_what_a_cluster_excludes_is_refused(option: str) -> None:
    with pytest.raises(SettingsError, match=f"{option} and --executor ray exclude each other"):
        read_executor("ray", None, None, without={option: "0/2"})
    assert read_executor("ray", None, None, without={option: None}) == OnRay()
