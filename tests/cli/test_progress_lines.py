"""Without a terminal every long verb prints plain lines that say what it does; `--quiet` prints none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.training.conftest import build_folder

from prefboost.cli import rich_bars
from prefboost.cli.evaluate import show_benchmarks
from prefboost.cli.main import main
from prefboost.devices import log_number_choice
from prefboost.engines.replay import Replay
from prefboost.progress import WorkProgress
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.sources import read

pytestmark = pytest.mark.torch
EXAMPLE = Path(__file__).parents[2] / "examples" / "scored.jsonl"
LINE = re.compile(r"^[^:]+: .*\d+ (s|min|h) so far")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines appear at once instead of after seconds."""
    monkeypatch.setattr(rich_bars, "FIRST_LINE_S", 0.0)
    monkeypatch.setattr(rich_bars, "LINE_EVERY_S", 0.01)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("tiny"))


def pairs_in(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [{"prompt": f"question {at}", "chosen": f"good {at}", "rejected": "bad"} for at in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers_in(folder: Path, pairs: Path) -> Path:
    questions = LlmJudge(engine=Replay(path="")).questions(read(str(pairs)))
    lines = [
        {"prompt": [dict(message) for message in question.prompt], "completion": json.dumps({"verdict": "1"})}
        for question in questions
    ]
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder / "answers.jsonl"


def commands(folder: Path, tiny: Path) -> dict[str, list[str]]:
    pairs = pairs_in(folder)
    answers = answers_in(folder, pairs)
    (folder / "prompts.txt").write_text("What is tea?\nWhat is a fox?\n")
    shutil.copy(EXAMPLE, folder / "scored.jsonl")
    (folder / "recipe.yaml").write_text(
        f"name: tiny\ndata: {folder}/scored.jsonl\ntrain: {{model: {tiny}, batch_size: 8, max_steps: 1, "
        "max_length: 900, max_prompt_length: 600}\n"
    )
    runs = ["--runs-dir", str(folder / "runs")]
    return {
        "augment": ["augment", str(folder / "scored.jsonl"), "-o", str(folder / "goals")],
        "generate": ["generate", str(tiny), str(folder / "prompts.txt"), "max_tokens=4", "-o", str(folder / "c.jsonl")],
        "score": ["score", str(pairs), "kind=implicit", f"policy={tiny}", f"reference={tiny}",
                  "-o", str(folder / "s.jsonl")],
        "judge": ["judge", str(pairs), "kind=llm", "engine.kind=replay", f"engine.path={answers}",
                  "-o", str(folder / "v.jsonl")],
        "synthesize": ["synthesize", "rmboost", str(folder / "prompts.txt"), "generator={kind: 'made_writer:Writer'}",
                       "sampling.max_tokens=16", "-o", str(folder / "made.jsonl")],
        "train": ["train", str(folder / "recipe.yaml"), *runs],
        "train-reward": ["train-reward", str(pairs), f"model={tiny}", "max_steps=1", "-o", str(folder / "rm")],
        "run": ["run", str(folder / "recipe.yaml"), "name=again", *runs],
    }  # fmt: skip


@pytest.mark.parametrize(
    "verb", ["augment", "generate", "score", "judge", "synthesize", "train", "train-reward", "run"]
)
def test_every_long_verb_says_where_it_is_and_is_silent_when_told(
    verb: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands(tmp_path, tiny)[verb]
    assert main(command) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(LINE.match(line) for line in lines), lines
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    commands(tmp_path, tiny)
    assert main([*command, "--quiet"]) == 0
    assert not any(LINE.match(line) for line in capsys.readouterr().err.splitlines())


def test_training_names_its_parts(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_number_choice.cache_clear()  # said once per process
    assert main(commands(tmp_path, tiny)["train"]) == 0
    shown = capsys.readouterr().err
    assert f"loading {tiny}: " in shown
    assert re.search(r"training \(pairs\): 8/8, .*tokens/s", shown), "the last line says how it ended"
    assert re.search(r"numbers: (bfloat16|float32) \(", shown)


def test_judging_a_benchmark_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    tells: list[Callable[[WorkProgress], None]] = []
    with show_benchmarks(hidden=False) as name_stages:
        tells.append(name_stages("alpaca_eval"))
        tells[0](WorkProgress("judge", 4, 4))
    assert "alpaca_eval: judge: 4/4" in capsys.readouterr().err
