"""A staging folder keeps finished parts of the same key, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import RunError
from prefboost.runs.folder.staging import clear_staging, link, locate_staging, open_staging, replace_folder


def add(out: Path, key: str, number: int, text: str) -> None:
    with open_staging(out, key) as staging:
        path = staging.path / f"{number}.data"
        path.write_text(text)
        staging.add(number, {"data": path}, {"rows": number})


def test_finished_parts_are_found_again_in_order(tmp_path: Path) -> None:
    for number in (1, 0, 2):
        add(tmp_path / "out", "key", number, str(number))
    with open_staging(tmp_path / "out", "key") as staging:
        assert (staging.resumed_parts, staging.deleted_parts) == (3, 0)
        assert [path.read_text() for path in staging.files("data")] == ["0", "1", "2"]
        assert staging.entries[2]["rows"] == 2


def test_another_key_throws_the_parts_away_and_says_so(tmp_path: Path) -> None:
    add(tmp_path / "out", "key", 0, "old")
    with open_staging(tmp_path / "out", "other") as staging:
        assert (staging.resumed_parts, staging.deleted_parts) == (0, 1)
        assert {path.name for path in staging.path.iterdir()} == {"lock", "journal.jsonl"}


@pytest.mark.parametrize("damage", [b"other", b"", None])
def test_a_part_whose_bytes_changed_is_made_again(damage: bytes | None, tmp_path: Path) -> None:
    add(tmp_path / "out", "key", 0, "right")
    add(tmp_path / "out", "key", 1, "kept")
    part = locate_staging(tmp_path / "out") / "0.data"
    part.unlink() if damage is None else part.write_bytes(damage)
    with open_staging(tmp_path / "out", "key") as staging:
        assert sorted(staging.entries) == [1]


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_journal_cut_off_anywhere_loses_no_more_than_its_last_parts(cut: int, tmp_path: Path) -> None:
    for number in range(2):
        add(tmp_path / "out", "key", number, str(number))
    journal = locate_staging(tmp_path / "out") / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:cut])
    with open_staging(tmp_path / "out", "key") as staging:
        assert sorted(staging.entries) in ([], [0], [0, 1])
    add(tmp_path / "out", "key", 5, "more")
    with open_staging(tmp_path / "out", "key") as staging:
        assert 5 in staging.entries


def test_notes_are_kept_with_the_parts(tmp_path: Path) -> None:
    with open_staging(tmp_path / "out", "key") as staging:
        assert staging.read_note("scale") is None
        staging.note("scale", {"low": 1})
    with open_staging(tmp_path / "out", "key") as staging:
        assert staging.read_note("scale") == {"low": 1}


def test_two_processes_cannot_write_one_output(tmp_path: Path) -> None:
    with (
        open_staging(tmp_path / "out", "key"),
        pytest.raises(RunError, match="another process is writing"),
        open_staging(tmp_path / "out", "key"),
    ):
        pass


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("new", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    replace_folder(tmp_path / "new", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "new").read_text() == "new"


def test_a_kill_between_two_renames_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, new = tmp_path / "out", tmp_path / "new"
    for folder in (new, out):
        folder.mkdir()
        (folder / folder.name).write_text("")
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path == new:
            raise KeyboardInterrupt
        return rename(path, target)

    with open_staging(out, "key"):
        monkeypatch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(new, out)
        monkeypatch.undo()
    assert not out.exists()
    with open_staging(out, "another key"):
        assert [path.name for path in out.iterdir()] == ["out"]


def test_a_folder_of_someone_else_is_not_taken_for_staging(tmp_path: Path) -> None:
    place = locate_staging(tmp_path / "out")
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is needed for parts"), open_staging(tmp_path / "out", "key"):
        pass
    clear_staging(tmp_path / "out")
    assert (place / "thesis.txt").read_text() == "mine"


def test_where_the_disk_has_no_links_bytes_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("text")
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    link(tmp_path / "a", tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_text() == "text"


def test_what_fails_before_anything_is_made_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="no input"), open_staging(out, "key"):
        raise ValueError("no input")
    assert not locate_staging(out).exists()
    with pytest.raises(ValueError, match="later"), open_staging(out, "key") as staging:
        staging.note("fitted", 1)
        raise ValueError("later")
    with open_staging(out, "key") as staging:
        assert staging.read_note("fitted") == 1


def test_discarded_parts_are_not_found_again_and_notes_stay(tmp_path: Path) -> None:
    add(tmp_path / "out", "key", 0, "old")
    with open_staging(tmp_path / "out", "key") as staging:
        staging.note("scale", 5)
        staging.discard()
        assert not staging.entries
    add(tmp_path / "out", "key", 1, "new")
    with open_staging(tmp_path / "out", "key") as staging:
        assert (sorted(staging.entries), staging.resumed_parts, staging.deleted_parts) == ([1], 1, 0)
        assert staging.read_note("scale") == 5
        assert not (staging.path / "0.data").exists()
