"""What records cost on machines, and what is exchanged with an object store, against counted runs."""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path

import fsspec
import pytest
from counting_store import count_traffic

from prefboost.cli.main import main
from prefboost.cli.row_estimates import measure_work
from prefboost.costs import RowMachines
from prefboost.errors import SettingsError

ROWS = 4_000


def write_scored(place: str) -> str:
    """Write scored completions, four a prompt; return the text."""
    rng = random.Random(0)
    prompts = [" ".join(f"word{rng.randrange(2000)}" for _ in range(8)) for _ in range(ROWS // 4)]
    rows = [
        {
            "prompt": prompts[at // 4],
            "completion": " ".join(f"word{rng.randrange(2000)}" for _ in range(8)),
            "score": rng.randrange(10),
        }
        for at in range(ROWS)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    with fsspec.open(f"{place}/in/scored.jsonl", "w", auto_mkdir=True) as stream:
        stream.write(text)
    return text


@pytest.mark.parametrize("name", ["kept", "kept.parquet"])
def test_the_traffic_of_select_is_that_of_a_counted_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"memory://{uuid.uuid4().hex}"
    text = write_scored(place)
    traffic = count_traffic(monkeypatch)
    command = ["select", f"{place}/in/scored.jsonl", "kind=best_of_n", "file_records=500", "-o", f"{place}/out/{name}"]
    assert main(command) == 0
    found = fsspec.filesystem("memory").find(f"{place}/out", detail=True).values()
    rows = sum(each["size"] for each in found if each["name"].endswith(".parquet") and "rejects" not in each["name"])
    counted = traffic.read, traffic.written, traffic.requests.total()
    machines = ["--on", f"records={ROWS}", "--on", f"output_bytes={rows / (ROWS // 4)}"]
    capsys.readouterr()
    assert main([*command, *machines, "--dry-run", "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)["estimate"]
    for what, count in zip(("read_bytes", "written_bytes", "requests"), counted, strict=True):
        assert estimate[f"object_{what}"] == pytest.approx(count, rel=0.15), what
    assert main([*command, *machines, "--dry-run", "--shard", "0/3", "--json"]) == 0
    every = json.loads(capsys.readouterr().out)["estimate"]
    more = every["object_read_bytes"] - estimate["object_read_bytes"]
    assert more == pytest.approx(2 * len(text), rel=1e-6)


def test_the_time_of_select_falls_with_shards_and_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scored(f"file://{tmp_path}")
    command = ["select", str(tmp_path / "in" / "scored.jsonl"), "kind=best_of_n", "--dry-run"]
    machines = ["--on", "records=1000000000", "--on", "row_us=36", "--on", "read_us=0", "--on", "part_ms=0"]
    estimates = {}
    for name, options in {"one": [], "ray": ["--executor", "ray"], "shards": ["--shard", "0/4"]}.items():
        assert main([*command, *machines, *options, "--json"]) == 0
        estimates[name] = json.loads(capsys.readouterr().out)["estimate"]
    hours = {name: each["hours"] for name, each in estimates.items()}
    assert hours["one"] == pytest.approx(10.0) and hours["shards"] == pytest.approx(2.5)
    assert 10 / 16 <= hours["ray"] < 10 and estimates["ray"]["shuffled_bytes"] == pytest.approx(1e9 * 172 / 4)
    assert main([*command, *machines, "--on", "dollars=1"]) == 0
    assert "machine-hours, $10.00" in capsys.readouterr().out


def test_records_that_no_file_tells_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "scored.json").write_text("[]")
    with pytest.raises(SettingsError, match="does not tell how many records"):
        measure_work(str(tmp_path / "scored.json"), RowMachines(), None, None)
    assert measure_work(str(tmp_path / "scored.json"), RowMachines(records=7), "1/2", None).shards == 2
