"""What waits on disk lies beside the output, and is gone with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import RunError
from prefboost.scratch import ScratchFile, place_scratch

POSIX = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")


@contextmanager
def file_limit(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(st.lists(st.tuples(st.binary(max_size=50), st.booleans()), max_size=30))
def test_parts_are_read_as_they_were_appended_in_any_order(parts: list[tuple[bytes, bool]]) -> None:
    file = ScratchFile()
    places = []
    for content, reads in parts:
        places.append((file.append(content), content))
        if reads:
            place, expected = places[len(places) // 2]
            assert file.read(place, len(expected)) == expected
    assert all(file.read(place, len(content)) == content for place, content in reversed(places))
    assert file.size == sum(len(content) for content, _ in parts)


@POSIX
@pytest.mark.parametrize("beside", [True, False])
def test_a_full_disk_is_an_error_that_names_the_folder(beside: bool, tmp_path: Path) -> None:
    out = tmp_path / "missing" / "out.parquet"
    with place_scratch(out if beside else None):
        file = ScratchFile()
    with file_limit(1000), pytest.raises(RunError, match="the disk is full") as caught:
        for _ in range(100):
            file.append(b"x" * 500)
            file.read(0, 1)
    folder, remedy = (tmp_path, "name an output") if beside else (Path(tempfile.gettempdir()), "set TMPDIR")
    assert f"{folder}: " in str(caught.value) and remedy in str(caught.value)


def test_files_lie_beside_the_output_of_the_innermost_block_and_without_one_among_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    make = tempfile.TemporaryFile

    def note_folder(**options: object) -> object:
        used.append(options["dir"])
        return make(**options)  # type: ignore[call-overload]

    monkeypatch.setattr(tempfile, "TemporaryFile", note_folder)
    here, default = tmp_path / "a", Path(tempfile.gettempdir())
    here.mkdir()
    with place_scratch(here / "new" / "out.parquet"):
        ScratchFile()
        for out in ("s3://bucket/out.parquet", Path("-"), None):
            with place_scratch(out):
                ScratchFile()
        ScratchFile()
    ScratchFile()
    assert used == [here, default, default, default, here, default]


WAITS = """
import sys
from prefboost.scratch import ScratchFile, place_scratch

with place_scratch(sys.argv[1]):
    file = ScratchFile()
    file.append(b"x" * 100_000)
    print("waits", flush=True)
    sys.stdin.read()
"""


@POSIX
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended_leaves_nothing_beside_its_output(ending: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITS, str(tmp_path / "out.parquet")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline() == b"waits\n"
        process.send_signal(ending)
        assert process.wait() != 0
    assert list(tmp_path.iterdir()) == []
