from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import DataError, UnreadableFile
from prefboost.evaluation.oracle import Check, Oracle
from prefboost.evaluation.selfcheck import ORACLES, oracle_folder, selfcheck


def reading(folder: Path):
    yield Check("made", "share", {"a": 1.0}, {"a": float((folder / "a.txt").read_text())}, 0.1)


MADE = (Oracle("made", ("a.txt",), reading), Oracle("other", ("b.txt", "c.txt"), reading))
NEEDY = Oracle("needy", ("a.txt",), reading, "no_such_library")


def test_what_is_there_is_checked_and_what_is_absent_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("1.05")
    found = selfcheck(tmp_path, [*MADE, NEEDY])
    assert found.is_ok
    assert found.absent["other"] == "no b.txt, c.txt"
    assert found.absent["needy"].startswith("no_such_library is not installed")
    lines = list(found.lines())
    assert lines[2] == "| made | share | 1 | 1 | 1.05 | a | 0.05 | 0.1 | yes |"
    assert lines[-1] == "1 checks, 0 over the allowed deviation, 2 oracles absent"


def test_a_deviation_over_the_allowed_one_is_not_ok(tmp_path):
    (tmp_path / "a.txt").write_text("2")
    found = selfcheck(tmp_path, MADE)
    assert not found.is_ok
    assert "| NO |" in "\n".join(found.lines())
    assert found.record()["checks"][0]["deviation"] == 1.0


def test_a_folder_without_any_figures_is_no_success(tmp_path):
    with pytest.raises(DataError, match="nothing was checked"):
        selfcheck(tmp_path, MADE)
    with pytest.raises(DataError, match="there is no folder"):
        oracle_folder(tmp_path / "none")
    assert oracle_folder(None, [str(tmp_path / "none"), str(tmp_path)]) == tmp_path


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("no number")
    with pytest.raises(UnreadableFile, match="made cannot be computed"):
        selfcheck(tmp_path, MADE)


def test_every_oracle_needs_a_file_and_has_a_name_of_its_own():
    assert len({oracle.name for oracle in ORACLES}) == len(ORACLES)
    assert all(oracle.files for oracle in ORACLES)
