"""An array is taken apart in bounded memory, and gives what reading it whole gives."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.errors import UnreadableFile
from prefboost.sources import read
from prefboost.sources.readers import json_array, text_files
from prefboost.sources.readers.json_array import read_array_blocks

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ODD = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def items(path: Path, size: int = 40) -> list[Any]:
    return [json.loads(line) for block in read_array_blocks(path, size) for line in block.text.split(b"\n")]


@ODD
@given(
    found=st.lists(values, max_size=6),
    style=st.fixed_dictionaries({"indent": st.none() | st.integers(0, 3), "ensure_ascii": st.booleans()}),
    chunk=st.integers(1, 9),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf", b" \n"]),
)
def test_any_array_in_any_pieces_gives_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[Any], style: dict[str, Any], chunk: int, mark: bytes
) -> None:
    path = tmp_path / "a.json"
    written = json.dumps(found, **style)
    path.write_bytes(mark + written.encode("utf-8", "replace") + b"\n")
    monkeypatch.setattr(text_files, "CHUNK_BYTES", chunk)
    assert items(path) == json.loads(written.encode("utf-8", "replace"))


@ODD
@given(found=st.lists(values, min_size=1, max_size=4), at=st.floats(0, 1), chunk=st.integers(1, 9))
def test_an_array_that_is_cut_off_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[Any], at: float, chunk: int
) -> None:
    whole = json.dumps(found)
    path = tmp_path / "cut.json"
    path.write_text(whole[: max(1, int(at * (len(whole) - 1)))])
    monkeypatch.setattr(text_files, "CHUNK_BYTES", chunk)
    with pytest.raises(UnreadableFile, match=r"cut\.json") as caught:
        items(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text", ["[1 2]", "[1,]", "[,1]", "[1]]", '[{"a" 1}]', "[1] [2]", "[nul]", '["\ttab"]', "[" * 9999]
)
def test_what_is_no_array_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match="not readable as JSON"):
        items(path)


def test_a_fault_at_the_beginning_is_found_before_the_rest_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "bad.json"
    path.write_text('[{"a" 1}' + ' , {"a": 1}' * 50_000 + "]")
    chunks: list[int] = []
    plain = json_array.read_byte_chunks
    monkeypatch.setattr(text_files, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(json_array, "read_byte_chunks", lambda path: (chunks.append(1) or each for each in plain(path)))
    with pytest.raises(UnreadableFile, match="':' delimiter"):
        items(path)
    assert len(chunks) == 1


def test_memory_does_not_grow_with_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = json.dumps({"prompt": "q" * 400, "completion": "a" * 400, "score": 1}, indent=1)
    monkeypatch.setattr(text_files, "CHUNK_BYTES", 1 << 14)
    peaks = []
    for count in (100, 3000):
        path = tmp_path / f"{count}.json"
        path.write_text("[" + ",\n".join([record] * count) + "]")
        tracemalloc.start()
        assert sum(block.text.count(b"\n") + 1 for block in read_array_blocks(path, 1 << 15)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] < 1_000_000


def test_an_array_is_read_like_lines(tmp_path: Path) -> None:
    rows: list[Any] = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": n} for n in range(40)]
    rows[7] = "no record"
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    array, lines = read(tmp_path / "a.json"), read(tmp_path / "a.jsonl")
    assert array.frame.equals(lines.frame)
    assert array.rejects["row"].to_list() == lines.rejects["row"].to_list() == [7]
