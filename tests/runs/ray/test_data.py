"""`augment` by many tasks writes the bytes that one process writes, also after any of them has died."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from tests.runs.ray.rows import SpreadHere, build_cases, read_output

from prefboost.errors import DataError, RunError
from prefboost.preferences.score_selection import BestOfN
from prefboost.runs.augment.augment import augment
from prefboost.runs.augment.settings import Augment
from prefboost.runs.ray.data import augment_on
from prefboost.runs.ray.data_verbs import select_on
from prefboost.runs.select.select import select_completions
from prefboost.runs.select.settings import SelectCompletions
from prefboost.shelf import _Objects
from prefboost.sources import read
from prefboost.sources.readers import pipes
from prefboost.sources.readers.binary_files import ParquetReader

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


@pytest.mark.parametrize("place", ["path", "memory", "file"])
def test_a_single_file_is_joined_to_the_same_bytes(
    place: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases["scattered"]
    folder = name_place(place, tmp_path)
    augment(source, tmp_path / "here" / "out.jsonl.gz", settings)
    augment_on(SpreadHere(), source, f"{folder}/out.jsonl.gz", settings)
    assert read_output(folder) == read_output(tmp_path / "here")


def name_place(kind: str, tmp_path: Path) -> Path | str:
    """A folder of its own on the disk or at an address."""
    far = {"memory": f"memory://{uuid.uuid4().hex}/many", "file": f"file://{tmp_path}/many"}
    return far.get(kind, tmp_path / "many")


@pytest.mark.parametrize("case", ["scattered", "ids and splits", "fitted"])
def test_an_output_at_an_address_has_the_bytes_of_one_on_a_disk(
    case: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases[case]
    place = name_place("memory", tmp_path)
    whole = augment(source, tmp_path / "here" / "out", settings)
    report = augment_on(SpreadHere(), source, f"{place}/out", settings)
    assert read_output(str(place)) == read_output(tmp_path / "here")
    assert report.goal_pairs == whole.goal_pairs and report.out == f"{place}/out"
    assert report.rejects_path == (whole.rejects_path and f"{place}/out/rejects.parquet")
    assert augment_on(SpreadHere(), source, f"{place}/out", settings).skipped
    if case != "scattered":
        return
    changed = settings.model_copy(update={"seed": 7, "test_share": 0.2})
    with pytest.raises(RunError, match="the output exists: it was made with other settings"):
        augment_on(SpreadHere(), source, f"{place}/out", changed)
    augment_on(SpreadHere(), source, f"{place}/out", changed, overwrite=True)
    augment(source, tmp_path / "changed" / "out", changed)
    assert read_output(str(place)) == read_output(tmp_path / "changed"), "nothing is left of the old one"


@pytest.mark.parametrize("case", ["broken lines", "row groups", "ids and splits", "fitted", "capped pairs"])
def test_an_input_at_an_address_is_read_there_piece_by_piece_to_the_same_bytes(
    case: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, settings = cases[case]
    far = f"memory://{uuid.uuid4().hex}/{source.name}"
    system = fsspec.filesystem("memory")
    system.pipe_file(far, source.read_bytes())
    whole = augment(far, tmp_path / "here" / "out", settings)
    if not source.name.endswith(".gz"):  # which cannot be read in pieces

        def refuse(address: str) -> Path:
            raise AssertionError(f"{address} is fetched whole")

        monkeypatch.setattr(pipes, "fetch_input", refuse)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            augment_on(Dying(1), far, tmp_path / "many" / "out", settings)
    report = augment_on(SpreadHere(), far, tmp_path / "many" / "out", settings)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    assert report.goal_pairs == whole.goal_pairs and 0 < report.parts_found < report.parts
    # Another content at the same address is another input.
    system.pipe_file(far, source.read_bytes()[: -len(source.read_bytes().splitlines(keepends=True)[-1])])
    if source.suffix == ".jsonl":
        with pytest.raises(RunError, match="another input"):
            augment_on(SpreadHere(), far, tmp_path / "many" / "out", settings)


def test_a_selection_reads_an_input_at_an_address_to_the_same_bytes(
    cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source = cases["broken lines"][0]
    far = f"memory://{uuid.uuid4().hex}/{source.name}"
    fsspec.filesystem("memory").pipe_file(far, source.read_bytes())
    how = SelectCompletions(strategy=BestOfN())
    (tmp_path / "here").mkdir()
    select_completions(read(far), how, tmp_path / "here" / "out.jsonl")
    with pytest.raises(KeyboardInterrupt):
        select_on(Dying(1, "make_table_item"), far, how, tmp_path / "many" / "out.jsonl", rows=7)
    # Of a plan that is taken up, no piece is surveyed again.
    select_on(Dying(0, "survey_piece"), far, how, tmp_path / "many" / "out.jsonl", rows=7)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_of_parquet_at_an_address_only_the_row_groups_of_a_slice_are_fetched(
    cases: dict[str, tuple[Path, Augment]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cases["row groups"][0]
    far = f"memory://{uuid.uuid4().hex}/{source.name}"
    system = fsspec.filesystem("memory")
    system.pipe_file(far, source.read_bytes())
    fetched: list[int] = []
    fetch = type(system).cat_file
    monkeypatch.setattr(
        type(system),
        "cat_file",
        lambda *place, **span: fetched.append(span["end"] - span["start"]) or fetch(*place, **span),
    )
    here, there = (ParquetReader(path) for path in (str(source), far))
    groups = pl.read_parquet(source).height // 17
    for offset, length in here.plan_slices(9):
        batches = [reader.read_slice(offset, length, None) for reader in (here, there)]
        assert batches[0].frames[0].equals(batches[1].frames[0])
    assert there.plan_slices(9) == here.plan_slices(9) and groups >= 3
    fetched.clear()
    there.read_slice(0, 5, None)
    assert sum(fetched) < 0.9 * source.stat().st_size


def test_no_input_and_no_file_of_others_is_replaced_at_an_address(
    cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = tmp_path / "in" / "plain.jsonl", Augment(batch_rows=7)
    source.parent.mkdir()
    source.write_bytes(cases["scattered"][0].read_bytes())
    for out in (f"file://{source}", f"file://{source.parent}"):
        with pytest.raises(RunError, match=r"the output is the input|contains the input"):
            augment_on(SpreadHere(), source, out, settings, overwrite=True)
    others = fsspec.filesystem("memory")
    place = f"memory://{uuid.uuid4().hex}"
    others.pipe_file(f"{place}/out/data/mine.parquet", b"mine")
    with pytest.raises(RunError, match="not made by prefboost augment"):
        augment_on(SpreadHere(), source, f"{place}/out", settings, overwrite=True)
    augment_on(SpreadHere(), source, f"{place}/other", settings)
    others.pipe_file(f"{place}/other/notes.txt", b"mine")
    augment_on(SpreadHere(), source, f"{place}/other", Augment(batch_rows=9), overwrite=True)
    assert others.cat_file(f"{place}/other/notes.txt") == others.cat_file(f"{place}/out/data/mine.parquet") == b"mine"


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


@pytest.mark.parametrize(
    ("case", "early", "place"),
    [
        ("scattered", "settle_bucket", "path"),
        ("prompts once", "note_rows", "path"),
        ("rows once", "find_later", "memory"),
    ],
)
def test_whatever_is_cut_off_resumes_and_ends_with_the_same_bytes(
    case: str, early: str, place: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path
) -> None:
    source, settings = cases[case]
    many = name_place(place, tmp_path)
    augment(source, tmp_path / "here" / "out", settings)
    for dying in (Dying(0, early), Dying(1), Dying(2)):
        with pytest.raises(KeyboardInterrupt):
            augment_on(dying, source, f"{many}/out", settings)
    report = augment_on(SpreadHere(), source, f"{many}/out", settings)
    assert 0 < report.parts_found < report.parts
    assert read_output(many) == read_output(tmp_path / "here")


@pytest.mark.parametrize(
    ("method", "last"), [("copy", "train-00002"), ("put", "README.md"), ("put", "prefboost.json"), ("clear", "")]
)
def test_a_driver_that_dies_while_it_publishes_at_an_address_resumes(
    method: str, last: str, cases: dict[str, tuple[Path, Augment]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, settings = cases["scattered"]
    place = str(name_place("memory", tmp_path))
    augment(source, tmp_path / "here" / "out", settings)
    call = getattr(_Objects, method)

    def die(shelf: Any, *names: Any) -> None:
        # Cleared at the end is the staging folder of an output that is finished; before, one of another key.
        if last in str(names[-1:]) and (method != "clear" or "out/prefboost.json" in read_output(place)):
            raise KeyboardInterrupt
        call(shelf, *names)

    with monkeypatch.context() as patch:
        patch.setattr(_Objects, method, die)
        with pytest.raises(KeyboardInterrupt):
            augment_on(SpreadHere(), source, f"{place}/out", settings)
    report = augment_on(SpreadHere(), source, f"{place}/out", settings)
    assert report.skipped if method == "clear" else report.parts_found == report.parts > 2
    assert read_output(place) == read_output(tmp_path / "here")


def test_a_damaged_part_at_an_address_is_made_again(cases: dict[str, tuple[Path, Augment]], tmp_path: Path) -> None:
    source, settings = cases["scattered"]
    place = name_place("memory", tmp_path)
    augment(source, tmp_path / "here" / "out", settings)
    with pytest.raises(KeyboardInterrupt):
        augment_on(Dying(3), source, f"{place}/out", settings)
    system = fsspec.filesystem("memory")
    parts = sorted(system.glob(f"{place}/.out.partial/0*.train"))
    system.pipe_file(parts[0], b"damage")
    report = augment_on(SpreadHere(), source, f"{place}/out", settings)
    assert 0 < report.parts_found < report.parts
    assert read_output(str(place)) == read_output(tmp_path / "here")


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


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="leave --executor ray out"):
        augment_on(SpreadHere(), [{"prompt": "q"}], tmp_path / "out", Augment())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no such file"):
        augment_on(SpreadHere(), tmp_path / "rows.jsonl", tmp_path / "out", Augment())
    assert not list(tmp_path.glob("*/")), "an input that cannot be read leaves nothing behind"
