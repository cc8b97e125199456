import json

from hypothesis import given
from hypothesis import strategies as st

from prefboost.reporting.figures import Curve
from prefboost.reporting.sections import (
    Lines,
    Mark,
    ReportColumn,
    ReportTable,
    Section,
    Strip,
    number_columns,
    plot_lines,
    plot_strips,
    write_markdown,
)
from prefboost.reporting.texts import flatten_text
from prefboost.statistics import Interval


def stripped(rows: int, firsts: int = 1000) -> Section:
    """A table with a strip: every row has a value and, of another kind, one that is withheld."""
    marks = tuple((Mark(1.0, 3.0, 2.0), Mark(0.0, 9.0, None, 1)) for _ in range(rows))
    columns = (ReportColumn("model"), ReportColumn("part"), ReportColumn("n", True))
    cells = tuple((f"m{at % firsts}", f"p{at}", "2") for at in range(rows))
    return Section("t", tables=(ReportTable(columns, cells, Strip("raw win rate, %", marks, ("a", "b"), 50.0)),))


def test_a_strip_becomes_a_figure_and_stays_for_paper() -> None:
    section = plot_strips(stripped(2), "strip-1")
    (plot,), (drawn,) = section.plots, section.tables
    assert (plot.name, plot.title, plot.printed) == ("strip-1-1", "Raw win rate, %", False)
    assert drawn.plotted and drawn.strip is not None
    rows = plot.spec["data"]["values"]
    assert [(row["series"], row["x"], row["y"], row["low"], row["high"]) for row in rows[:2]] == [
        ("a", "m0", 2.0, 1.0, 3.0), ("b", "m0", None, 0.0, 9.0)
    ]  # fmt: skip
    assert rows[1]["text"] == "withheld, between 0 and 9"
    json.dumps(plot.spec, allow_nan=False)


def test_rows_of_one_first_cell_are_named_by_all_their_words_and_long_tables_keep_their_strips_alone() -> None:
    named = {row["x"] for row in plot_strips(stripped(3, firsts=2), "s").plots[0].spec["data"]["values"]}
    assert named == {"m0 · p0", "m1 · p1", "m0 · p2"}
    long = plot_strips(stripped(41), "s")
    assert not long.plots and not long.tables[0].plotted
    assert plot_strips(table("a"), "s") == table("a")


def table(*cells: str) -> Section:
    return Section("t", tables=(ReportTable(tuple(ReportColumn(f"c{at}") for at in range(len(cells))), (cells,)),))


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_table_has_as_many_cells_as_columns_whatever_stands_in_them(cells):
    row = write_markdown([table(*cells)]).rstrip("\n").split("\n")[-1]
    bare = row.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == len(cells) + 1
    assert "<" not in bare.replace("\\<", "")


def test_markup_is_text_and_an_interval_stays_as_it_is():
    told = write_markdown([table("<script>", "[x](javascript:y)", "4.0 [-1.0, +2.5]", "*b* `c`", "&lt;")])
    assert r"| \<script\> | \[x\](javascript:y) | 4.0 [-1.0, +2.5] | \*b\* \`c\` | &amp;lt; |" in told


def test_control_characters_and_turns_of_direction_are_shown():
    assert flatten_text("a\x1b[31m\u202eb\nc\td") == "a\ufffd[31m\ufffdb c d"


def test_columns_of_words_end_where_numbers_begin():
    assert ReportTable((ReportColumn("a"), ReportColumn("b"), ReportColumn("c", True)), ()).words == 2


def test_columns_of_numbers_are_set_to_the_right() -> None:
    assert list(number_columns("rows", "mean")) == [ReportColumn("rows", True), ReportColumn("mean", True)]


def curves_of(*names: str) -> Section:
    value = Interval(50.0, 40.0, 60.0, 0.95, 60, 30)
    curves = tuple(Curve(name, {0.0: value, 1.0: value}) for name in names)
    return Section("By length", lines=(Lines("length", "win rate, %", curves, ((0.0, "short"), (1.0, "long")), 50.0),))


def test_curves_of_a_few_models_become_figures_and_those_of_many_stay() -> None:
    few = plot_lines(curves_of("a", "b"), "figure")
    assert not few.lines and [plot.name for plot in few.plots] == ["figure-1"]
    axis = few.plots[0].spec["encoding"]["x"]["axis"]
    assert axis == {"values": [0.0, 1.0], "labelExpr": '{"0": "short", "1": "long"}[datum.value]'}
    assert any(layer.get("data") == {"values": [{"y": 50.0}]} for layer in few.plots[0].spec["layer"])
    many = curves_of(*"abcdefg")
    assert plot_lines(many, "figure") == many
