"""A lock is held by one process at a time, freed however that process ends, and needs no Unix."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import filelock
import pytest
from waiting import PATIENCE_S

from prefboost.locks import LockHeldError, hold_lock, is_lock_held

PROCESSES = multiprocessing.get_context("spawn")


def hold_until_killed(path: Path, ready: Connection) -> None:
    with hold_lock(path, note="process 7 on a machine\n"):
        ready.send("held")
        ready.recv()


def test_a_held_lock_is_refused_with_the_holders_note_and_free_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path, note="me\n"):
        assert is_lock_held(path)
        with pytest.raises(LockHeldError, match=r"^me$"), hold_lock(path, wait=False, note="you\n"):
            raise AssertionError("two held it")
        assert path.read_text() == "me\n", "who asks in vain changes nothing"
    with hold_lock(path, wait=False):
        pass
    assert path.exists()


def test_what_a_killed_process_held_is_free_and_its_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=hold_until_killed, args=(path, there))
    process.start()
    assert here.poll(PATIENCE_S) and here.recv() == "held"
    assert is_lock_held(path)
    with pytest.raises(LockHeldError, match="process 7 on a machine"), hold_lock(path, wait=False):
        raise AssertionError("two held it")
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(PATIENCE_S)
    assert not is_lock_held(path)
    assert not path.exists()
    assert not is_lock_held(path), "nobody holds a file that is not there, and asking does not make it"
    assert not path.exists()


def test_a_file_system_without_locks_is_an_error_unless_the_lock_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(self: filelock.FileLock, **_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(OSError, match="No locks"), hold_lock(tmp_path / "lock"):
        raise AssertionError("it was held")
    with hold_lock(tmp_path / "lock", optional=True):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_even_where_the_lock_is_optional(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), hold_lock(tmp_path / "file" / "lock", optional=True):
        raise AssertionError("it was held")


@pytest.mark.torch
@pytest.mark.slow
def test_every_module_can_be_imported_where_unix_modules_are_missing() -> None:
    """Windows lacks them all; libraries may take the others, since on this system they expect to find them."""
    code = """
import builtins, importlib, pkgutil, sys
UNIX = {"fcntl", "resource", "pwd", "grp", "termios", "readline", "curses", "syslog"}
plain_import = builtins.__import__
def import_as_windows(name, variables=None, *rest, **options):
    if name in UNIX and str((variables or {}).get("__name__")).startswith("prefboost"):
        raise ModuleNotFoundError(f"{variables['__name__']} imports {name}")
    return plain_import(name, variables, *rest, **options)
builtins.__import__ = import_as_windows
sys.modules["fcntl"] = None
import prefboost
for module in pkgutil.walk_packages(prefboost.__path__, "prefboost."):
    importlib.import_module(module.name)
print(sum(name.startswith("prefboost.") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300
