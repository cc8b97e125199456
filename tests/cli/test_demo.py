"""`prefboost demo` as it is typed; the demo itself is tested in tests/runs/demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefboost.cli.main import main
from prefboost.runs import demo
from prefboost.runs.demo import Demo, DemoReport


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the demo was called with; it ends at once."""
    seen: dict[str, Any] = {}

    def run(out: Path, settings: Demo, *, progress: Any = None) -> DemoReport:
        seen.update(out=out, settings=settings, progress=progress)
        return DemoReport(f"{out}/report.html", settings.seed == 1, ["It does.", "It rises."], 90.0)

    monkeypatch.setattr(demo, "run_demo", run)
    return seen


def test_the_verdict_is_printed_whatever_it_is(called: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quiet", "-o", "here"]) == 0
    assert capsys.readouterr().out == (
        "\nThe policy follows. (1.5 minutes)\n- It does.\n- It rises.\n\nreport: here/report.html\n"
    )
    assert called["settings"] == Demo()
    assert called["progress"] is None
    assert main(["demo", "--quiet", "seed=2"]) == 0
    assert capsys.readouterr().out.startswith("\nNo visible effect.")
    assert main(["demo", "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == ["It does.", "It rises."]


def test_settings_and_options_reach_the_demo(called: dict[str, Any]) -> None:
    assert main(["demo", "--fresh", "held_out=4", "goals=[1,10]", "beta=0.5"]) == 0
    assert called["settings"] == Demo(fresh=True, held_out=4, goals=(1.0, 10.0), beta=0.5)
    assert called["progress"] is not None
    assert main(["demo", "--minutes", "8", "--quiet"]) == 0
    assert called["settings"] == Demo(minutes=8.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("held_ot=4", "did you mean held_out?"),
        ("beta=-1", "override 'beta=-1': beta"),
        ("goals=[1,", "override 'goals=[1,'"),
        ("samples", "write samples=VALUE"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
    called: dict[str, Any], capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    assert main(["demo", "--quiet", override]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert called == {}
