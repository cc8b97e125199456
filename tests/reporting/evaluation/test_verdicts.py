import pytest
from made_verdicts import made, results

from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.reporting.evaluation.verdicts import (
    build_category_section,
    build_differences_section,
    build_judge_section,
    build_length_section,
    build_order_section,
    count_faults,
    name_baseline,
)


def test_every_model_is_compared_with_the_baseline_and_with_every_other():
    verdicts = [*made("one", 0.7), *made("other", 0.5)]
    section = build_differences_section(results("one", "other", baseline="base"), verdicts, ["one", "other"])
    rows = {row[:2]: row for row in section.tables[0].rows}
    assert set(rows) == {("one", "base"), ("other", "base"), ("one", "other")}
    assert rows["one", "base"][3] == "< 0.001"
    assert rows["one", "base"][2].startswith("+")


def test_many_models_are_compared_with_the_next_in_rank_alone():
    names = [f"m{'x' * at}" for at in range(7)]
    verdicts = [one for at, name in enumerate(names) for one in made(name, 0.3 + 0.05 * at)]
    rows = build_differences_section(results(*names), verdicts, names).tables[0].rows
    assert len(rows) == 7 + 6


def test_grades_are_compared_with_each_other_and_not_with_one_half():
    verdicts = [JudgeVerdict(f"p{at}", model, "turn1", 5.0 + bonus + at % 3) for at in range(20)
                for model, bonus in (("a", 1), ("b", 0))]  # fmt: skip
    rows = build_differences_section(results("a", "b", name="score"), verdicts, ["a", "b"]).tables[0].rows
    assert [row[:3] for row in rows] == [("a", "b", "+1.00 [+1.0, +1.0]")]


def test_one_model_with_one_prompt_has_no_differences():
    assert build_differences_section(results("m"), made("m", 0.5, count=1), ["m"]) is None


def test_length_is_a_multiple_of_the_baselines_and_few_verdicts_are_not_shown():
    section = build_length_section(made("m", 0.6), ["m"])
    (curve,) = section.lines[0].curves
    assert list(curve.points) == [0, 1, 2, 3, 4]
    assert all("n=12" in cell for cell in section.tables[0].rows[0][1:6])
    few = build_length_section([*made("few", 0.6, count=2), *made("m", 0.6)], ["few", "m"])
    assert [curve.name for curve in few.lines[0].curves] == ["m"] and len(few.tables[0].rows) == 2
    assert build_length_section(made("m", 0.6, count=2), ["m"]).lines == (), "a figure without a point says nothing"
    assert build_length_section([JudgeVerdict("p", "m", "one", 0.5)], ["m"]) is None


def test_a_judge_who_prefers_the_second_place_is_seen():
    (row,) = build_order_section(results("m"), made("m", 0.5, sway=0.3), ["m"]).tables[0].rows
    assert float(row[2].split()[0]) - float(row[1].split()[0]) == pytest.approx(60, abs=5)
    assert row[4].startswith(("0.0", "1", "2", "3"))
    assert build_order_section(results("m"), [JudgeVerdict("p", "m", "one", 0.5)], ["m"]) is None


def test_categories_have_columns_where_there_are_two_of_them():
    (table,) = build_category_section(made("m", 0.5), ["m"]).tables
    assert [column.name for column in table.columns] == ["model", "a", "b"]
    assert build_category_section([JudgeVerdict("p", "m", "one", 0.5)], ["m"]) is None


def test_judges_are_named_with_what_they_did_not_answer_and_how_far_they_agree():
    verdicts = [*made("m", 0.7, judge="first"), *made("m", 0.7, judge="second")]
    verdicts.append(JudgeVerdict("q", "m", "one", None, judge="first", fault="no verdict"))
    section = build_judge_section(results("m"), verdicts)
    judges, agreed = section.tables
    assert "alpha of 2 judges on who won: 1.00" in section.notes[0]
    assert judges.rows[0][:3] == ("first", "61", "1")
    assert agreed.rows[0][:4] == ("first", "second", "60", "100.0")
    assert build_judge_section(results("m"), made("m", 0.5)) is None


def test_the_canary_stands_with_the_judge():
    tables = build_judge_section(
        results("m", canary={"asked_again": 50, "agree": 0.98}), made("m", 0.5, judge="j")
    ).tables
    assert tables[-1].rows == (("asked again", "50"), ("agree", "0.98"))


def test_who_answered_when_stands_with_the_judge():
    seen = {"answered as": [{"model": "gpt-x-0806", "fingerprint": "", "date": "2026-11-21"}]}
    tables = build_judge_section(results("m", run={"judge": seen}), made("m", 0.5, judge="j")).tables
    assert tables[-1].rows == (("gpt-x-0806", "–", "2026-11-21"),)


def test_faults_are_counted_by_reason():
    verdicts = [JudgeVerdict(f"{at}", "m", "one", None, fault=("x", "")[at % 2]) for at in range(5)]
    assert count_faults(verdicts) == {"m": {"x": 3, "no reason is known": 2}}


def test_the_baseline_is_found_wherever_a_benchmark_keeps_it():
    assert name_baseline(results("m", settings={"baseline": "s"})) == "s"
    assert name_baseline(results("m", baselines={"coding": "x", "math": "x", "creative": "y"})) == "x, y"
    assert name_baseline(results("m")) == "baseline"
