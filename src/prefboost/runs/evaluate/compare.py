"""`compare`: models of two evaluations against each other, prompt by prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict, average_by_prompt
from prefboost.evaluation.drift import compare_rejudged
from prefboost.runs.evaluate.evaluate import read_judge_verdicts
from prefboost.statistics import holm, run_paired_test

__all__ = ["compare_verdicts", "compare_folders", "compare_judgings"]


def compare_folders(first: str | Path, second: str | Path, *, judged_again: bool = False) -> list[str]:
    """Compare every benchmark that two folders of `evaluate` share; return Markdown lines.

    Args:
        first: a folder with verdicts.jsonl, or with a folder per benchmark.
        second: another.
        judged_again: hold the judge against itself: the second holds later verdicts on completions of the first.

    Raises:
        DataError: they share no benchmark, or two models no prompt.
    """
    first_files, second_files = _find_verdict_files(Path(first)), _find_verdict_files(Path(second))
    shared = [name for name in first_files if name in second_files]
    if not shared:
        raise DataError(
            f"{first} and {second} share no benchmark: {', '.join(first_files) or 'none'} and "
            f"{', '.join(second_files) or 'none'}",
            remedy="give folders that evaluate wrote, of the same benchmarks",
        )
    lines: list[str] = []
    for name in shared:
        lines += [f"{name}:", ""] if name and len(shared) > 1 else []
        lines += [
            *(compare_judgings if judged_again else compare_verdicts)(
                read_judge_verdicts(first_files[name]), read_judge_verdicts(second_files[name])
            ),
            "",
        ]
    return lines[:-1]


def compare_verdicts(verdicts: Iterable[JudgeVerdict], others: Iterable[JudgeVerdict]) -> list[str]:
    """Compare every model of one evaluation with every model of another, prompt by prompt; return Markdown lines.

    Args:
        verdicts: of the first evaluation.
        others: of the second, with the same prompts.

    Returns:
        a table: difference of mean values (shares in hundredths, grades in points) with its interval, p-value after
        Holm, the smallest difference that such a comparison finds, and how many prompts only one side has; rows of
        their own where verdicts are of several groups (benchmarks of one run, ways of reading an answer).

    Raises:
        DataError: two models share no prompt, or nothing is measured on both sides.
    """
    first_groups, second_groups = _group_verdicts(verdicts), _group_verdicts(others)
    tests = {}
    both = (
        (name, *pair) for name, models in first_groups.items() for pair in product(models, second_groups.get(name, {}))
    )
    for group, first, second in both:
        values, other_values = first_groups[group][first], second_groups[group][second]
        shared = [uid for uid in values if uid in other_values]
        if not shared:
            raise DataError(f"{first} and {second} share no prompt", remedy="compare runs on the same prompts")
        test = run_paired_test([values[uid] for uid in shared], [other_values[uid] for uid in shared])
        tests[group, first, second] = (test, len(values.keys() ^ other_values.keys()))
    if not tests:
        raise DataError(
            f"{', '.join(first_groups) or 'nothing'} and {', '.join(second_groups) or 'nothing'} "
            "have nothing in common",
            remedy="compare runs of the same benchmarks",
        )
    grouped = any(group for group, *_ in tests)
    heads = [*(["of"] if grouped else []), "first", "second", "difference", "p (Holm)", "detectable", "prompts"]
    chances = holm({key: test.chance for key, (test, _) in tests.items()})
    lines = [f"| {' | '.join([*heads, 'on one side'])} |", "|" + "---|" * (len(heads) + 1)]
    for key, (test, alone) in tests.items():
        # Shares are shown in hundredths, grades in points.
        difference, unit = test.difference, 1 if max(first_groups[key[0]][key[1]].values()) > 1 else 100
        ends = f"{unit * difference.estimate:+.2f} [{unit * difference.low:+.2f}, {unit * difference.high:+.2f}]"
        figures = f"{ends} | {chances[key]:.3f} | {unit * test.detectable:.2f}"
        lines.append(f"| {' | '.join(key if grouped else key[1:])} | {figures} | {difference.rows} | {alone} |")
    return lines


def compare_judgings(earlier: Iterable[JudgeVerdict], later: Iterable[JudgeVerdict]) -> list[str]:
    """Compare a judge with itself on the same completions; return Markdown lines with changes in hundredths.

    Raises:
        DataError: see `prefboost.evaluation.drift.compare_rejudged`.
    """
    drift = compare_rejudged(earlier, later)
    change, same = drift.change, drift.same
    moved = "the judge is not the one that it was" if drift.moved else "no drift is to be seen"
    ends = f"{100 * change.estimate:+.2f} [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"
    again = f"{100 * same.estimate:.1f} % [{100 * same.low:.1f}, {100 * same.high:.1f}]"
    return [
        "| later less earlier | same winner | largest change | verdicts | prompts | other completion | missing |",
        "|" + "---|" * 7,
        f"| {ends} | {again} | {100 * drift.largest:.1f} | {drift.verdicts} | {change.clusters} | {drift.other} | "
        f"{drift.missing} |",
        "",
        f"{moved}.",
    ]


def _group_verdicts(verdicts: Iterable[JudgeVerdict]) -> dict[str, dict[str, dict[str, float]]]:
    """Return group that is compared separately -> model -> prompt -> mean value of its rows."""
    groups: dict[str, list[JudgeVerdict]] = {}
    for verdict in verdicts:
        groups.setdefault(str(verdict.facts.get("group", "")), []).append(verdict)
    return {group: average_by_prompt(members) for group, members in groups.items()}


def _find_verdict_files(folder: Path) -> dict[str, Path]:
    """Return benchmark -> file of its verdicts, where it has any; "" where no results beside them name it."""
    places = [folder, *(path for path in sorted(folder.glob("*")) if path.is_dir())]
    files = [place / "verdicts.jsonl" for place in places]
    verdict_files: dict[str, Path] = {}
    for file in files:
        if file.is_file() and file.stat().st_size > 0:
            results = file.with_name("results.json")
            record = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
            verdict_files[str(record.get("benchmark", ""))] = file
    return verdict_files
