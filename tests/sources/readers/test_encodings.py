"""UTF-16 is read where spreadsheets write it, and bytes of older encodings are named as what they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError, UnreadableFile
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.sources import read
from prefboost.sources.readers.encodings import NOT_UTF8, as_utf8, detect_encoding, has_undecoded

TABLE = "prompt,completion,score\r\nq,größer – 大,3\r\nq,kleiner,1\r\n"
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8", "utf-8-sig")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz", "in.tsv"])
def test_csv_of_spreadsheets_is_read(encoding: str, name: str, tmp_path: Path) -> None:
    text = TABLE.replace(",", "\t") if ".tsv" in name else TABLE
    content = text.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    frame = read(tmp_path / name).frame
    assert frame["completion"].list.first().struct.field("content").to_list() == ["größer – 大", "kleiner"]
    assert frame["score"].to_list() == [3.0, 1.0]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(TEXTS, st.sampled_from(["utf-16", "utf-32"]), st.data())
def test_chunks_of_any_size_give_the_same_text(text: str, encoding: str, data: st.DataObject) -> None:
    content = f"a,{text}".encode(encoding)
    size = data.draw(st.integers(1, 7))
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    assert b"".join(as_utf8(iter(chunks))) == f"a,{text}".encode()


@pytest.mark.parametrize("content", [b"", b"x", b"ab", b"\xff", b"{}\n", b"PAR1", bytes(8)])
def test_everything_else_passes_as_it_is(content: bytes) -> None:
    assert b"".join(as_utf8(iter([content] if content else []))) == content
    assert detect_encoding(content[:4]) is None


def test_cut_off_utf16_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(TABLE.encode("utf-16")[:-1])
    with pytest.raises(UnreadableFile, match="damaged or cut off"):
        read(tmp_path / "in.csv")


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_lines_of_older_encodings_are_counted_as_such(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": text, "score": score} for text, score in (("größer", 3), ("klein", 1))]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    text = lines if name == "in.jsonl" else "prompt,completion,score\nq,größer,3\nq,klein,1\n"
    (tmp_path / name).write_bytes(text.encode("cp1252"))
    table = read(tmp_path / name)
    assert len(table) == 1 and table.rejects["reason"].to_list() == [NOT_UTF8]
    assert "gr\\xf6" in table.rejects["found"][0]
    (tmp_path / name).write_bytes(text.replace("klein", "kläin").encode("cp1252"))
    with pytest.raises(DataError, match=r"-> convert the file, e\.g\. iconv -f WINDOWS-1252"):
        read(tmp_path / name)


def test_a_header_that_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes("prompt,réponse,score\nq,a,3\n".encode("cp1252"))
    with pytest.raises(UnreadableFile, match=r"in\.csv:1: the header is not UTF-8 text"):
        read(tmp_path / "in.csv")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_of_every_such_encoding_is_read_as_its_utf8(encoding: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"größer {n // 2}?", "completion": f"大 😀 {n}", "score": n} for n in range(4)]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    forms = {"in.jsonl": lines, "in.json": json.dumps(rows, ensure_ascii=False, indent=1)}
    (tmp_path / "plain.jsonl").write_text(lines, encoding="utf-8")
    for name, text in forms.items():
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert read(tmp_path / name).frame.equals(read(tmp_path / "plain.jsonl").frame)


def test_utf16_json_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes('{"prompt": "a"}\n'.encode("utf-16")[:-1])
    with pytest.raises(UnreadableFile, match="the text is damaged or cut off: utf-16"):
        read(tmp_path / "in.jsonl")


def test_prompts_of_a_text_file_are_utf8(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("Größer?\r\n大\r\n".encode("utf-16"))
    with pytest.raises(UnreadableFile, match=r"the text is UTF-16, and not UTF-8\n.*iconv -f UTF-16"):
        read_prompts(tmp_path / "p.txt")


def test_undecoded_bytes_are_told_from_text() -> None:
    assert has_undecoded(b"a\xe9".decode("utf-8", "surrogateescape"))
    assert not has_undecoded("aé大😀")
