"""Goals of `augment` that the first batch shows are those of the whole input, or all parts are made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefboost.runs.augment import augment as module
from prefboost.runs.augment.augment import augment
from prefboost.runs.augment.settings import Augment, AugmentReport
from prefboost.sources import File
from prefboost.tables import Table

SETTINGS = Augment(batch_rows=8)


def _write(path: Path, scores: list[float]) -> Path:
    rows = [
        {"prompt": f"question {at // 2}", "completion": f"answer {at}", "score": score}
        for at, score in enumerate(scores)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _read_outputs(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("prefboost.json", "README.md")
    }


def _augment_after_reading_all(source: Path, out: Path) -> AugmentReport:
    def assume_nothing(*arguments: Any) -> tuple[None, Iterator[Table]]:
        return None, arguments[2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "assume_goals", assume_nothing)
        return augment(source, out, SETTINGS)


MARKS = st.lists(st.integers(1, 5).map(float), min_size=8, max_size=24)
ANY = st.lists(st.floats(-3, 20) | st.integers(-1, 12).map(float), min_size=2, max_size=24)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=MARKS | ANY, rest=MARKS | ANY)
def test_outputs_are_those_of_scales_that_all_scores_were_read_for(
    first: list[float], rest: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("goals")
    source = _write(folder / "scored.jsonl", [1.0, 2.0, *first, *rest])
    report = expected = None
    try:
        expected = _augment_after_reading_all(source, folder / "expected")
    except Exception as error:
        with pytest.raises(type(error)):
            augment(source, folder / "out", SETTINGS)
        return
    report = augment(source, folder / "out", SETTINGS)
    assert _read_outputs(folder / "out") == _read_outputs(folder / "expected")
    assert report.scale == expected.scale
    assert report.goal_pairs == expected.goal_pairs
    assert report.parts_found == 0


def test_an_input_whose_first_batch_shows_the_scale_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _write(tmp_path / "scored.jsonl", [9.0 if at % 2 else 2.0 for at in range(80)])

    def refuse(*arguments: Any) -> None:
        raise AssertionError("the scores were read by themselves")

    monkeypatch.setattr(File, "score_tables", refuse)
    report = augment(source, tmp_path / "out", SETTINGS)
    assert report.parts > 1
    assert not any("twice" in message for message in report.messages)


def test_later_scores_on_another_scale_make_all_parts_again_and_say_so(tmp_path: Path) -> None:
    source = _write(tmp_path / "scored.jsonl", [*[float(at % 5 + 1) for at in range(60)], 8.0, 3.0, 10.0, 2.0])
    report = augment(source, tmp_path / "out", SETTINGS)
    assert any("twice" in message for message in report.messages)
    manifest = json.loads((tmp_path / "out" / "prefboost.json").read_text())
    assert manifest["condition"]["high"] == 10.0
    again = augment(source, tmp_path / "out", SETTINGS)
    assert again.skipped
