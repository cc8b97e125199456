import json

import pytest

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.runs.evaluate.compare import compare_folders, compare_verdicts


def test_two_evaluations_are_compared_prompt_by_prompt_and_what_one_lacks_is_counted():
    one = [JudgeVerdict(f"p{at}", "a", "x", 0.9 - at / 100) for at in range(20)]
    other = [JudgeVerdict(f"p{at}", "b", "x", 0.5 + at / 100) for at in range(18)]
    line = compare_verdicts(one, other)[-1]
    assert line.startswith("| a | b | +23.00 [")
    assert line.endswith("| 18 | 2 |")
    with pytest.raises(DataError, match="share no prompt"):
        compare_verdicts(one, [JudgeVerdict("else", "b", "x", 0.5)])


def folder(path, benchmark, value):
    path.mkdir(parents=True)
    verdicts = [JudgeVerdict(f"p{at}", "m", "x", value + at / 100) for at in range(9)]
    (path / "verdicts.jsonl").write_text("\n".join(json.dumps(one.record) for one in verdicts))
    (path / "results.json").write_text(json.dumps({"benchmark": benchmark}))


def test_a_folder_of_one_benchmark_is_compared_with_one_of_several(tmp_path):
    folder(tmp_path / "a", "alpaca_eval", 0.6)
    folder(tmp_path / "b" / "alpaca_eval", "alpaca_eval", 0.4)
    folder(tmp_path / "b" / "pairwise", "pairwise", 0.1)
    assert compare_folders(tmp_path / "a", tmp_path / "b")[-1].startswith("| m | m | +20.00 [")
    folder(tmp_path / "c" / "pairwise", "pairwise", 0.2)
    folder(tmp_path / "c" / "alpaca_eval", "alpaca_eval", 0.4)
    lines = compare_folders(tmp_path / "b", tmp_path / "c")
    assert [line for line in lines if line.endswith(":")] == ["alpaca_eval:", "pairwise:"]


def test_folders_without_a_shared_benchmark_are_refused(tmp_path):
    folder(tmp_path / "a", "alpaca_eval", 0.6)
    folder(tmp_path / "b", "pairwise", 0.4)
    with pytest.raises(DataError, match="share no benchmark: alpaca_eval and pairwise"):
        compare_folders(tmp_path / "a", tmp_path / "b")


def test_every_group_is_compared_by_itself_and_holm_counts_all_of_them():
    def rows(shift):
        return [
            JudgeVerdict(f"{group}{at}", "m", "x", (at % 3 + shift * (group == "arc")) / 4, {"group": group})
            for group in ("arc", "gsm8k") for at in range(30)
        ]  # fmt: skip

    head, _, arc, gsm8k = compare_verdicts(rows(1), rows(0))
    assert head.startswith("| of | first | second |")
    assert arc.startswith("| arc | m | m | +25.00 [")
    assert gsm8k.startswith("| gsm8k | m | m | +0.00 [")
    with pytest.raises(DataError, match="arc and gsm8k have nothing in common"):
        compare_verdicts(rows(0)[:30], rows(0)[30:])


def test_grades_are_compared_in_points():
    one, other = ([JudgeVerdict(f"{at}", "m", "turn1", at % 3 + grade) for at in range(9)] for grade in (7, 5))
    assert compare_verdicts(one, other)[-1].startswith("| m | m | +2.00 [")
