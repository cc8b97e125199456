"""The options of executors."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.cli.executors import read_executor, settle_executor
from prefboost.cli.main import main
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


def test_options_win_over_a_recipe_setting_by_setting() -> None:
    recipe = OnRay(address="head:6379", tasks=8)
    assert settle_executor(recipe, None, None, None) == recipe
    assert settle_executor(recipe, None, None, 2) == OnRay(address="head:6379", tasks=2)
    assert settle_executor(recipe, "ray", "other:1", None) == OnRay(address="other:1", tasks=8)
    assert settle_executor(recipe, "local", None, None) == OnThisMachine()
    assert settle_executor(OnThisMachine(), None, None, None) == OnThisMachine()
    assert settle_executor(OnThisMachine(), "ray", None, 3) == OnRay(tasks=3)
    with pytest.raises(SettingsError, match="add --executor ray"):
        settle_executor(OnThisMachine(), None, None, 3)


@pytest.mark.parametrize("verb", ["augment", "select"])
def test_the_memory_of_this_process_is_no_place_for_a_cluster(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["kind=best_of_n"] if verb == "select" else []
    for source, out in (
        ("memory://a/in.jsonl", tmp_path / "out.jsonl"),
        (tmp_path / "in.jsonl", "memory://a/out.jsonl"),
    ):
        assert main([verb, str(source), *settings, "-o", str(out), "--executor", "ray"]) == 2
        assert "memory:// belongs to one process" in capsys.readouterr().err
