"""Compute every published figure that a folder holds, and print how far ours is off.

    python benchmarks/selfcheck.py [FOLDER] [--json]

AlpacaEval 2 (35 models), Arena-Hard-Auto, MT-Bench, RewardBench 1 and 2 and RM-Bench. Without FOLDER the files are
looked for in ``oracles`` and ``../shared/oracles``. An absent file is reported, never counted as agreement. Exit codes:
0 all agree, 1 a deviation is over the allowed one, 2 nothing could be checked.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from published_figures.alpaca import ALPACA_ORACLES
from published_figures.arena_hard import ARENA_ORACLES
from published_figures.mt_bench import MT_ORACLES
from published_figures.oracle import Check, Oracle
from published_figures.reward_models import REWARD_ORACLES

from prefboost.errors import DataError, Place, PrefboostError, UnreadableFile

ORACLES: tuple[Oracle, ...] = (*ALPACA_ORACLES, *ARENA_ORACLES, *MT_ORACLES, *REWARD_ORACLES)

FOLDERS = ("oracles", "../shared/oracles")
"""Where oracles are looked for, relative to the working folder, where none is named."""

DEVIATES = 1
"""Exit code when a figure deviates by more than is allowed."""


@dataclass(frozen=True)
class Selfcheck:
    """Outcome of all comparisons.

    Args:
        folder: folder of the oracles.
        checks: comparisons, in the order of `ORACLES`.
        absent: oracle -> what it needs and is not there.
    """

    folder: str
    checks: tuple[Check, ...]
    absent: Mapping[str, str]

    @property
    def is_ok(self) -> bool:
        return all(check.is_ok for check in self.checks)

    def record(self) -> dict[str, Any]:
        return {
            "folder": self.folder, "ok": self.is_ok, "absent": dict(self.absent),
            "checks": [check.record for check in self.checks],
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """A Markdown table with the worst figure of every check, then what is absent."""
        yield "| benchmark | what | figures | published | ours | at | deviation | allowed | ok |"
        yield "|" + "---|" * 9
        for check in self.checks:
            worst, count = check.worst, f"{len(check.deviations):,}"
            sides = " | ".join(format_number(side.get(worst)) for side in (check.published, check.computed))
            deviation = f"{worst} | {check.deviation:.2g} | {check.allowed:g} | {'yes' if check.is_ok else 'NO'}"
            yield f"| {check.benchmark} | {check.what} | {count} | {sides} | {deviation} |"
        for name, reason in self.absent.items():
            yield f"absent: {name} ({reason})"
        off = sum(not check.is_ok for check in self.checks)
        yield f"{len(self.checks)} checks, {off} over the allowed deviation, {len(self.absent)} oracles absent"


def find_oracle_folder(folder: Path | None, folders: Iterable[str] = FOLDERS) -> Path:
    """Return the folder of the oracles: the given one, or else the first of ``folders`` that exists."""
    candidates = [Path(name) for name in folders] if folder is None else [folder]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise DataError(
        f"there is no folder {' or '.join(map(str, candidates))} with published figures",
        remedy="name one: they are not shipped, since the data have licences of their own",
    )


def compare_figures(
    folder: Path, oracles: Sequence[Oracle] = ORACLES, *, tell: Callable[[str], None] = lambda _: None
) -> Selfcheck:
    """Compute every published figure that is there.

    Raises:
        DataError: no oracle is there.
        UnreadableFile: a file does not hold what it should.
    """
    checks: list[Check] = []
    absent = dict[str, str]()
    for oracle in oracles:
        reason = explain_absence(folder, oracle)
        if reason:
            absent[oracle.name] = reason
            continue
        tell(oracle.name)
        checks += run_oracle(folder, oracle)
    if not checks:
        raise DataError(
            f"{folder} holds none of the published figures: nothing was checked",
            remedy=f"it needs such files as {', '.join(oracles[0].files[:2])}",
            place=Place(str(folder)),
        )
    return Selfcheck(str(folder), tuple(checks), absent)


def explain_absence(folder: Path, oracle: Oracle) -> str:
    missing = [name for name in oracle.files if not (folder / name).is_file()]
    if missing:
        return f"no {', '.join(missing)}"
    if oracle.library and importlib.util.find_spec(oracle.library) is None:
        return f"{oracle.library} is not installed: pip install 'prefboost[eval]'"
    return ""


def run_oracle(folder: Path, oracle: Oracle) -> list[Check]:
    try:
        return list(oracle.checks(folder))
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableFile(
            f"{oracle.name} cannot be computed: {type(error).__name__}: {str(error)[:120]}",
            remedy=f"give the published {', '.join(oracle.files)} as they are",
            place=Place(str(folder)),
        ) from error


def format_number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of published figures")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args(arguments)
    try:
        folder = find_oracle_folder(options.folder)
        outcome = compare_figures(folder, tell=lambda name: print(f"checking {name}", file=sys.stderr))
    except PrefboostError as error:
        print(error, file=sys.stderr)
        return 2
    text = json.dumps(outcome.record(), indent=2, ensure_ascii=False) if options.json else "\n".join(outcome.lines())
    print(text)
    return 0 if outcome.is_ok else DEVIATES


if __name__ == "__main__":
    raise SystemExit(main())
