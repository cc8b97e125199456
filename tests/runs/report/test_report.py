"""The page is written whole, never over foreign files, and again and again while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest
from headless import open_page
from waiting import PATIENCE_S

from prefboost.errors import RunError
from prefboost.locks import hold_lock
from prefboost.runs.report.report import PageReport, guard_page, report, watch
from prefboost.tables import MESSAGES


def test_the_page_names_its_parts_and_what_is_missing(run_folder: Callable[..., Path], tmp_path: Path) -> None:
    written = report([run_folder()], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert all(f"<h2>{title}</h2>" in page for title in written.parts)
    assert "Not in this report" in page and "prefboost evaluate" in page
    assert "prefboost train x.yaml" in page
    lines = list(written.lines())
    assert lines[0].startswith("parts: ") and lines[-1] == f"report: {tmp_path / 'report.html'}"
    assert any(line.startswith("no data: Win rates") for line in lines)


def test_foreign_files_and_inputs_are_not_replaced(run_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder, page = run_folder(), tmp_path / "page.html"
    page.write_text("<p>mine</p>")
    with pytest.raises(RunError, match="did not write it"):
        report([folder], page)
    with pytest.raises(RunError, match=r"ends in \.html"):
        guard_page(tmp_path / "page.txt", [])
    page.unlink()
    report([folder], page)
    report([folder], page)
    diagnosis = tmp_path / "diagnosis.html"
    diagnosis.write_text("{}")
    with pytest.raises(RunError):
        guard_page(diagnosis, [diagnosis])


def test_a_watched_run_is_written_again_until_it_ends(run_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder, page = run_folder(), tmp_path / "page.html"
    seen: list[str] = []
    grown, ended = Event(), Event()

    def look(written: PageReport) -> None:
        seen.append(page.read_text())
        assert written.running == (len(seen) < 3)
        if len(seen) == 1:
            with (folder / "train_log.jsonl").open("a") as log:
                log.write('\n{"step": 3, "loss": 0.123456}')
            grown.set()
        if len(seen) == 2:
            ended.set()

    with hold_lock(folder / ".lock"):
        watching = Thread(target=lambda: watch([folder], page, every_s=1, tell=look))
        watching.start()
        assert grown.wait(PATIENCE_S) and ended.wait(PATIENCE_S)
    watching.join(PATIENCE_S)
    assert not watching.is_alive()
    assert ['http-equiv="refresh" content="1"' in text for text in seen] == [True, True, False]
    assert "0.123456" not in seen[0] and "0.123456" in seen[1]


@pytest.mark.slow
def test_a_hundred_thousand_pairs_are_a_page_in_seconds(
    tmp_path: Path, goal_row: Callable[..., dict[str, object]]
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"settings": {}}')
    words = "A sentence of eight words stands in here. " * 25
    views = pl.DataFrame(
        [goal_row(0, view) for view in ("chosen", "rejected")],
        schema_overrides=dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES),
    )
    at = pl.int_range(100_000, eager=True).cast(pl.String).to_frame("at")

    def write_side(winner: str, loser: str) -> pl.Expr:
        """Write texts that differ from pair to pair, and stand on the other side in the other view."""
        ending = pl.when(pl.col("view") == "chosen").then(pl.lit(winner)).otherwise(pl.lit(loser))
        content = pl.concat_str(pl.lit(words), ending, "at")
        return pl.concat_list(pl.struct(pl.lit("assistant").alias("role"), content.alias("content"), extra=None))

    at.join(views.drop("pair_id", "prompt_id", "goal_pair_id"), how="cross", maintain_order="left_right").with_columns(
        pair_id="at",
        prompt_id="at",
        goal_pair_id=pl.col("at") + "/" + pl.col("view"),
        chosen=write_side("good", "bad").cast(MESSAGES),
        rejected=write_side("bad", "good").cast(MESSAGES),
    ).drop("at").write_parquet(folder / "pairs.parquet")
    began = time.process_time()
    report([folder], tmp_path / "page.html")
    # Processor time, which a busy machine stretches less than the clock; on two busy cores it is about 11 s.
    assert time.process_time() - began < 20
    assert (tmp_path / "page.html").stat().st_size < 8_000_000
    assert "300 of 200,000, evenly spaced" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_a_browser_shows_every_figure_of_a_run_and_an_evaluation(
    run_folder: Callable[..., Path], evaluation_folder: Path, tmp_path: Path
) -> None:
    report([run_folder(), evaluation_folder], tmp_path / "page.html")
    opened = open_page(
        tmp_path / "page.html",
        """[...document.querySelectorAll("figure[id]")].map((f) =>
          [f.id, f.querySelectorAll(".plot svg path").length > 0])""",
    )
    assert opened.console == []
    strips = ("strip-1-1", "strip-3-1", "strip-6-1")
    names = ("evaluation-2-1", "winners-score", "winners-words", "loss", "margins", *strips)
    assert dict(opened.probe) == dict.fromkeys(names, True)


@pytest.mark.slow
def test_filters_survive_the_reload_of_a_page_that_is_written_again(
    run_folder: Callable[..., Path], tmp_path: Path
) -> None:
    report([run_folder()], tmp_path / "page.html", refresh_s=10)
    opened = open_page(
        tmp_path / "page.html",
        """await (async () => {
          const form = document.querySelector(".samples form"), { text, least } = form.elements;
          if (sessionStorage.getItem("probe") === null) {
            sessionStorage.setItem("probe", document.querySelector(".samples .count").textContent);
            text.value = "no such text"; least.value = "2";
            form.dispatchEvent(new Event("input"));
            location.reload();
            await new Promise(() => {});
          }
          const before = sessionStorage.getItem("probe");
          return [before, text.value, least.value, document.querySelector(".samples .count").textContent];
        })()""",
    )
    before, text, least, count = opened.probe
    assert opened.console == [] and not before.startswith("0 of")
    assert (text, least) == ("no such text", "2") and count.startswith("0 of")
