"""The place of an output at an address, put together there: an object store copies the parts by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefboost.addresses import find_address
from prefboost.runs.folder.far_staging import FarStaging, open_far_staging
from prefboost.runs.folder.output_place import BESIDE, MANIFEST, OutputPlace, WriteFinal
from prefboost.runs.folder.staging import Staging, locate_staging
from prefboost.shelf import Shelf, open_shelf
from prefboost.sources.readers.remote import explain_far, forget_fetched, put_output

__all__ = ["FarPlace", "locate_place", "makes_commits", "stage_locally"]

_PUBLISHING = "publishing"
"""Note of the staging folder: parts are being copied to the output's place, which a restarted command may overwrite."""

_COMMITS = "hf:"
"""File systems on which each file is a commit: nothing is put there before all is finished."""


class FarPlace(OutputPlace):
    """An `OutputPlace` whose path is an address."""

    def read_report(self) -> dict[str, Any] | None:
        """See `OutputPlace.read_report`."""
        with explain_far(self.path):
            return super().read_report()

    def list_existing(self) -> list[str]:
        """See `OutputPlace.list_existing`; what a killed command of the same key was copying does not count."""
        with explain_far(self.path):
            waiting = open_shelf(locate_staging(self.path))
            if waiting.exists(f"{_PUBLISHING}.json") and self.parts_key.encode() in waiting.read("key.json"):
                return []
            if not self.single:
                return sorted(self._shelf.find_files(self.path.name))
            beside = (self.path.name, *map(self.beside, BESIDE))
            return [name for name in beside if self._shelf.exists(name)]

    def measure(self, names: Iterable[str]) -> dict[str, int]:
        """See `OutputPlace.measure`."""
        sizes = self._shelf.list_files("") if self.single else self._shelf.find_files(self.path.name)
        return {name: sizes[name] for name in names if name in sizes}

    def read_file(self, name: str) -> bytes:
        """See `OutputPlace.read_file`."""
        return self._shelf.read(self._name_on_shelf(self.beside(name)))

    @contextmanager
    def open_staging(self) -> Iterator[Staging]:
        """See `OutputPlace.open_staging`."""
        with open_far_staging(locate_staging(self.path), self.parts_key) as staging:
            yield staging

    def publish(self, staging: Staging, write_final: WriteFinal) -> None:
        """See `OutputPlace.publish`: the manifest comes last, and a kill leaves what the same command completes."""
        assert isinstance(staging, FarStaging)
        with tempfile.TemporaryDirectory(prefix="prefboost-") as here:
            final = Path(here)
            moved = write_final(final)
            old = self.read_manifest().get("files", {})
            staging.note(_PUBLISHING, {"files": sorted(moved)})
            self._shelf.remove(self._name_on_shelf(self.beside(MANIFEST)))
            for name, part in moved.items():
                self._shelf.copy(f"{part.parent.name}/{part.name}", self._name_on_shelf(name))
            written = {path.relative_to(final).as_posix(): path for path in final.rglob("*") if path.is_file()}
            for name in sorted(written, key=lambda name: name.endswith(MANIFEST)):
                if name.endswith(MANIFEST):
                    for left_over in old.keys() - moved.keys() - written.keys():
                        self._shelf.remove(self._name_on_shelf(left_over))
                self._shelf.put(written[name], self._name_on_shelf(name))
        forget_fetched(find_address(self.path.parent if self.single else self.path) or "")

    def clear(self) -> None:
        """See `OutputPlace.clear`."""
        with explain_far(self.path):
            waiting = open_shelf(locate_staging(self.path))
            if waiting.exists("key.json"):
                waiting.clear()

    @property
    def _shelf(self) -> Shelf:
        """The folder that holds the output and its staging folder, so that files are copied between them."""
        return open_shelf(self.path.parent)

    def _name_on_shelf(self, name: str) -> str:
        return name if self.single else f"{self.path.name}/{name}"


def locate_place(verb: str, path: Path, key: str, *, single: bool) -> OutputPlace:
    """Describe the place of an output at a path or an address; see `OutputPlace`."""
    return (OutputPlace if find_address(path) is None else FarPlace)(verb, path, single, key)


def makes_commits(path: str | Path) -> bool:
    """Tell whether each file that is put at a path is a commit, so that nothing is put there before all is finished."""
    return (find_address(path) or "").startswith(_COMMITS)


@contextmanager
def stage_locally(place: OutputPlace, *, overwrite: bool) -> Iterator[OutputPlace]:
    """Give the place of an output on this machine; of one at an address, what is put there once the block ends.

    Args:
        place: at which nothing stands that may not be replaced (`OutputPlace.refuse_existing`).
        overwrite: what prefboost wrote there is replaced.

    Raises:
        RunError: the file system refuses.
    """
    if (address := find_address(place.path)) is None:
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="prefboost-") as folder:
        local = Path(folder) / place.path.name
        yield OutputPlace(place.verb, local, place.single, place.key, place.executor)
        for path in [local, *sorted(Path(folder).glob(f"{local.name}.*"))] if local.is_file() else [local]:
            put_output(path, f"{address.rstrip('/')}{path.name.removeprefix(local.name)}", overwrite=overwrite)
