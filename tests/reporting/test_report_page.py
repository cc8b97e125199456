"""The page in a browser: figures are drawn, filters work, exports are made, and hostile text is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from headless import open_page

from prefboost.reporting.plots import (
    Axes,
    IntervalPoint,
    Plot,
    plot_curves,
    plot_histogram,
    plot_interval_rows,
    plot_intervals,
)
from prefboost.reporting.report_page import ReportPage, render_report
from prefboost.reporting.samples import SampleCell, Samples, TextSample
from prefboost.reporting.sections import Mark, ReportColumn, ReportTable, Section, Strip, plot_strips
from prefboost.statistics import Interval

HOSTILE = ["<script>alert(1)</script>", "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>',
           "{{ 7 * 7 }}{% raw %}", "</style><b>", "a.b[c]\\'\"", "\u202egnp\x1b[31m"]  # fmt: skip
VALUE = Interval(5.0, 4.0, 6.0, 0.95, 20, 10)


def plots_named(text: str) -> tuple[Plot, ...]:
    curves = {text: [(1, 2.0), (2, float("nan")), (3, 1.0)], "other": [(1, 1.0)]}
    return (
        plot_curves("curves", text, curves, Axes(text, text)),
        plot_intervals("points", text, [IntervalPoint(text, 1.0, VALUE, VALUE), IntervalPoint("other", 2.0, VALUE)],
                       Axes(text, text), joined=True, diagonal=True),
        plot_interval_rows("rows", text, [IntervalPoint(text, text, VALUE), IntervalPoint("other", text, VALUE)], text),
        plot_histogram("bars", text, {text: {text: 1.0, "b": 2.0}, "other": {text: 3.0, "b": 0.0}}, Axes(text, text)),
    )  # fmt: skip


def samples_of(text: str) -> Samples:
    cells = [SampleCell(text, f"{text} {goal}", float(goal), str(goal)) for goal in (1, 7, 10)]
    pairs = [
        TextSample("pairs", f"{text} prompt {at}", (SampleCell("chosen", text, float(at), str(at)),
                                                     SampleCell("rejected", text, 1.0, str(at))), pair=True)
        for at in range(2, 32)
    ]  # fmt: skip
    return Samples(text, (TextSample(text, text, tuple(cells)), *pairs))


def page_with(text: str) -> str:
    table = ReportTable((ReportColumn(text), ReportColumn("n", True)), ((text, "1"),), caption=text)
    sections = [
        Section(text, (text,), tables=(table,), plots=plots_named(text), code=text),
        Section("Samples", samples=samples_of(text)),
    ]
    return render_report(ReportPage(text, text, [text], sections, [text], {text: text}))


class Tags(HTMLParser):
    """Tags of a page with the names of their attributes, without texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_no_tag_of_the_page(text: str) -> None:
    page = page_with(text)
    assert Tags(page).seen == Tags(page_with("harmless")).seen
    specs = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert len(specs) == 4 and not any("<" in spec for spec in specs)
    assert "49" not in page.partition("<body>")[2].partition("<script")[0]


@pytest.mark.slow
def test_a_browser_draws_every_figure_and_shows_hostile_text_as_text(tmp_path: Path) -> None:
    text = "".join(HOSTILE)
    (tmp_path / "page.html").write_text(page_with(text), encoding="utf-8")
    opened = open_page(
        tmp_path / "page.html",
        """{
          drawn: [...document.querySelectorAll("figure")].map((f) =>
            [f.id, f.querySelectorAll(".plot svg path").length]),
          images: document.querySelectorAll("img").length,
          scripts: document.querySelectorAll("script").length,
          title: document.querySelector("h1").textContent,
          prompt: document.querySelector(".sample .prompt").textContent,
          legend: document.querySelector("#curves svg").textContent,
        }""",
    )
    assert opened.console == []
    assert {name for name, marks in opened.probe["drawn"] if marks > 0} == {"curves", "points", "rows", "bars"}
    assert opened.probe["images"] == 0
    assert opened.probe["scripts"] == 4 + 3 + 1, "four specifications, three scripts of the page, and the probe"
    assert "<script>alert(1)</script>" in opened.probe["title"] and "{{ 7 * 7 }}" in opened.probe["title"]
    assert "onerror=alert(1)" in opened.probe["prompt"]
    assert "<script>" in opened.probe["legend"]


@pytest.mark.slow
def test_a_strip_is_a_figure_on_a_screen_and_stands_in_its_table_on_paper(tmp_path: Path) -> None:
    marks = ((Mark(1.0, 3.0, 2.0), Mark(0.0, 9.0, None, 1)), (Mark(4.0, 6.0, 5.0),))
    columns = (ReportColumn("model"), ReportColumn("n", True))
    table = ReportTable(columns, (("first", "2"), ("second", "5")), Strip("rate, %", marks, ("raw", "other"), 3.0))
    section = plot_strips(Section("Figures", tables=(table,)), "strip")
    (tmp_path / "page.html").write_text(render_report(ReportPage("t", "a", [], [section])), encoding="utf-8")
    probe = """{
      dots: document.querySelectorAll("#strip-1 .mark-symbol.role-mark path").length,
      strips: [...document.querySelectorAll("td.drawn")].map((cell) => getComputedStyle(cell).display),
      paper: [...document.styleSheets[0].cssRules].filter((rule) => rule.media).map((rule) => rule.cssText).join(" "),
    }"""
    opened = open_page(tmp_path / "page.html", probe)
    assert opened.console == []
    # A value that is withheld has no dot.
    assert opened.probe["dots"] == 2 and set(opened.probe["strips"]) == {"none"}
    assert ".screen { display: none; }" in opened.probe["paper"]


@pytest.mark.slow
def test_what_a_pointer_shows_is_text(tmp_path: Path) -> None:
    text = "".join(HOSTILE)
    (tmp_path / "page.html").write_text(page_with(text), encoding="utf-8")
    opened = open_page(
        tmp_path / "page.html",
        """(async () => {
          const bar = document.querySelector("#bars svg .mark-rect path"), box = bar.getBoundingClientRect();
          const place = { clientX: box.x + 2, clientY: box.y + 2, bubbles: true, view: window };
          const kinds = ["pointerover", "pointermove", "mousemove"];
          for (const kind of kinds) bar.dispatchEvent(new PointerEvent(kind, place));
          await new Promise((done) => setTimeout(done, 50));
          const tip = document.querySelector(".tip");
          const tags = [...tip.querySelectorAll("*")].map((node) => node.tagName);
          return { hidden: tip.hidden, text: tip.textContent, tags };
        })()""",
    )
    assert opened.console == []
    assert not opened.probe["hidden"]
    assert "<script>alert(1)</script>" in opened.probe["text"] and "onerror=alert(1)" in opened.probe["text"]
    assert set(opened.probe["tags"]) == {"DIV", "SPAN"}


@pytest.mark.slow
def test_a_phone_scrolls_down_alone_and_dark_colours_reach_the_figures(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page_with("a_long_name_without_a_space" * 6), encoding="utf-8")
    opened = open_page(
        tmp_path / "page.html",
        """{
          wide: innerWidth, beyond: document.documentElement.scrollWidth - innerWidth,
          paper: getComputedStyle(document.body).backgroundColor,
          line: getComputedStyle(document.querySelector("#curves .mark-line path")).stroke,
          plots: [...document.querySelectorAll(".plot svg")].map((svg) => svg.getBoundingClientRect().width),
        }""",
        arguments=("--window-size=420,1600", "--blink-settings=preferredColorScheme=0"),
    )
    assert opened.console == []
    assert opened.probe["wide"] <= 500 and opened.probe["beyond"] <= 0
    assert max(opened.probe["plots"]) <= opened.probe["wide"]
    assert opened.probe["paper"] == "rgb(20, 24, 28)" and opened.probe["line"] == "rgb(79, 195, 217)"


@pytest.mark.slow
def test_filters_choose_samples_by_score_goal_group_and_text(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page_with("plain"), encoding="utf-8")
    opened = open_page(
        tmp_path / "page.html",
        """(() => {
          const form = document.querySelector(".samples form");
          const set = (name, value) => { form.elements[name].value = value;
            form.dispatchEvent(new Event("input", { bubbles: true })); };
          const look = () => [form.querySelector(".count").textContent,
            [...document.querySelectorAll(".cell")].filter((c) => c.offsetParent).length];
          const seen = { all: look() };
          set("goal", "10"); seen.goal = look();
          set("goal", ""); set("least", "6"); set("most", "8"); seen.score = look();
          set("least", ""); set("most", ""); set("text", "PROMPT 30"); seen.text = look();
          set("text", ""); set("group", "plain"); seen.group = look();
          set("group", ""); document.querySelector(".more").click(); seen.more = look();
          return seen;
        })()""",
    )
    assert opened.console == []
    assert opened.probe == {
        "all": ["31 of 31 match; 20 shown", 3 + 19 * 2],
        "goal": ["2 of 31 match; 2 shown", 1 + 2],
        "score": ["4 of 31 match; 4 shown", 1 + 3 * 2],
        "text": ["1 of 31 match; 1 shown", 2],
        "group": ["1 of 31 match; 1 shown", 3],
        "more": ["31 of 31 match; 31 shown", 3 + 30 * 2],
    }


@pytest.mark.slow
def test_figures_are_saved_as_svg_and_png_that_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page_with("plain"), encoding="utf-8")
    opened = open_page(
        tmp_path / "page.html",
        """(async () => {
          const saved = [];
          URL.createObjectURL = (blob) => { saved.push(blob); return "blob:none"; };
          HTMLAnchorElement.prototype.click = function () { saved[saved.length - 1].named = this.download; };
          for (const button of document.querySelectorAll("#curves button")) button.click();
          while (saved.length < 2 || !saved.every((blob) => blob.named)) await new Promise((d) => setTimeout(d, 20));
          const svg = saved.find((blob) => blob.named.endsWith("svg"));
          return { names: saved.map((blob) => [blob.named, blob.type, blob.size > 500]).sort(), svg: await svg.text() };
        })()""",
    )
    assert opened.console == []
    assert opened.probe["names"] == [["curves.png", "image/png", True], ["curves.svg", "image/svg+xml", True]]
    assert "var(" not in opened.probe["svg"] and "rgb(11, 114, 133)" in opened.probe["svg"]


def test_a_page_asks_no_network_and_is_read_again_only_while_a_run_goes_on() -> None:
    page = page_with("plain")
    markup = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)|<link|http-equiv=\"refresh\"", markup)
    assert "default-src 'none'" in markup and "sourceMappingURL" not in page
    running = render_report(ReportPage("t", "", [], [], refresh_s=7))
    assert '<meta http-equiv="refresh" content="7">' in running
    assert "<script" not in running, "a page without figures and samples needs no script"


def test_two_figures_of_one_name_are_refused() -> None:
    plot = plot_curves("same", "", {"a": [(1, 1.0)]}, Axes("x", "y"))
    with pytest.raises(AssertionError, match="same"):
        render_report(ReportPage("t", "", [], [Section("a", plots=(plot, plot))]))
