"""Every verb at addresses: in the memory, in a local file system, and on a server that speaks S3."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from tests.runs.ray.rows import SpreadHere, read_output

from prefboost.addresses import find_address
from prefboost.cli.main import main
from prefboost.engines.store.opening import has_store
from prefboost.errors import UnreadableFile
from prefboost.runs.augment.augment import augment
from prefboost.runs.augment.settings import Augment
from prefboost.runs.folder.far_staging import FarStaging
from prefboost.runs.outputs import locate_store
from prefboost.runs.ray.data import augment_on
from prefboost.sources import read
from prefboost.sources.readers import pipes

COMPLETIONS = [{"prompt": f"q{n // 2}", "completion": f"answer {n}", "score": float(n % 2 * 5 + 1)} for n in range(8)]
PAIRS = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(4)]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of a server of this process."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = fsspec.filesystem("s3", skip_instance_cache=True)
        system.mkdir("bucket")
        yield "s3://bucket"
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture(params=["memory", "file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own in a remote file system."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{uuid.uuid4().hex}"
    return f"memory://{uuid.uuid4().hex}/x" if request.param == "memory" else f"file://{tmp_path / 'far'}"


def put_rows(address: str, rows: list[dict[str, Any]]) -> str:
    with fsspec.open(address, "w", auto_mkdir=True) as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))
    return address


def list_names(place: str) -> set[str]:
    system, path = fsspec.core.url_to_fs(place)
    system.invalidate_cache()
    return {name.rpartition(path.strip("/") + "/")[2] for name in system.find(path)}


def arguments(verb: str, place: str, out: str) -> list[str]:
    """Of a verb that reads and writes at addresses; ``replay`` reads what is recorded on this machine."""
    scored, pairs = f"{place}/scored.jsonl", f"{place}/pairs.jsonl"
    return {
        "score": ["score", scored, "kind=length_scorer:LengthScorer", "-o", out],
        "judge": ["judge", pairs, "kind=scorer", "scorer.kind=length_scorer:LengthScorer", "-o", out],
        "select": ["select", scored, "kind=best_of_n", "-o", out],
        "generate": ["generate", "replay:recorded.jsonl", scored, "-o", out],
        "synthesize": ["synthesize", "rlcd", scored, "generator=replay:recorded.jsonl", "-o", out],
    }[verb]


@pytest.mark.parametrize("verb", ["score", "judge", "select", "generate", "synthesize"])
def test_a_verb_writes_the_same_bytes_at_an_address(
    verb: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (place, str(tmp_path)):
        put_rows(f"{folder}/scored.jsonl", COMPLETIONS)
        put_rows(f"{folder}/pairs.jsonl", PAIRS)
    put_rows(str(tmp_path / "recorded.jsonl"), COMPLETIONS)
    code = main([*arguments(verb, place, f"{place}/out.jsonl"), "--json"])
    far = capsys.readouterr()
    assert main([*arguments(verb, str(tmp_path), "here.jsonl"), "--json"]) == code, far.err
    if code == 0:
        assert json.loads(far.out)["out"] == f"{place}/out.jsonl"
    with fsspec.open(f"{place}/out.jsonl", "rb") as stream:
        assert stream.read() == (tmp_path / "here.jsonl").read_bytes()
    beside = {path.name.replace("here", "out") for path in tmp_path.glob("here.jsonl.*") if path.is_file()}
    assert beside <= list_names(place)
    assert not list(tmp_path.glob("*:*")), "no folder of this machine is named like an address"
    if verb != "select":
        assert has_store(locate_store(f"{place}/out.jsonl")) == (tmp_path / "here.jsonl.store").exists()
        # Again: all is stored, and the output is replaced by the same.
        assert main(arguments(verb, place, f"{place}/out.jsonl")) == code


def test_inputs_and_files_of_others_stay_at_an_address(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    put_rows(f"{place}/scored.jsonl", COMPLETIONS)
    put_rows(f"{place}/mine.jsonl", COMPLETIONS)
    before = {name: fsspec.open(f"{place}/{name}", "rb").open().read() for name in list_names(place)}
    for out, words in (("scored.jsonl", "the output is the input"), ("mine.jsonl", "did not write it")):
        assert main(["score", f"{place}/scored.jsonl", "kind=length_scorer:LengthScorer", "-o", f"{place}/{out}"]) == 2
        error = capsys.readouterr().err
        assert words in error and find_address(f"{place}/{out}") in error
    assert {name: fsspec.open(f"{place}/{name}", "rb").open().read() for name in list_names(place)} == before


def test_a_verb_that_writes_folders_of_this_machine_refuses_an_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put_rows("scored.jsonl", COMPLETIONS)
    assert main(["fit-regressor", "scored.jsonl", "-o", "memory://models/x"]) == 2
    assert "not to an address" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scored.jsonl"]


def test_a_store_of_segments_is_named_by_its_address_and_shared(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put_rows("scored.jsonl", COMPLETIONS)
    put_rows("recorded.jsonl", COMPLETIONS)
    command = ["generate", "replay:recorded.jsonl", "scored.jsonl", "--store", f"{place}/store"]
    assert main([*command, "-o", "a.jsonl"]) == 0
    capsys.readouterr()
    assert main([*command, "-o", "b.jsonl", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 0
    assert main([*command, "-o", "b.jsonl", "--partial"]) == 0
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    assert not list(tmp_path.glob("*.store"))
    assert not any(name.startswith("store/live/") for name in list_names(place))


@pytest.mark.parametrize("segments", ["address", "folder"])
def test_shards_with_stores_of_segments_are_merged(
    segments: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put_rows("scored.jsonl", COMPLETIONS)
    put_rows("recorded.jsonl", COMPLETIONS)
    command = ["generate", "replay:recorded.jsonl", "scored.jsonl"]
    base, option = (place, []) if segments == "address" else (".", ["--store", "segments:"])
    for shard in ("0/2", "1/2"):
        assert main([*command, "-o", f"{base}/parts.jsonl", "--shard", shard, *option]) == 0
    outs = [f"{base}/parts.shard-{number}-of-2.jsonl" for number in (0, 1)]
    assert main(["merge", outs[0]]) == 2
    assert "missing: shard 1/2" in capsys.readouterr().err
    assert main(["merge", f"{base}/parts.shard-*-of-2.jsonl"] if segments == "address" else ["merge", *outs]) == 0
    assert main([*command, "-o", "whole.jsonl"]) == 0
    merged = read(f"{base}/parts.jsonl").frame
    assert merged.equals(read("whole.jsonl").frame) and isinstance(merged, pl.DataFrame)
    assert has_store(locate_store(f"{base}/parts.jsonl"))


def test_shards_of_augment_are_made_resumed_and_merged_at_an_address(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": float(n * 7 % 10)} for n in range(20)]
    source = put_rows(f"{place}/scored.jsonl", rows)
    command = ["augment", source, "batch_rows=8", "scale=min_max", "--quiet"]
    shards = [f"{place}/goals.shard-{index}-of-2" for index in (0, 1)]

    def die(staging: FarStaging) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FarStaging, "seal", die)
        assert main([*command, "-o", f"{place}/goals", "--shard", "0/2"]) == 130
    assert main(["merge", shards[0]]) == 2
    assert "no finished shard" in capsys.readouterr().err
    parts = []
    for index in (0, 1):
        assert main([*command, "-o", f"{place}/goals", "--shard", f"{index}/2", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["out"] == shards[index]
        parts.append(shown["parts"])
    assert main(["merge", shards[1]]) == 2
    assert "missing: shard 0/2" in capsys.readouterr().err
    assert main(["merge", f"{place}/goals.shard-*-of-2", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == f"{place}/goals"
    put_rows("scored.jsonl", rows)
    assert main(["augment", "scored.jsonl", *command[2:], "-o", "whole"]) == 0
    assert main(["merge", *shards, "-o", "merged", "--quiet"]) == 0
    system, root = fsspec.core.url_to_fs(f"{place}/goals")
    data = sorted(path.relative_to("whole") for path in Path("whole").rglob("*.parquet"))
    assert len(data) == sum(parts) + 1
    for name in data:
        assert (
            system.cat_file(f"{root}/{name}") == Path("merged", name).read_bytes() == Path("whole", name).read_bytes()
        )
    assert main(["merge", *shards, "--quiet"]) == 2
    assert "the output exists" in capsys.readouterr().err
    file = next(name for name in system.find(shards[0]) if name.endswith(".train"))
    system.pipe_file(file, bytes(len(system.cat_file(file))))
    assert main(["merge", *shards, "-o", f"{place}/again", "--quiet"]) == 2
    assert "its checksum differs" in capsys.readouterr().err
    system.pipe_file(file, b"short")
    assert main(["merge", *shards, "-o", f"{place}/again", "--quiet"]) == 2
    assert "goals.shard-0-of-2 is damaged (1 of" in capsys.readouterr().err


def test_shards_of_select_are_merged_at_an_address(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["select", put_rows(f"{place}/scored.jsonl", COMPLETIONS), "kind=best_of_n", "--json"]
    for shard in ("0/2", "1/2", "1/2"):
        assert main([*command, "-o", f"{place}/best.jsonl", "--shard", shard]) == 0
    assert main(["merge", f"{place}/best.shard-*-of-2.jsonl"]) == 0
    assert main([*command, "-o", "whole.jsonl"]) == 0
    system, root = fsspec.core.url_to_fs(place)
    beside = ("", ".rejects.parquet", ".select.json")
    for name in beside:
        assert system.cat_file(f"{root}/best.jsonl{name}") == Path(f"whole.jsonl{name}").read_bytes()
    file = next(name for name in system.find(f"{root}/best.shard-1-of-2.jsonl") if ".rows." in name)
    system.pipe_file(file, bytes(len(system.cat_file(file))))
    assert main(["merge", f"{place}/best.shard-*-of-2.jsonl", "-o", "again.jsonl"]) == 2
    assert "its checksum differs" in capsys.readouterr().err


CARD_OF_HALF = "configs: [{data_files: [{split: test, path: '*-0.*'}]}]"


@pytest.mark.parametrize(
    ("ending", "pattern", "card"),
    [
        ("jsonl", "", ""),
        ("parquet", "/*", ""),
        ("parquet", "", "pretty_name: Scored"),
        ("jsonl", "/*", "pretty_name: Scored"),
        ("parquet", "", CARD_OF_HALF),
        ("jsonl", "/*", CARD_OF_HALF),
    ],
)
def test_many_read_a_folder_or_pattern_at_an_address_file_by_file(
    ending: str, pattern: str, card: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        f"{split}-{part}.{ending}": [
            {"prompt": f"{split} {part} {n // 2}", "completion": f"a{n}", "score": float(n * 7 % 10)} for n in range(20)
        ]
        for split in ("train", "test")
        for part in range(2)
    }
    for name, rows in files.items():
        pl.DataFrame(rows).write_parquet(tmp_path / name) if ending == "parquet" else pl.DataFrame(rows).write_ndjson(
            tmp_path / name
        )
    if card:
        (tmp_path / "README.md").write_text(f"---\n{card}\n---\nPlain words.\n")
    system, folder = fsspec.core.url_to_fs(f"{place}/in")
    system.makedirs(folder, exist_ok=True)
    for file in [*files, *(["README.md"] if card else [])]:
        system.pipe_file(f"{folder}/{file}", (tmp_path / file).read_bytes())
    settings, source = Augment(batch_rows=12, scale={"kind": "min_max"}), f"{place}/in{pattern}"
    whole = augment(source, tmp_path / "here" / "goals", settings)
    monkeypatch.setattr(pipes, "fetch_input", None)
    report = augment_on(SpreadHere(), source, tmp_path / "many" / "goals", settings)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    # The card leaves out half of the files; a pattern passes it over.
    assert report.records == whole.records == (40 if "configs" in card and not pattern else 80)


@pytest.mark.parametrize("name", ["scored.jsonl", "scored.parquet"])
def test_many_read_an_input_at_an_address_in_pieces(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": float(n * 7 % 10)} for n in range(40)]
    source = f"{place}/{name}"
    put_rows(source, rows)
    if name.endswith(".parquet"):
        pl.DataFrame(rows).write_parquet(tmp_path / name, row_group_size=8)
        system, path = fsspec.core.url_to_fs(source)
        system.pipe_file(path, (tmp_path / name).read_bytes())
    settings = Augment(batch_rows=8, scale={"kind": "min_max"})
    whole = augment(source, tmp_path / "here" / "goals", settings)
    monkeypatch.setattr(pipes, "fetch_input", None)
    report = augment_on(SpreadHere(), source, tmp_path / "many" / "goals", settings)
    assert report.parts == whole.parts > 3
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    with pytest.raises(UnreadableFile, match="cannot be fetched"):
        augment_on(SpreadHere(), f"{place}/missing.parquet", tmp_path / "none" / "goals", settings)
