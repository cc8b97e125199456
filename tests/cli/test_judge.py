"""`prefboost judge` with recorded answers: figures, rejects, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.main import main
from prefboost.engines.replay import Replay
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.sources import read


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"question {at}", "chosen": f"good {at}", "rejected": "bad"} for at in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recorded(pairs: Path, tmp_path: Path) -> Path:
    """A judge that prefers "good", and says nothing of use about the last pair."""
    path = tmp_path / "answers.jsonl"
    lines = []
    for number, question in enumerate(LlmJudge(engine=Replay(path="")).questions(read(str(pairs)))):
        text = str(question.prompt[0]["content"])
        verdict = 1 if text.index("good") < text.index("bad") else 2
        answer = "I pass." if number >= 6 else json.dumps({"reason": "it is good", "verdict": str(verdict)})
        lines.append(json.dumps({"prompt": [dict(message) for message in question.prompt], "completion": answer}))
    path.write_text("\n".join(lines))
    return path


def test_figures_are_printed_and_verdicts_written(
    pairs: Path, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.jsonl"
    arguments = ["judge", str(pairs), "kind=llm", "engine.kind=replay", f"engine.path={recorded}", "-o", str(out)]
    assert main([*arguments, "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "pairs judged           3 in both orders" in printed
    assert "agreement of orders    1.00" in printed and "agrees with labels     1.00" in printed
    assert "1 rejected: the answer holds no verdict" in printed
    assert {json.loads(line)["rationale"] for line in out.read_text().splitlines()} == {"it is good"}
    assert main([*arguments, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "no judge is named"),
        (["kind=llm", "critera=x"], "did you mean criteria?"),
        (["kind=llm"], "engine"),
        (["kind=oracle"], "oracle"),
    ],
)
def test_mistakes_are_answered_with_a_line(
    pairs: Path, overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(pairs), *overrides]) == 2
    assert message in capsys.readouterr().err
