"""Claims: no row is had by two, a dead process holds nothing, and no clock need go right."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from prefboost.engines.store.segments import claims as module
from prefboost.engines.store.segments.claims import Claims, identify_host, is_process_alive
from prefboost.shelf import open_shelf


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def at_work(folder: Path, writer: str, clock: Clock | None = None) -> Iterator[Claims]:
    claims = Claims(open_shelf(folder), writer, 600.0, 3600.0, clock=clock or Clock())
    claims.start()
    try:
        yield claims
    finally:
        claims.stop()


def test_a_row_is_had_by_one_until_it_is_given_up(tmp_path: Path) -> None:
    with at_work(tmp_path, "a") as first, at_work(tmp_path, "b") as second:
        assert first.claim(["x", "y"], 5) == set()
        assert second.claim(["y", "z"], 4) == {"y"}, "an earlier stamp takes no row that another one has"
        first.look()
        assert first.find_holders(["x", "y", "z"]) == {"z"}
        first.give_up(["x", "y"])
        assert second.claim(["y"], 6) == set()
    assert list((tmp_path / "live").iterdir()) == []


def test_of_many_that_claim_at_once_at_most_one_has_a_row(tmp_path: Path) -> None:
    had: list[str] = []
    barrier = threading.Barrier(4)

    def work(claims: Claims) -> None:
        for number in range(25):
            barrier.wait()
            if not claims.claim([str(number)], number):
                had.append(str(number))

    with ExitStack() as stack:
        workers = [stack.enter_context(at_work(tmp_path, writer)) for writer in "abcd"]
        threads = [threading.Thread(target=work, args=(claims,)) for claims in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(had) == len(set(had))


def test_a_process_of_another_host_is_dead_once_its_beat_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, here = Clock(), identify_host()
    monkeypatch.setattr(module, "identify_host", lambda: "elsewhere")
    other = Claims(open_shelf(tmp_path), "far", 600.0, 3600.0)
    other.start()
    other.claim(["x"], 1)
    monkeypatch.setattr(module, "identify_host", lambda: here)
    with at_work(tmp_path, "near", clock) as claims:
        claims.look()
        clock.now = 600.0
        assert claims.is_alive("far") and claims.find_holders(["x"]) == {"x"}
        other._beats += 1
        (tmp_path / "live" / "far.beat-2-elsewhere-1-1").touch()
        claims.look()
        clock.now = 1200.0
        assert claims.is_alive("far"), "a beat that went on counts from when it was seen"
        clock.now = 1200.1
        assert not claims.is_alive("far") and claims.find_holders(["x"]) == set()
        claims.sweep()
        assert {path.name.partition(".")[0] for path in (tmp_path / "live").iterdir()} == {"near"}
        (tmp_path / "live" / "far.beat-3-elsewhere-1-1").touch()
        claims.look()
        assert claims.is_alive("far"), "one that was taken for dead and goes on is alive"
    other.stop()


def test_a_process_of_this_host_that_was_killed_is_dead_at_once(tmp_path: Path) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("only Linux tells when a process began")
    code = (
        "import os, sys; from prefboost.engines.store.segments.claims import Claims;"
        "from prefboost.shelf import open_shelf;"
        "claims = Claims(open_shelf(sys.argv[1]), 'dead', 600.0, 3600.0); claims.start(); claims.claim(['x'], 1);"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with at_work(tmp_path, "near") as claims:
        claims.look()
        assert "dead" in claims._others and not claims.is_alive("dead")
        assert claims.claim(["x"], 2) == set()


def test_processes_are_known_by_host_number_and_start() -> None:
    assert identify_host() == identify_host() and len(identify_host()) == 12
    assert is_process_alive("elsewhere-1-1") and is_process_alive("of an unknown form")
    if Path("/proc/self/stat").exists():
        assert not is_process_alive(f"{identify_host()}-99999999-5")


def test_a_name_is_held_by_one_and_others_wait_or_go_without(tmp_path: Path) -> None:
    inside: list[str] = []
    entered: list[str] = []

    def enter(claims: Claims) -> None:
        for number in range(3):
            with claims.hold("output", number, wait=True) as free:
                inside.append(claims.writer)
                entered.append(claims.writer if free and len(inside) == 1 else "two at once")
                inside.remove(claims.writer)

    with at_work(tmp_path, "a") as first, at_work(tmp_path, "b") as second:
        with first.hold("output", 1, wait=False) as free, second.hold("output", 0, wait=False) as other:
            assert free and not other
        threads = [threading.Thread(target=enter, args=(claims,)) for claims in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(entered) == ["a"] * 3 + ["b"] * 3


def test_a_process_that_stood_still_knows_it(tmp_path: Path) -> None:
    clock = Clock()
    with at_work(tmp_path, "a", clock) as claims:
        assert not claims.was_silent()
        clock.now = 500.0
        assert claims.was_silent()
        claims._beat()
        assert not claims.was_silent()
