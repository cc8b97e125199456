"""The public names: pinned, lazy, and all there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prefboost as pb

EXAMPLE = Path(__file__).parents[1] / "examples" / "scored.jsonl"


@pytest.mark.parametrize("name", pb.__all__)
def test_every_public_name_loads_and_is_documented(name: str) -> None:
    assert getattr(pb, name).__doc__


def test_the_list_of_public_names_is_that_of_the_imports_for_type_checkers() -> None:
    assert {*pb.__all__, "__version__"} == set(dir(pb))
    assert "train" in pb.__all__ and "train_on" not in pb.__all__
    imports = [
        node
        for node in ast.walk(ast.parse(Path(pb.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("prefboost.")
    ]
    exported = {alias.asname for node in imports for alias in node.names if alias.asname}
    assert set(pb.__all__) == exported | {"compare", "train", "train_reward"}


def test_all_losses_engines_benchmarks_and_sources_are_public() -> None:
    from prefboost.engines.kinds import ENGINES
    from prefboost.evaluation.kinds import BENCHMARKS
    from prefboost.losses import LOSSES
    from prefboost.sources import SOURCES

    for kinds in (LOSSES, ENGINES, BENCHMARKS, SOURCES):
        assert {kind.__name__ for kind in kinds.values()} <= set(pb.__all__)
    assert {"read", "inspect", "write", "to_dataset", "to_polars", "evaluate", "compare", "InMemory"} <= set(pb.__all__)


def test_an_unknown_name_is_an_attribute_error_that_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match="RewardAugmented"):
        _ = pb.Reward  # type: ignore[attr-defined]


def test_naming_every_public_name_loads_no_torch() -> None:
    code = f"import sys, prefboost\nfor name in {pb.__all__!r}: getattr(prefboost, name)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("library", ["polars", "numpy"])
def test_a_library_that_was_taken_away_is_named_with_the_remedy(library: str) -> None:
    code = f"""import sys
sys.modules[{library!r}] = None
import prefboost
from prefboost.errors import MissingExtra
try:
    prefboost.select
except MissingExtra as error:
    print(error)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout == f"{library} is not installed\n  -> pip install prefboost\n", done.stderr


def test_the_lines_of_the_readme_give_goal_pairs() -> None:
    scored = pb.read(pb.File(path=str(EXAMPLE)))
    pairs = pb.pair(scored, pb.BestVsRandom(seed=0))
    goals = pb.relabel(pairs, pb.RewardAugmented(ties="drop"))
    data = pb.condition(goals, pb.SayGoal(place="system"))
    assert len(data) == 24
    assert all("Overall score: " in prompt[0]["content"] for prompt in data.frame["prompt"].to_list())
