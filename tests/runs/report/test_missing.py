"""Missing parts are named with a command that works on what the folders still hold."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from prefboost.cli.evaluate_arguments import read_evaluate
from prefboost.cli.generate import read_generate
from prefboost.cli.overrides import read_overrides
from prefboost.cli.reproduce import read_reproduction
from prefboost.cli.score import read_score
from prefboost.diagnosis.unlearning import DiagnoseUnlearning
from prefboost.locks import hold_lock
from prefboost.runs.diagnose.frontier import DiagnoseFrontier
from prefboost.runs.report.diagnoses import list_undiagnosed
from prefboost.runs.report.missing import Leftovers, list_missing
from prefboost.runs.reproduce.cells import Cell

TRAIN = {"settings": {"train": {"model": "start"}}}
CELL = Cell("ra", 0.1, 2e-5, 3)


@pytest.fixture
def reproduction(run_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A reproduction of one arm with two settings, whose weights went after they were measured."""
    out = tmp_path / "compare"
    out.mkdir()
    command = ["/bin/prefboost", "reproduce", "reward_augmented", "data=rows with goals.jsonl", "-o", "compare"]
    manifest = {"name": "reproduce", "settings": {"seeds": [3]}, "command": command}
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "cells").mkdir()
    for cell in (CELL, Cell("ra", 0.2, 2e-5, 3)):
        run_folder(f"compare/cells/{cell.name}", **TRAIN)
        (out / "cells" / f"{cell.name}.json").write_text("{}")
    best = {"arm": "ra", "setting": "best", "beta": 0.1, "learning_rate": 2e-5}
    (out / "results.json").write_text(json.dumps({"claims": [], "figures": [best]}))
    return out


def parse(command: str) -> None:
    """Read every command of a suggestion as the command line does; raises where it is not understood."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="&")
    lexer.whitespace_split = True
    words = " ".join(shlex.quote(word) if word != "&&" else word for word in lexer)
    for part in words.split(" && "):
        program, verb, *arguments = shlex.split(part.replace("LOW,HIGH", "1,10"))
        assert program == "prefboost"
        overrides = [word for word in arguments if "=" in word]
        if verb == "reproduce":
            assert arguments.pop(0) == "reward_augmented" and arguments[-2] == "-o"
            read_reproduction(overrides)
        elif verb == "generate":
            read_generate(arguments[0], overrides)
        elif verb == "score":
            read_score(overrides)
        elif verb == "evaluate":
            assert read_evaluate(arguments, None, {}).judge is not None
        elif verb == "diagnose" and arguments[0] == "frontier":
            assert read_overrides(DiagnoseFrontier, overrides).scorer is not None, "prompts alone have no scores"
        elif verb == "diagnose" and arguments[0] == "unlearning":
            read_overrides(DiagnoseUnlearning, overrides, base={"models": [arguments[2]]})
        else:
            assert verb in ("train", "report", "diagnose")


@pytest.mark.parametrize("kind", ["nothing", "run", "trained", "evaluation", "reproduction"])
def test_every_suggested_command_is_understood(
    kind: str, run_folder: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    if kind == "reproduction":
        paths = [request.getfixturevalue("reproduction")]
    elif kind == "evaluation":
        paths = [request.getfixturevalue("evaluation_folder")]
    else:
        paths = [run_folder(**TRAIN)] if kind in ("run", "trained") else []
    if kind == "trained":
        (paths[0] / "model").mkdir()
    commands = list_missing(paths, set())
    for command in commands.values():
        parse(command)
    assert ("POLICY" in commands["Score against KL"]) == (kind not in ("trained", "reproduction"))


def test_only_parts_that_are_not_on_the_page_are_missing() -> None:
    titles = {"Score against KL of mine", "Training curves", "Data card", "Samples"}
    assert list(list_missing([], titles, evaluated=True)) == [
        "Goal response", "Unlearning by score", "Before and after relabelling", "Cost and time"]  # fmt: skip
    assert "Win rates" in list_missing([], titles)


def test_a_run_is_diagnosed_where_its_policy_is_there_and_not_twice(run_folder: Callable[..., Path]) -> None:
    run = run_folder(**TRAIN)
    diagnose = f"prefboost report {run} --diagnose"
    assert list_missing([run], set())["Unlearning by score"] == f"prefboost train x.yaml && {diagnose}"
    with hold_lock(run / ".lock"):
        assert list_missing([run], set())["Unlearning by score"] == f"{diagnose}  # once the run has ended"
    (run / "model").mkdir()
    assert list_missing([run], set())["Unlearning by score"] == diagnose
    (run / "unlearning.json").write_text('{"diagnosis": "unlearning"}')
    assert not list(list_undiagnosed([run]))
    assert list_missing([run], set())["Unlearning by score"].startswith("prefboost diagnose unlearning SCORED")


def test_a_reproduction_without_weights_is_repeated_with_them_kept(reproduction: Path) -> None:
    command = list_missing([reproduction], set())["Unlearning by score"]
    assert not list(list_undiagnosed([reproduction, *(reproduction / "cells").glob("*/")]))
    again, diagnose = command.split(" && ")
    assert again == (
        "prefboost reproduce reward_augmented 'data=rows with goals.jsonl' -o compare keep_models=true "
        f"-o {reproduction}-kept"
    )
    assert diagnose == f"prefboost report {reproduction}-kept/cells/{CELL.name} --diagnose"
    cell = reproduction / "cells" / CELL.name
    of_cell = list_missing([cell], set())["Unlearning by score"]
    assert of_cell == command, "the command in its manifest would train nothing again"
    (cell / "model").mkdir()
    kept = list_missing([reproduction], set())
    assert kept["Unlearning by score"] == f"prefboost report {cell} --diagnose"
    assert list(list_undiagnosed([cell]))


def test_parts_of_trainings_are_those_of_a_reproductions_cells(reproduction: Path) -> None:
    missing = list_missing([reproduction], set())
    assert missing["Training curves"] == f"prefboost report {reproduction / 'cells' / CELL.name}"
    assert Leftovers.find([reproduction]).cells == (reproduction / "cells" / CELL.name,)
    (reproduction / "results.json").unlink()
    assert len(Leftovers.find([reproduction]).cells) == 1, "before the best are known, one stands for all"


def test_only_a_policy_that_was_trained_with_goals_is_asked_for_them(run_folder: Callable[..., Path]) -> None:
    run = run_folder(**TRAIN)
    (run / "model").mkdir()
    assert f"generate {run / 'model'} PROMPTS" in list_missing([run], set())["Goal response"]
    pl.read_parquet(run / "pairs.parquet").with_columns(goal=pl.lit(None, pl.Float64)).write_parquet(
        run / "pairs.parquet"
    )
    assert "generate POLICY PROMPTS" in list_missing([run], set())["Goal response"]
    assert f"models=[{run / 'model'}]" in list_missing([run], set())["Score against KL"]
