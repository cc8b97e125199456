"""`synthesize` end to end: files, resuming after a kill, budgets, and every method through the same door."""

from __future__ import annotations

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
from faulty_server import FaultyServer
from made_writer import LengthScorer, Writer, by_hash
from tests.runs.generate.test_generate import finished_rows
from waiting import PATIENCE_S

from prefboost.engines.budget import Budget
from prefboost.engines.engine import Sampling
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.errors import DataError, RunError
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.synthesize.synthesize import Synthesize, forecast_synthesis, synthesize
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.sources import read
from prefboost.synthesis.edits import Clair, RMBoost
from prefboost.synthesis.filters import Filters
from prefboost.synthesis.method import Method
from prefboost.synthesis.rlaif import RLAIF
from prefboost.synthesis.rlcd import RLCD
from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs
from prefboost.synthesis.west_of_n import WestOfN
from prefboost.tables import Table

SAMPLING = Sampling(max_tokens=16)


@pytest.fixture
def prompts(tmp_path: Path) -> Table:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"What is the use of thing number {at}?\n" for at in range(10)))
    return read_prompts(path)


def by_length(prompt: str, choices: Any) -> list[float]:
    """The judge likes whichever fenced completion is alphabetically first."""
    parts = [part.split("\n")[1] for part in prompt.split("<completion ")[1:3]]
    return [-0.1, -2.4] if parts[0] < parts[1] else [-2.4, -0.1]


def methods(**changes: Any) -> dict[str, Method]:
    writer = Writer.by(**changes)
    judge = LlmJudge(engine=Writer.by(weigh=by_length, model="judge"), read="logprobs", ties=False)
    return {
        "rmboost": RMBoost(generator=writer, label="both", sampling=SAMPLING, filters=Filters()),
        "clair": Clair(generator=writer, sampling=SAMPLING, filters=Filters()),
        "rlaif": RLAIF(generator=writer, judge=judge, sampling=SAMPLING),
        "rlcd": RLCD(generator=writer, sampling=SAMPLING),
        "west_of_n": WestOfN(
            generator=Writer.by(lambda p, s: by_hash(p, s) + " more" * (s % 3), **changes),
            scorer=LengthScorer(), n=3, sampling=SAMPLING,
        ),
        "ultrafeedback": UltraFeedbackPairs(
            pool=(writer, Writer.by(lambda p, s: f"{by_hash(p, 7)} too", model="b", **changes)),
            scorer=LengthScorer(), n=2, sampling=SAMPLING,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", methods())
def test_every_method_writes_pairs_with_lineage_that_can_be_read_back(
    name: str, prompts: Table, tmp_path: Path
) -> None:
    out = tmp_path / "pairs.parquet"
    table = synthesize(prompts, Synthesize(method=methods()[name], prompts_at_once=3), out)
    assert len(table) >= 4
    again = read(out)
    assert again.frame["lineage"].to_list() == table.frame["lineage"].to_list()
    if "chosen_wins" in table.frame.columns:
        assert again.frame["chosen_wins"].to_list() == table.frame["chosen_wins"].to_list()
    lineage = [json.loads(text) for text in again.frame["lineage"]]
    assert {each["method"] for each in lineage} == {name}
    for row, each in zip(again.frame.iter_rows(named=True), lineage, strict=True):
        other = "second" if each["chosen"] == "first" else "first"
        assert row["chosen"][0]["content"] == each[each["chosen"]].strip()
        assert row["rejected"][0]["content"] == each[other].strip()
    history = json.loads((tmp_path / "pairs.parquet.synthesize.json").read_text())
    assert history["pairs"] == len(table) and history["per_pair"]["requests"] >= 1


@pytest.mark.parametrize("name", methods())
def test_how_many_prompts_are_taken_at_once_changes_no_pair(name: str, prompts: Table) -> None:
    few = synthesize(prompts, Synthesize(method=methods()[name], prompts_at_once=2))
    many = synthesize(prompts, Synthesize(method=methods()[name], prompts_at_once=64))
    assert few.frame.sort("pair_id").equals(many.frame.sort("pair_id"))


def test_nothing_is_asked_twice(prompts: Table, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    first = synthesize(prompts, Synthesize(method=methods()["rmboost"]), out)
    written = out.read_bytes()
    again = Writer.by()
    synthesize(
        prompts, Synthesize(method=RMBoost(generator=again, label="both", sampling=SAMPLING, filters=Filters())), out
    )
    assert again.asked == [] and out.read_bytes() == written
    assert first.steps[-1].notes["spent"]["requests"] == 30


def test_what_the_budget_does_not_allow_is_counted_and_done_with_a_larger_one(prompts: Table, tmp_path: Path) -> None:
    out = tmp_path / "pairs.parquet"
    method = methods()["rmboost"]
    some = synthesize(prompts, Synthesize(method=method, prompts_at_once=2, budget=Budget(requests=17)), out)
    assert some.steps[-1].notes["budget_spent"] and some.steps[-1].notes["spent"]["requests"] <= 17
    assert len(some) == 10
    aside = pl.read_parquet(f"{out}.rejects.parquet")
    assert set(aside["reason"]) == {"the budget was spent before the pair was finished"}
    assert len(some) + len(aside) >= 10
    whole = synthesize(prompts, Synthesize(method=method, prompts_at_once=2, budget=Budget(requests=30)), out)
    assert len(whole) == 20 and not Path(f"{out}.rejects.parquet").exists()


def test_equal_budgets_are_held_by_every_method(prompts: Table) -> None:
    for name, method in methods().items():
        table = synthesize(prompts, Synthesize(method=method, prompts_at_once=1, budget=Budget(tokens=400)))
        spent = table.steps[-1].notes["spent"]
        assert 150 < spent["prompt_tokens"] + spent["tokens"] <= 400, name


def test_a_rehearsal_names_calls_and_what_was_spent(prompts: Table, tmp_path: Path) -> None:
    out = tmp_path / "pairs.parquet"
    settings = Synthesize(method=methods()["rmboost"])
    plan = forecast_synthesis(prompts, settings, out)
    assert (plan.counts["pairs"], {part.name: part.calls for part in plan.parts}) == (
        20,
        {"completions": 10, "edits": 20},
    )
    assert plan.counts["calls_before"] == 0 and not out.exists()
    synthesize(prompts, settings, out)
    assert forecast_synthesis(prompts, settings, out).counts["calls_before"] == 30


def test_a_run_without_answers_is_an_error_and_its_rehearsal_names_what_is_asked_again(
    prompts: Table, tmp_path: Path
) -> None:
    out = tmp_path / "pairs.parquet"
    with FaultyServer(script=lambda body, call: (400, {"error": "no"})) as server:
        engine = OpenAICompatible(model="m", base_url=server.base_url)
        settings = Synthesize(method=RLCD(generator=engine, sampling=SAMPLING))
        with pytest.raises(RunError, match="0 of 10 rows were answered; 10 times: HTTP 400: no"):
            synthesize(prompts, settings, out)
        assert out.exists()
        plan = forecast_synthesis(prompts, settings, out)
        assert (plan.counts["again"], plan.counts["refused"]) == (server.calls, 0)
        plan = forecast_synthesis(prompts, settings.model_copy(update={"retry": "none"}), out)
        assert (plan.counts["again"], plan.counts["refused"]) == (0, server.calls)


def test_malformed_completions_end_as_counted_rejects(prompts: Table) -> None:
    faults = {
        "a completion is empty": " ",
        "a completion refuses": "I'm sorry, but I can't help with that at all.",
        "the completions are in different languages": "Это совсем другой ответ на тот же самый вопрос.",
        "a plan of edits stands in a completion": "Changes:\nless detail\n\nthe river runs past",
        "a completion talks about the request for it": "Unlike the reference response the river runs past.",
    }

    def say(prompt: str, sample: int) -> str:
        if "Write another" not in prompt:
            return by_hash(prompt, sample)
        number = int(prompt.split("thing number ")[1][0])
        reference = prompt.split("Reference response:\n")[1].partition("\n")[0]
        return {**dict(enumerate(faults.values())), 5: reference, 6: f"{reference} and so on and on"}.get(
            number, by_hash("x", number)
        )

    table = synthesize(
        prompts, Synthesize(method=RMBoost(generator=Writer.by(say), sampling=SAMPLING, filters=Filters()))
    )
    rejected = table.steps[-1].rejected
    for reason in (*faults, "the completions are nearly the same", "the second completion repeats the first"):
        assert rejected[reason] == 1, reason
    assert len(table) == 3


def test_no_prompt_is_an_error(prompts: Table) -> None:
    empty = Table(prompts.spec, prompts.frame.clear())
    with pytest.raises(DataError, match="no prompt"):
        synthesize(empty, Synthesize(method=methods()["rmboost"]))


KILLED = """
import sys
from pathlib import Path
import dying
from made_writer import Writer
from prefboost.engines.engine import Sampling
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.synthesize.synthesize import Synthesize, synthesize
from prefboost.synthesis.edits import RMBoost
from prefboost.synthesis.filters import Filters

writer, sampling = Writer(), Sampling(max_tokens=16)
method = RMBoost(generator=writer, label="both", sampling=sampling, filters=Filters())
settings = Synthesize(method=method, prompts_at_once=3)
dying.die_at_call(int(sys.argv[3]))
synthesize(read_prompts(sys.argv[1]), settings, sys.argv[2])
print(dying.calls)
"""


def test_killed_at_random_moments_the_same_call_ends_with_the_same_bytes(
    prompts: Table, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    source = str(tmp_path / "prompts.txt")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def call(out: Path, dies_at: int) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", KILLED, source, str(out), str(dies_at)]
        return subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S)

    right = tmp_path / "right" / "pairs.parquet"
    right.parent.mkdir()
    whole = int(call(right, 0).stdout)
    out, draw = tmp_path / "killed" / "pairs.parquet", random.Random(1)
    out.parent.mkdir()
    for _ in range(3):
        assert call(out, draw.randint(whole // 8, whole // 4)).returncode == -signal.SIGKILL
    assert 0 < finished_rows(out) < finished_rows(right)
    assert call(out, 0).returncode == 0
    assert out.read_bytes() == right.read_bytes()
    asked = [pl.read_parquet(each).height for each in (out, right)]
    assert asked[0] == asked[1] == 20
