"""Folders and files are known by what lies in them; a run at work is read as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from prefboost.engines.budget import Budget, Spend
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, RunError
from prefboost.locks import hold_lock
from prefboost.runs.report.sources import (
    ReportSources,
    inspect_file,
    is_at_work,
    list_trainings,
    read_best_cells,
    read_evaluation,
    read_folder,
    read_run,
    read_sources,
    read_spending,
)


def test_a_run_is_read_with_its_log_its_pairs_and_their_inspection(run_folder: Callable[..., Path]) -> None:
    run = read_run(run_folder(), "mine")
    training = run.trainings[""]
    assert [line["step"] for line in training.log] == [1, 2] and training.report["steps"] == 2
    assert training.pairs is not None and training.pairs.height == 12
    assert run.inspection is not None and run.inspection.rows == 12
    assert not run.running


def test_a_run_is_at_work_while_its_lock_is_held(run_folder: Callable[..., Path]) -> None:
    folder = run_folder()
    for name in (".lock", ".training.lock"):
        with hold_lock(folder / name):
            assert is_at_work(folder) and read_run(folder, "mine").running
        assert not is_at_work(folder)


def test_the_spending_of_every_store_is_read_and_an_unreadable_one_is_named(tmp_path: Path) -> None:
    store = tmp_path / "round-1" / "completions.parquet.store"
    assert read_spending(store) == Spend()
    with Store(store) as opened:
        opened.book().add(Spend(3, 200, 10, 0.5), Budget())
    assert read_run(tmp_path, "rounds").spending == {"round-1/completions.parquet": Spend(3, 200, 10, 0.5)}
    (store / "rows.sqlite").write_bytes(b"not a database, but long enough to be taken for the head of one" * 9)
    with pytest.raises(RunError, match=r"completions\.parquet\.store"):
        read_spending(store)


def test_the_trainings_of_rounds_are_in_their_order(tmp_path: Path) -> None:
    for name in ("round-10", "round-2", "start", "store"):
        (tmp_path / name).mkdir()
    for name in ("round-10", "round-2"):
        (tmp_path / name / "train_log.jsonl").write_text("")
    assert [label for label, _ in list_trainings(tmp_path)] == ["round 2", "round 10"]
    (tmp_path / "round-2" / "held_out.parquet").write_bytes(b"")
    pl.DataFrame({"score": [1.0]}).write_parquet(tmp_path / "round-2" / "held_out.parquet")
    assert list(read_run(tmp_path, "rounds").completions) == ["round 2/evaluate"]


def test_an_evaluation_is_read_with_completions_and_the_mean_of_their_verdicts(evaluation_folder: Path) -> None:
    sources = ReportSources()
    record = json.loads((evaluation_folder / "results.json").read_text())
    read_evaluation(evaluation_folder, record, sources)
    (scored,) = sources.evaluations.values()
    assert len(scored.verdicts) == 16
    frames = sources.completions[str(evaluation_folder)]
    assert list(frames) == ["m@1", "m@10"] and frames["m@10"]["goal"].to_list() == [10.0] * 4
    of_first = [verdict.value for verdict in scored.verdicts if (verdict.model, verdict.uid) == ("m@1", "p0")]
    assert frames["m@1"]["score"][0] == pytest.approx(sum(of_first) / len(of_first))


def test_several_benchmarks_in_one_folder_are_all_read(evaluation_folder: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    both.mkdir()
    for name in ("first", "second"):
        (both / name).mkdir()
        (both / name / "results.json").write_text((evaluation_folder / "results.json").read_text())
    sources = ReportSources()
    read_folder(both, sources)
    assert [Path(name).name for name in sources.evaluations] == ["first", "second"]


def test_comparisons_demos_and_diagnoses_are_told_apart(tmp_path: Path, run_folder: Callable[..., Path]) -> None:
    run = run_folder()
    (run / "unlearning.json").write_text(json.dumps({"diagnosis": "unlearning", "models": []}))
    compare, demo = tmp_path / "compare", tmp_path / "demo"
    for folder, record in ((compare, {"claims": [], "figures": []}), (demo, {"policies": {}, "verdict": []})):
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(record))
        (folder / "manifest.json").write_text(json.dumps({"settings": {}}))
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps({"diagnosis": "controllability"}))
    sources = read_sources([run, compare, demo, alone])
    assert list(sources.comparisons) == ["compare"] and list(sources.demos) == ["demo"]
    assert list(sources.diagnoses) == ["unlearning", str(alone)]
    assert [each.name for each in sources.runs] == ["mine", "compare", "demo"]


def test_completions_of_a_reproduction_are_those_of_the_best_cell_with_the_first_seed(tmp_path: Path) -> None:
    manifest = {"settings": {"seeds": [3, 4]}}
    settings = {"beta": 0.1, "learning_rate": 1e-3}
    figures = [{"arm": "ra", "setting": setting, **settings} for setting in ("published", "best")]
    for seed in (3, 4):
        folder = tmp_path / "cells" / f"ra-beta0.1-rate0.001-seed{seed}" / "test"
        folder.mkdir(parents=True)
        pl.DataFrame({"score": [float(seed)]}).write_parquet(folder / "scored.parquet")
    start = {"arm": "start", "setting": "best", "beta": None, "learning_rate": 0.0}
    frames = read_best_cells(tmp_path, {"figures": [*figures, start]}, manifest)
    assert {arm: frame["score"].to_list() for arm, frame in frames.items()} == {"ra": [3.0]}


def test_runs_of_one_name_keep_their_paths(run_folder: Callable[..., Path], tmp_path: Path) -> None:
    first = run_folder()
    second = tmp_path / "other" / "mine"
    second.parent.mkdir()
    second.symlink_to(first)
    assert [run.name for run in read_sources([first, second]).runs] == ["mine", str(second)]


def test_nothing_and_foreign_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere.*nothing to report on"):
        read_sources([tmp_path / "nowhere"])
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(RunError, match="no folder of train, run, evaluate"):
        read_sources([tmp_path])
    (tmp_path / "results.json").write_text("{half")
    with pytest.raises(DataError, match="cannot be read"):
        read_sources([tmp_path])


def test_a_file_is_inspected_once_for_each_version(run_folder: Callable[..., Path]) -> None:
    file = run_folder() / "pairs.parquet"
    assert inspect_file(file, (1, 1)) is inspect_file(file, (1, 1))
    assert inspect_file(file, (1, 1)) is not inspect_file(file, (2, 1))
