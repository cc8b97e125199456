"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Set before any test imports torch, polars or a hub client: one thread a process, nothing from the network. Handing the
# small frames of tests to a second thread costs a quarter of their time.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "POLARS_MAX_THREADS": "1"}
for name, value in {**_ONE_THREAD, "HF_HUB_OFFLINE": "1"}.items():
    os.environ.setdefault(name, value)

# Bytecode is kept whatever the caller's environment says: without it every run rewrites 8,000 assertions in every
# worker, and every process that a test starts compiles the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine must not fail a test for being slow: neither its examples nor how long it takes to draw them. The same
# examples in every run: what fails was changed. `--hypothesis-profile=thorough` looks for others, many more.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50, derandomize=True
)
settings.register_profile("thorough", settings.get_profile("house"), max_examples=1000, derandomize=False)
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage while tests are collected: all modules of all libraries are loaded then, and stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures of the session run before `_own_cache`; what an earlier session computed must not reach them either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBOOST_CACHE", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the home of whoever runs it, nor finds what another test has left."""
    monkeypatch.setenv("PREFBOOST_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{uuid.uuid4().hex}"))


@pytest.fixture(autouse=True)
def _closed_records() -> Iterator[None]:
    """No test leaves a store or a run open: its number type would count in every later test of this process."""
    yield
    numbers = sys.modules.get("prefboost.devices.numbers")
    left = [] if numbers is None else [str(path) for path, _ in numbers._RECORDS]
    if left:
        numbers._RECORDS.clear()
        pytest.fail(f"left open: {', '.join(left)}")


@pytest.fixture(scope="session", autouse=True)
def _quick_disk() -> Iterator[None]:
    """Wait for no disk. What a killed process has written is there without that; a power cut alone would take it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> None:
    """Spare the garbage collector what lives as long as the session: thousands of tests, and all libraries' modules.

    Trainings collect garbage when they end, and so does whoever lets a model go. To look at all of that took half a
    second each time: half of a tiny training. What is garbage is collected first, so that none is frozen.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Larger data beside the checkout, where a machine has them; tests that want them are skipped elsewhere."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the larger data sets are not on this machine (no ../shared/data)")
    return folder


@pytest.fixture(scope="session")
def oracles_dir() -> Path:
    """Published figures beside the checkout, where a machine has them."""
    folder = Path(__file__).parents[1].parent / "shared" / "oracles"
    if not folder.is_dir():
        pytest.skip("the published figures are not on this machine (no ../shared/oracles)")
    return folder


@pytest.fixture(scope="session")
def goal_row() -> Callable[..., dict[str, Any]]:
    """One row of GoalPairs made by hand; keyword arguments replace columns."""

    def messages(*turns: tuple[str, str]) -> list[dict[str, Any]]:
        return [{"role": role, "content": content, "extra": None} for role, content in turns]

    def made(number: int, view: str = "chosen", **changed: Any) -> dict[str, Any]:
        best, worst = [messages(("assistant", f"{word} {number}")) for word in ("good", "bad")]
        chosen, rejected, goal, other = (best, worst, 7.0, 3.0) if view == "chosen" else (worst, best, 3.0, 7.0)
        question = messages(("system", f"Overall score: {goal:g}."), ("user", f"Question {number} 'äß' \"😀\"?\n"))
        ids = {"goal_pair_id": f"p{number}/{view}", "row": number, "pair_id": f"p{number}", "prompt_id": f"q{number}"}
        sides = {"prompt": question, "chosen": chosen, "rejected": rejected}
        scores = {"score_chosen": goal, "score_rejected": other, "goal": goal}
        distances = {"distance_chosen": 0.0, "distance_rejected": 4.0}
        return {**ids, **sides, **scores, "view": view, "flipped": view == "rejected", **distances, **changed}

    return made


@pytest.fixture(scope="session")
def goal_table(goal_row: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """A GoalPairs table of the given rows, or of both views of so many pairs."""

    def made(rows: int | list[dict[str, Any]]) -> Any:
        import polars as pl

        from prefboost.tables import GOAL_PAIRS, MESSAGES, Table, conform

        if isinstance(rows, int):
            rows = [goal_row(number, view) for number in range(rows) for view in ("chosen", "rejected")]
        frame = pl.DataFrame(rows, schema_overrides=dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES))
        return Table(GOAL_PAIRS, conform(frame, GOAL_PAIRS), path="hand.parquet")

    return made


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama that reads bytes, with room for a demo prompt and a goal."""
    from tests.training.conftest import build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("tiny-model")
    build_model(max_position_embeddings=2048).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def on_policy_text(tiny_model: Path) -> str:
    """A recipe of two on-policy rounds, over in seconds."""
    return f"""
kind: on_policy
name: tiny
prompts: {{kind: "prefboost.runs.demo.prompts:DemoPrompts", train: 8, held_out: 3}}
rounds: 2
generate: {{n: 4, sampling: {{max_tokens: 12}}, goal: mixture, engine: {{kind: local, dtype: float32, batch_rows: 8}}}}
scorer: rules
train: {{model: {json.dumps(str(tiny_model))}, precision: fp32, batch_size: 2, learning_rate: 1.0e-3, save_every: 1,
         max_length: 1200, max_prompt_length: 1000}}
evaluate: {{n: 2, sampling: {{max_tokens: 12}}}}
"""


@pytest.fixture(scope="session")
def finished_rounds(on_policy_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of those two rounds, finished without a disturbance. Copy it before changing it."""
    from prefboost.recipes.documents import parse
    from prefboost.recipes.load import of_kind
    from prefboost.runs.pipelines.run import run

    runs = tmp_path_factory.mktemp("undisturbed")
    run(of_kind(parse(on_policy_text)), runs)
    return runs
