"""Verbs over a pool of models on a cluster write what one machine writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from faulty_server import FaultyServer
from hypothesis import given
from hypothesis import strategies as st
from tests.scoring.conftest import judge_folder, pairs_table  # noqa: F401 - a fixture

from prefboost.cli.main import main
from prefboost.engines.engine import Sampling
from prefboost.engines.local.engine import Local
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.vllm import VLLM
from prefboost.errors import SettingsError
from prefboost.recipes.executors import OnRay
from prefboost.runs.evaluate.evaluate import evaluate
from prefboost.runs.evaluate.settings import Evaluate
from prefboost.runs.generate.generate import Generate, generate
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.ray.asking import RayPool, count_gpus, open_pool, plan_copies
from prefboost.runs.score.judge import Judging, judge
from prefboost.runs.score.score import Score, score
from prefboost.runs.synthesize.synthesize import Synthesize, synthesize
from prefboost.scoring import RewardModelScorer
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.edits import Clair

pytestmark = pytest.mark.torch

NODES = st.lists(
    st.fixed_dictionaries({"CPU": st.integers(1, 64).map(float), "GPU": st.integers(0, 8).map(float)}), min_size=1
)
PAIRS = [(f"question {number}", "yes " * (number % 4 + 1), f"no {number}") for number in range(12)]


@given(NODES, st.integers(1, 8), st.integers(1, 3))
def test_copies_on_gpus_fit_on_the_nodes(nodes: list[Mapping[str, float]], gpus: int, models: int) -> None:
    copies = plan_copies(gpus, nodes, None, models)
    room = sum(node["GPU"] // gpus for node in nodes)
    assert copies.gpus == gpus and (copies.count * models <= room or copies.count == 1)
    assert plan_copies(gpus, nodes, 5).count == 5


@given(NODES, st.none() | st.integers(1, 20), st.integers(1, 3))
def test_copies_on_cores_fit_on_every_node(nodes: list[Mapping[str, float]], workers: int | None, models: int) -> None:
    copies = plan_copies(0, nodes, workers, models)
    assert copies.count == (workers or len(nodes)) and copies.cpus >= 1
    on_a_node = -(-copies.count // len(nodes)) * models
    assert copies.cpus * on_a_node <= min(node["CPU"] for node in nodes) or copies.cpus == 1


def test_gpus_of_a_copy_follow_from_its_settings() -> None:
    with_gpus, without = [{"CPU": 8.0, "GPU": 4.0}], [{"CPU": 8.0}]
    assert count_gpus(VLLM(model="m", tensor_parallel=4).tensor_parallel, "auto", without) == 4
    assert count_gpus(None, "auto", with_gpus) == 1 and count_gpus(None, "auto", without) == 0
    assert count_gpus(None, "cuda", without) == 1 and count_gpus(None, "cpu", with_gpus) == 0
    with pytest.raises(SettingsError, match="device cuda:1 names one GPU"):
        count_gpus(None, "cuda:1", with_gpus)


@pytest.mark.slow
def test_models_on_the_nodes_compute_the_bytes_that_this_machine_computes(
    connected: Any,
    tiny_model: Path,
    judge_folder: Callable[..., Path],  # noqa: F811
    tmp_path: Path,
    contents: Callable[[Path], dict[str, bytes]],
) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"Question {number}?\n" for number in range(11)))
    prompts, pairs = read_prompts(str(tmp_path / "prompts.txt")), pairs_table(PAIRS)
    engine = Local(model=str(tiny_model), dtype="float32", batch_rows=4)
    generating = Generate(engine=engine, sampling=Sampling(max_tokens=6), n=2)
    rewarding = Score(scorer=RewardModelScorer(model=str(judge_folder("overall")), batch_tokens=200))

    for place in ("local", "pool"):
        (tmp_path / place).mkdir()
        # Two workers for six batches; one for what differs by its model alone: each imports torch.
        with nullcontext() if place == "local" else open_pool(OnRay(tasks=2), generating):
            generate(prompts, generating, tmp_path / place / "generate.parquet")
        with nullcontext() if place == "local" else open_pool(OnRay(tasks=1), rewarding):
            score(pairs, rewarding.scorer, tmp_path / place / "reward.parquet")
    local, pool = (
        {name: content for name, content in contents(tmp_path / place).items() if ".store/" not in name}
        for place in ("local", "pool")
    )
    assert local == pool and len(local) >= 3


@pytest.mark.slow
def test_on_policy_rounds_complete_on_the_nodes_and_train_here(
    connected: Any,
    on_policy_text: str,
    finished_rounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: Callable[[Path], dict[str, bytes]],
) -> None:
    asked: list[str] = []
    release = RayPool.release
    loads = RayPool.open_engine
    monkeypatch.setattr(
        RayPool, "open_engine", lambda pool, settings: asked.append(settings.model) or loads(pool, settings)
    )
    monkeypatch.setattr(RayPool, "release", lambda pool: asked.append("room") or release(pool))
    (tmp_path / "tiny.yaml").write_text(on_policy_text)
    cluster = ["--executor", "ray", "--tasks", "1", "--quiet"]
    assert main(["run", str(tmp_path / "tiny.yaml"), "--runs-dir", str(tmp_path / "runs"), *cluster]) == 0
    folders = [runs / "tiny" for runs in (finished_rounds, tmp_path / "runs")]
    names = [f"{part}/held_out.parquet" for part in ("start", "round-1", "round-2")]
    names += [f"round-{number}/{name}" for number in (1, 2) for name in ("scored.parquet", "pairs.parquet")]
    for name in names:
        # The name of a policy is its folder, which is the runs'.
        local, pooled = (pl.read_parquet(folder / name).drop("model", strict=False) for folder in folders)
        assert local.equals(pooled), name
    weights = [(folder / "round-2" / "model" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    # The room is free before each training, and each policy completes from the folder that its training wrote.
    trained = [name for name in asked if name == "room" or name.endswith("model")]
    assert trained.count("room") == 2
    assert {Path(name).parent.name for name in asked if name.endswith("/model")} == {"round-1", "round-2"}


def test_every_verb_that_asks_a_server_writes_the_same_through_the_pool(
    connected: Any, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"Question {number}?\n" for number in range(6)))
    (tmp_path / "one.jsonl").write_text(
        "".join(json.dumps({"instruction": f"Question {number}?", "output": "Yes."}) + "\n" for number in range(6))
    )

    def answer(prompt: str, seed: int, place: int) -> str:
        return '{"reason": "it is", "verdict": "1"}' if "verdict" in prompt else f"{prompt[-9:]} {seed} and more words"

    with FaultyServer(answer=answer, likely=lambda prompt: {"m": -0.5, "M": -1.5}) as server:
        engine = OpenAICompatible(model="m", base_url=server.base_url, concurrency=4)
        judging = Judging(judge=LlmJudge(engine=engine))
        making = Synthesize(method=Clair(generator=engine, sampling=Sampling(max_tokens=40)), least_answered=0.0)
        pairwise = {"kind": "pairwise", "prompts": tmp_path / "prompts.txt", "baseline": "one", "min_mass": 0.0}
        evaluating = Evaluate(
            models=[engine], files=[tmp_path / "one.jsonl"], benchmarks=[pairwise], judge=engine,
            answering={"max_tokens": 30},
        )  # fmt: skip

        def work(folder: Path) -> None:
            folder.mkdir()
            judge(pairs_table(PAIRS), judging.judge, folder / "verdicts.parquet")
            synthesize(read_prompts(str(tmp_path / "prompts.txt")), making, folder / "pairs.parquet")
            evaluate(evaluating, folder / "evaluation")

        work(tmp_path / "local")
        asked_by_one, server.calls = server.calls, 0
        with open_pool(OnRay(tasks=2), judging):
            work(tmp_path / "pool")
        assert server.calls == asked_by_one > 20
    local, pool = (
        {name: content for name, content in contents(tmp_path / place).items() if "store/" not in name}
        for place in ("local", "pool")
    )
    assert local.keys() == pool.keys()
    assert [name for name in local if local[name] != pool[name]] == []


@pytest.mark.usefixtures("settled")
def test_a_dry_run_says_how_many_workers_there_would_be_and_what_each_takes(
    connected: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("Is ice cold?\n")
    arguments = ["generate", "openai:m", str(tmp_path / "prompts.txt"), "-o", str(tmp_path / "out.parquet")]
    assert main([*arguments, "concurrency=9", "--executor", "ray", "--dry-run"]) == 0
    assert "on the cluster: m: 2 workers, 0.5 cores each, 4 calls at once each" in capsys.readouterr().out
    assert main([*arguments, "--tasks", "2", "--dry-run"]) == 2
    assert "--tasks is for Ray" in capsys.readouterr().err
