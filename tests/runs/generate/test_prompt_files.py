"""Prompts from text files and tables."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import fsspec
import pytest

from prefboost.errors import DataError, PrefboostError, UnreadableFile
from prefboost.runs.generate.prompt_files import read_benchmark_prompts, read_prompts
from prefboost.tables import PROMPTS, SCORED_COMPLETIONS


def test_a_text_file_has_one_prompt_a_line(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffWhat is a fox?\r\n\n  Describe tea.  ".encode())
    table = read_prompts(file)
    assert table.spec is PROMPTS
    assert [prompt[0]["content"] for prompt in table.frame["prompt"]] == ["What is a fox?", "Describe tea."]
    assert table.frame["row"].to_list() == [0, 2]
    assert table.frame["prompt_id"].n_unique() == 2


def test_tables_keep_the_rules_of_their_prompts(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    rules = '[{"kind": "lowercase"}]'
    file.write_text(json.dumps({"prompt": "Hi", "rules": rules}) + "\n")
    table = read_prompts(file)
    assert (table.spec, table.frame["rules"].to_list()) == (PROMPTS, [rules])
    file.write_text(json.dumps({"prompt": "Hi", "completion": "a", "score": 3, "rules": rules}) + "\n")
    table = read_prompts(file)
    assert (table.spec, table.frame["rules"].to_list()) == (SCORED_COMPLETIONS, [rules])


def test_unusable_text_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_prompts(tmp_path / "none.txt")
    (tmp_path / "odd.txt").write_bytes(b"abc\xff")
    with pytest.raises(UnreadableFile, match=r"odd\.txt:1: no line of the file can be used; the first is not UTF-8"):
        read_prompts(tmp_path / "odd.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match="holds no prompt"):
        read_prompts(tmp_path / "empty.txt")


def test_a_line_that_cannot_be_used_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"tea\nab\xffc\n\nno\0good\n\xc2\xa0\nrain\n")
    table = read_prompts(file)
    assert [prompt[0]["content"] for prompt in table.frame["prompt"]] == ["tea", "rain"]
    assert table.rejects.select("row", "reason", "found").rows() == [
        (1, "the line is not UTF-8", "ab\\xffc"),
        (3, "the line holds a NUL byte", "no\\0good"),
        (4, "the line is blank", "\xa0"),
    ]
    assert (table.steps[0].rows_in, table.steps[0].rows_out) == (5, 2)


def test_a_benchmark_is_read_whatever_its_shape(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\none\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": 1, "turns": ["one", "two", "one"]}) + "\n")
    (tmp_path / "c.jsonl").write_text(json.dumps({"prompt": "one"}) + "\n" + json.dumps({"prompt": "two"}) + "\n")
    for name in ("a.txt", "b.jsonl", "c.jsonl"):
        assert read_benchmark_prompts(tmp_path / name) == ["one", "two"]


def test_a_folder_or_file_of_prompts_may_be_at_an_address() -> None:
    system = fsspec.filesystem("memory")
    for number in range(2):
        system.pipe_file(f"/asked/part-{number}.jsonl", json.dumps({"prompt": f"prompt {number}"}).encode())
    system.pipe_file("/asked/prompts.txt", b"prompt 0\nprompt 1\n")
    assert read_benchmark_prompts("memory://asked") == ["prompt 0", "prompt 1"]
    assert read_benchmark_prompts("memory://asked/prompts.txt") == ["prompt 0", "prompt 1"]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (b"\xff\n\xfe\xfe\n", "no line of the file can be used", 1),
        (b"\n\n", "holds no prompt", None),
        ("prompt".encode("utf-16"), "the text is UTF-16", None),
    ],
)
def test_faults_of_lines_at_an_address_name_the_address(text: bytes, message: str, line: int | None) -> None:
    place = f"memory://{uuid.uuid4().hex}/prompts.txt"
    with fsspec.open(place, "wb") as stream:
        stream.write(text)
    for name in (place, Path(place)):  # a path joins two slashes to one
        with pytest.raises(PrefboostError, match=message) as caught:
            read_prompts(name)
        found = caught.value.place
        assert found is not None and (found.path, found.line) == (place, line)


def test_rejects_and_history_of_lines_at_an_address_name_the_address() -> None:
    place = f"memory://{uuid.uuid4().hex}/prompts.txt"
    with fsspec.open(place, "wb") as stream:
        stream.write(b"good\n\xff\n")
    table = read_prompts(place)
    assert table.path == place and table.rejects.select("path", "row").rows() == [(place, 1)]
    assert table.steps[0].settings == {"path": place}
