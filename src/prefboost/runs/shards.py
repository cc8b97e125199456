"""Shards of a verb's work: each takes the prompts of one residue of a hash, so that no coordinator is needed.

A shard writes its own output with its own store, and a record of what it did. `merge` holds the records against each
other, makes one store of all, and runs the verb once more over the whole input: everything is answered there, so the
output is that of a single run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from prefboost import __version__
from prefboost.addresses import format_place
from prefboost.errors import DataError, Place, RunError, SettingsError
from prefboost.runs.folder.far_staging import read_finished_parts
from prefboost.runs.folder.manifest import hash_path, hash_values, list_input_files
from prefboost.runs.outputs import locate_store
from prefboost.settings import Settings
from prefboost.shelf import open_shelf
from prefboost.sources.readers.pipes import is_stream
from prefboost.tables import REJECTS, Table

__all__ = ["Shard", "ShardRecord", "check_shards", "read_shard_record", "refuse_stream", "write_shard_record"]

_FORM = re.compile(r"(\d+)/(\d+)")
_MOST_LISTED = 5
_IN_PARTS = ("augment", "select")
"""Verbs whose shards are folders of finished parts. They ask no model, so that they have no store."""

_OF_THE_MACHINE = ("base_urls", "api_key_env")
"""Settings that name what answers near a machine; no key of an answer holds them, so shards may differ in them."""


@dataclass(frozen=True)
class Shard:
    """Shard ``index`` (from 0) of ``count``."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``.

        Raises:
            SettingsError: it has another form, or I is not below N.
        """
        match = _FORM.fullmatch(text.strip())
        shard = cls(int(match[1]), int(match[2])) if match else None
        if shard is None or shard.index >= shard.count:
            raise SettingsError(
                f"{text!r} is not a shard", remedy="write --shard I/N with I from 0 to N-1, e.g. --shard 0/8 to 7/8"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def locate(self, out: Path) -> Path:
        """Return the shard's own output: ``scored.parquet`` -> ``scored.shard-2-of-7.parquet``."""
        stem, dot, ending = out.name.partition(".")
        return out.with_name(f"{stem}.shard-{self.index}-of-{self.count}{dot}{ending}")

    def holds(self, prompt_id: str) -> bool:
        """Tell whether a prompt belongs to this shard; the same on every machine and for every version of Polars."""
        digest = hashlib.blake2b(prompt_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index

    def take(self, table: Table) -> Table:
        """Take the rows whose prompts belong to this shard; the rejects of reading stay with shard 0."""
        nothing = pl.DataFrame(schema=REJECTS)

        def choose(frame: pl.DataFrame, _: int) -> tuple[pl.DataFrame, pl.DataFrame]:
            prompts = frame["prompt_id"].unique(maintain_order=True).to_list()
            mine = pl.Series([prompt for prompt in prompts if self.holds(prompt)], dtype=pl.String)
            return frame.filter(pl.col("prompt_id").is_in(mine.implode())), nothing

        rows, _ = table.split(choose, ())
        return table.replace_fields(frame=rows, **({} if self.index == 0 else {"rejects": nothing}))


@dataclass(frozen=True)
class ShardRecord:
    """Record of a finished shard.

    Args:
        path: the shard's output.
        verb: name of the verb.
        shard: which part of how many.
        out: name of the output of the whole.
        arguments: of the verb, with which it is run again over the whole.
        facts: name -> value of everything that all shards must agree in: settings, hashes of inputs, versions.
        rows: rows of the input that belong to the shard; of `augment` and `select`, parts.
    """

    path: Path
    verb: str
    shard: Shard
    out: str
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]
    rows: int


def write_shard_record(
    shard: Shard, out: Path, verb: str, arguments: Mapping[str, Any], settings: Settings, rows: int
) -> Path:
    """Write the record of a finished shard beside its output.

    Args:
        shard: which.
        out: output of the whole.
        verb: name.
        arguments: of the verb; ``source`` or ``prompts`` names the input.
        settings: that it was run with.
        rows: rows of the input that belong to the shard; of `augment` and `select`, parts.

    Returns:
        the file.
    """
    facts = {
        name: value
        for name, value in _list_facts(settings.model_dump(mode="json"), "settings")
        if name.rpartition(".")[2] not in _OF_THE_MACHINE
    }
    facts["prefboost"] = __version__
    facts.update(_hash_inputs(arguments))
    path = shard.locate(out)
    if verb not in _IN_PARTS:  # which load no engine
        from prefboost.engines.store.merge import read_numbers

        if (numbers := read_numbers(locate_store(path))) is not None:
            facts.update(_list_facts(json.loads(numbers), "numbers"))
    record = {
        "verb": verb, "shard": asdict(shard), "out": out.name, "arguments": dict(arguments), "facts": facts,
        "rows": rows,
    }  # fmt: skip
    target = _locate_record(path)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    open_shelf(target.parent).write(target.name, text.encode("utf-8", "backslashreplace"))
    return target


def refuse_stream(name: str) -> None:
    """Refuse a stream as the input of a shard: every shard reads the whole input, and so does `merge`.

    Raises:
        SettingsError: the name is that of standard input, or of a pipe.
    """
    if is_stream(name):
        raise SettingsError(
            f"the input {name} is a stream, which the other shards and prefboost merge could not read again",
            remedy="write it to a file that all shards see, and give that",
        )


def read_shard_record(path: Path) -> ShardRecord:
    """Read the record of a shard by its output's path.

    Raises:
        RunError: there is none: the shard has not finished, or the file is no shard's.
    """
    target = _locate_record(path)
    try:
        record = json.loads(open_shelf(target.parent).read(target.name))
        return ShardRecord(
            path, record["verb"], Shard(**record["shard"]), record["out"], record["arguments"], record["facts"],
            record["rows"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{target.name} is missing or unreadable, so this is no finished shard",
            remedy="run the same command with its --shard again: it resumes",
            place=Place(format_place(path)),
        ) from None


def check_shards(records: Sequence[ShardRecord]) -> None:
    """See that shards make up one whole.

    Raises:
        RunError: a shard is missing, stands twice, belongs to another division or verb, was made with other settings,
            of other input or by another version, or its store is damaged; all faults are named.
        DataError: the input has changed since.
        SettingsError: it was a stream.
    """
    # A shard without rows, as more shards than prompts have, opened no model and so knows no number type.
    first = next((record for record in records if record.rows), records[0])
    faults = []
    for record in records:
        differences = _compare(first, record)
        if differences:
            listed = differences[:_MOST_LISTED]
            if len(differences) > _MOST_LISTED:
                listed.append(f"and {len(differences) - _MOST_LISTED} others")
            faults.append(f"{record.path.name} differs from {first.path.name}: {'; '.join(listed)}")
    by_index: dict[int, list[str]] = {}
    for record in records:
        if record.shard.count == first.shard.count:
            by_index.setdefault(record.shard.index, []).append(format_place(record.path))
        if (damage := _find_damage(record)) is not None:
            faults.append(f"{record.path.name} is damaged ({damage}); delete it and run that shard again")
    doubled = [paths for paths in by_index.values() if len(paths) > 1]
    faults += [f"the same shard stands twice: {' and '.join(paths)}" for paths in doubled]
    missing = [str(Shard(index, first.shard.count)) for index in range(first.shard.count) if index not in by_index]
    if missing:
        faults.append(f"missing: shard {', '.join(missing)}")
    if faults:
        raise RunError(
            f"these shards make no whole: {'; '.join(faults)}",
            remedy="give every shard of one command once; run again what is missing or differs",
        )
    for name, digest in _hash_inputs(first.arguments).items():
        if first.facts.get(name) != digest:
            raise DataError(
                f"the {name} has changed since the shards were made",
                remedy="put the old file back, or run all shards again",
                place=Place(format_place(first.path)),
            )


def _find_damage(record: ShardRecord) -> str | None:
    if record.verb in _IN_PARTS:
        intact = len(read_finished_parts(record.path)[1])
        return None if intact == record.rows else f"{record.rows - intact} of {record.rows} parts"
    from prefboost.engines.store.merge import check_intact

    return check_intact(locate_store(record.path)) if record.rows else None


def _compare(first: ShardRecord, other: ShardRecord) -> list[str]:
    """List what two shards of one command may not differ in."""
    ours, theirs = (
        {"verb": each.verb, "number of shards": each.shard.count, "output": each.out, **each.facts}
        for each in (first, other)
    )
    return [
        f"{name} is {theirs.get(name)!r}, not {ours.get(name)!r}"
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name) and (other.rows or not name.startswith("numbers."))
    ]


def _hash_inputs(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Hash the local files that the arguments name as input; a hub id has none."""
    named = [str(arguments[name]) for name in ("source", "prompts") if arguments.get(name)]
    for name in named:
        refuse_stream(name)
    files = {name: list_input_files(name) for name in named}
    return {f"input {name}": hash_values([hash_path(path) for path in paths]) for name, paths in files.items() if paths}


def _list_facts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _list_facts(inner, f"{name}.{key}")
    else:
        yield name, value


def _locate_record(path: Path) -> Path:
    return path.with_name(f"{path.name}.shard.json")
