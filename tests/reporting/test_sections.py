from hypothesis import given
from hypothesis import strategies as st

from prefboost.reporting.sections import ReportColumn, ReportTable, Section, number_columns, write_markdown
from prefboost.reporting.texts import flatten_text


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
