"""Endings of file names."""

from __future__ import annotations

from pathlib import Path

from prefboost.sources.readers.endings import ENDINGS, get_format_ending
from prefboost.sources.readers.files import FORMATS


def test_the_format_is_named_before_the_compression() -> None:
    assert [get_format_ending(Path(name)) for name in ("a.b.jsonl.gz", "a.CSV", "a")] == [".jsonl", ".csv", ""]


def test_every_ending_has_a_reader() -> None:
    assert set(ENDINGS) == set(FORMATS)
