"""A run folder: everything that a run made, and ``manifest.json``, which says how to do it again.

The manifest holds the settings, fingerprints of the inputs, versions, and one entry for each finished stage with a key
(a fingerprint of all that the stage depends on). A stage whose key and outputs are unchanged is not run again, so that
the same command after an interruption goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from prefboost import __version__
from prefboost.addresses import find_address
from prefboost.atomic import write_atomically
from prefboost.errors import Place, RunError
from prefboost.runs.folder.staging import remove
from prefboost.settings.secrets import without_secrets
from prefboost.training.claim import LOCK, MANIFEST, TRAINING, TRAINING_LOCK

__all__ = [
    "MANIFEST",
    "Run",
    "list_differences",
    "describe_version",
    "hash_input",
    "hash_path",
    "hash_values",
    "holds_foreign_files",
    "list_input_files",
    "names_input",
    "open_run",
]

_CLEARING = "what an earlier attempt left is being deleted"

_LIBRARIES = ("polars", "pyarrow", "torch", "transformers", "trl", "accelerate", "peft", "datasets")


@dataclass
class Run:
    """A run folder with its manifest."""

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)

    def is_done(self, stage: str, key: str) -> bool:
        """Tell whether a stage was finished with this key, and its outputs are as they were written.

        The manifest is read from disk, so that one process can wait for what another one does.
        """
        entry = self.entry(stage)
        return entry.get("key") == key and not self.list_damaged(stage)

    def entry(self, stage: str) -> dict[str, Any]:
        """Read the manifest's entry of a finished stage; empty where it is not finished."""
        entry: dict[str, Any] = _read_manifest(self.path).get("stages", {}).get(stage, {})
        return entry

    def list_damaged(self, stage: str) -> list[str]:
        """List outputs of a finished stage that are gone, or have another size than when they were written."""
        sizes = self.entry(stage).get("outputs", {})
        paths = {name: self.path / name for name in sizes}
        return [name for name, path in paths.items() if not path.exists() or _measure_size(path) != sizes[name]]

    def read_begun_key(self, stage: str) -> str | None:
        """Read the key with which an unfinished stage was begun; None where none was."""
        key: str | None = _read_manifest(self.path).get("begun", {}).get(stage)
        return key

    def begin(self, stage: str, key: str, scraps: Sequence[str]) -> None:
        """Note that a stage begins. What an earlier, other attempt left is deleted; an equal one may be resumed.

        Args:
            stage: its name.
            key: fingerprint of all that it depends on.
            scraps: names, inside the folder, of what an attempt leaves: outputs, and unfinished work.
        """
        # Read anew: a training in this folder writes its claim into the same file.
        self.manifest = _read_manifest(self.path) or self.manifest
        earlier = self.manifest.setdefault("begun", {}).get(stage)
        finished = self.manifest.setdefault("stages", {}).pop(stage, None)
        if earlier != key and (earlier is not None or finished is not None):
            # Noted first, so that a kill while files are being deleted leaves a stage that is deleted again.
            self.manifest["begun"][stage] = _CLEARING
            self.save()
            for name in scraps:
                if name == MANIFEST:  # of a training in the run folder itself: the claim goes, the run's own lines stay
                    self.manifest.pop(TRAINING, None)
                else:
                    remove(self.path / name)
        self.manifest["begun"][stage] = key
        self.save()

    def do(
        self,
        stage: str,
        key: str,
        outputs: Sequence[str],
        work: Callable[[], Mapping[str, Any]],
        depends: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a stage and note it as finished.

        Args:
            stage: its name.
            key: fingerprint of all that it depends on.
            outputs: names, inside the folder, of the files or folders that it makes.
            work: makes them, and returns what is worth noting (counts, figures).
            depends: what the key is a fingerprint of, to say later why a stage is done again.

        Raises:
            RunError: an output is missing after the work.
        """
        begin = time.monotonic()
        notes = work()
        missing = [name for name in outputs if not (self.path / name).exists()]
        if missing:
            raise RunError(f"stage {stage} ended without its output {missing[0]!r}", place=Place(str(self.path)))
        self.manifest = _read_manifest(self.path) or self.manifest
        self.manifest.setdefault("stages", {})[stage] = {
            "key": key,
            "outputs": {name: _measure_size(self.path / name) for name in outputs},
            "took_s": round(time.monotonic() - begin, 3),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "notes": dict(notes),
        } | ({} if depends is None else {"depends": dict(depends)})
        self.manifest.get("begun", {}).pop(stage, None)
        self.save()

    def notes(self, stage: str) -> dict[str, Any]:
        """Read the notes of a finished stage; empty where it is not finished."""
        notes: dict[str, Any] = self.entry(stage).get("notes", {})
        return notes

    def save(self) -> None:
        """Write the manifest; a reader sees the old one or the new one, never half."""
        from prefboost.statistics.json_form import replace_nan  # with NumPy, which is not needed to open a folder

        # JSON knows no NaN, which the metrics of a diverged training hold: they are null.
        plain = replace_nan(self.manifest)
        text = json.dumps(plain, indent=2, ensure_ascii=False, default=str, allow_nan=False)
        write_atomically(self.path / MANIFEST, without_secrets(text, os.environ) + "\n")


def open_run(
    path: str | Path,
    name: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str] | Iterable[str | Path] = (),
    *,
    revise: bool = False,
) -> Run:
    """Make a run folder, or open the one that an earlier call made.

    Args:
        path: the folder.
        name: what the run is called.
        settings: JSON-able settings that define it.
        inputs: files or folders it reads, whose fingerprints are noted; or the fingerprints, where stages have them.
        revise: take other settings and inputs over into the manifest, with a line of what changed in ``revisions``;
            stages that depend on them are to be done again. Without it such a folder is refused.

    Raises:
        RunError: the folder holds something else: another run (names the settings that differ) or other files.
    """
    folder = Path(path)
    fresh = _describe_call(name, settings, inputs)
    manifest = _read_manifest(folder)
    if manifest and revise:
        return _revise(folder, manifest, fresh)
    if manifest:
        for part in ("settings", "inputs"):
            differing = list_differences(manifest.get(part), fresh[part])
            if differing:
                raise RunError(
                    f"the folder holds a run with other {part}: {'; '.join(differing[:5])}",
                    remedy="give another folder or name to keep both, or delete this one",
                    place=Place(str(folder)),
                )
        return Run(folder, manifest)
    if holds_foreign_files(folder):
        raise RunError(
            "the run folder is not empty, and prefboost did not make it",
            remedy="give an empty or new folder",
            place=Place(str(folder)),
        )
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, fresh)
    run.save()
    return run


def _describe_call(
    name: str, settings: Mapping[str, Any], inputs: Mapping[str, str] | Iterable[str | Path]
) -> dict[str, Any]:
    """Return the manifest of a run that begins now."""
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    return {
        "prefboost": __version__,
        "name": name,
        "settings": json.loads(without_secrets(json.dumps(dict(settings), default=str), os.environ)),
        "inputs": dict(inputs)
        if isinstance(inputs, Mapping)
        else {str(source): hash_input(source) for source in inputs},
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "git": _read_git_revision(),
        "stages": {},
    }


def hash_path(path: str | Path, *, in_place: bool = False) -> str:
    """Hash a file's bytes, or the names and bytes of a folder's files: the first 16 hex digits of SHA-256.

    Args:
        path: a path; or a stream or an address, which is copied to this machine first.
        in_place: read through a file at an address, without a copy.

    Raises:
        RunError: nothing stands at the path, or it cannot be read.
    """
    source = Path(path) if in_place else _copy_stream(Path(path))
    files = sorted(part for part in source.rglob("*") if part.is_file()) if source.is_dir() else [source]
    digest = hashlib.sha256()
    is_far = in_place and find_address(source) is not None
    if is_far:
        from prefboost.sources.readers.remote import open_bytes
    try:
        for file in files:
            if source.is_dir():
                digest.update(str(file.relative_to(source)).encode())
            with open_bytes(file) if is_far else file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise RunError(
            f"cannot read an input: {error.strerror or error}", remedy="check the path", place=Place(str(source))
        ) from None
    return digest.hexdigest()[:16]


def hash_input(name: str | Path) -> str:
    """Hash what an input names: a path (see `hash_path`), the files of a pattern, or sizes and ETags at an address.

    Raises:
        RunError: nothing stands there, or it cannot be read.
        UnreadableFile: the file system of an address cannot be asked.
    """
    if find_address(name) is not None:
        return hash_values(describe_version(str(name)))
    files = [] if Path(name).exists() else list_input_files(str(name))
    return hash_values([(str(file), hash_path(file)) for file in files]) if files else hash_path(name)


def names_input(name: str | Path) -> bool:
    """Tell whether a name stands for files here or at an address, and not for a data set on the hub."""
    return find_address(name) is not None or Path(name).exists() or bool(list_input_files(str(name)))


def list_input_files(name: str) -> list[Path]:
    """List the local files that an input is read from: a file, a folder, a glob or a stream; none for the hub."""
    path = _copy_stream(Path(name).expanduser())
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    matches = glob.glob(str(path), recursive=True) if glob.has_magic(str(path)) else []  # noqa: PTH207 - as it is read
    return sorted(Path(each) for each in matches if Path(each).is_file())


def describe_version(name: str) -> list[tuple[str, int, str]]:
    """Describe the version of each file that an input is read from, without reading it: name, size, time or ETag."""
    if (address := find_address(name)) is not None:
        from prefboost.sources.readers.remote import find_version

        return [(address, *find_version(address))]
    stats = [(path, path.stat()) for path in list_input_files(name)]
    return [(str(path), stat.st_size, str(stat.st_mtime_ns)) for path, stat in stats]


def _copy_stream(path: Path) -> Path:
    """Return the path, or the copy of a stream; only for a stream are the sources (and Polars) loaded."""
    if path.is_file() or path.is_dir():
        return path
    from prefboost.sources.readers.pipes import spool_stream

    return spool_stream(str(path)) or path


def hash_values(*values: Any) -> str:
    """Hash JSON values: the first 16 hex digits of SHA-256."""
    text = json.dumps(values, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def holds_foreign_files(folder: Path) -> bool:
    """Tell whether a path is a file, or a folder with files that are no run's."""
    if not folder.is_dir():
        return folder.exists()
    # A lock is there before the manifest: a call that was killed in between leaves a folder that is still free.
    names = {path.name for path in folder.iterdir()}
    return bool(names - {LOCK, TRAINING_LOCK}) and MANIFEST not in names


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(
            f"the manifest cannot be read: {error}",
            remedy="delete the folder and run again",
            place=Place(str(folder / MANIFEST)),
        ) from None
    if not isinstance(manifest, dict) or "settings" not in manifest:
        raise RunError(
            "this is not the manifest of a run", remedy="give another folder", place=Place(str(folder / MANIFEST))
        )
    return manifest


def _revise(folder: Path, manifest: dict[str, Any], fresh: Mapping[str, Any]) -> Run:
    """Write the present settings into the manifest; what finished stages noted stays."""
    if manifest.get("name") != fresh["name"]:
        raise RunError(
            f"the folder holds a run called {manifest.get('name')!r}, not {fresh['name']!r}",
            remedy="give another folder, or delete this one",
            place=Place(str(folder)),
        )
    changed = [line for part in ("settings", "inputs") for line in list_differences(manifest.get(part), fresh[part])]
    if changed:
        line = {"at": fresh["started"], "changed": changed}
        manifest["revisions"] = [*manifest.get("revisions", []), line]
    history = {
        name: manifest[name] for name in ("started", "stages", "begun", "revisions", TRAINING) if name in manifest
    }
    run = Run(folder, dict(fresh) | history)
    run.save()
    return run


def list_differences(old: Any, new: Any, path: str = "") -> list[str]:
    """List every setting that differs in two trees, as text: ``train.beta was 0.1, is 0.2``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        lines = [list_differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key)) for key in keys]
        return [line for part in lines for line in part]
    return [] if old == new else [f"{path} was {old!r:.60}, is {new!r:.60}"]


def _measure_size(path: Path) -> int:
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def _read_git_revision() -> str | None:
    """Return the revision of the working folder, with ``+changes`` where files differ from it; None outside git."""
    commands = (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain"])
    try:
        revision, changes = (
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision + ("+changes" if changes else "")
