"""The journal: nothing finished is lost, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.engine import Request, Result, Sampling
from prefboost.engines.replay import Replay, ReplayEngine
from prefboost.engines.store import Journal, generate_stored, key_of
from prefboost.errors import RunError

USER = [{"role": "user", "content": "Hi", "extra": None}]
RESULT = Result("Yes \ud800 é", "stop", 3, 2)


class Counting(ReplayEngine):
    """Batches of two, and a count of the rows that were computed."""

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        return [list(range(at, min(at + 2, len(requests)))) for at in range(0, len(requests), 2)]

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Result]]:
        self.computed = getattr(self, "computed", 0) + len(requests)
        return super().generate(requests, sampling)


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    file = tmp_path / "recorded.jsonl"
    file.write_text("".join(json.dumps({"prompt": "Hi", "completion": f"answer {i}"}) + "\n" for i in range(7)))
    return Counting(Replay(path=str(file)))


REQUESTS = [Request(USER, sample) for sample in range(7)]


def test_completions_survive_in_the_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "out.journal") as journal:
        journal.add([("a", RESULT), ("b", Result("", "length", 1, 1))])
    with Journal(tmp_path / "out.journal") as journal:
        assert journal.known == {"a": RESULT, "b": Result("", "length", 1, 1)}
        journal.delete()
    assert not (tmp_path / "out.journal").exists()


@given(st.integers(0, 200))
def test_wherever_writing_was_cut_off_complete_lines_are_kept_and_writing_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "out.journal"
    with Journal(path) as journal:
        journal.add([("a", RESULT), ("b", RESULT)])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with Journal(path) as journal:
        assert len(journal.known) == whole[:cut].count(b"\n")
        journal.add([("c", RESULT)])
    with Journal(path) as journal:
        assert list(journal.known)[-1] == "c"


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "out.journal"),
        pytest.raises(RunError, match="another process"),
        Journal(tmp_path / "out.journal"),
    ):
        pass


def test_a_file_that_is_no_journal_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "out.journal"
    path.write_text('{"key": "a"}\n')
    with pytest.raises(RunError, match=r"out.journal:1: this is not a line of a journal"), Journal(path):
        pass
    with pytest.raises(RunError, match="cannot be written"), Journal(tmp_path):
        pass


def test_keys_tell_apart_all_that_a_completion_depends_on(counting: Counting) -> None:
    sampling = Sampling()
    keys = {
        key_of(counting, REQUESTS[0], sampling),
        key_of(counting, REQUESTS[1], sampling),
        key_of(counting, Request(USER, goal=7.0), sampling),
        key_of(counting, REQUESTS[0], Sampling(temperature=0.5)),
    }
    assert len(keys) == 4
    assert key_of(counting, Request(USER), Sampling()) in keys


def test_incomplete_batches_are_repeated_whole_and_complete_ones_not_at_all(counting: Counting, tmp_path: Path) -> None:
    sampling = Sampling()
    keys = [key_of(counting, request, sampling) for request in REQUESTS]
    uninterrupted = dict(counting.generate(REQUESTS, sampling))
    with Journal(tmp_path / "out.journal") as journal:
        journal.add([(keys[index], uninterrupted[index]) for index in (0, 1, 2)])
        counting.computed = 0
        batches = list(generate_stored(counting, REQUESTS, sampling, journal))
    assert counting.computed == 5
    assert [batch.stored for batch in batches] == [True, False, False, False]
    assert dict(pair for batch in batches for pair in batch.results) == uninterrupted
