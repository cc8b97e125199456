"""Where `augment` writes, and what it refuses to overwrite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest
import yaml

from prefboost.errors import DataError, RunError, SettingsError
from prefboost.preferences import BestVsWorst
from prefboost.runs.augment.augment import Augment, augment
from prefboost.sources.writers.exports import EXPORTS


def test_the_same_command_again_finds_it_done(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    first = augment(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    again = augment(source, tmp_path / "out")
    assert again.skipped
    assert not first.skipped
    assert again.rejects == first.rejects
    assert contents(tmp_path / "out") == before


def test_an_output_of_other_settings_is_refused_until_told_to_overwrite(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "out")
    other = Augment(pair=BestVsWorst(), test_share=0.2)
    with pytest.raises(RunError, match="made with other settings: pair, test_share"):
        augment(source, tmp_path / "out", other)
    augment(source, tmp_path / "out", other, overwrite=True)
    assert "best_vs_worst" in (tmp_path / "out" / "README.md").read_text()
    assert not list(tmp_path.glob(".out*"))


def test_a_changed_input_is_not_taken_for_the_old_one(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "out")
    scored(source, prompts=41)
    with pytest.raises(RunError, match="another input or version"):
        augment(source, tmp_path / "out")


def test_files_of_someone_else_are_never_touched(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by prefboost augment"):
        augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.txt": b"mine"}


def test_overwriting_removes_only_what_was_written(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "out"
    augment(source, out, Augment(test_share=0.3))
    (out / "notes").mkdir()
    (out / "notes" / "thesis.txt").write_text("mine")
    (out / "link").symlink_to("notes")
    (out / ".gitattributes").write_text("mine too")
    augment(source, out, Augment(format="trl"), overwrite=True)
    left = contents(out)
    assert left["notes/thesis.txt"] == b"mine" and left[".gitattributes"] == b"mine too"
    assert (out / "link").readlink() == Path("notes")
    assert [name for name in left if name.startswith("data/")] == ["data/train-00000-of-00001.parquet"]
    assert augment(source, out, Augment(format="trl")).skipped
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out"]


@pytest.mark.parametrize("strange", ["data/train-00007-of-00009.parquet", "dataset_info.json"])
def test_files_that_would_be_read_as_new_data_are_named(
    strange: str, tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "out"
    augment(source, out)
    (out / strange).write_text("mine")
    before = contents(out)
    with pytest.raises(RunError, match=f"{strange} was not written by prefboost"):
        augment(source, out, Augment(format="llamafactory"), overwrite=True)
    assert contents(out) == before


@pytest.mark.parametrize("name", ["out", "out.jsonl", "out.jsonl.card.md"])
def test_nothing_without_a_manifest_is_overwritten(
    name: str, tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    (tmp_path / "w").mkdir()
    mine = tmp_path / "w" / name
    if name == "out":
        mine.mkdir()
        mine = mine / "thesis.txt"
    mine.write_text("mine")
    out = tmp_path / "w" / name.removesuffix(".card.md")
    with pytest.raises(RunError, match="replaces only what prefboost augment wrote"):
        augment(scored(tmp_path / "in.jsonl"), out, overwrite=True)
    assert contents(tmp_path / "w") == {str(mine.relative_to(tmp_path / "w")): b"mine"}


def test_a_single_file_of_ours_is_replaced_with_what_stands_beside_it(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "w" / "out.jsonl"
    augment(source, out)
    augment(source, out, Augment(format="trl"), overwrite=True)
    assert '"goal_pair_id"' in out.read_text() and '"prompt_chars"' not in out.read_text()
    assert augment(source, out, Augment(format="trl")).skipped


def test_a_link_as_output_keeps_its_place(tmp_path: Path, scored: Callable[..., Any]) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "out").symlink_to("far")
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "far" / "README.md").exists()


def test_the_input_cannot_be_the_output(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    with pytest.raises(RunError, match="the output is the input"):
        augment(source, source, overwrite=True)


def test_a_file_type_that_is_not_written_is_named(tmp_path: Path, scored: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"ends in \.csv"):
        augment(scored(tmp_path / "in.jsonl"), tmp_path / "out.csv")
    with pytest.raises(SettingsError, match="cannot hold a test split"):
        augment(tmp_path / "in.jsonl", tmp_path / "out.jsonl", Augment(test_share=0.1))


def test_without_rejects_a_single_file_has_none_beside_it(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl", prompts=2)
    report = augment(source, tmp_path / "out.jsonl")
    assert report.rejects_path is None
    assert not list(tmp_path.glob("*.rejects.parquet"))


def llamafactory_rows(folder: Path, name: str) -> int:
    """Rows that LLaMA-Factory's loader takes for a name: those of the file, or of all files of the folder."""
    entry = json.loads((folder / "dataset_info.json").read_text())[name]
    place = folder / entry["file_name"]
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    assert all(file.is_file() and file.suffix in (".parquet", ".jsonl") for file in files)
    return sum(len(polars.scan_ndjson(f).collect() if f.suffix == ".jsonl" else polars.read_parquet(f)) for f in files)


@pytest.mark.parametrize("file_type", ["parquet", "jsonl"])
def test_llamafactory_trains_on_the_rows_to_train_on(
    file_type: Any, tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "out"
    how = Augment(format="llamafactory", test_share=0.3, file_type=file_type, batch_rows=10)
    report = augment(source, out, how)
    assert llamafactory_rows(out, "prefboost") == report.splits["train"] > 0
    assert llamafactory_rows(out, "prefboost_test") == report.splits["test"] > 0
    assert "--dataset prefboost --eval_dataset prefboost_test" in (out / "README.md").read_text()
    augment(source, tmp_path / "one", Augment(format="llamafactory", batch_rows=10))
    assert llamafactory_rows(tmp_path / "one", "prefboost") == sum(report.splits.values())


def usage_of(card: Path) -> str:
    return card.read_text().split("## How to use it")[1].split("```")[1].strip()


LOADED = r"load_dataset\((.*?\"train\")\)"


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("name", EXPORTS)
def test_the_command_of_the_card_loads_the_rows_to_train_on(
    name: Any, ending: Any, single: bool, tmp_path: Path, scored: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = scored(tmp_path / "in.jsonl", prompts=12)
    out = f"pairs.{ending}" if single else "pairs"
    how = Augment(format=name) if single else Augment(format=name, test_share=0.3, file_type=ending)
    export = EXPORTS[name]
    if ending not in (export.endings_of_file if single else export.endings):
        with pytest.raises(SettingsError, match=f"{name} (does not load|reads one file)"):
            augment(source, out, how)
        return
    report = augment(source, out, how)
    wanted = sum(report.splits.values()) if single else report.splits["train"]
    usage = usage_of(tmp_path / (f"{out}.card.md" if single else "pairs/README.md"))
    if name == "prefboost":
        rows = eval(usage.split("\n")[0].removeprefix("pairs = "), {"polars": polars})
        assert rows.num_rows == wanted
    elif name == "trl":
        datasets = pytest.importorskip("datasets")
        cache = tmp_path / "cache"
        loaded = re.search(LOADED, usage)
        assert loaded is not None
        arguments = eval(f"dict(path={loaded[1]})")
        assert len(datasets.load_dataset(**arguments, cache_dir=str(cache))) == wanted
    elif name == "tinker":
        assert (tmp_path / re.findall(r'train_path="(.+?)"', usage)[0]).exists()
    elif name == "axolotl":
        (entry,) = yaml.safe_load(usage)["datasets"]
        assert (tmp_path / entry["path"]).exists()
        assert entry.get("ds_type") == (None if not single else "parquet" if ending == "parquet" else "json")
    elif name == "llamafactory" and single:
        info = json.loads(usage[usage.index("{") :])
        assert (tmp_path / info["prefboost"]["file_name"]).exists()
    else:
        path = re.search(r"(?:--data.dataset |--dataset_dir |--dataset |--mixer_list |data_path=)(\S+)", usage)
        assert path is not None and (tmp_path / path[1]).exists()


def test_trimmed_completions_are_said(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": text, "score": score} for text, score in (("good\n", 9), ("bad", 2))]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = augment(tmp_path / "in.jsonl", tmp_path / "out", Augment(format="axolotl"))
    assert report.messages == ("2 rows lost white space at the ends of completions, where axolotl loses the text",)
    assert augment(tmp_path / "in.jsonl", tmp_path / "trl", Augment(format="trl")).messages == ()


def test_data_in_memory_give_the_goal_pairs_of_their_file_and_other_data_are_no_resumption(
    tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    records = [json.loads(line) for line in source.read_text().splitlines()]
    augment(source, tmp_path / "file.jsonl")
    augment(records, tmp_path / "memory.jsonl")
    assert (tmp_path / "memory.jsonl").read_bytes() == (tmp_path / "file.jsonl").read_bytes()
    assert augment(records, tmp_path / "memory.jsonl").skipped
    with pytest.raises(RunError, match="another input or version"):
        augment(records[1:], tmp_path / "memory.jsonl")
