"""The whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import MissingScores, RunError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.recipe import Recipe
from prefboost.recipes.validate import validate
from prefboost.runs.folder.executor import FirstOfMany
from prefboost.runs.folder.manifest import Run
from prefboost.runs.folder.schedule import StageOutcome
from prefboost.runs.pipelines import offline
from prefboost.runs.pipelines.goal_pairs import PAIRS, REJECTS, count_pairs
from prefboost.runs.pipelines.offline import prepare
from prefboost.runs.pipelines.run import run_recipe
from prefboost.tables import GOAL_PAIRS, conform

EXAMPLE = Path(__file__).parents[3] / "examples" / "scored.jsonl"


def recipe(model: Path | str, *overrides: str, data: Path = EXAMPLE) -> Recipe:
    text = f"""
name: tiny
data: {json.dumps(str(data))}
pair: all_pairs
train: {{model: {json.dumps(str(model))}, batch_size: 8, epochs: 1, learning_rate: 1.0e-3,
        precision: fp32, max_length: 900, max_prompt_length: 600}}
"""
    return validate(Recipe, apply_overrides(parse(text), overrides))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import build_folder

    return build_folder(tmp_path_factory.mktemp("tiny"))


def test_the_data_stages_give_conditioned_goal_pairs_with_their_history() -> None:
    table = prepare(recipe("none"))
    assert table.spec is GOAL_PAIRS
    assert [step.verb for step in table.steps] == ["read", "select", "scale", "pair", "relabel", "condition"]
    assert len(table) == 2 * 12 * 3
    assert table.frame["prompt"][0][0]["content"].startswith("You are an assistant that generates responses")
    conform(table.frame, GOAL_PAIRS)


def test_which_completions_were_cut_is_known_from_the_file_to_the_goal_pairs(tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    ends = [("stop", 9.0), ("length", 2.0)]
    rows = [{"prompt": "q", "completion": why, "score": score, "finish_reason": why} for why, score in ends]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = prepare(recipe("none", data=path)).frame
    assert frame.height == 2
    for side in ("chosen", "rejected"):
        said = frame[side].list.first().struct.field("content")
        assert said.equals(frame[f"finish_{side}"])


def test_a_scale_is_fitted_applied_and_kept() -> None:
    table = prepare(recipe("none", "scale={kind: min_max, low: 0, high: 1}"))
    assert table.frame["goal"].min() == 0.0
    assert table.frame["goal"].max() == 1.0
    assert table.scales[""].top == 1.0


def test_aspects_that_goals_are_made_of_are_asked_for_on_their_own_scale(tmp_path: Path, tiny: Path) -> None:
    path = tmp_path / "scored.jsonl"
    rows = [
        {"prompt": f"q{n}", "completion": f"a{n}{k}", "score": 1.0 + k, "score.wit": 1.0 + k, "score.tact": 20.0 - k}
        for n in range(4)
        for k in (0, 4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = "relabel={kind: reward_augmented, aspects: [wit]}"
    table = prepare(recipe("none", wanted, data=path))
    assert (table.scales["wit"].top, table.scales[""].top, set(table.scales)) == (5.0, 5.0, {"", "wit"})
    assert "on a scale of 1-5" in table.frame["prompt"][0][0]["content"]
    report = run_recipe(recipe(str(tiny), wanted, "train.max_steps=1", data=path), tmp_path / "run")
    facts = json.loads((Path(report.model) / "prefboost.json").read_text())
    assert facts["top_aspects"] == {"wit": 5.0} and facts["scales"]["wit"]["values"] == [1.0, 5.0]


def test_prompts_of_a_benchmark_are_left_out_and_counted(tmp_path: Path) -> None:
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"prompt": "What is the capital of Australia?"}) + "\n")
    table = prepare(recipe("none", f"decontaminate=[{bench}]"))
    assert len(table) == 2 * 11 * 3
    assert count_pairs(table).rejected == {"the prompt shares words with a benchmark's": 3}


def test_binary_data_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}) + "\n")
    with pytest.raises(MissingScores, match="score the completions first"):
        prepare(recipe("none", data=path))


@pytest.mark.torch
def test_a_run_folder_holds_pairs_rejects_manifest_and_model(tiny: Path, tmp_path: Path) -> None:
    report = run_recipe(recipe(tiny), tmp_path / "run")
    run = tmp_path / "run"
    assert report.pairs == 72
    assert pl.read_parquet(run / PAIRS).height == 72
    assert (run / REJECTS).exists()
    assert (run / "model" / "config.json").exists()
    notes = Run(run).notes("pairs")
    assert [step["verb"] for step in notes["steps"]] == ["read", "select", "scale", "pair", "relabel", "condition"]
    manifest = json.loads((run / "manifest.json").read_text())
    assert list(manifest["inputs"]) == [str(EXAMPLE)]
    assert manifest["settings"]["train"]["batch_size"] == 8


@pytest.mark.torch
def test_the_same_call_does_no_work_twice_and_another_setting_repeats_what_depends_on_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_recipe(recipe(tiny), tmp_path / "run")

    def again(*_: Any) -> None:
        raise AssertionError("the pairs are there already")

    monkeypatch.setattr(offline, "prepare", again)
    assert run_recipe(recipe(tiny), tmp_path / "run") == first
    outcomes: list[StageOutcome] = []
    other = run_recipe(recipe(tiny, "train.seed=7"), tmp_path / "run", tell=outcomes.append)
    assert [each.why for each in outcomes] == [None, "train.seed was 42, is 7"]
    assert other.steps == first.steps and other.metrics != first.metrics


@pytest.mark.torch
def test_rows_of_a_test_split_are_evaluated_on_and_never_trained_on(tiny: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in EXAMPLE.read_text().splitlines()]
    path = tmp_path / "split.jsonl"
    path.write_text("\n".join(json.dumps({**row, "split": "test" if n < 6 else "train"}) for n, row in enumerate(rows)))
    report = run_recipe(recipe(tiny, data=path), tmp_path / "run")
    assert report.pairs == 60
    assert any(name.startswith("eval_") for name in report.metrics)


def test_other_processes_wait_for_the_pairs_and_prepare_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "prepare", lambda *_: pytest.fail("this falls to process 0"))
    with pytest.raises(RunError, match="stage pairs of process 0"):
        run_recipe(recipe("none"), tmp_path / "run", executor=FirstOfMany(1, wait_s=0.05, poll_s=0.01))
    assert not (tmp_path / "run").exists()


def test_the_range_that_the_makers_declare_is_the_default_scale_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    marks = dict.fromkeys(("correctness", "coherence", "complexity", "verbosity"), 2)
    rows = [{"prompt": f"p{n // 2}", "response": f"a{n}", "helpfulness": n % 2 * 4, **marks} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    made = prepare(recipe("none", f"data={{kind: helpsteer, path: {path}}}"))
    assert (len(made), made.rejects.height, made.scales[""].top) == (8, 0, 4)
    assert "on a scale of 0-4," in made.frame["prompt"][0][0]["content"]
