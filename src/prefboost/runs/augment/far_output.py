"""The output of `augment` at an address, put together there: an object store copies the parts by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefboost.addresses import find_address
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.runs.augment.output import MANIFEST, Output
from prefboost.runs.augment.report import PartCounts
from prefboost.runs.augment.settings import Augment, AugmentReport
from prefboost.runs.folder.far_staging import FarStaging, open_far_staging
from prefboost.runs.folder.staging import Staging, locate_staging
from prefboost.shelf import Shelf, open_shelf
from prefboost.sources import Source
from prefboost.sources.readers.remote import explain_far, forget_fetched

__all__ = ["FarOutput", "locate_output"]

_PUBLISHING = "publishing"
"""Note of the staging folder: parts are being copied to the output's place, which a restarted command may overwrite."""


class FarOutput(Output):
    """An `Output` whose path is an address."""

    def read_finished(self) -> AugmentReport | None:
        """See `Output.read_finished`."""
        with explain_far(self.path):
            return super().read_finished()

    def list_existing(self) -> list[str]:
        """See `Output.list_existing`; what a killed command of the same key was copying does not count."""
        with explain_far(self.path):
            waiting = open_shelf(locate_staging(self.path))
            if waiting.exists(f"{_PUBLISHING}.json") and self.parts_key.encode() in waiting.read("key.json"):
                return []
            if not self.single:
                return sorted(self._shelf.find_files(self.path.name))
            beside = (self.path.name, *map(self.beside, ("card.md", MANIFEST, "rejects.parquet")))
            return [name for name in beside if self._shelf.exists(name)]

    def measure(self, names: Iterable[str]) -> dict[str, int]:
        """See `Output.measure`."""
        sizes = self._shelf.list_files("") if self.single else self._shelf.find_files(self.path.name)
        return {name: sizes[name] for name in names if name in sizes}

    def read_file(self, name: str) -> bytes:
        """See `Output.read_file`."""
        return self._shelf.read(self._locate(self.beside(name)))

    @contextmanager
    def open_staging(self) -> Iterator[Staging]:
        """See `Output.open_staging`."""
        with open_far_staging(locate_staging(self.path), self.parts_key) as staging:
            yield staging

    def publish(self, staging: Staging, report: AugmentReport, parts: Sequence[PartCounts], goals: StatedGoals) -> None:
        """See `Output.publish`: the manifest comes last, and a kill leaves what the same command completes."""
        assert isinstance(staging, FarStaging)
        with tempfile.TemporaryDirectory(prefix="prefboost-") as here:
            final = Path(here)
            moved = self.write_final(final, staging, report, parts, goals)
            old = self.read_manifest().get("files", {})
            staging.note(_PUBLISHING, {"files": sorted(moved)})
            self._shelf.remove(self._locate(self.beside(MANIFEST)))
            for name, part in moved.items():
                self._shelf.copy(f"{part.parent.name}/{part.name}", self._locate(name))
            written = {path.relative_to(final).as_posix(): path for path in final.rglob("*") if path.is_file()}
            for name in sorted(written, key=lambda name: name.endswith(MANIFEST)):
                if name.endswith(MANIFEST):
                    for left_over in old.keys() - moved.keys() - written.keys():
                        self._shelf.remove(self._locate(left_over))
                self._shelf.put(written[name], self._locate(name))
        forget_fetched(find_address(self.path.parent if self.single else self.path) or "")

    def clear(self) -> None:
        """See `Output.clear`."""
        with explain_far(self.path):
            waiting = open_shelf(locate_staging(self.path))
            if waiting.exists("key.json"):
                waiting.clear()

    @property
    def _shelf(self) -> Shelf:
        """The folder that holds the output and its staging folder, so that files are copied between them."""
        return open_shelf(self.path.parent)

    def _locate(self, name: str) -> str:
        return name if self.single else f"{self.path.name}/{name}"


def locate_output(out: str | Path, settings: Augment, source: str | Path | Source, *, in_place: bool = False) -> Output:
    """Describe the output at a path or an address; see `Output.at`.

    Raises:
        DataError, SettingsError, RunError: see `Output.at`.
    """
    kind = Output if find_address(out) is None else FarOutput
    return kind.at(Path(out), settings, source, in_place=in_place)
