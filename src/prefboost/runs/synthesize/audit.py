"""Files of synthetic pairs audited side by side, with a judge and an embedding model where they are named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from prefboost.chat import join_text
from prefboost.engines.call_session import CallSession
from prefboost.engines.store.opening import open_store
from prefboost.errors import Place, UnreadableFile
from prefboost.preferences.draw import draw_rank
from prefboost.scoring.judges.judge import JUDGES, Judge
from prefboost.settings import Settings, choice
from prefboost.sources import read
from prefboost.synthesis.audit import Audit, audit, label_noise
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.diversity import measure_spread
from prefboost.synthesis.rlaif import name_judge
from prefboost.tables import Table

__all__ = ["Auditing", "audit_file", "is_synthetic"]


class Auditing(Settings):
    """Settings of an audit of synthetic pairs."""

    judge: Annotated[Judge, choice(JUDGES)] | None = Field(
        None, description="Judges pairs anew, in both orders; none: the labels are not checked."
    )
    embedder: str | None = Field(
        None, description="Model whose embeddings tell how far texts are spread: a folder, a hub id or package:NAME."
    )
    pairs: int = Field(200, ge=1, description="Pairs of a file that are judged and embedded, drawn.")
    seed: int = Field(0, description="Seed of that draw.")


def is_synthetic(path: str | Path) -> bool:
    """Tell whether a file says how its pairs were made; looks at names of columns alone."""
    file = Path(path)
    try:
        if file.suffix == ".parquet" and file.is_file():
            return "lineage" in pl.read_parquet_schema(file)
        if file.suffix == ".jsonl" and file.is_file():
            with file.open("rb") as stream:
                return b'"lineage"' in stream.readline()
    except (OSError, pl.exceptions.PolarsError):  # whoever reads it for good says what is wrong
        return False
    return False


def audit_file(path: str | Path, settings: Auditing) -> Audit:
    """Audit a file that `prefboost synthesize` wrote.

    Args:
        path: the file; what was spent for it is read from ``PATH.synthesize.json``. What a judge says is kept in
            ``PATH.audit.store``, so that it is not asked twice.
        settings: judge, embedding model, and how many pairs they see.

    Raises:
        DataError: no pair has a lineage, or none could be judged.
        ModelError: a model cannot be loaded.
    """
    table = read(path)
    drawn = table.frame.filter(draw_rank(settings.seed, "pair_id").rank("ordinal") <= settings.pairs)
    some = Table(table.spec, drawn, path=table.path)
    vectors = math.nan
    if settings.embedder is not None:
        from prefboost.engines.models.embeddings import embed_texts

        texts = [join_text(completion) for side in ("chosen", "rejected") for completion in some.frame[side]]
        vectors = measure_spread(embed_texts(settings.embedder, texts))
    noise, file = None, Path(path)
    if settings.judge is not None:
        with open_store(file.with_name(f"{file.name}.audit.store")) as store:
            noise = label_noise(some, settings.judge, name_judge(settings.judge), Calls(CallSession(store)))
    return audit(table, _read_history(file), noise, vectors)


def _read_history(path: Path) -> dict[str, Any]:
    file = path.with_name(f"{path.name}.synthesize.json")
    if not file.exists():
        return {}
    try:
        history: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(
            f"what was spent cannot be read: {error}",
            remedy="delete the file to audit without it",
            place=Place(str(file)),
        ) from error
    return history
