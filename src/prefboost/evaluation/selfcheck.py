"""Every benchmark's figures held against published ones, as far as these are on this machine.

Oracles are folders of figures that others computed; what a folder lacks is named as absent, never counted as agreeing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.evaluation.alpaca_oracle import ALPACA_ORACLES
from prefboost.evaluation.arena_hard_oracle import ARENA_ORACLES
from prefboost.evaluation.mt_bench_oracle import MT_ORACLES
from prefboost.evaluation.oracle import Check, Oracle
from prefboost.evaluation.reward_oracle import REWARD_ORACLES

__all__ = ["ORACLES", "PLACES", "Selfcheck", "oracle_folder", "selfcheck"]

ORACLES: tuple[Oracle, ...] = (*ALPACA_ORACLES, *ARENA_ORACLES, *MT_ORACLES, *REWARD_ORACLES)
"""All that is checked."""

PLACES = ("oracles", "../shared/oracles")
"""Where oracles are looked for, seen from the working folder, where none is named."""


@dataclass(frozen=True)
class Selfcheck:
    """What came of it.

    Args:
        folder: of the oracles.
        checks: in the order of `ORACLES`.
        absent: oracle -> what it needs and is not here.
    """

    folder: str
    checks: tuple[Check, ...]
    absent: Mapping[str, str]

    @property
    def is_ok(self) -> bool:
        """Whether no deviation is over the allowed one."""
        return all(check.is_ok for check in self.checks)

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "folder": self.folder, "ok": self.is_ok, "absent": dict(self.absent),
            "checks": [check.record for check in self.checks],
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """A Markdown table: of every check the name that is farthest off, then what was absent."""
        yield "| benchmark | what | figures | published | ours | at | deviation | allowed | ok |"
        yield "|" + "---|" * 9
        for check in self.checks:
            worst = check.worst
            both = " | ".join(_number(side.get(worst)) for side in (check.published, check.ours))
            told = f"{len(check.deviations):,} | {both} | {worst} | {check.deviation:.2g} | {check.allowed:g}"
            yield f"| {check.benchmark} | {check.what} | {told} | {'yes' if check.is_ok else 'NO'} |"
        for name, lacking in self.absent.items():
            yield f"absent: {name} ({lacking})"
        off = sum(not check.is_ok for check in self.checks)
        yield f"{len(self.checks)} checks, {off} over the allowed deviation, {len(self.absent)} oracles absent"


def oracle_folder(given: Path | None, places: Iterable[str] = PLACES) -> Path:
    """The folder of the oracles.

    Args:
        given: by the user; None looks into ``places``.
        places: folders, the first that is there is taken.

    Raises:
        DataError: there is no such folder.
    """
    wanted = [Path(place) for place in places] if given is None else [given]
    for folder in wanted:
        if folder.is_dir():
            return folder
    raise DataError(
        f"there is no folder {' or '.join(map(str, wanted))} with published figures",
        remedy="name one with --oracles; they are not shipped, since the data have licences of their own",
    )


def selfcheck(
    folder: Path, oracles: Sequence[Oracle] = ORACLES, *, tell: Callable[[str], None] = lambda _: None
) -> Selfcheck:
    """Compute every published figure that is there.

    Args:
        folder: with files of published figures.
        oracles: what is checked.
        tell: is told which begins.

    Raises:
        DataError: no oracle is there.
        UnreadableFile: a file is not what it should be.
    """
    checks: list[Check] = []
    absent = dict[str, str]()
    for oracle in oracles:
        lacking = _lacking(folder, oracle)
        if lacking:
            absent[oracle.name] = lacking
            continue
        tell(oracle.name)
        checks += _checked(folder, oracle)
    if not checks:
        raise DataError(
            f"{folder} holds none of the published figures: nothing was checked",
            remedy=f"it needs such files as {', '.join(oracles[0].files[:2])}",
            place=Place(str(folder)),
        )
    return Selfcheck(str(folder), tuple(checks), absent)


def _lacking(folder: Path, oracle: Oracle) -> str:
    missing = [name for name in oracle.files if not (folder / name).is_file()]
    if missing:
        return f"no {', '.join(missing)}"
    if oracle.library and importlib.util.find_spec(oracle.library) is None:
        return f"{oracle.library} is not installed: pip install 'prefboost[eval]'"
    return ""


def _checked(folder: Path, oracle: Oracle) -> list[Check]:
    try:
        return list(oracle.checks(folder))
    except (KeyError, ValueError, TypeError) as error:
        raise UnreadableFile(
            f"{oracle.name} cannot be computed: {type(error).__name__}: {str(error)[:120]}",
            remedy=f"give the published {', '.join(oracle.files)} as they are",
            place=Place(str(folder)),
        ) from error


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")
