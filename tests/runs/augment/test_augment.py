"""`augment` end to end: what is written, that nothing is lost, and that a kill at any moment changes nothing."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from waiting import PATIENCE_S

from prefboost.diagnosis import inspect
from prefboost.errors import DataError, RunError, SettingsError
from prefboost.preferences import MinMax
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.progress import WorkProgress
from prefboost.runs.augment.augment import Augment, augment, preview
from prefboost.sources import File, HelpSteer, read


def test_a_folder_holds_data_card_manifest_and_rejects(
    tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    report = augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == [
        "README.md",
        "data/train-00000-of-00001.parquet",
        "prefboost.json",
        "rejects.parquet",
    ]
    data = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    assert data.height == report.goal_pairs == 2 * report.pairs == 76
    assert data["goal"].is_between(1, 10).all()
    rejects = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert rejects.height == sum(each.count for each in report.rejects)
    assert not list(tmp_path.glob(".out*"))


def test_every_goal_pair_has_its_twin_with_the_label_flipped(tmp_path: Path, scored: Callable[..., Any]) -> None:
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    data = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    first, second = data.gather_every(2), data.gather_every(2, 1)
    assert first["pair_id"].equals(second["pair_id"])
    assert first["chosen"].equals(second["rejected"], check_names=False)
    assert first["rejected"].equals(second["chosen"], check_names=False)
    said = data["prompt"].list.first().struct.field("content").str.extract(r"Overall score: ([0-9.]*[0-9])\.$")
    assert said.cast(pl.Float64).equals(data["goal"], check_names=False)


def test_the_hub_loader_takes_the_folder(tmp_path: Path, scored: Callable[..., Any]) -> None:
    datasets = pytest.importorskip("datasets")
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out", Augment(format="trl", test_share=0.3, batch_rows=10))
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "test"}
    assert loaded["train"].num_rows + loaded["test"].num_rows == 76
    assert not set(loaded["train"]["prompt_id"]) & set(loaded["test"]["prompt_id"])


def test_parts_do_not_change_what_comes_out(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "whole")
    augment(source, tmp_path / "parts", Augment(batch_rows=7))
    assert len(list((tmp_path / "parts" / "data").iterdir())) > 4
    whole, parts = (pl.read_parquet(tmp_path / name / "data" / "*.parquet") for name in ("whole", "parts"))
    assert whole.sort("goal_pair_id").equals(parts.sort("goal_pair_id"))
    rejects = [pl.read_parquet(tmp_path / name / "rejects.parquet").sort("row", "id") for name in ("whole", "parts")]
    assert rejects[0].equals(rejects[1])


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_a_single_file_has_its_card_manifest_and_rejects_beside_it(
    ending: str, tmp_path: Path, scored: Callable[..., Any]
) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "new" / f"out.{ending}"
    out.parent.mkdir()
    report = augment(source, out, Augment(batch_rows=7))
    names = {f"{out.name}{tail}" for tail in ("", ".card.md", ".prefboost.json", ".rejects.parquet")}
    assert {path.name for path in out.parent.iterdir()} == names
    assert report.goal_pairs == 76
    if ending == "parquet":
        augment(source, tmp_path / "folder", Augment(batch_rows=7))
        assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "folder" / "data" / "*.parquet"))


def test_a_fitted_scale_is_stored_and_its_ends_are_said(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    report = augment(source, tmp_path / "out", Augment(scale=MinMax(low=0, high=5), batch_rows=9))
    manifest = json.loads((tmp_path / "out" / "prefboost.json").read_text())
    assert manifest["scales"][""]["knots"] == [1.0, 99.0]
    assert manifest["scales"][""]["values"] == [0.0, 5.0]
    assert "fitted as min_max" in report.scale
    prompt = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")["prompt"][0][0]["content"]
    assert "on a scale of 0-5" in prompt


def test_a_source_with_settings_of_its_own_is_taken(tmp_path: Path, scored: Callable[..., Any]) -> None:
    source = scored(tmp_path / "in.jsonl")
    assert augment(File(path=str(source)), tmp_path / "out").pairs == 38


def test_progress_counts_up_to_all_records(tmp_path: Path, scored: Callable[..., Any]) -> None:
    seen: list[WorkProgress] = []
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out", Augment(batch_rows=10), progress=seen.append)
    records = [each.done for each in seen]
    assert len(records) > 4
    assert records == sorted(records)
    assert records[-1] == 40
    assert seen[-1].note == "76 goal pairs" and seen[-1].total == 40


def test_a_preview_writes_nothing(tmp_path: Path, scored: Callable[..., Any]) -> None:
    seen = preview(scored(tmp_path / "in.jsonl"), rows=3)
    assert len(seen.rows) == 3
    assert seen.report.guess["score"] == "overall_score"
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_full_disk_leaves_the_finished_parts_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "right" / "out", Augment(batch_rows=7))
    whole, written = pl.DataFrame.write_parquet, []

    def until_full(frame: pl.DataFrame, path: Path, **options: Any) -> None:
        if len(written) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        whole(frame, path, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", until_full)
    with pytest.raises(RunError, match=r"the disk is full(.|\n)*same command again(.|\n)*\.out\.partial"):
        augment(source, tmp_path / "out", Augment(batch_rows=7))
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    report = augment(source, tmp_path / "out", Augment(batch_rows=7))
    assert report.parts_found > 0
    assert contents(tmp_path / "out") == contents(tmp_path / "right" / "out")


DRIVER = """
import sys
import polars as pl
import dying
from prefboost.runs.augment import augment as module
from prefboost.runs.augment.augment import Augment, augment

write, parts, (part, call) = module._write_part, [], map(int, sys.argv[3:])
def write_or_die(*arguments):
    parts.append(arguments)
    if len(parts) == part:
        dying.die_at_call(call)
    write(*arguments)
    if len(parts) == part:
        dying.die()
module._write_part = write_or_die
report = augment(sys.argv[1], sys.argv[2], Augment(batch_rows=3, test_share=0.3))
print(report.parts_found)
"""


@pytest.mark.parametrize("name", ["out", "out.parquet", "out.jsonl"])
def test_killed_at_random_moments_the_same_command_ends_with_the_same_bytes(
    name: str, tmp_path: Path, scored: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    source = scored(tmp_path / "in.jsonl")
    driver = DRIVER if name == "out" else DRIVER.replace(", test_share=0.3", "")
    environment, draw = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, random.Random(name)

    def call(out: Path, part: int = 0, number: int = 0) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", driver, source, out, str(part), str(number)]
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    for folder in ("right", "killed"):
        (tmp_path / folder).mkdir()
    assert call(tmp_path / "right" / name).returncode == 0
    out = tmp_path / "killed" / name
    for _ in range(3):
        killed = call(out, draw.randrange(2, 4), draw.randrange(1, 40))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    last = call(out)
    assert last.returncode == 0 and int(last.stdout) > 0, last.stderr
    killed, right = contents(tmp_path / "killed"), contents(tmp_path / "right")
    assert killed.keys() == right.keys()
    for path, data in right.items():
        assert killed[path] == data, path


def test_threads_of_polars_change_no_byte(tmp_path: Path, contents: Callable[..., Any]) -> None:
    """The tests run on one thread, users on all cores."""
    rows = [
        {"prompt": f"q{n % 700}", "completion": "word " * (n % 13) + str(n), "score": float(n % 9)} for n in range(3000)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = """
import sys
from pathlib import Path
import polars as pl
from prefboost.cli.main import main
assert pl.thread_pool_size() == int(sys.argv[2])
out = Path(sys.argv[1]) / sys.argv[2]
source = str(out.parent / "in.jsonl")
assert main(["augment", source, "scale=quantile", "-o", str(out / "goals"), "--quiet"]) == 0
assert main(["select", source, "kind=best_of_n", "-o", str(out / "best.jsonl")]) == 0
"""
    for threads in ("1", "4"):
        (tmp_path / threads).mkdir()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "POLARS_MAX_THREADS": threads}
        line = [sys.executable, "-c", code, str(tmp_path), threads]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
    assert len(contents(tmp_path / "1")) > 4
    assert contents(tmp_path / "1") == contents(tmp_path / "4")


def test_the_range_that_the_makers_declare_is_the_default_scale(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    marks = dict.fromkeys(("correctness", "coherence", "complexity", "verbosity"), 2)
    rows = [{"prompt": f"p{n // 2}", "response": f"a{n}", "helpfulness": n % 2 * 4, **marks} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    report = augment(HelpSteer(path=str(path)), tmp_path / "out")
    assert (report.pairs, report.goal_pairs, report.rejects) == (4, 8, ())
    frame = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    assert sorted(frame["goal"].unique()) == [0, 4]
    assert frame["prompt"].list.first().struct.field("content").str.contains("on a scale of 0-4,").all()
    shown = preview(HelpSteer(path=str(path)))
    assert shown.report.scale == report.scale and len(shown.rows) == 3


@pytest.mark.parametrize("batch_rows", [None, 4])
def test_a_scale_is_fitted_to_the_scores_that_are_kept(tmp_path: Path, batch_rows: int | None) -> None:
    path = tmp_path / "d.parquet"
    rows = [{"prompt": f"p{n % 3}", "completion": f"a{n}", "score": float(n), "unused": "x" * 99} for n in range(12)]
    rows[11]["completion"] = " "
    pl.DataFrame(rows).write_parquet(path, row_group_size=5)
    augment(path, tmp_path / "out", Augment(scale=MinMax(), batch_rows=batch_rows))
    manifest = json.loads((tmp_path / "out" / "prefboost.json").read_text())
    assert manifest["scales"][""]["knots"] == [0.0, 10.0]


def test_an_aspect_is_fitted_by_itself_over_all_batches(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"q{n}", "completion": f"a{n}{k}", "score": 2.0 + k, "score.wit": 10.0 * (n + k)}
        for n in range(6)
        for k in range(3)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Augment.model_validate(
        {"scale": "min_max", "relabel": {"kind": "reward_augmented", "aspects": ["wit"]}, "batch_rows": 4}
    )
    augment(tmp_path / "in.jsonl", tmp_path / "out", settings)
    told = json.loads((tmp_path / "out" / "prefboost.json").read_text())
    assert {name: scale["knots"] for name, scale in told["scales"].items()} == {"": [2.0, 4.0], "wit": [0.0, 70.0]}
    goals = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")["goal.wit"]
    assert goals.is_between(1, 10).all() and goals.n_unique() > 3


def test_the_best_of_each_prompt_are_kept_before_they_are_paired(tmp_path: Path, scored: Callable[..., Any]) -> None:
    settings = Augment.model_validate({"keep": {"kind": "best_of_n", "count": 2}, "pair": "all_pairs"})
    report = augment(scored(tmp_path / "in.jsonl"), tmp_path / "out.parquet", settings)
    everything = augment(tmp_path / "in.jsonl", tmp_path / "all.parquet", Augment.model_validate({"pair": "all_pairs"}))
    assert 3 * report.pairs == everything.pairs == 114
    aside = {each.reason: each.count for each in report.rejects}
    assert aside["the completion was not selected by its score"] == 39


@pytest.mark.parametrize("place", ["system", "user"])
def test_no_prompt_of_the_output_asks_for_both_sides_and_inspect_agrees(tmp_path: Path, place: str) -> None:
    rows = [
        {"prompt": f"q{n}", "chosen": "a", "rejected": "b", "score_chosen": 0.5 + 3 * n / 10_000, "score_rejected": 0.5}
        for n in range(1, 40)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Augment.model_validate({"condition": {"place": place}, "format": "trl"})
    report = augment(File(path=str(tmp_path / "in.jsonl"), score_range=(0, 1)), tmp_path / "out", settings)
    frame = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    sides = frame.group_by("pair_id", pl.col("prompt").hash(0)).agg(pl.col("flipped").n_unique())
    assert sides["flipped"].to_list() == [1] * frame.height
    alike = [each.count for each in report.rejects if "have the same text" in each.reason]
    assert alike == [1]  # three decimals on this scale: 0.5003 reads 0.5 as well
    assert report.pairs - 1 == frame.height / 2
    found = {finding.name for finding in inspect(tmp_path / "out").findings}
    assert not found & {"goal_unsaid", "goals_said_alike", "broken_fact"}


def test_a_file_of_goals_that_print_alike_is_named_by_inspect_without_the_advice_to_augment(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 7.004, "score_rejected": 7.001})
    )
    augment(tmp_path / "in.jsonl", tmp_path / "exact.parquet", Augment.model_validate({"condition": {"decimals": 3}}))
    exact = pl.read_parquet(tmp_path / "exact.parquet")
    content = pl.element().struct.field("content").str.replace(r"7\.00\d", "7")
    rounded = exact.with_columns(
        pl.col("prompt").list.eval(
            pl.struct(pl.element().struct.field("role"), content, pl.element().struct.field("extra"))
        )
    )
    rounded.write_parquet(tmp_path / "rounded.parquet")
    findings = {finding.name: finding for finding in inspect(tmp_path / "rounded.parquet").findings}
    assert findings["goals_said_alike"].count == 2
    assert "goal_unsaid" not in findings and "augment" not in findings["goals_said_alike"].remedy


def flat_file(path: Path, scores: list[float], **more: float) -> Path:
    """Two completions a prompt; ``more`` are further columns, added to each score."""
    rows = [
        {"prompt": f"q{n // 2}", "completion": f"a{n}", "score": score, **{k: score + v for k, v in more.items()}}
        for n, score in enumerate(scores)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("scores", "scale", "said"),
    [
        ([1, 5, 2, 4, 3, 5], "1 (lowest) to 5 (highest), as the source has them", "1-5"),
        ([0, 10, 3, 7, 9, 1], "0 (lowest) to 10 (highest), as the source has them", "0-10"),
        ([-8.3, 4.2, 0.1, 2.7, -1.5, 0.3], "fitted as min_max to source scores -8.3 to 4.2", "1-10"),
        ([0.12, 0.98, 0.5, 0.51, 0.33, 0.77], "fitted as min_max to source scores 0.12 to 0.98", "1-10"),
        ([-9.5, -2.25, -3.0, -4.75, -5.5, -2.5], "fitted as min_max to source scores -9.5 to -2.25", "1-10"),
        ([1, 10, 8.5, 7, 3, 9], "1 (lowest) to 10 (highest), as the source has them", "1-10"),
    ],
)
def test_scores_without_a_declared_range_are_told_on_the_scale_that_they_show_and_the_report_says_so(
    tmp_path: Path, scores: list[float], scale: str, said: str
) -> None:
    report = augment(flat_file(tmp_path / "in.jsonl", scores), tmp_path / "out")
    assert (report.pairs, report.goal_pairs, report.rejects) == (3, 6, ())
    assert scale in report.scale and "no range is declared" in report.scale and "data.score_range" in report.scale
    frame = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    assert frame["prompt"].list.first().struct.field("content").str.contains(f"on a scale of {said},").all()
    low, high = (float(end) for end in said.split("-"))
    assert frame["goal"].is_between(low, high).all()
    named = [
        finding.sentence for finding in inspect(tmp_path / "in.jsonl").findings if finding.name == "undeclared_range"
    ]
    assert len(named) == (scores != [1, 10, 8.5, 7, 3, 9])


def test_a_declared_range_that_no_score_has_names_the_one_that_they_have(tmp_path: Path) -> None:
    source = flat_file(tmp_path / "in.jsonl", [-8.25, 4.5, 0.0, -2.5])
    for settings, data in (
        (Augment(), File(path=str(source), score_range=(10, 20))),
        (Augment.model_validate({"scale": {"kind": "declared", "low": 10, "high": 20}}), File(path=str(source))),
    ):
        for work in (
            lambda s=settings, d=data: augment(d, tmp_path / "out", s),
            lambda s=settings, d=data: preview(d, s),
        ):
            with pytest.raises(DataError, match=r"data\.score_range=\[-8\.25,4\.5\](.|\n)*scale=min_max"):
                work()


def test_aspect_names_that_promise_0_to_4_are_not_believed_against_the_scores(tmp_path: Path) -> None:
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    for name, marks, top in (("own", [1, 5, 2, 5, 3, 4], 5), ("known", [0, 4, 1, 3, 2, 4], 4)):
        rows = [
            {"prompt": f"q{n // 2}", "response": f"a{n}", **dict.fromkeys(names, mark)} for n, mark in enumerate(marks)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = Augment.model_validate({"columns": {"score": "helpfulness"}})
        report = augment(path, tmp_path / name, settings)
        assert (report.pairs, report.rejects) == (3, ())
        assert f"to {top} (highest)" in report.scale
        assert find_declared_range(read(path, columns=settings.columns)) == (None if name == "own" else (0, 4))


def test_a_grid_outside_the_scale_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = flat_file(tmp_path / "in.jsonl", [1, 5, 2, 4])
    settings = Augment.model_validate({"relabel": {"kind": "reward_augmented", "goals": "grid", "grid": [1, 7]}})
    with pytest.raises(SettingsError, match=r"relabel\.grid asks for 7, but the scale of these scores goes from 1 to"):
        augment(source, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_scores_that_no_scale_maps_are_told_between_their_own_ends_in_every_part(tmp_path: Path) -> None:
    source = flat_file(tmp_path / "in.jsonl", [0.5, 2.25, 2.0, -3.0, 1.0, 1.5])
    report = augment(source, tmp_path / "out", Augment(scale=None, batch_rows=2))
    frame = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    assert frame["prompt"].list.first().struct.field("content").str.contains("on a scale of -3-2.25,").all()
    assert report.pairs == 3 and sorted(frame["goal"].unique()) == [-3.0, 0.5, 1.0, 1.5, 2.0, 2.25]
