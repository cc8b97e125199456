"""`select` and data stages of recipes by many tasks give the bytes of one process, also after any of them has died."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tests.runs.ray.rows import SpreadHere, build_rows, read_output
from tests.runs.ray.test_data import Dying

from prefboost.errors import MissingScores, RunError, SettingsError
from prefboost.preferences import AllPairs
from prefboost.preferences.score_selection import BestOfN, RejectionSampling, ScoreAtLeast
from prefboost.preferences.select import Select
from prefboost.recipes.recipe import Recipe
from prefboost.runs.augment.settings import Augment
from prefboost.runs.pipelines.goal_pairs import write_goal_pairs
from prefboost.runs.pipelines.offline import prepare
from prefboost.runs.pipelines.stage_tables import write_table
from prefboost.runs.preparation import pair_completions
from prefboost.runs.ray.data_verbs import pair_on, prepare_on, select_on
from prefboost.runs.select.counts import count_selection
from prefboost.runs.select.select import select_completions, select_source
from prefboost.runs.select.settings import SelectCompletions
from prefboost.runs.select.shards import merge_selection, select_shard
from prefboost.runs.shards import Shard
from prefboost.sources import read
from prefboost.sources.writers import file_types


def write_rows(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Completions twice, of prompts that stand apart; some without a score, some that were cut, and a broken line."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    records = [
        {
            **record,
            "finish_reason": "length" if number % 7 == 0 else "stop",
            "score": None if number % 11 == 0 else record["score"],
            "score.wit": float(number % 5),
        }
        for number, record in enumerate(build_rows(60, 15, ids=True) * 2)
    ]
    lines = write_rows(path, records).read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:9], "{broken\n", *lines[9:]]))
    return path


CHOICES = {
    "best": SelectCompletions(strategy=BestOfN()),
    "sampled, prompts once": SelectCompletions(
        strategy=RejectionSampling(beta=3, count=2), select=Select(dedupe="prompt"), format="prefboost"
    ),
    "rows once, within limits": SelectCompletions(
        strategy=ScoreAtLeast(score=3), select=Select(max_completion_words=2, min_completion_chars=9), cut="keep"
    ),
}


@pytest.mark.parametrize(
    ("case", "ending"),
    [
        ("best", "jsonl"),
        ("best", "parquet"),
        ("sampled, prompts once", "parquet"),
        ("rows once, within limits", "jsonl.gz"),
    ],
)
def test_every_file_that_select_writes_has_the_same_bytes(
    case: str, ending: str, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that this few rows fill several row groups, cut elsewhere than the parts.
    monkeypatch.setattr(file_types, "_GROUP_ROWS", 5)
    how = CHOICES[case]
    (tmp_path / "here").mkdir()
    select_completions(read(str(rows)), how, tmp_path / "here" / f"out.{ending}")
    for size in (17, 1000):
        select_on(SpreadHere(), str(rows), how, tmp_path / str(size) / f"out.{ending}", rows=size)
        assert read_output(tmp_path / str(size)) == read_output(tmp_path / "here")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_selection_at_an_address_has_the_bytes_of_one_on_a_disk(ending: str, rows: Path, tmp_path: Path) -> None:
    how, place = CHOICES["best"], f"memory://{uuid.uuid4().hex}"
    (tmp_path / "here").mkdir()
    here = count_selection(
        read(str(rows)), select_completions(read(str(rows)), how, tmp_path / "here" / f"out.{ending}")
    )
    with pytest.raises(KeyboardInterrupt):
        select_on(Dying(1, "make_table_item"), str(rows), how, f"{place}/out.{ending}", rows=17)
    counts = select_on(SpreadHere(), str(rows), how, f"{place}/out.{ending}", rows=17)
    assert counts == here and list(counts["rejected"]) == list(here["rejected"])
    assert read_output(place) == read_output(tmp_path / "here"), "and nothing else is left there"
    with pytest.raises(RunError, match="the output exists"):
        select_on(SpreadHere(), str(rows), how, f"{place}/out.{ending}", rows=17)
    select_on(SpreadHere(), str(rows), CHOICES["rows once, within limits"], f"{place}/out.{ending}", overwrite=True)
    assert read_output(place) != read_output(tmp_path / "here")


FOLDERS = {
    "best": CHOICES["best"].model_copy(update={"file_records": 13}),
    "lines": CHOICES["rows once, within limits"].model_copy(update={"file_records": 50, "file_type": "jsonl"}),
    "nothing": SelectCompletions(strategy=ScoreAtLeast(score=1000)),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_has_the_same_bytes_whoever_writes_it_and_wherever(case: str, rows: Path, tmp_path: Path) -> None:
    how, place, source = FOLDERS[case], f"memory://{uuid.uuid4().hex}", str(rows)
    counts = select_source(source, how, tmp_path / "here" / "out")
    whole = read_output(tmp_path / "here")
    assert select_source(source, how, Path(f"{place}/out")) == counts and read_output(place) == whole
    for size in (17, 1000):
        for out in (tmp_path / str(size), f"{place}/{size}"):
            assert select_on(SpreadHere(), source, how, f"{out}/out", rows=size) == counts
            assert read_output(out) == whole
    shards = [Shard(index, 3) for index in range(3)]
    for shard in shards:
        select_shard(source, how, tmp_path / "merged" / "out", shard)
    folders = [shard.locate(tmp_path / "merged" / "out") for shard in shards]
    assert merge_selection(folders, how, tmp_path / "whole" / "out") == counts
    assert read_output(tmp_path / "whole") == whole
    data = [name for name in whole if "/data/" in name]
    assert len(data) == 1 if case == "nothing" else len(data) > 1
    kept = json.loads(whole["out/prefboost.json"])["report"]["kept"]
    assert kept == (0 if case == "nothing" else len(read(str(tmp_path / "here" / "out"))))
    assert select_on(SpreadHere(), source, how, f"{place}/out", rows=17)["skipped"], "one key, whoever wrote it"


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("moment", ["make_table_item", "order_span"])
def test_a_folder_that_was_cut_off_is_finished_by_the_same_command(
    moment: str, far: bool, rows: Path, tmp_path: Path
) -> None:
    how, out = FOLDERS["best"], f"memory://{uuid.uuid4().hex}/x" if far else tmp_path / "many"
    select_source(str(rows), how, tmp_path / "here" / "out")
    with pytest.raises(KeyboardInterrupt):
        select_on(Dying(1, moment), str(rows), how, f"{out}/out", rows=17)
    counting = Counting()
    select_on(counting, str(rows), how, f"{out}/out", rows=17)
    assert read_output(out) == read_output(tmp_path / "here"), "and nothing else is left there"
    assert "note_rows" not in counting.items
    with pytest.raises(RunError, match="made with other settings: strategy"):
        select_on(SpreadHere(), str(rows), FOLDERS["nothing"], f"{out}/out")


@pytest.mark.parametrize("format", ["trl", "prefboost"])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_one_tool_call_decides_the_shape_of_all_parts(ending: str, format: str, tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    records = [
        {
            "prompt": [{"role": "user", "content": f"Question {number // 2}?"}],
            "completion": [call if number == 33 else {"role": "assistant", "content": f"answer {number}"}],
            "score": float(number),
        }
        for number in range(40)
    ]
    source = write_rows(tmp_path / "in.jsonl", records)
    how = SelectCompletions(strategy=BestOfN(), format=format)
    (tmp_path / "here").mkdir()
    select_completions(read(str(source)), how, tmp_path / "here" / f"out.{ending}")
    select_on(SpreadHere(), str(source), how, tmp_path / "many" / f"out.{ending}", rows=4)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    history = json.loads((tmp_path / "many" / f"out.{ending}.select.json").read_text())
    refused = [reason for reason in history["rejected"] if "tool calls" in reason]
    assert bool(refused) == (ending == "parquet" and format == "trl")


def test_a_part_may_lack_scores_and_the_whole_may_not(tmp_path: Path) -> None:
    how, records = CHOICES["best"], [{**row, "score.wit": 1.0} for row in build_rows(40, 10, scattered=0)]
    half = write_rows(
        tmp_path / "half.jsonl", [{**row, "score": row["score"] if n > 20 else None} for n, row in enumerate(records)]
    )
    none = write_rows(tmp_path / "none.jsonl", [{**row, "score": None} for row in records])
    (tmp_path / "here").mkdir()
    select_completions(read(str(half)), how, tmp_path / "here" / "out.jsonl")
    select_on(SpreadHere(), str(half), how, tmp_path / "many" / "out.jsonl", rows=4)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    with pytest.raises(MissingScores) as here:
        select_completions(read(str(none)), how)
    with pytest.raises(MissingScores) as many:
        select_on(SpreadHere(), str(none), how, tmp_path / "none" / "out.jsonl", rows=4)
    assert str(many.value) == str(here.value) and "wit" in str(here.value)


class Counting(SpreadHere):
    """A spread that counts the items of each pass."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        name = work.func.__name__ if isinstance(work, partial) else work.__name__
        self.items[name] = self.items.get(name, 0) + len(items)
        return super().__call__(work, items)


@pytest.mark.parametrize("early", ["settle_bucket", "note_rows"])
def test_a_select_that_was_cut_off_resumes_after_the_finished_parts(early: str, rows: Path, tmp_path: Path) -> None:
    how, out = CHOICES["sampled, prompts once"], tmp_path / "many" / "out.parquet"
    (tmp_path / "here").mkdir()
    select_completions(read(str(rows)), how, tmp_path / "here" / "out.parquet")
    for dying in (Dying(0, early), Dying(1, "make_table_item"), Dying(2, "make_table_item")):
        with pytest.raises(KeyboardInterrupt):
            select_on(dying, str(rows), how, out, rows=17)
    counting, fresh = Counting(), Counting()
    select_on(counting, str(rows), how, out, rows=17)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")
    select_on(fresh, str(rows), how, tmp_path / "fresh" / "out.parquet", rows=17)
    assert 0 < counting.items["make_table_item"] < fresh.items["make_table_item"]
    assert "note_rows" not in counting.items and "note_rows" in fresh.items


def test_what_select_cannot_do_by_many_is_refused_and_foreign_files_stay(rows: Path, tmp_path: Path) -> None:
    how, foreign = CHOICES["best"], tmp_path / "mine.jsonl"
    foreign.write_text("mine")
    with pytest.raises(RunError, match="leave --executor ray out; in a recipe write executor: local"):
        select_on(SpreadHere(), [{"prompt": "q"}], how, tmp_path / "out.jsonl")
    with pytest.raises(RunError, match="select did not write it"):
        select_on(SpreadHere(), str(rows), how, foreign)
    with pytest.raises(RunError, match="the output is the input"):
        select_on(SpreadHere(), str(rows), how, rows)
    assert foreign.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["mine.jsonl"]


RECIPES: dict[str, dict[str, Any]] = {
    "fitted": {"scale": "percentile", "pair": "all_pairs", "select": {"dedupe": "prompt", "max_completion_words": 2}},
    "declared": {"data": {"score_range": [1, 10]}, "pair": {"kind": "all_pairs", "cap": 2}},
    "aspects": {"scale": "min_max", "relabel": {"kind": "reward_augmented", "aspects": ["wit"]}},
    "kept, plain": {"select": None, "keep": {"kind": "score_at_least", "score": 2}, "relabel": "plain"},
}


@pytest.mark.parametrize("case", RECIPES)
def test_goal_pairs_of_a_recipe_have_the_same_bytes(
    case: str, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**RECIPES[case], "name": "x", "train": {"model": "m"}}
    recipe = Recipe.model_validate({**values, "data": {"kind": "file", "path": str(rows), **values.get("data", {})}})
    monkeypatch.setattr(file_types, "_GROUP_ROWS", 9)
    notes = {}
    for place in ("here", "17", "1000"):
        (tmp_path / place).mkdir()
        many = SpreadHere(), recipe, None, tmp_path / place / "pairs.parquet"
        with nullcontext(prepare(recipe)) if place == "here" else prepare_on(*many, rows=int(place)) as table:
            notes[place] = write_goal_pairs(table, tmp_path / place)
        assert notes[place] == notes["here"]
        assert read_output(tmp_path / place) == read_output(tmp_path / "here")
    assert notes["here"]["goal_pairs"] > 5


def test_goal_pairs_of_a_recipe_whose_data_are_at_an_address_have_the_same_bytes(rows: Path, tmp_path: Path) -> None:
    address = "memory://data-of-recipes/scored.jsonl"
    fsspec.filesystem("memory").pipe_file("/data-of-recipes/scored.jsonl", rows.read_bytes())
    recipe = Recipe.model_validate({"name": "x", "data": address, "scale": "min_max", "train": {"model": "m"}})
    for place in ("here", "many"):
        (tmp_path / place).mkdir()
        many = SpreadHere(), recipe, None, tmp_path / place / "pairs.parquet"
        with nullcontext(prepare(recipe)) if place == "here" else prepare_on(*many, rows=17) as table:
            write_goal_pairs(table, tmp_path / place)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_pairs_that_are_read_have_the_same_bytes(rows: Path, tmp_path: Path) -> None:
    verb = partial(pair_completions, strategy=AllPairs())
    write_table(verb(read(str(rows))), tmp_path / "here" / "pairs.parquet")
    out = tmp_path / "many" / "pairs.parquet"
    pairs = pair_on(SpreadHere(), str(rows), Augment(batch_rows=17), verb, out, settings=0)
    write_table(pairs, out)
    assert read_output(tmp_path / "many") == read_output(tmp_path / "here")


def test_settings_that_need_the_whole_table_are_refused_by_name(rows: Path, tmp_path: Path) -> None:
    values = {"name": "x", "data": str(rows), "train": {"model": "m", "revision": "main"}}
    for changed, word in (({"scale": None}, "scale: null"), ({"select": {"max_prompt_tokens": 9}}, "train.revision")):
        recipe = Recipe.model_validate({**values, **changed})
        with (
            pytest.raises(SettingsError, match=f"{word}(.|\n)*executor: local"),
            prepare_on(SpreadHere(), recipe, None, tmp_path / "pairs.parquet"),
        ):
            pass
    assert not list(tmp_path.iterdir())
