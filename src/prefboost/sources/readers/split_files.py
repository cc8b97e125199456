"""Splits of the files of a folder: by the folder's data card, else by the words in file names."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from prefboost.errors import DataError, Place
from prefboost.sources.readers.endings import CARD

__all__ = ["list_card_files", "choose_split", "list_split_values", "list_files", "find_split_word"]

_SPLITS = {
    **dict.fromkeys(("valid", "val", "dev"), "validation"),
    "training": "train",
    **dict.fromkeys(("testing", "eval", "evaluation"), "test"),
}
"""Words that the `datasets` library takes for a split's name -> the name in tables."""

_SPLIT_WORD = re.compile(r"(?<![a-z])(train|training|test|testing|eval|evaluation|validation|valid|val|dev)(?![a-z])")


def find_split_word(path: Path) -> str | None:
    """Find the split in a path's name: ``data/train-00000-of-00002.parquet`` -> train; None if it names none."""
    words = _SPLIT_WORD.findall(str(path).lower())
    return None if not words else _SPLITS.get(words[-1], words[-1])


def list_files(pattern: str, config: str | None = None) -> dict[Path, str | None] | None:
    """List the files of a folder or glob, each with its split; None where there is no such folder and no pattern.

    Args:
        pattern: a folder (its data card says which files, where it has one; hidden names are passed over) or a glob.
        config: a configuration of the data card.

    Raises:
        DataError: as `list_card_files`.
    """
    path = Path(pattern)
    if path.is_dir():
        card = list_card_files(path, config)
        if card is not None:
            return {file: split for split, file in card}
        visible = (
            item
            for item in path.rglob("*")
            if not any(part.startswith((".", "_")) for part in item.relative_to(path).parts)
        )
        files = [item for item in visible if item.is_file()]
    elif glob.has_magic(pattern):
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute
        files = [Path(item) for item in matches if Path(item).is_file()]
    else:
        return None
    base = path if path.is_dir() else path.parent
    return {file: find_split_word(file.relative_to(base) if file.is_relative_to(base) else file) for file in files}


def list_card_files(folder: Path, config: str | None) -> list[tuple[str, Path]] | None:
    """List the files that a folder's data card (README.md) declares, each with its split.

    Args:
        folder: with or without a card.
        config: the configuration asked for; None: the default, or the only one.

    Returns:
        None where there is no card, it declares no files, or none of them are here.

    Raises:
        DataError: the card declares several configurations and none is the default, or not the one asked for.
    """
    configs = _read_configs(folder / CARD)
    if not configs:
        return None
    names = [str(each.get("config_name", "default")) for each in configs]
    default = [name for name, each in zip(names, configs, strict=True) if each.get("default") or name == "default"]
    chosen = config or (default or names)[0]
    files = {
        name: [(split, path) for split, pattern in _list_patterns(each) for path in sorted(folder.glob(pattern))]
        for name, each in zip(names, configs, strict=True)
    }
    if not any(files.values()):
        return None  # the card was copied without its data, or describes another folder
    if chosen not in names or (config is None and len(names) > 1 and not default):
        raise DataError(
            f"the data card declares the configurations {', '.join(names)}"
            + ("" if config is None else f", not {config!r}"),
            remedy=f"name one: data.config={names[0]} (in a recipe: data: {{kind: file, path: ..., config: ...}})",
            place=Place(str(folder / CARD)),
        )
    return [(split, path) for split, path in files[chosen] if path.is_file()]


def choose_split(splits: Sequence[str | None], name: str | None) -> list[bool] | None:
    """Tell for each file whether it is of the split that is wanted; None where no file is, so that a column may tell.

    A file of a card's split ``test_prefs`` is found by that name and by ``test``.
    """
    if name is None:
        return None
    exact = [split == name for split in splits]
    chosen = exact if any(exact) else [split is not None and _generalize_split(split) == name for split in splits]
    return chosen if any(chosen) else None


def list_split_values(splits: Iterable[str | None]) -> list[str] | None:
    """Return what stands in the column ``split`` for each file; None where the files do not tell two splits apart.

    Files that name no split are trained on.
    """
    values = ["train" if split is None else _generalize_split(split) for split in splits]
    return values if len(set(values)) > 1 else None


def _generalize_split(split: str) -> str:
    """Replace a split by the word of the tables: ``test_prefs`` -> test."""
    return find_split_word(Path(split)) or split


def _read_configs(card: Path) -> list[Mapping[str, Any]]:
    """Return the configurations with files in the front matter of a card; empty where it cannot be read as one."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    front = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    try:
        fields = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        return []
    configs = fields.get("configs") if isinstance(fields, Mapping) else None
    entries = configs if isinstance(configs, list) else []
    return [each for each in entries if isinstance(each, Mapping) and each.get("data_files")]


def _list_patterns(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return split and pattern of each entry of ``data_files``, in all the forms that cards use."""
    files = config["data_files"]
    entries = files if isinstance(files, list) else [files]
    base = str(config.get("data_dir") or "").strip("/")
    pairs = []
    for entry in entries:
        named = entry if isinstance(entry, Mapping) else {"path": entry}
        split, paths = named.get("split", "train"), named.get("path", ())
        for path in paths if isinstance(paths, list) else [paths]:
            relative = f"{base}/{path}" if base else str(path)
            if isinstance(path, str) and not Path(relative).is_absolute() and ".." not in Path(relative).parts:
                pairs.append((str(split), relative))
    return pairs
