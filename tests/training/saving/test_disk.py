"""A disk that cannot be written is not a fault of the program, in whatever words libraries say it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from prefboost.errors import DataError, RunError
from prefboost.training.saving.disk import check_space, explain_disk, free_memory, is_disk_fault, size_of


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/run/checkpoints/optimizer.pt"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
    ],
)
def test_failures_to_write_say_that_the_run_resumes(error: Exception, tmp_path: Path) -> None:
    said = r"cannot write: (.|\n)*free\)(.|\n)*resumes at the last checkpoint"
    with pytest.raises(RunError, match=said), explain_disk(tmp_path):
        raise error


def test_a_failure_to_write_is_seen_behind_another_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No space left"), explain_disk(tmp_path):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise OSError(errno.ENOSPC, "No space left on device") from error


@pytest.mark.parametrize("error", [ValueError("no space left on device"), RuntimeError("shapes differ"), KeyError("a")])
def test_other_errors_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    assert not is_disk_fault(error)
    with pytest.raises(type(error)), explain_disk(tmp_path):
        raise error


def test_errors_of_ours_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mine"), explain_disk(tmp_path):
        raise DataError("mine") from OSError(errno.ENOSPC, "No space left on device")


def test_too_little_room_is_refused_and_enough_is_not(tmp_path: Path) -> None:
    check_space(tmp_path, 1)
    with pytest.raises(RunError, match=r"training will write 1048576.00 GiB .* are free"):
        check_space(tmp_path, 1 << 50)


def test_a_folders_size_is_that_of_all_its_files(tmp_path: Path) -> None:
    assert size_of(tmp_path / "absent") == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "two").write_bytes(b"123")
    assert size_of(tmp_path / "a") == 8


def test_free_memory_is_what_the_system_says_or_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_memory()
    assert free is None or 1 << 20 < free < 1 << 50
    monkeypatch.setattr(Path, "read_text", lambda *args, **options: "MemTotal: 9 kB\nMemAvailable: 7 kB\n")
    assert free_memory() == 7 * 1024

    def fail(*args: object, **options: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert free_memory() is None
