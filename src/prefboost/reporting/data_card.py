"""The card that travels with a written data set: README.md, as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["CardStep", "DataCard", "data_card"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class CardStep:
    """One verb's line: rows in, out and set aside."""

    verb: str
    rows_in: int
    rows_out: int
    aside: int


@dataclass(frozen=True)
class DataCard:
    """All that the card says. It holds no time and no machine, so that the same command makes the same card.

    Args:
        name: title of the data set.
        source: where the scored data came from, as the user named it.
        splits: name, pattern of its files, rows.
        pairs: scored pairs that were relabelled.
        export: name, sentence, page and usage of the export format, and the version it was checked against (or none).
        scale: one sentence on the score scale.
        place: where the goal is said, why, and an example text.
        steps: what each verb did.
        rejects: stage, reason, count.
        left_out: the same of what the settings do not ask for.
        rejects_file: where those rows are.
        guess: what the columns were taken for.
        settings: the settings tree.
        provenance: command, version, fingerprint of the input.
        findings: known faults of rows that are in the data set.
    """

    name: str
    source: str
    splits: Sequence[tuple[str, str, int]]
    pairs: int
    export: Mapping[str, str]
    scale: str
    place: tuple[str, str, str]
    steps: Sequence[CardStep]
    rejects: Sequence[Any]
    left_out: Sequence[Any]
    rejects_file: str
    guess: Mapping[str, Any]
    settings: Mapping[str, Any]
    provenance: Mapping[str, str]
    findings: Sequence[str] = ()


def data_card(card: DataCard) -> str:
    """Write the card as Markdown with the front matter of the Hugging Face hub."""
    goal_pairs = sum(rows for _, _, rows in card.splits)
    environment = Environment(
        loader=PackageLoader("prefboost.reporting", "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    place, because, example = card.place
    return environment.get_template("data_card.md").render(
        name=card.name,
        source=card.source,
        splits=card.splits,
        pairs=card.pairs,
        goal_pairs=goal_pairs,
        size_category=next((name for limit, name in _SIZES if goal_pairs < limit), "n>1M"),
        export_name=card.export["name"],
        export_about=card.export["about"],
        export_page=card.export["page"],
        usage=card.export["usage"],
        checked=card.export.get("checked", ""),
        scale=card.scale,
        place=place,
        place_because=because,
        example=example,
        steps=card.steps,
        rejects=card.rejects,
        left_out=card.left_out,
        findings=card.findings,
        rejects_file=card.rejects_file,
        guess=[
            (part, ", ".join(map(str, column)) if isinstance(column, list | tuple) else str(column))
            for part, column in card.guess.items()
            if column not in (None, "", [], {}, ())
        ],
        settings=yaml.safe_dump(dict(card.settings), sort_keys=False, allow_unicode=True, width=110).rstrip(),
        number=lambda value: f"{value:,}",
        cell=lambda text: str(text).replace("|", "\\|").replace("\n", " "),
        **card.provenance,
    )
