"""The page of a data set holds what was found and rows from its beginning to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prefboost.diagnosis import inspect
from prefboost.diagnosis.streams import open_stream
from prefboost.runs.report.inspection_page import choose_stream_samples, write_inspection_page
from prefboost.sources import Columns


def write_completions(path: Path, prompts: int = 20, each: int = 2) -> Path:
    rows = [
        {
            "prompt": f"Question {at}?",
            "completion": f"Answer {at} {number}",
            "score": float(number),
            "model": f"m{number}",
        }
        for at in range(prompts)
        for number in range(each)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_page_begins_with_its_lints_and_ends_with_samples(run_folder: Callable[..., Path], tmp_path: Path) -> None:
    file = run_folder() / "pairs.parquet"
    write_inspection_page(inspect(file), open_stream(file, Columns()), tmp_path / "data.html", name=str(file))
    page = (tmp_path / "data.html").read_text()
    verdict = page.partition('class="verdict"')[2].partition("</div>")[0]
    assert "No record was rejected." in verdict and "int" in verdict
    assert "<h1>pairs.parquet</h1>" in page and page.count('class="sample pair"') == 12


def test_rows_are_chosen_at_equal_distances_and_completions_of_a_prompt_together(tmp_path: Path) -> None:
    file = write_completions(tmp_path / "rows.jsonl")
    samples = choose_stream_samples(open_stream(file, Columns()), inspect(file), 4)
    assert samples is not None
    assert [sample.prompt for sample in samples.rows] == [f"Question {at}?" for at in (0, 5, 10, 15)]
    assert [(cell.label, cell.text, cell.score) for cell in samples.rows[1].cells] == [
        ("m0", "Answer 5 0", 0.0), ("m1", "Answer 5 1", 1.0)
    ]  # fmt: skip
    assert samples.note.startswith("4 of 20")


def test_many_completions_of_a_prompt_are_counted(tmp_path: Path) -> None:
    file = write_completions(tmp_path / "rows.jsonl", 1, 11)
    samples = choose_stream_samples(open_stream(file, Columns()), inspect(file), 3)
    assert samples is not None
    assert len(samples.rows[0].cells) == 9 and samples.rows[0].cells[-1].text == "3 more completions of this prompt"


def test_empty_data_have_no_samples(tmp_path: Path) -> None:
    nothing = inspect(write_completions(tmp_path / "none.jsonl", 1))
    assert choose_stream_samples(lambda: iter([]), replace(nothing, rows=0)) is None
