"""`augment` by many tasks writes the bytes that one process writes, also after any of them has died."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.runs.ray.rows import SpreadHere, build_cases, read_output

from prefboost.errors import DataError, RunError
from prefboost.runs.augment.augment import augment
from prefboost.runs.augment.settings import Augment
from prefboost.runs.ray.data import augment_on

CASES = (
    "scattered", "broken lines", "long prompts", "ids and splits", "prompts once", "rows once", "fitted", "row groups",
    "one part", "several files", "pairs", "capped pairs",
)  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Augment]]:
    return build_cases(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("case", CASES)
def test_every_file_of_the_output_has_the_same_bytes(
    case: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    assert set(cases) == set(CASES)
    source, settings = cases[case]
    whole = augment(source, tmp_path / "here" / "out", settings)
    report = augment_on(SpreadHere(), source, tmp_path / "many" / "out", settings)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    assert report.goal_pairs == whole.goal_pairs and report.rejects == whole.rejects
    assert bool(report.messages) == source.name.endswith(".gz"), "what one reader reads is said"
    assert augment_on(SpreadHere(), source, tmp_path / "many" / "out", settings).skipped


def test_a_single_file_is_joined_to_the_same_bytes(cases: dict[str, tuple[Path, Augment]], tmp_path: Path) -> None:
    source, settings = cases["scattered"]
    augment(source, tmp_path / "here" / "out.jsonl.gz", settings)
    augment_on(SpreadHere(), source, tmp_path / "many" / "out.jsonl.gz", settings)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


class Dying(SpreadHere):
    """A spread that breaks off after so many results of one pass."""

    def __init__(self, results: int, of: str = "write_item") -> None:
        self.results, self.of = results, of

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        if getattr(getattr(work, "func", work), "__name__", "") != self.of:
            yield from super().__call__(work, items)
            return
        yield from islice(super().__call__(work, items), self.results)
        raise KeyboardInterrupt


@pytest.mark.parametrize(("case", "early"), [("scattered", "settle_bucket"), ("prompts once", "note_rows")])
def test_whatever_is_cut_off_resumes_and_ends_with_the_same_bytes(
    case: str, early: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases[case]
    augment(source, tmp_path / "here" / "out", settings)
    for dying in (Dying(0, early), Dying(1), Dying(2)):
        with pytest.raises(KeyboardInterrupt):
            augment_on(dying, source, tmp_path / "many" / "out", settings)
    report = augment_on(SpreadHere(), source, tmp_path / "many" / "out", settings)
    assert 0 < report.parts_found < report.parts
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_a_damaged_part_is_made_again(cases: dict[str, tuple[Path, Augment]], tmp_path: Path) -> None:
    source, settings = cases["scattered"]
    augment(source, tmp_path / "here" / "out", settings)
    with pytest.raises(KeyboardInterrupt):
        augment_on(Dying(3), source, tmp_path / "many" / "out", settings)
    parts = sorted((tmp_path / "many" / ".out.partial").glob("0*.train"))
    assert len(parts) > 1
    parts[0].write_bytes(b"damage")
    report = augment_on(SpreadHere(), source, tmp_path / "many" / "out", settings)
    assert 0 < report.parts_found < report.parts
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_what_is_no_file_or_goes_to_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="leave --executor ray out"):
        augment_on(SpreadHere(), [{"prompt": "q"}], tmp_path / "out", Augment())  # type: ignore[arg-type]
    with pytest.raises(RunError, match="disk that all nodes share"):
        augment_on(SpreadHere(), tmp_path / "rows.jsonl", "memory://out", Augment())
    with pytest.raises(DataError, match="no such file"):
        augment_on(SpreadHere(), tmp_path / "rows.jsonl", tmp_path / "out", Augment())
    assert not list(tmp_path.glob("*/")), "an input that cannot be read leaves nothing behind"
