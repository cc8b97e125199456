"""The guard of every verb that writes: an output never destroys an input, nor files that prefboost did not write."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prefboost.addresses import find_address, format_place
from prefboost.errors import Place, RunError
from prefboost.sources.readers.remote import lies_at, path_exists, would_be_read

__all__ = ["list_output_files", "guard_file", "paths_in", "refuse_foreign", "refuse_inputs"]

_REMEDY = "give another output"


def list_output_files(out: str | Path, *endings: str) -> tuple[Path, ...]:
    """Return an output file and what is written beside it: ``OUT``, ``OUT.rejects.parquet``, ``OUT`` + each ending."""
    target = Path(out) if Path(out).name not in ("", "..") else Path(out).resolve()
    names = (target.name, f"{target.name}.rejects.parquet", *(f"{target.name}{ending}" for ending in endings))
    return tuple(target.with_name(name) for name in names)


def refuse_inputs(
    outputs: Iterable[str | Path], data: Iterable[Any] = (), others: Iterable[Any] = (), *, far: bool = False
) -> None:
    """Refuse outputs that equal an input, contain one, or lie where the next call would read them as data.

    Args:
        outputs: every file and folder that will be written; it need not exist yet.
        data: files, folders and globs that are read whole, or tables and sources with such a ``path``; hub ids and
            what does not exist are passed over. An output inside such a folder is refused, since the next call would
            read it with the data.
        others: further inputs (models, templates, settings that name files): paths, or settings objects whose paths
            are found by `paths_in`. An output may lie inside such a folder.
        far: whether outputs may be addresses of fsspec; elsewhere they are refused.

    Raises:
        RunError: names the output and the input.
    """
    outputs, data, others = list(outputs), list(data), list(others)
    addresses = {output: address for output in outputs if (address := find_address(output)) is not None}
    if addresses:
        refuse_addresses(list(addresses.values()), data, others, far=far)
        # `file://` names a path of this machine, which is held against the others.
        local = [address.removeprefix("file://") for address in addresses.values() if address.startswith("file://")]
        outputs = [*(output for output in outputs if output not in addresses), *local]
    # Only what is read whole endangers an output inside of it; a model's folder may hold one.
    paths = [each if isinstance(each, str | Path) else getattr(each, "path", None) for each in data]
    read_whole = [str(path) for path in paths if path]
    inputs: list[Path] = []
    for source in read_whole:
        if _exists(source):
            inputs.append(_resolve_path(source))
        elif glob.has_magic(source):
            matches = glob.iglob(str(Path(source).expanduser()), recursive=True)  # noqa: PTH207 - it may be absolute
            inputs += map(_resolve_path, matches)
    for each in others:
        named = [str(each)] if isinstance(each, str | Path) else paths_in(each)
        inputs += [_resolve_path(path) for path in named if _exists(path)]
    for output in outputs:
        target = _resolve_path(output)
        for path in inputs:
            if target == path or _is_same_file(target, path):
                raise RunError(f"the output is the input {path}", remedy=_REMEDY, place=Place(str(output)))
            if _lies_in(path, target):
                raise RunError(
                    f"the output folder contains the input {path}, which would be mixed with it or deleted",
                    remedy=_REMEDY,
                    place=Place(str(output)),
                )
        for pattern in read_whole:
            if _would_be_read(target, pattern):
                raise RunError(
                    f"the output is inside the input {pattern}: the next run would read it as data",
                    remedy=_REMEDY,
                    place=Place(str(output)),
                )


def refuse_addresses(outputs: Sequence[str], data: Iterable[Any], others: Iterable[Any], *, far: bool) -> None:
    """Refuse addresses that are inputs, contain one, or lie where data are read; without ``far`` all of them.

    Raises:
        RunError: names the output and the input.
    """
    if not far:
        raise RunError(
            "this command writes to a folder of this machine, not to an address",
            remedy="name a folder with -o, and copy it there",
            place=Place(outputs[0]),
        )
    named = [(each, True) for each in data] + [(each, False) for each in others]
    for each, is_data in named:
        paths = [str(each)] if isinstance(each, str | Path) else [getattr(each, "path", None), *paths_in(each)]
        for read, output in product(filter(None, (find_address(path) for path in paths if path)), outputs):
            if lies_at(read, output):
                raise RunError(f"the output is the input {read}, or contains it", remedy=_REMEDY, place=Place(output))
            # As on this machine: the folder of a model may hold an output.
            if is_data and would_be_read(output, read):
                raise RunError(
                    f"the output is inside the input {read}: the next run would read it as data",
                    remedy=_REMEDY,
                    place=Place(output),
                )


def refuse_foreign(outputs: Sequence[Path], signs: Iterable[Path], verb: str, remedy: str = "") -> None:
    """Refuse to overwrite files that the verb did not write.

    Args:
        outputs: files that will be written.
        signs: files or folders of which the verb leaves one beside its output; one of them shows that it is its own.
        verb: its name.
        remedy: what to do; default: another output, or to delete the file.

    Raises:
        RunError: an output exists without a sign.
    """
    if any(path_exists(sign) for sign in signs):
        return
    for output in outputs:
        if path_exists(output):
            raise RunError(
                f"the file exists, and prefboost {verb} did not write it",
                remedy=remedy or "give another output with -o, or delete the file first",
                place=Place(format_place(output)),
            )


def guard_file(
    out: str | Path | None, verb: str, data: Iterable[Any], others: Iterable[Any], *, store: str | Path | None = None
) -> None:
    """Apply both guards to a verb that writes one file and what stands beside it.

    Args:
        out: the file that will be written, beside it ``OUT.rejects.parquet``, ``OUT.VERB.json`` and ``OUT.store``;
            None: nothing is written.
        verb: its name.
        data: tables, files and folders that are read.
        others: models, templates and so on: settings objects that name them.
        store: a folder in the place of ``OUT.store``, of a verb that leaves nothing else by which to know its output.

    Raises:
        RunError: see `refuse_inputs` and `refuse_foreign`.
    """
    if out is None:
        return
    files = list_output_files(out, f".{verb}.json")
    own_store = files[0].with_name(f"{files[0].name}.store")
    refuse_inputs([*files, own_store], data, others, far=True)
    refuse_foreign(files, [files[-1], own_store, *([] if store is None else [Path(store)])], verb)


def paths_in(settings: Any) -> Iterator[str]:
    """Yield the paths that a settings object names, at any depth.

    A `Path` counts always; text counts where it looks like a path (a separator or an ending) or its field holds
    models, so that ``split: train`` is not taken for a folder ``train``. Names of columns and caches do not count.
    """
    yield from _walk_paths(settings, "")


_NO_INPUTS = ("columns", "reference_cache", "data_dir")
_MODEL_FIELDS = ("path", "model", "policy", "reference", "tokenizer", "embedder", "adapter", "data", "file")


def _walk_paths(value: Any, field: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk_paths(None if name in _NO_INPUTS else getattr(value, name), name)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _walk_paths(inner, str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _walk_paths(inner, field)
    elif isinstance(value, Path):
        yield str(value)
    elif isinstance(value, str) and _looks_like_a_path(value, field):
        yield value


def _looks_like_a_path(text: str, field: str) -> bool:
    if not text or "\n" in text or "\0" in text:
        return False
    return field in _MODEL_FIELDS or "/" in text or "\\" in text or bool(Path(text).suffix)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False  # a name that no file can have: too long, or of a user who does not exist


def _resolve_path(path: str | Path) -> Path:
    return Path(path).expanduser().resolve()


def _is_same_file(first: Path, second: Path) -> bool:
    """Tell whether two names stand for one file: hard links, or names that differ in case only on some disks."""
    try:
        return first.samefile(second)
    except OSError:
        return False


def _lies_in(path: Path, folder: Path) -> bool:
    """Tell whether a path lies in a folder, also where the folder is written in another case or mounted twice."""
    return folder in path.parents or any(_is_same_file(parent, folder) for parent in path.parents)


def _would_be_read(target: Path, pattern: str) -> bool:
    """Tell whether a source that is read again would find the output: hidden names are passed over by readers."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        folder = path.resolve()
        if not _lies_in(target, folder):
            return False
        depth = next(
            at for at, parent in enumerate(target.parents) if parent == folder or _is_same_file(parent, folder)
        )
        return not any(part.startswith((".", "_")) for part in target.parts[-depth - 1 :])
    if path.exists() or not glob.has_magic(pattern):
        return False
    absolute = path.absolute()
    if "**" in absolute.parts:
        return fnmatch.fnmatchcase(str(target), str(absolute).replace("**/", "*"))
    # Part by part, since a star of a glob does not cross folders.
    return len(absolute.parts) == len(target.parts) and all(map(fnmatch.fnmatchcase, target.parts, absolute.parts))
