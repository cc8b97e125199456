"""The first page keeps its promises: short, a record and a figure first, limits near the top, figures as reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import readme_figure

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def find_line(text: str) -> int:
    return next(number for number, line in enumerate(LINES, 1) if text in line)


def test_the_readme_is_short_and_leads_with_a_record_then_the_figure_then_what_was_not_run() -> None:
    assert len(LINES) <= 130
    record, figure = find_line("$ prefboost augment pair.jsonl"), find_line("control.svg")
    limits = find_line("on a GPU")
    assert record < figure < limits < 45 < find_line("## Beside other libraries")
    assert "make demo" in "\n".join(LINES) and "make test" in "\n".join(LINES)


def test_cells_of_the_readmes_tables_hold_two_measurements_at_most() -> None:
    start = find_line("## Measured results")
    cells = [cell for line in LINES[start:] if line.startswith("|") for cell in line.split("|")]
    assert cells and all(cell.count("[") <= 2 for cell in cells)


def test_the_drawn_figure_has_the_numbers_of_the_pages_that_report_them() -> None:
    figures = readme_figure.read_figures()
    assert readme_figure.read_drawn() == figures, "run python tools/readme_figure.py"
    kept = [row for measures in figures["kept"].values() for arms in measures.values() for row in arms.values()]
    assert len(kept) == 8 and all(low <= value <= high for value, low, high in kept)
    assert all(low <= value <= high for rows in figures["control"].values() for _, value, low, high in rows)


def test_a_page_without_the_figures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.md").write_text(
        "| measure on test prompts, beta 0.2 | |\n"
        "| good rejected completions, change of log-prob, nats | | -12.7 [-20.1, -3.4] | few |\n"
    )
    monkeypatch.setattr(readme_figure, "LOG", tmp_path / "log.md")
    with pytest.raises(ValueError, match=r"log\.md no longer has the table for beta 0\.2"):
        readme_figure.read_figures()
