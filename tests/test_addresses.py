"""Addresses of fsspec are told from paths."""

from __future__ import annotations

from pathlib import Path

from prefboost.addresses import find_address


def test_addresses_are_told_from_paths() -> None:
    assert find_address("s3://bucket/a.jsonl") == "s3://bucket/a.jsonl"
    assert find_address(Path("memory://a/b.parquet")) == "memory://a/b.parquet"
    assert find_address("file:/data/x") == "file:///data/x"
    assert [find_address(each) for each in ("a/b", "C:/x", "openai:gpt", "what://x", "-")] == [None] * 5
