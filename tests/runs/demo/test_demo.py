from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.runs.demo.completions import COMPLETIONS_FILE, Demo, load_training_completions


@pytest.mark.torch
def test_the_whole_demo_runs_on_a_tiny_model_and_says_what_it_found(tmp_path: Path) -> None:
    from tests.training.conftest import build_folder

    from prefboost.runs.demo import run_demo

    model = build_folder(tmp_path / "tiny")
    small = Demo(
        model=str(model),
        prompts=8,
        held_out=3,
        samples_per_goal=1,
        goals=(1.0, 10.0),
        max_tokens=24,
    )
    report = run_demo(tmp_path / "out", small)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["follows"] is report.follows
    assert set(results["policies"]["augmented"]["by_goal"]) == {"1", "10"}
    assert set(results["policies"]["plain"]["gold_by_goal"]) == {"1", "10"}
    assert set(results["top"]) == {"augmented", "plain", "augmented_small", "plain_small"}
    assert all(-1e3 < top["kl"]["estimate"] < 1e3 for top in results["top"].values())
    assert set(results["facts"]["start"]) == {"proxy", "gold"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(sentence.split(":")[0][:40] in page for sentence in report.verdict)
    assert page.count('class="plot"') == 4 and "Completions side by side" in page
    again = run_demo(tmp_path / "out", small)
    assert again.verdict == report.verdict
    fresh = small.model_copy(update={"fresh": True, "samples": 2})
    assert len(load_training_completions(fresh, tmp_path, None)) == 16
    assert (tmp_path / COMPLETIONS_FILE).exists()


@pytest.mark.torch
def test_a_slow_machine_gets_a_smaller_demo_that_says_so_and_goes_on_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.training.conftest import build_folder

    from prefboost.runs.demo import demo, run_demo
    from prefboost.runs.demo.size import DemoPace

    small = Demo(
        model=str(build_folder(tmp_path / "tiny")),
        prompts=60,
        held_out=9,
        samples_per_goal=1,
        goals=(1.0, 10.0),
        max_tokens=8,
    )
    monkeypatch.setattr(demo, "_measure_pace", lambda settings, answer_s: DemoPace(1e5, answer_s, 1.0))
    report = run_demo(tmp_path / "out", small)
    assert "48 of 60 training prompts and 8 of 9 held-out prompts" in report.reduced
    assert report.reduced in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    facts = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["facts"]
    assert (facts["reduced"], facts["held_out"]) == (report.reduced, 8)
    monkeypatch.setattr(demo, "_measure_pace", lambda settings, answer_s: pytest.fail("measured anew"))
    assert run_demo(tmp_path / "out", small).verdict == report.verdict
