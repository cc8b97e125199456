"""Calls to a server by workers on several nodes: each row once, one budget, one store, whatever dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from faulty_server import FaultyServer
from tests.scoring.conftest import pairs_table
from waiting import wait_until

from prefboost.engines.budget import Budget
from prefboost.engines.engine import Failure, Sampling
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.store import Store
from prefboost.errors import ModelError, RunError
from prefboost.progress import WorkProgress
from prefboost.recipes.executors import OnRay
from prefboost.runs.generate.generate import Generate, generate
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.outputs import locate_store
from prefboost.runs.ray.asking import open_pool
from prefboost.runs.score.judge import Judging, judge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.tables import Table

ROOT = Path(__file__).parents[3]
FAULTS = {"429": 0.1, "500": 0.08, "cut": 0.04, "malformed": 0.04, "too_few": 0.02, "error_in_reply": 0.02}
"""Three calls in ten are broken."""


def build_engine(server: FaultyServer) -> OpenAICompatible:
    return OpenAICompatible(
        model="m", base_url=server.base_url, concurrency=24, backoff_s=0.01, attempts=8, timeout_s=1800.0
    )


def build_settings(server: FaultyServer, **changes: Any) -> Generate:
    return Generate(engine=build_engine(server), sampling=Sampling(max_tokens=40), **changes)


def write_prompts(folder: Path, count: int) -> Table:
    (folder / "prompts.txt").write_text("".join(f"question {number}\n" for number in range(count)))
    return read_prompts(str(folder / "prompts.txt"))


@contextmanager
def pool_of(settings: Generate, workers: int) -> Iterator[None]:
    with open_pool(OnRay(tasks=workers), settings):
        yield


def list_answers(out: Path) -> dict[str, str]:
    """Prompt -> completion, as they are written; each prompt once."""
    rows = pl.read_parquet(out).select("prompt", "completion").rows()
    answers = {prompt[-1]["content"]: completion[-1]["content"] for prompt, completion in rows}
    assert len(answers) == len(rows)
    return answers


def list_stored(out: Path) -> set[str]:
    """Prompts whose answers a store holds; a failure is none."""
    with Store(locate_store(out), read_only=True) as store:
        rows = [row for row in store.rows("generate") if not isinstance(row.stored, Failure)]
    return {row.asked["body"]["messages"][-1]["content"] for row in rows}


def judge_by_words(prompt: str, seed: int, place: int) -> str:
    """The completion with the word "good" wins, wherever it is shown."""
    first = prompt.index("a good") < prompt.index("a bad")
    return json.dumps({"reason": f"seed {seed}", "verdict": "1" if first else "2"})


@pytest.mark.slow
def test_a_node_that_dies_costs_a_judge_none_of_two_thousand_questions_and_every_verdict_is_right(
    connected: Any, spare_node: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = pairs_table([(f"question {at}", f"a good {at}", f"a bad {at}") for at in range(1000)])
    out = tmp_path / "verdicts.parquet"
    with FaultyServer(rates=FAULTS, attempts=8, answer=judge_by_words) as server:
        judging = Judging(judge=LlmJudge(engine=build_engine(server)))
        with open_pool(OnRay(tasks=3), judging) as pool:

            def has_workers() -> bool:
                return all(seat.actor is not None for crew in pool._crews.values() for seat in crew.seats)

            def tell(progress: WorkProgress) -> None:
                if progress.done >= 600 and spare_node in connected.worker_nodes:
                    # On a busy machine its worker starts late, and a node without one costs nothing.
                    wait_until(has_workers, "every node has its worker")
                    connected.remove_node(spare_node, allow_graceful=False)

            verdicts, _ = judge(pairs, judging.judge, out, spending=judging, progress=tell)
        assert "a worker died" in caplog.text, "a node died in mid-run, with its worker"
        assert sum(server.faults.values()) > 0.2 * server.calls
        answered = server.answered
    frame = pl.read_parquet(out)
    assert frame["verdict_id"].n_unique() == len(frame) == 2 * frame["pair_id"].n_unique()
    # Each pair has both verdicts, or is recorded with its fault.
    failed = verdicts.rejects["id"].to_list()
    assert {*frame["pair_id"], *failed} == {*pairs.frame["pair_id"]} and len(failed) < 100
    assert frame["pair_id"].n_unique() + len(failed) == 1000
    assert ((frame["verdict"] == "first") == (frame["shown_first"] == "chosen")).all()
    # By the server's own log, only what was in flight on the node was answered a second time.
    with Store(locate_store(out), read_only=True) as store:
        kept = [
            row.asked["body"]["messages"][-1]["content"]
            for row in store.rows("generate")
            if not isinstance(row.stored, Failure)
        ]
    asked = Counter(prompt for prompt, _ in answered.elements())
    assert len(kept) == len({*kept}) >= len(frame) and {*kept} <= asked.keys()
    assert asked.total() - len(asked) <= judging.judge.engine.concurrency


def test_a_pool_writes_what_one_machine_writes(connected: Any, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path, 60)
    with FaultyServer(refused=frozenset({"question 7"})) as server:
        settings = build_settings(server, n=2)
        generate(prompts, settings, tmp_path / "local.parquet")
        with pool_of(settings, workers=2):
            generate(prompts, settings, tmp_path / "pool.parquet")
    for ending in ("", ".generate.json", ".rejects.parquet"):
        local, pool = (tmp_path / f"{name}.parquet{ending}" for name in ("local", "pool"))
        assert local.read_bytes() == pool.read_bytes(), ending


@pytest.mark.parametrize("budget", [{"requests": 50}, {"tokens": 1500}])
def test_workers_together_never_exceed_the_budget(connected: Any, tmp_path: Path, budget: dict[str, int]) -> None:
    prompts, out = write_prompts(tmp_path, 200), tmp_path / "out.parquet"
    with FaultyServer(rates={"500": 0.2}) as server:
        settings = build_settings(server, budget=Budget(**budget))
        with pool_of(settings, workers=2):
            with pytest.raises(RunError, match="is used up"):
                generate(prompts, settings, out)
            first = len(list_stored(out))
            with pytest.raises(RunError, match="is used up"):
                generate(prompts, settings, out)
        assert first > 10
        assert server.calls <= budget.get("requests", server.calls)
        assert server.billed <= budget.get("tokens", server.billed)
        with Store(locate_store(out)) as store:
            spent = store.book().total()
        assert settings.budget.allows(spent) and spent.requests >= server.calls
        assert spent.prompt_tokens + spent.tokens >= server.billed


@pytest.mark.slow
def test_a_driver_that_is_killed_asks_nothing_again_that_was_stored(connected: Any, tmp_path: Path) -> None:
    write_prompts(tmp_path, 400)
    out = tmp_path / "out.parquet"
    program = """
import sys
sys.path[:0] = sys.argv[1].split(":")
del sys.argv[1]
from dying import die_when_kept
from tests.runs.ray.test_asking_calls import *
address, url, folder, rows = sys.argv[1:]
server, folder = FaultyServer(), Path(folder)
server.base_url = url
die_when_kept(int(rows))
with open_pool(OnRay(address=address, tasks=2), build_settings(server)):
    generate(read_prompts(str(folder / "prompts.txt")), build_settings(server), folder / "out.parquet")
"""
    with FaultyServer(rates=FAULTS, attempts=8) as server:

        def run(rows: int) -> subprocess.CompletedProcess[str]:
            paths = ":".join(str(ROOT / folder) for folder in (".", "tests", "tests/made"))
            command = [
                sys.executable,
                "-c",
                program,
                paths,
                connected.address,
                server.base_url,
                str(tmp_path),
                str(rows),
            ]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        first = run(100)
        assert first.returncode == -signal.SIGKILL, first.stderr
        stored = list_stored(out)
        # Not 100: the rows that the process died after include those that failed, which are no answers.
        assert 0 < len(stored) < 400
        # Workers of a driver that has gone end with it.
        server.wait_until_left()
        before = dict(server.asked)
        second = run(10**9)
        assert second.returncode == 0, second.stderr
        again = [row for row, count in server.asked.items() if row[0] in stored and count > before.get(row, 0)]
    assert again == []
    assert list_answers(out).keys() >= stored and len(list_answers(out)) > 390


def test_the_fault_of_a_server_ends_the_run_in_the_same_words(connected: Any, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path, 20)
    with FaultyServer(key="right") as server:
        settings = build_settings(server)
        with pytest.raises(ModelError) as local:
            generate(prompts, settings)
        with pool_of(settings, workers=2), pytest.raises(ModelError) as pooled:
            generate(prompts, settings)
    assert pooled.value.message == local.value.message and pooled.value.remedy == local.value.remedy


def test_a_key_is_taken_along_to_workers_that_do_not_have_it(
    connected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_THE_POOL", "right")
    prompts = write_prompts(tmp_path, 5)
    with FaultyServer(key="right") as server:
        settings = build_settings(server)
        engine = settings.engine.model_copy(update={"api_key_env": "KEY_OF_THE_POOL"})
        settings = settings.model_copy(update={"engine": engine})
        with pool_of(settings, workers=1):
            assert len(generate(prompts, settings)) == 5
