import math

from prefboost.evaluation.results import Figure, Results
from prefboost.reporting.evaluation.results import (
    build_cost_section,
    build_figures_section,
    build_goals_section,
    build_groups_section,
    build_missing_section,
    build_run_section,
    format_interval,
    rank_models,
    split_goal,
)
from prefboost.statistics import Interval


def at(value: float) -> Interval:
    return Interval(value, value - 2, value + 2, 0.95, rows=20, clusters=10)


def rate(model: str, value: float | None, group: str = "", name: str = "win_rate", **more: object) -> Figure:
    return Figure(name, model, None if value is None else at(value), 0 if value else 5, 20, group, **more)


def results(*figures: Figure, **facts: object) -> Results:
    return Results("alpaca_eval", "robust", figures, facts=facts)


def test_raw_and_length_controlled_stand_side_by_side_best_first_and_withheld_last():
    section = build_figures_section(
        results(
            rate("held", None, bounds=(10.0, 30.0)),
            rate("low", 40, name="lc_win_rate", note="minimal"), rate("low", 45),
            rate("high", 60, name="lc_win_rate"), rate("high", 55),
        )
    )  # fmt: skip
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["high", "low", "held"]
    assert table.rows[0][1:3] == ("55.00 [53.0, 57.0]", "60.00 [58.0, 62.0]")
    assert "withheld: 10.0 to 30.0" in table.rows[2]
    assert [len(row) for row in table.strip.marks] == [2, 2, 1]
    assert table.strip.reference == 50
    assert "minimal" in section.notes[0]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_benchmark_of_categories_alone_has_a_row_for_each_and_no_second_table():
    only = results(rate("a", 60, "coding"), rate("a", 40, "math"))
    assert [row[:2] for row in build_figures_section(only).tables[0].rows] == [("a", "coding"), ("a", "math")]
    assert build_groups_section(only) is None


def test_separability_is_told_where_there_are_three_models():
    notes = build_figures_section(results(rate("a", 60), rate("b", 50), rate("c", 51))).notes
    assert notes == ("Separability: the intervals of 67% of pairs of models do not overlap.",)
    assert build_figures_section(results(rate("a", 60), rate("b", 50))).notes == ()


def test_parts_beside_the_whole_have_a_table_of_their_own():
    section = build_groups_section(results(rate("a", 50), rate("a", 60, "coding"), rate("a", 40, "math")))
    assert [column.name for column in section.tables[0].columns] == ["model", "coding", "math"]


def test_a_sweep_of_goals_is_drawn_and_one_goal_is_not():
    swept = build_goals_section(results(rate("m@1", 30), rate("m@10", 60), rate("start", 50)))
    (lines,) = swept.lines
    assert [(goal, mean.estimate) for goal, mean in lines.curves[0].points.items()] == [(1.0, 30), (10.0, 60)]
    assert [row[:2] for row in swept.tables[0].rows] == [("m", "1"), ("m", "10")]
    assert build_goals_section(results(rate("m@1", 30), rate("start", 50))) is None


def test_a_goal_is_a_number_behind_the_last_at_sign():
    assert split_goal("org/m@2@7.5") == ("org/m@2", 7.5)
    assert split_goal("@7") == ("@7", None)


def test_what_is_missing_is_named_with_its_reason_and_bounds():
    section = build_missing_section(results(rate("m", None, bounds=(10.0, 30.0))), {"m": {"the server is gone": 5}})
    assert section.tables[0].rows == (("m", "the server is gone", "5", "win rate", "10.0 to 30.0"),)
    assert build_missing_section(results(rate("m", 50)), {}) is None


def test_cost_is_shown_for_each_who_was_asked_and_dollars_only_where_they_are_known():
    told = build_cost_section(results(cost={"judge": {"calls": 1200, "dollars": 7.456}, "models": {"calls": 5}}))
    assert told.tables[0].rows == (("judge", "1,200", "$7.46"), ("models", "5", "–"))
    assert build_cost_section(results(cost={"calls": 3})).tables[0].rows == (("all", "3"),)
    assert build_cost_section(results()) is None
    told = build_cost_section(results(run={"cost": {"this call": {"requests": 5, "tokens": 7, "dollars": 0.0}}}))
    assert [column.name for column in told.tables[0].columns] == ["asked", "calls", "tokens written"]
    assert "No prices" in told.notes[0]


def test_every_setting_of_the_run_has_a_row():
    rows = dict(
        build_run_section(results(baseline="b", rules={"interval": {"seed": 3}}, judges=["x", "y"])).tables[0].rows
    )
    assert rows == {
        "benchmark": "alpaca_eval", "mode": "robust", "baseline": "b", "judges": "x, y", "rules.interval.seed": "3",
    }  # fmt: skip


def test_what_a_run_told_of_itself_is_shown_without_cost_and_judge():
    told = {"cost": {"requests": 1}, "judge": {"identity": "j"}, "models": {"m": {"goal": 7.0, "goal text": None}}}
    rows = dict(build_run_section(results(run=told)).tables[0].rows)
    assert rows == {"benchmark": "alpaca_eval", "mode": "robust", "models.m.goal": "7.0"}


def test_a_number_without_known_ends_is_shown_alone():
    assert format_interval(Interval(4.0, math.nan, math.nan, 0.95, 1, 1)) == "4.00"
    assert rank_models(results(rate("a", 1), rate("b", 2))) == ["b", "a"]
