"""`compare`: models of two evaluations against each other, prompt by prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.prompt_means import prompt_means
from prefboost.evaluation.rejudged import rejudged
from prefboost.runs.evaluate import read_verdicts
from prefboost.statistics import holm, paired_test

__all__ = ["compared", "compared_folders", "drifted"]


def compared_folders(first: str | Path, second: str | Path, *, judged_again: bool = False) -> list[str]:
    """Every benchmark that two folders of `evaluate` share: Markdown lines.

    Args:
        first: a folder with verdicts.jsonl, or with a folder a benchmark.
        second: another.
        judged_again: hold the judge against itself: the second holds later verdicts on completions of the first.

    Raises:
        DataError: they share no benchmark, or two models no prompt.
    """
    one, other = _verdict_files(Path(first)), _verdict_files(Path(second))
    shared = [name for name in one if name in other]
    if not shared:
        raise DataError(
            f"{first} and {second} share no benchmark: {', '.join(one) or 'none'} and {', '.join(other) or 'none'}",
            remedy="give folders that evaluate wrote, of the same benchmarks",
        )
    lines: list[str] = []
    for name in shared:
        lines += [f"{name}:", ""] if name and len(shared) > 1 else []
        lines += [*(drifted if judged_again else compared)(read_verdicts(one[name]), read_verdicts(other[name])), ""]
    return lines[:-1]


def compared(verdicts: Iterable[JudgeVerdict], others: Iterable[JudgeVerdict]) -> list[str]:
    """Every model of one evaluation against every one of another, prompt by prompt: Markdown lines.

    Args:
        verdicts: of the first evaluation.
        others: of the second, with the same prompts.

    Returns:
        a table: difference of mean values in hundredths with its interval, p-value after Holm, the smallest difference
        that such a comparison finds, and how many prompts only one side has.

    Raises:
        DataError: two models share no prompt.
    """
    one, other = prompt_means(verdicts), prompt_means(others)
    tests = {}
    for first in one:
        for second in other:
            shared = [uid for uid in one[first] if uid in other[second]]
            if not shared:
                raise DataError(f"{first} and {second} share no prompt", remedy="compare runs on the same prompts")
            test = paired_test([one[first][uid] for uid in shared], [other[second][uid] for uid in shared])
            tests[first, second] = (test, len(one[first].keys() ^ other[second].keys()))
    chances = holm({pair: test.chance for pair, (test, _) in tests.items()})
    lines = ["| first | second | difference | p (Holm) | detectable | prompts | on one side |", "|" + "---|" * 7]
    for (first, second), (test, alone) in tests.items():
        found = test.difference
        ends = f"{100 * found.estimate:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        figures = f"{ends} | {chances[first, second]:.3f} | {100 * test.detectable:.2f}"
        lines.append(f"| {first} | {second} | {figures} | {found.rows} | {alone} |")
    return lines


def drifted(earlier: Iterable[JudgeVerdict], later: Iterable[JudgeVerdict]) -> list[str]:
    """How far a judge has moved on the same completions: Markdown lines, changes in hundredths.

    Raises:
        DataError: see `prefboost.evaluation.rejudged.rejudged`.
    """
    found = rejudged(earlier, later)
    change, same = found.change, found.same
    moved = "the judge is not the one that it was" if found.moved else "no drift is to be seen"
    ends = f"{100 * change.estimate:+.2f} [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"
    again = f"{100 * same.estimate:.1f} % [{100 * same.low:.1f}, {100 * same.high:.1f}]"
    return [
        "| later less earlier | same winner | largest change | verdicts | prompts | other completion | missing |",
        "|" + "---|" * 7,
        f"| {ends} | {again} | {100 * found.largest:.1f} | {found.verdicts} | {change.clusters} | {found.other} | "
        f"{found.missing} |",
        "",
        f"{moved}.",
    ]


def _verdict_files(folder: Path) -> dict[str, Path]:
    """Benchmark -> its verdicts, where it has any."""
    places = [folder, *(path for path in sorted(folder.glob("*")) if path.is_dir())]
    files = [place / "verdicts.jsonl" for place in places]
    return {_benchmark_of(file): file for file in files if file.is_file() and file.stat().st_size > 0}


def _benchmark_of(verdicts: Path) -> str:
    """What the results beside verdicts are of; empty where there are none."""
    results = verdicts.with_name("results.json")
    return str(json.loads(results.read_text(encoding="utf-8")).get("benchmark", "")) if results.is_file() else ""
