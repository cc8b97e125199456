"""`prefboost generate` as it is typed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from faulty_server import FaultyServer
from waiting import PATIENCE_S, wait_until

from prefboost.cli.generate import read_generate
from prefboost.cli.main import main
from prefboost.engines.local.engine import Local
from prefboost.errors import SettingsError


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recording of two prompts, goals 1 and 10, two samples each."""
    path = tmp_path / "recorded.jsonl"
    lines = [
        {"prompt": prompt, "completion": f"{prompt} {goal} {sample}", "goal": goal, "finish_reason": reason}
        for prompt in ("a fox", "tea")
        for goal, reason in ((1, "length"), (10, "stop"))
        for sample in range(2)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "prompts.txt").write_text("a fox\ntea\ntea\n")
    return path


def call(recorded: Path, *arguments: str) -> int:
    return main(["generate", f"replay:{recorded}", str(recorded.parent / "prompts.txt"), *arguments])


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_completions_are_written_by_the_ending_of_the_name(
    recorded: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out = recorded.parent / f"out.{ending}"
    assert call(recorded, "goals=[1,10]", "n=2", "-o", str(out)) == 0
    frame = pl.read_parquet(out) if ending == "parquet" else pl.read_ndjson(out)
    assert frame["goal"].to_list() == [1, 1, 10, 10] * 2
    assert [completion[0]["content"] for completion in frame["completion"]][:3] == [
        "a fox 1 0",
        "a fox 1 1",
        "a fox 10 0",
    ]
    shown = capsys.readouterr()
    assert shown.out == (
        f"8 completions of 2 prompts, 28 tokens: {out}\n4 were cut at max_tokens\n"
        f"1 rejected: the prompt stands further up too\nrejects: {out}.rejects.parquet\n"
    )
    assert "8/8" in shown.err
    aside = pl.read_parquet(f"{out}.rejects.parquet").row(0, named=True)
    assert (aside["row"], aside["reason"]) == (2, "the prompt stands further up too")


def test_what_was_written_can_be_replayed(recorded: Path) -> None:
    first, second = recorded.parent / "one.jsonl", recorded.parent / "two.jsonl"
    assert call(recorded, "goals=[10]", "-o", str(first), "--quiet") == 0
    assert call(first, "goals=[10]", "-o", str(second), "--quiet") == 0
    texts = [pl.read_ndjson(path)["completion"].to_list() for path in (first, second)]
    assert texts[0] == texts[1]


def test_a_dry_run_estimates_time_and_price_on_machines(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-o", str(recorded.parent / "o.jsonl"), "--dry-run", "--on", "parameters=7e9", "--on", "dollars=2.5"]
    assert call(recorded, *command) == 0
    shown = capsys.readouterr().out
    assert "on these machines: about " in shown and " GPU-hours, $" in shown and "store:  about " in shown
    assert call(recorded, *command, "--json") == 0
    estimate = json.loads(capsys.readouterr().out)["estimate"]
    assert estimate["dollars"] == pytest.approx(2.5 * estimate["gpu_hours"]) and estimate["store_bytes"] > 0
    assert call(recorded, *command, "--on", "node=3") == 2
    assert "nodes" in capsys.readouterr().err


def test_a_dry_run_counts_and_writes_nothing(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call(recorded, "goals=[1,10]", "n=2", "max_tokens=50", "-o", str(recorded.parent / "o.jsonl"), "--dry-run") == 0
    )
    assert capsys.readouterr().out == (
        "8 completions of 2 prompts\n12 tokens to read, at most 400 to write\n"
        "1 rejected: the prompt stands further up too\nstore:  about 6.0 kB\n"
    )
    assert not (recorded.parent / "o.jsonl").exists()
    assert call(recorded, "-o", str(recorded.parent / "o.jsonl"), "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2


def test_counts_are_printed_as_json(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(recorded, "goals=[1]", "-o", str(recorded.parent / "o.jsonl"), "--json", "--quiet") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "rows": 2, "prompts": 2, "cut at max_tokens": 2, "tokens": 7,
        "rejected": {"the prompt stands further up too": 1}, "out": str(recorded.parent / "o.jsonl"),
        "rejects": str(recorded.parent / "o.jsonl.rejects.parquet"),
    }  # fmt: skip
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["temprature=3"], "temprature is not a setting here; did you mean temperature?"),
        (["goals"], "write goals=VALUE"),
        (["n=0"], "override 'n=0'"),
        (["temperature=-1"], "temperature"),
        (["-o", "out.xlsx"], "out.xlsx"),
        (["goals=[3]", "-o", "OUT"], "number 1 is asked for"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
    recorded: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    placed = [argument.replace("OUT", str(recorded.parent / "o.jsonl")) for argument in arguments]
    assert call(recorded, "--quiet", *placed) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("error: ")
    assert "Traceback" not in shown


def test_settings_of_sampling_and_engine_stand_alone() -> None:
    settings = read_generate("some/model", ["goals=[1,7.5]", "seed=3", "batch_rows=8", "condition.place=user"])
    assert isinstance(settings.engine, Local)
    assert (settings.engine.model, settings.engine.batch_rows) == ("some/model", 8)
    assert (settings.sampling.seed, settings.goals, settings.condition.place) == (3, (1, 7.5), "user")
    with pytest.raises(SettingsError, match="batch_rows is not a setting here"):
        read_generate("replay:a.jsonl", ["batch_rows=8"])


def on_server(server: FaultyServer, tmp_path: Path, out: str, *more: str) -> list[str]:
    (tmp_path / "prompts.txt").write_text("\n".join(f"prompt {number}" for number in range(60)))
    start = [sys.executable, "-m", "prefboost.cli.main", "generate", "openai:m", str(tmp_path / "prompts.txt")]
    options = [
        f"base_url={server.base_url}",
        "n=4",
        "concurrency=8",
        "attempts=12",
        "backoff_s=0.002",
        f"timeout_s={PATIENCE_S}",
    ]
    return [*start, "-o", str(tmp_path / out), "--quiet", *options, *more]


@pytest.mark.slow
def test_interrupted_and_killed_at_random_points_a_run_gives_the_table_of_an_undisturbed_one(tmp_path: Path) -> None:
    faults = {"500": 0.1, "cut": 0.05, "malformed": 0.05, "truncated": 0.05}
    refused = frozenset({"prompt 7"})
    with FaultyServer(refused=refused) as server:
        subprocess.run(on_server(server, tmp_path, "whole.jsonl"), check=True, capture_output=True, timeout=PATIENCE_S)
        server.rates, server.delay_s = faults, 0.02
        draw = random.Random(0)
        for end in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            enough = server.calls + draw.randint(20, 65)
            server.most_answers = server.answered.total() + 70  # of 240: it cannot end before it is killed
            running = subprocess.Popen(on_server(server, tmp_path, "out.jsonl"), stderr=subprocess.PIPE)
            wait_until(lambda at=enough: server.calls >= at, "calls are made", running)
            os.kill(running.pid, end)
            _, said = running.communicate(timeout=PATIENCE_S)
            assert b"Traceback" not in said
            assert not (tmp_path / "out.jsonl").exists()
        server.most_answers = None
        done = subprocess.run(
            on_server(server, tmp_path, "out.jsonl", "--json"), check=True, capture_output=True, timeout=PATIENCE_S
        )
    counts: dict[str, Any] = json.loads(done.stdout)
    assert counts["rejected"] == {"the engine refused the prompt": 4}
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    aside = [pl.read_parquet(tmp_path / f"{name}.jsonl.rejects.parquet") for name in ("out", "whole")]
    assert aside[0]["id"].to_list() == aside[1]["id"].to_list()


def test_a_dry_run_names_the_cost_and_a_budget_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultyServer() as server:
        command = on_server(server, tmp_path, "out.jsonl", "prices={m: {prompt: 10, completion: 100}}")[3:]
        assert main([*command, "max_tokens=100", "--dry-run"]) == 0
        assert capsys.readouterr().out == (
            "240 completions of 60 prompts\nabout 1,640 tokens to read, at most 24,000 to write\nat most $2.42\n"
            "store:  about 227.3 kB\n"
        )
        assert server.calls == 0
        assert main([*command, "budget.requests=50"]) == 2
        assert server.calls == 50
        assert "50 of 240 rows are finished" in capsys.readouterr().err
        assert main([*command, "--partial"]) == 0
        assert "50 completions" in capsys.readouterr().out
        assert main([*command, "budget.requests=50", "--dry-run"]) == 0
        assert "190 completions of 60 prompts\n50 more are in the store already" in capsys.readouterr().out
        assert main(command) == 0
        assert server.calls == 240


@pytest.fixture
def served(tmp_path: Path) -> list[str]:
    """A command that asks 30 questions of a server whose address is still to be named."""
    (tmp_path / "prompts.txt").write_text("".join(f"prompt {number}\n" for number in range(30)))
    quick = ["backoff_s=0.001", "concurrency=4", "attempts=2", "--quiet"]
    return ["generate", "openai:m", str(tmp_path / "prompts.txt"), "-o", str(tmp_path / "out.jsonl"), *quick]


def test_too_few_answers_are_written_and_the_command_fails_until_the_cause_is_mended(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reload(body: dict[str, Any], call: int) -> Any:
        number = int(body["messages"][-1]["content"].split()[-1])
        return (424, {"error": "the model is loading"}) if number > 6 and number % 3 == 0 else None

    with FaultyServer(script=reload) as server:
        command = [*served, f"base_url={server.base_url}"]
        assert main(command) == 0, "23 of 30 rows are more than half"
        assert "7 rejected: the engine gave no completion" in capsys.readouterr().out
        assert main([*command, "least_answered=0.9"]) == 2
        assert "23 of 30 rows were answered, less than least_answered (0.9); 7 times" in capsys.readouterr().err
        assert main([*command, "--dry-run"]) == 0
        shown = capsys.readouterr().out
        assert "7 completions of 30 prompts\n23 more are in the store already\n7 of the calls failed" in shown
        server.script = None
        before = server.calls
        assert main([*command, "--retry", "none", "least_answered=0"]) == 0
        assert server.calls == before
        assert main([*command, "least_answered=0.9"]) == 0
        assert server.calls == before + 7
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 30


def test_refused_contents_are_asked_again_on_request_alone(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultyServer(refused=frozenset({"prompt 3", "prompt 4"})) as server:
        command = [*served, f"base_url={server.base_url}"]
        assert [main(command), main(command), server.calls] == [0, 0, 32 - 2]
        capsys.readouterr()
        assert main([*command, "--dry-run"]) == 0
        assert "2 of them without an answer, and not asked again (--retry refused asks them)" in capsys.readouterr().out
        server.refused = frozenset()
        assert main([*command, "--retry=refused"]) == 0
        assert server.calls == 32
        assert main([*command, "--retry=all"]) == 2
        assert "retry" in capsys.readouterr().err


def test_another_model_under_the_same_name_is_told(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultyServer(named=("m-old", "fp_1")) as server:
        command = [*served, f"base_url={server.base_url}"]
        assert main(command) == 0
        assert "note:" not in capsys.readouterr().out
        server.named = ("m-new", "fp_1")
        with (tmp_path / "prompts.txt").open("a") as file:
            file.write("one more\n")
        assert main(command) == 0
    assert "note: the server answered as 2 different models or systems: m-old (fp_1)" in capsys.readouterr().out


def test_a_full_disk_is_one_message_and_what_is_written_elsewhere_comes_from_the_full_one(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("only root can make a small disk")
    try:
        with FaultyServer(answer=lambda prompt, seed, place: "word " * 10_000) as server:
            command = [*served[:4], str(disk / "out.jsonl"), *served[5:], f"base_url={server.base_url}"]
            assert main(command) == 2
            shown = capsys.readouterr().err
            # The store is on this disk, and answers wait there for the output: either may find it full.
            full = ("the disk that holds the store is full", "the disk is full: rows that wait there")
            assert any(words in shown for words in full) and "delete" not in shown
            assert main([*command, "--dry-run"]) == 0
            more = [*command, "--partial", "-o", str(tmp_path / "part.jsonl"), "--store", str(disk / "out.jsonl.store")]
            assert main(more) == 0
            assert 0 < len((tmp_path / "part.jsonl").read_text().splitlines()) < 30
            capsys.readouterr()
            fill = disk / "fill"
            with contextlib.suppress(OSError), fill.open("wb", buffering=0) as stream:
                while True:
                    stream.write(b"x" * 512)
            assert main([*command, "--partial"]) == 2
            shown = capsys.readouterr().err
            assert "the disk is full: rows that wait there" in shown and "fault of prefboost" not in shown
    finally:
        subprocess.run(["umount", disk], check=True)
