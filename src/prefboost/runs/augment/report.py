"""The report of `augment`, summed over its batches, the data card, and the command that makes the output again."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prefboost import __version__
from prefboost.chat import SayGoal, goal_text
from prefboost.errors import DataError, Place
from prefboost.preferences import FittedScale
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.recipes.documents import parse_value
from prefboost.reporting.data_card import CardStep, DataCard, data_card
from prefboost.runs.augment.settings import Augment, AugmentReport, Reject
from prefboost.settings import Settings, kind_of
from prefboost.sources import Source
from prefboost.sources.layouts.fitted import LATER_LAYOUTS, add_later_layouts
from prefboost.sources.layouts.unmapped import sum_unmapped
from prefboost.sources.messages.encoded import DECODED_ROWS, ENCODED
from prefboost.sources.rows.identity import PARTED, SHARED
from prefboost.sources.rows.scores import TEN_FOR_ONE
from prefboost.sources.writers.exports import Export, find_export
from prefboost.tables import Table

__all__ = ["AugmentFacts", "PartCounts", "write_card", "list_source_settings", "build_report", "sum_steps"]

ALL = "all"
"""The only split of a single file."""

_SPOTS = {
    "system": "in the system message",
    "user": "before the first user turn's text",
    "after": "after the last user turn's text",
}


@dataclass(frozen=True)
class AugmentFacts:
    """Input and output: the source as named, its fingerprint, the output's name, the settings of the source besides its
    path, and the ending of the files.
    """

    source: str
    fingerprint: str
    name: str
    single: bool
    settings: Augment
    data: Mapping[str, Any] = field(default_factory=dict)
    ending: str = "parquet"


def list_source_settings(source: str | Path | Source) -> dict[str, Any]:
    """Return a source's settings besides its path: kind and what differs from the defaults; nothing of a plain path."""
    if isinstance(source, str | Path):
        return {}
    kind = kind_of(source)
    if not isinstance(source, Settings):
        return {"kind": kind}
    changed = source.model_dump(mode="json", exclude={"kind", "path"}, exclude_defaults=True)
    return {} if kind == "file" and not changed else {"kind": kind, **changed}


@dataclass(frozen=True)
class PartCounts:
    """Counts of one batch."""

    goal_pairs: int
    splits: Mapping[str, int]
    steps: Sequence[Mapping[str, Any]]
    rejects: Sequence[Sequence[Any]]
    trimmed: int = 0

    @classmethod
    def of_table(
        cls, table: Table, goal_pairs: int, splits: Mapping[str, int] | None = None, trimmed: int = 0
    ) -> PartCounts:
        """Count what a batch's table and rejects say."""
        counted = table.rejects.group_by("stage", "reason", maintain_order=True).len()
        steps = [asdict(step) for step in table.steps]
        return cls(goal_pairs, splits or {}, json.loads(json.dumps(steps, default=str)), counted.rows(), trimmed)


def build_report(
    parts: Sequence[PartCounts], about: AugmentFacts, goals: StatedGoals, *, out: str, rejects_path: str
) -> AugmentReport:
    """Add up what became of all batches.

    Raises:
        DataError: no goal pair is left.
    """
    steps = sum_steps(parts)
    rejected: Counter[tuple[str, str]] = Counter()
    splits: Counter[str] = Counter()
    for part in parts:
        splits.update(part.splits)
        for stage, reason, count in part.rejects:
            rejected[stage, reason] += count
    order = [step["verb"] for step in steps]
    rejects = sorted(
        (Reject(stage, reason, count) for (stage, reason), count in rejected.items()),
        key=lambda each: (order.index(each.stage) if each.stage in order else len(order), -each.count, each.reason),
    )
    goal_pairs = sum(part.goal_pairs for part in parts)
    if not goal_pairs:
        why = "; ".join(f"{each.count:,} x {each.reason}" for each in [*rejects, *_count_left_out(steps)][:5])
        raise DataError(
            f"the data gave no goal pair; rejected: {why or 'nothing'}",
            remedy="`prefboost inspect FILE` shows what is in the data",
            place=Place(about.source),
        )
    trimmed = sum(part.trimmed for part in parts)
    where = f"where {about.settings.format} loses the text"
    message = f"{trimmed:,} rows lost white space at the ends of completions, {where}"
    by_verb = {step["verb"]: step for step in steps}
    read = by_verb.get("read", {"notes": {}, "rows_in": 0})
    return AugmentReport(
        out=out,
        format=about.settings.format,
        records=int(read["notes"].get("records", read["rows_in"])),
        pairs=int(by_verb["pair"]["rows_out"]),
        goal_pairs=goal_pairs,
        splits=dict(sorted(splits.items())),
        rejects=tuple(rejects),
        left_out=_count_left_out(steps),
        scale=_describe_scale(goals.scales.get("")),
        place=goals.say.place,
        place_because=goals.because,
        guess=add_later_layouts(read["notes"].get("guess", {}), read["notes"].get(LATER_LAYOUTS, {})),
        rejects_path=rejects_path if rejects else None,
        command=_format_command(about),
        findings=tuple(
            f"{name}: {read['notes'][note]:,} {words}"
            for note, (name, words) in _FINDINGS.items()
            if read["notes"].get(note)
        ),
        messages=(message,) if trimmed else (),
    )


_FINDINGS = {
    SHARED: (
        "shared_prompt_ids",
        "rows have a prompt id that other prompts have too; the prompts' content decides",
    ),
    PARTED: (
        "parted_prompts",
        "rows have a prompt that stands under other ids too; its completions are compared all the same",
    ),
    ENCODED: (
        "encoded_conversation",
        "rows hold a text that looks like a whole conversation (JSON, or rendered by a chat template), taken as it "
        "stands: `prefboost inspect` shows them; write messages instead (role, content), or leave such rows out",
    ),
    DECODED_ROWS: (
        "decoded_conversation",
        "rows held a conversation as one text (JSON, or rendered by a chat template), unlike most: it was decoded to "
        "its messages; columns.plain=[COLUMN] takes texts as they stand",
    ),
    TEN_FOR_ONE: (
        "overall_contradicts_aspects",
        "overall scores of 10 stand beside aspects of 2 or less, most likely a 1 read as 10 (UltraFeedback has 2,628): "
        "data=ultrafeedback drops or mends them (data.fix_overall), data.score=mean scores by the aspects",
    ),
}
"""Notes of the step ``read`` -> the name under which `inspect` knows the fault, and what it means."""


_LEFT_OUT = {
    "records of other splits": "of another split",
    "over_the_cap": "over the cap of its prompt",
    "pairs_left_out_by_fraction": "the prompt was not drawn (fraction)",
}
"""Notes of steps that count what the settings leave out on purpose; such rows are no rejects."""


def _count_left_out(steps: Sequence[Mapping[str, Any]]) -> tuple[Reject, ...]:
    return tuple(
        Reject(step["verb"], reason, int(step["notes"][name]))
        for step in steps
        for name, reason in _LEFT_OUT.items()
        if step["notes"].get(name)
    )


def write_card(
    about: AugmentFacts, report: AugmentReport, parts: Sequence[PartCounts], say: SayGoal, patterns: Mapping[str, str]
) -> str:
    """Write the data card. ``patterns``: split -> pattern of its files."""
    export = find_export(about.settings.format)
    steps = [
        CardStep(step["verb"], step["rows_in"], step["rows_out"], sum(step["rejected"].values()))
        for step in sum_steps(parts)
    ]
    refused = sum(each.count for each in report.rejects if each.stage == "write")
    steps.append(CardStep("write", report.goal_pairs + refused, report.goal_pairs, refused))
    card = DataCard(
        name=about.name,
        source=about.source,
        splits=[("train" if split == ALL else split, patterns[split], rows) for split, rows in report.splits.items()],
        pairs=report.pairs,
        export={
            "name": export.name,
            "about": export.about,
            "page": export.documented_at,
            "usage": _format_usage(export, about, patterns),
            "checked": export.checked,
        },
        scale=report.scale,
        place=(_SPOTS[report.place], report.place_because, goal_text(say, say.high)),
        steps=steps,
        rejects=report.rejects,
        left_out=report.left_out,
        findings=report.findings,
        rejects_file=f"{about.name}.rejects.parquet" if about.single else "rejects.parquet",
        guess=report.guess,
        settings={**({"data": dict(about.data)} if about.data else {}), **about.settings.model_dump(mode="json")},
        provenance={"command": report.command, "version": __version__, "fingerprint": about.fingerprint},
    )
    return data_card(card)


def _format_usage(export: Export, about: AugmentFacts, patterns: Mapping[str, str]) -> str:
    """Show how to point the trainer at the rows, from the folder that the output lies in."""
    first = next((split for split in ("train", *patterns) if split in patterns), "")
    text = export.usage_of_file if about.single else export.usage + (export.usage_of_test if "test" in patterns else "")
    is_parquet = about.ending == "parquet"
    values = {
        "{path}": about.name,
        "{train}": f"{about.name}/{patterns.get(first, '')}",
        "{test}": f"{about.name}/{patterns.get('test', '')}",
        "{scan}": "scan_parquet" if is_parquet else "scan_ndjson",
        "{loader}": "parquet" if is_parquet else "json",
    }
    for word, value in values.items():
        text = text.replace(word, value)
    return text


def sum_steps(parts: Sequence[PartCounts]) -> list[dict[str, Any]]:
    """Sum the steps of all batches, verb by verb."""
    total: dict[str, dict[str, Any]] = {}
    for part in parts:
        for step in part.steps:
            entry = total.setdefault(step["verb"], {**step, "rows_in": 0, "rows_out": 0, "rejected": {}, "notes": {}})
            entry["rows_in"] += step["rows_in"]
            entry["rows_out"] += step["rows_out"]
            entry["rejected"] = dict(sorted((Counter(entry["rejected"]) + Counter(step["rejected"])).items()))
            for name, value in step["notes"].items():
                if name == LATER_LAYOUTS:
                    entry["notes"][name] = sum_unmapped([entry["notes"].get(name, {}), value])
                    continue
                counts = isinstance(value, int) and not isinstance(value, bool)
                entry["notes"][name] = entry["notes"].get(name, 0) + value if counts else value
    return list(total.values())


def _describe_scale(scale: FittedScale | None) -> str:
    if scale is None:
        return "scores are kept as the source has them"
    low, high = scale.values[0], scale.values[-1]
    ends = f"{low:g} (lowest) to {high:g} (highest)"
    why = f" ({scale.because}: data.score_range=[LOW,HIGH] or scale=... says otherwise)" if scale.because else ""
    if scale.is_identity:
        return f"{ends}, as the source has them" + ("; scores outside are rejected" if scale.strict else "") + why
    return f"{ends}, fitted as {scale.kind} to source scores {scale.knots[0]:g} to {scale.knots[-1]:g}{why}"


def _format_command(about: AugmentFacts) -> str:
    """Format the command that makes the same output again, with the settings that differ from their defaults."""
    plain, settings = Augment().model_dump(mode="json"), about.settings.model_dump(mode="json")
    words = [f"data.{key}={_format_override(value)}" for key, value in about.data.items()]
    for name, value in settings.items():
        if value == plain[name] or name == "format":
            continue
        if name in ("columns", "condition"):
            changed = {f"{name}.{key}": each for key, each in value.items() if each != plain[name][key]}
        else:
            changed = {name: value}
        words += [f"{key}={_format_override(each)}" for key, each in changed.items()]
    shape = [] if about.settings.format == "prefboost" else ["--format", about.settings.format]
    return shlex.join(["prefboost", "augment", about.source, "-o", about.name, *shape, *words])


def _format_override(value: Any) -> str:
    """Format a value as an override that is read back unchanged."""
    plain = isinstance(value, str) and not value.startswith(("[", "{", "'", '"')) and parse_value(value, "") == value
    return value if plain else json.dumps(value, ensure_ascii=False)
