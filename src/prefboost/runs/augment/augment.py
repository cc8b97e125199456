"""`augment`: scored preference data in, goal-conditioned pairs in any trainer's shape out.

Read, scale, pair, relabel, condition, write: batch by batch, so that memory does not grow with the rows, and part by
part, so that the same command after a kill goes on where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prefboost.chat import SayGoal, to_record
from prefboost.chat.goal_text import print_goal
from prefboost.errors import DataError, Place, RunError
from prefboost.preferences import fit_scales
from prefboost.preferences.scales.fit import list_score_columns, read_declared_range
from prefboost.preferences.scales.identity import IdentityScale
from prefboost.preferences.scales.kinds import DeclaredRange
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.runs.augment.output import Output, name_source
from prefboost.runs.augment.report import AugmentFacts, PartCounts, build_report, list_source_settings
from prefboost.runs.augment.selection import Selection
from prefboost.runs.augment.settings import Augment, AugmentProgress, AugmentReport, Watch
from prefboost.runs.folder.staging import Staging, locate_staging, open_staging
from prefboost.runs.preparation import build_renderer, make_goal_pairs, requested_aspects
from prefboost.sources import Collection, File, Source, read_batches
from prefboost.sources.layouts.unmapped import refuse_unmapped
from prefboost.sources.write import push, refuse_repository, shape
from prefboost.sources.writers.exports import export_named
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.tables import Table

if TYPE_CHECKING:
    pass

__all__ = ["Augment", "AugmentReport", "Preview", "augment", "preview"]

_DEFAULT = Augment()
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PREVIEW_RECORDS = 1000


@dataclass(frozen=True)
class Preview:
    """Preview of `augment` on the first records: the guess, the counts, and some rows as they would be written."""

    report: AugmentReport
    rows: Sequence[dict[str, Any]]


def augment(
    source: str | Path | Source,
    out: str | Path,
    settings: Augment = _DEFAULT,
    *,
    overwrite: bool = False,
    push_to: str | None = None,
    progress: Watch | None = None,
) -> AugmentReport:
    """Turn scored preference data into goal-conditioned pairs.

    Args:
        source: a file, folder, glob, saved data set or hub id, or the settings of a source.
        out: a folder (README.md, prefboost.json, rejects.parquet, data/), or one file where the name ends in
            .parquet, .jsonl, .jsonl.gz or .jsonl.zst (its card, manifest and rejects stand beside it).
        settings: what to do.
        overwrite: replace an output of `augment` that was made otherwise; files that it did not write stay.
        push_to: ``owner/name`` on the Hugging Face hub, to which the folder is uploaded as well.
        progress: is called after every batch.

    Returns:
        What was done; ``skipped`` where the same output was already there.

    Raises:
        RunError: the output is an input or lies around one, exists and was made otherwise, the disk is full, or the
            hub does not take it.
        DataError: the source cannot be read, or nothing came out.
    """
    begin = time.monotonic()
    output = Output.at(Path(out), settings, source)
    if push_to is not None:
        output.refuse_file("a single file cannot be pushed: write a folder")
        refuse_repository(push_to)
    report = output.finished()
    if report is None:
        report = _run_parts(output, source, settings, overwrite, progress)
    output.clear()
    address = None
    if push_to is not None:
        address = push(output.path, push_to)
    return replace(report, seconds=time.monotonic() - begin, address=address)


def preview(source: str | Path | Source, settings: Augment = _DEFAULT, *, rows: int = 3) -> Preview:
    """Look at the first records only; nothing is written.

    Args:
        source: as in `augment`.
        settings: as in `augment`; a scale that is fitted to scores is fitted to these records alone.
        rows: how many rows to show.
    """
    export_named(settings.format).refuse_ending(settings.file_type or "parquet", single=False)
