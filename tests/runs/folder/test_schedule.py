"""Which stages are done, which are to be done and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from prefboost.errors import RunError
from prefboost.runs.folder.executor import FirstOfMany, LocalExecutor
from prefboost.runs.folder.manifest import Run, open_run
from prefboost.runs.folder.schedule import Stage, carry_out, list_statuses

Settings = dict[str, Any]


class Bakery:
    """Three stages: dough, and bread and cake made of it; counts what it does."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.run = open_run(folder, "bakery", settings, revise=True)
        self.did: list[str] = []
        self.settings = settings

    def stages(self) -> list[Stage]:
        def work(name: str) -> Callable[[], Mapping[str, Any]]:
            def make() -> Mapping[str, Any]:
                self.did.append(name)
                (self.run.path / name).write_text(f"{name} of {self.settings}")
                return {"rows": 1}

            return make

        parts = (("dough", "flour", ()), ("bread", "heat", ("dough",)), ("cake", "sugar", ("dough",)))
        return [
            Stage(name, {setting: self.settings[setting]}, (name,), work(name), after, scraps=(f"{name}.part",))
            for name, setting, after in parts
        ]

    def go(self, until: str | None = None) -> list[str]:
        carry_out(self.run, self.stages(), LocalExecutor(), until=until)
        return self.did

    def whys(self) -> dict[str, str | None]:
        return {each.stage.name: each.why for each in list_statuses(self.run, self.stages())}


BEGIN: Settings = {"flour": {"kind": "rye"}, "heat": 200, "sugar": 1}


def test_a_second_call_skips_every_stage(tmp_path: Path) -> None:
    assert Bakery(tmp_path / "b", BEGIN).whys() == dict.fromkeys(("dough", "bread", "cake"), "not done yet")
    assert Bakery(tmp_path / "b", BEGIN).go() == ["dough", "bread", "cake"]
    again = Bakery(tmp_path / "b", BEGIN)
    assert again.whys() == dict.fromkeys(("dough", "bread", "cake"))
    assert again.go() == []


@pytest.mark.parametrize(
    ("changed", "repeated", "why"),
    [
        ({"heat": 220}, ["bread"], {"bread": "heat was 200, is 220"}),
        (
            {"flour": {"kind": "oat"}},
            ["dough", "bread", "cake"],
            {"dough": "flour.kind was 'rye', is 'oat'", "cake": "dough changed"},
        ),
        ({"heat": 220, "sugar": 3}, ["bread", "cake"], {"cake": "sugar was 1, is 3"}),
    ],
)
def test_a_changed_setting_repeats_what_depends_on_it_and_says_why(
    tmp_path: Path, changed: Settings, repeated: list[str], why: dict[str, str]
) -> None:
    Bakery(tmp_path / "b", BEGIN).go()
    other = Bakery(tmp_path / "b", {**BEGIN, **changed})
    assert why.items() <= other.whys().items()
    assert other.go() == repeated
    back = Bakery(tmp_path / "b", BEGIN)
    assert back.go() == repeated
    assert (tmp_path / "b" / "bread").read_text() == f"bread of {BEGIN}" or "bread" not in repeated


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_an_output_that_is_gone_or_was_cut_is_made_again_and_nothing_else(tmp_path: Path, how: str) -> None:
    Bakery(tmp_path / "b", BEGIN).go()
    (tmp_path / "b" / "dough").write_text("") if how == "cut" else (tmp_path / "b" / "dough").unlink()
    again = Bakery(tmp_path / "b", BEGIN)
    assert again.whys()["dough"] == "dough is gone or was changed"
    assert again.go() == ["dough"]


def test_what_an_equal_attempt_left_is_kept_and_what_another_one_left_is_deleted(tmp_path: Path) -> None:
    bakery = Bakery(tmp_path / "b", BEGIN)
    bakery.go("dough")
    standing = list_statuses(bakery.run, bakery.stages())[1]
    bakery.run.begin("bread", standing.key, ["bread", "bread.part"])
    (tmp_path / "b" / "bread.part").write_text("half")
    assert bakery.whys()["bread"] == "begun and not finished"
    bakery.run.begin("bread", standing.key, ["bread", "bread.part"])
    assert (tmp_path / "b" / "bread.part").exists()
    bakery.run.begin("bread", "other", ["bread", "bread.part"])
    assert not (tmp_path / "b" / "bread.part").exists()


def test_a_kill_while_an_earlier_attempt_is_deleted_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Bakery(tmp_path / "b", BEGIN).go()
    other = Bakery(tmp_path / "b", {**BEGIN, "heat": 1})

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("prefboost.runs.folder.manifest.remove", killed)
        with pytest.raises(KeyboardInterrupt):
            other.go()
    assert other.whys()["bread"] == "not done yet"
    (tmp_path / "b" / "bread.part").write_text("half")
    back = Bakery(tmp_path / "b", BEGIN)
    assert back.go() == ["bread"]
    assert not (tmp_path / "b" / "bread.part").exists()


def test_a_stage_that_fails_leaves_those_before_it_done(tmp_path: Path) -> None:
    bakery = Bakery(tmp_path / "b", BEGIN)
    first, *_ = bakery.stages()
    broken = Stage("bread", {}, ("bread",), lambda: {}, ("dough",))
    with pytest.raises(RunError, match="bread ended without its output"):
        carry_out(bakery.run, [first, broken], LocalExecutor())
    assert bakery.whys()["dough"] is None


def test_a_run_stops_after_the_stage_that_is_named(tmp_path: Path) -> None:
    assert Bakery(tmp_path / "b", BEGIN).go("bread") == ["dough", "bread"]
    with pytest.raises(RunError, match="did you mean 'bread'"):
        Bakery(tmp_path / "b", BEGIN).go("bred")


def test_a_stage_that_an_earlier_version_did_is_done_again(tmp_path: Path) -> None:
    bakery = Bakery(tmp_path / "b", BEGIN)
    bakery.run.do("dough", "an old key", (), lambda: {})
    assert bakery.whys()["dough"] == "an earlier version did not note what it depends on"


def test_every_process_of_a_launch_works_at_a_stage_that_is_done_together(tmp_path: Path) -> None:
    run = open_run(tmp_path / "b", "b", {})
    did: list[int] = []

    def stage(rank: int) -> Stage:
        def work() -> Mapping[str, Any]:
            did.append(rank)
            (tmp_path / "b" / "model").write_text("")
            return {}

        return Stage("train", {}, ("model",), work, together=True)

    carry_out(run, [stage(0)], FirstOfMany(0))
    second = Stage("more", {}, ("model",), lambda: did.append(1) or {}, together=True)  # type: ignore[func-returns-value]
    run.begin("more", list_statuses(run, [stage(0), second])[1].key, [])
    with pytest.raises(RunError, match="stage more of process 0"):
        carry_out(Run(run.path), [stage(1), second], FirstOfMany(1, wait_s=0.05, poll_s=0.01))
    assert did == [0, 1]
