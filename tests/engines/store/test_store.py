"""The store in one file: nothing kept is lost or asked twice (what every kind does is in *test_opening.py*)."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import shutil
import signal
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S

from prefboost.engines.engine import Failure
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.store import Store
from prefboost.errors import RunError

PROCESSES = multiprocessing.get_context("spawn")


def asked(number: int) -> StoreQuery:
    return StoreQuery("generate", {"prompt": f"p{number} \ud800", "sample": number})


ROWS = [asked(number) for number in range(8)]
KEYS = [row.key for row in ROWS]
ANSWER = {"text": "Yes \ud800 é", "tokens": 2}
UNSAFE = Failure("unsafe", 1, permanent=True, content=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.store"


def test_a_lease_ends_and_the_first_answer_stays(path: Path) -> None:
    with Store(path, lease_s=-1.0) as slow, Store(path) as fast:  # its lease has ended when it begins
        slow.claim(ROWS[:1])
        assert fast.claim(ROWS[:1]).granted == KEYS[:1]
        fast.finish([(ROWS[0], ANSWER)])
        assert slow.finish([(ROWS[0], {"text": "later"})]) == {KEYS[0]: ANSWER}


def test_what_is_asked_again_is_what_was_told(path: Path) -> None:
    with Store(path) as store:
        store.claim(ROWS[:4])
        failures = [Failure("500", 6), Failure("no max_tokens", 1, permanent=True), UNSAFE]
        store.finish([(ROWS[0], ANSWER), *zip(ROWS[1:4], failures, strict=True)])
    for retry, asked_again in (("none", []), ("failed", KEYS[1:3]), ("refused", KEYS[1:4])):
        with Store(path, retry=retry) as store:  # type: ignore[arg-type]
            assert store.failures(KEYS) == dict(zip(KEYS[1:4], failures, strict=True))
            assert [key for key in KEYS[:4] if key not in store.find_answers(KEYS)] == asked_again
            assert store.claim(ROWS[:4]).granted == asked_again


def test_a_folder_that_is_no_store_is_refused(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    (path / "rows.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(RunError, match="cannot be used") as caught, Store(path):
        pass
    assert "delete" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose a writable folder"), Store(tmp_path / "file"):
        pass


def turn_into_version_1(path: Path) -> None:
    with sqlite3.connect(path / "rows.sqlite") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_a_store_of_another_version_is_refused(path: Path) -> None:
    with Store(path):
        pass
    with sqlite3.connect(path / "rows.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(RunError, match="another version"), Store(path, read_only=read_only):
            pass
    assert list((path / "owners").iterdir()) == []


def test_of_version_1_what_this_machine_computed_is_read_and_what_servers_said_is_refused(path: Path) -> None:
    local = StoreQuery("generate", {"engine": "abc/float32", "prompt": "p", "sampling": {}, "sample": 0})
    assert local.key == "7076dd044383455a5ff0de0705a70bce", "as version 1 made it"
    with Store(path) as store:
        store.finish([(local, ANSWER)])
    turn_into_version_1(path)
    with Store(path) as store:
        assert store.find_answers([local.key]) == {local.key: ANSWER}
    served = StoreQuery("generate", {"engine": "http://h/v1/m//chat", "prompt": "p", "sampling": {}, "sample": 0})
    with Store(path) as store:
        store.finish([(served, ANSWER)])
    turn_into_version_1(path)
    for read_only in (False, True):
        with pytest.raises(RunError, match="stored 1 answers of servers") as caught, Store(path, read_only=read_only):
            pass
        assert "keep the folder" in str(caught.value)


def test_a_disk_that_fills_up_is_one_message_and_what_is_kept_is_safe(path: Path) -> None:
    with pytest.raises(RunError, match="the disk that holds the store is full") as caught, Store(path) as store:
        store.finish([(ROWS[0], ANSWER)])
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        store.finish([(asked(number), {"text": "x" * 5000}) for number in range(1, 50)])
    assert "every stored answer is safe" in str(caught.value)
    assert "delete" not in str(caught.value)
    with Store(path) as store:
        assert store.find_answers(KEYS) == {KEYS[0]: ANSWER}


def test_a_disk_that_is_full_from_the_start_advises_no_deleting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(RunError, match="free some space") as caught, Store(path):
        pass
    assert "delete" not in str(caught.value)


def test_a_damaged_page_is_named_with_how_to_rescue_the_rest(path: Path) -> None:
    with Store(path) as store:
        store.finish([(asked(number), {"text": "x" * 3000}) for number in range(60)])
    file = path / "rows.sqlite"
    whole = bytearray(file.read_bytes())
    page = int.from_bytes(whole[16:18], "big")
    for start in range(2 * page, len(whole) - page, page):
        whole[start : start + 64] = b"\xff" * 64
    file.write_bytes(bytes(whole))
    with pytest.raises(RunError, match="damaged") as caught, Store(path) as store:
        store.find_answers([asked(number).key for number in range(60)])
        list(store.rows())
    assert ".recover" in str(caught.value)
    assert "delete" not in str(caught.value)


def read_as_nobody(path: str, out: str) -> None:
    """What a user without the right to write sees of a store."""
    os.setgid(65534)
    os.setuid(65534)
    with Store(path, retry="none", read_only=True) as store, store.exclude_others():
        found = sorted(store.find_answers(KEYS))
    assert found
    os.write(int(out), ",".join(found).encode())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_that_cannot_be_written_is_read(killed: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "out.store"
        store = Store(path).__enter__()
        store.finish([(ROWS[0], ANSWER), (ROWS[1], Failure("500", 6))])
        if killed:  # its log stays, without the index
            shutil.copytree(path, Path(folder) / "killed.store", ignore=shutil.ignore_patterns("*-shm"))
        store.__exit__(None, None, None)
        path = Path(folder) / "killed.store" if killed else path
        for file in [path, *path.rglob("*")]:
            file.chmod(0o555 if file.is_dir() else 0o444)
        Path(folder).chmod(0o555)
        before = sorted(path.rglob("*"))
        read, write = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                read_as_nobody(str(path), str(write))
                status = 0
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(write)
        assert os.read(read, 1000).decode().split(",") == sorted(KEYS[:2])
        os.close(read)
        assert sorted(path.rglob("*")) == before


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
        process.join(PATIENCE_S)
    work(str(path), shares[2], -1)
    done = sorted(int(line) for share in shares if Path(share).exists() for line in Path(share).read_text().split())
    assert done == list(range(60)), "every row once"
    with Store(path) as store:
        assert len(store.find_answers([asked(number).key for number in range(60)])) == 60
        assert [entry.name for entry in (path / "owners").iterdir()] == [store.owner]
