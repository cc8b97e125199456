"""The store: nothing kept is lost, nothing is asked twice, whoever asks and however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.budget import Budget, Spend
from prefboost.engines.engine import Failure
from prefboost.engines.store import Asked, Store
from prefboost.errors import RunError

PROCESSES = multiprocessing.get_context("spawn")


def asked(number: int) -> Asked:
    return Asked("generate", {"prompt": f"p{number} \ud800", "sample": number})


ROWS = [asked(number) for number in range(8)]
KEYS = [row.key for row in ROWS]
ANSWER = {"text": "Yes \ud800 é", "tokens": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.store"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()), st.text(), st.text())
def test_keys_tell_apart_whatever_differs(parts: dict[str, Any], kind: str, other: str) -> None:
    assert Asked(kind, parts).key == Asked(kind, dict(reversed(parts.items()))).key
    assert (Asked(kind, parts).key == Asked(other, parts).key) == (kind == other)
    assert Asked(kind, {**parts, "more": 1}).key != Asked(kind, {**parts, "more": 2}).key


def test_answers_and_refusals_survive_and_passing_failures_are_asked_again(path: Path) -> None:
    with Store(path) as store:
        assert store.claim(ROWS[:3]).granted == KEYS[:3]
        store.finish([(ROWS[0], ANSWER), (ROWS[1], Failure("no", 1, permanent=True)), (ROWS[2], Failure("500", 6))])
        assert store.claim(ROWS[:3]).known.keys() == set(KEYS[:3]), "in one call a failure is final"
    with Store(path) as store:
        assert store.known(KEYS) == {KEYS[0]: ANSWER, KEYS[1]: Failure("no", 1, permanent=True)}
        assert store.claim(ROWS[:3]).granted == [KEYS[2]]
        store.finish([(ROWS[2], Failure("500", 6))])
        assert list(store.rows())[-1].stored == Failure("500", 12), "attempts add up over calls"
    with Store(path) as store:
        store.claim(ROWS[2:3])
        store.finish([(ROWS[2], ANSWER)])
        assert [row.stored for row in store.rows()].count(ANSWER) == 2


def test_what_was_claimed_and_not_finished_is_free_again(path: Path) -> None:
    with Store(path) as store:
        store.claim(ROWS)
        store.release(KEYS[:1])
        with Store(path) as other:
            assert other.claim(ROWS).granted == KEYS[:1]
            assert other.claim(ROWS[1:]).held == KEYS[1:]
    with Store(path) as store:
        assert store.claim(ROWS).granted == KEYS
        assert list(store.rows()) == []


def test_a_batch_is_claimed_whole_or_not_at_all(path: Path) -> None:
    with Store(path) as store, Store(path) as other:
        other.claim(ROWS[3:4])
        assert store.claim(ROWS, whole=True).granted == []
        assert other.claim(ROWS[:3], whole=True).granted == KEYS[:3]


def test_a_lease_ends_and_the_first_answer_stays(path: Path) -> None:
    with Store(path, lease_s=0.0) as slow, Store(path) as fast:
        slow.claim(ROWS[:1])
        time.sleep(0.01)
        assert fast.claim(ROWS[:1]).granted == KEYS[:1]
        fast.finish([(ROWS[0], ANSWER)])
        assert slow.finish([(ROWS[0], {"text": "later"})]) == {KEYS[0]: ANSWER}


def test_a_folder_that_is_no_store_is_refused(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    (path / "rows.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(RunError, match="cannot be used"), Store(path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose a folder"), Store(tmp_path / "file"):
        pass


def test_a_store_of_another_version_is_refused(path: Path) -> None:
    with Store(path):
        pass
    with sqlite3.connect(path / "rows.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunError, match="another version"), Store(path):
        pass


def test_the_book_is_kept_over_calls_and_never_exceeded(path: Path) -> None:
    budget = Budget(requests=3, tokens=100, dollars=1.0)
    with Store(path) as store:
        assert store.book().add(Spend(2, 30, 30, 0.5), budget)
    with Store(path) as store, Store(path) as other:
        assert not store.book().add(Spend(2, 1, 1, 0.0), budget)
        assert not store.book().add(Spend(1, 40, 1, 0.0), budget)
        assert not store.book().add(Spend(1, 1, 1, 0.6), budget)
        assert other.book().add(Spend(1, 20, 20, 0.5), budget)
        assert store.book().total() == Spend(3, 50, 50, 1.0)


def work(path: str, share: str, die_after: int) -> None:
    """Claim rows one by one and write down which were granted; die in the middle of one."""
    with Store(path) as store, Path(share).open("a") as out:
        for number in range(60):
            if store.claim([asked(number)]).granted:
                if number == die_after:
                    os.kill(os.getpid(), signal.SIGKILL)
                out.write(f"{number}\n")
                out.flush()
                store.finish([(asked(number), {"number": number})])


def test_processes_share_a_store_and_what_a_killed_one_held_is_taken_up(path: Path, tmp_path: Path) -> None:
    shares = [str(tmp_path / f"share{at}") for at in range(3)]
    deaths = [5, 20, -1]
    running = [
        PROCESSES.Process(target=work, args=(str(path), share, death))
        for share, death in zip(shares, deaths, strict=True)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    work(str(path), shares[2], -1)
    done = sorted(int(line) for share in shares if Path(share).exists() for line in Path(share).read_text().split())
    assert done == list(range(60)), "every row once"
    with Store(path) as store:
        assert len(store.known([asked(number).key for number in range(60)])) == 60
        assert [entry.name for entry in (path / "owners").iterdir()] == [store.owner]
