"""Outputs have their rejects and their history beside them."""

import json
from pathlib import Path

import polars as pl

from prefboost.engines.store.store import Store
from prefboost.runs.outputs import locate_rejects, locate_store, write_output
from prefboost.sources import read


def test_files_beside_an_output_are_named_after_it() -> None:
    assert locate_store("a/b.jsonl") == Path("a/b.jsonl.store")
    assert locate_rejects("a/b.jsonl") == Path("a/b.jsonl.rejects.parquet")


def test_rejects_and_history_are_written_and_rejects_of_an_earlier_call_go(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": "b"}\n')
    table = read(source)
    with Store(locate_store(out)) as store:
        written = write_output(table, out, store=store, history={"judge": lambda rows: {"pairs": len(rows)}})
    assert len(written) == 1 and pl.read_parquet(locate_rejects(out)).height == 1
    assert json.loads((tmp_path / "out.jsonl.judge.json").read_text())["pairs"] == 1
    source.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    write_output(read(source), out)
    assert not locate_rejects(out).exists()
