"""Verbs that ask row by row share their options, which stand in the signature of each."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from prefboost.cli.generate import generate_command
from prefboost.cli.judge import judge_command
from prefboost.cli.row_options import RowOptions, with_row_options
from prefboost.cli.score import score_command
from prefboost.cli.synthesize import synthesize_command
from prefboost.errors import DataError
from prefboost.sources import read


def test_a_command_gets_the_shared_options_in_the_place_of_one_parameter() -> None:
    given: list[tuple[str, RowOptions, bool]] = []

    @with_row_options
    def probe(source: str, *, options: RowOptions, last: Annotated[bool, typer.Option("--last")] = False) -> None:
        given.append((source, options, last))

    shared = [each.name for each in fields(RowOptions)]
    assert list(inspect.signature(probe).parameters) == ["source", *shared, "last"]
    application = typer.Typer()
    application.command()(probe)
    runner = CliRunner()
    assert runner.invoke(application, ["rows.jsonl"]).exit_code == 0
    arguments = [
        "rows.jsonl",
        "--store",
        "s",
        "--retry",
        "none",
        "--on",
        "a=1",
        "--on",
        "b=2",
        "--tasks",
        "3",
        "--last",
    ]
    assert runner.invoke(application, arguments).exit_code == 0
    assert given == [
        ("rows.jsonl", RowOptions(), False),
        ("rows.jsonl", RowOptions(store=Path("s"), retry="none", on=["a=1", "b=2"], tasks=3), True),
    ]


@pytest.mark.parametrize("command", [generate_command, judge_command, score_command, synthesize_command])
def test_every_such_verb_has_all_of_them(command: object) -> None:
    assert callable(command)
    assert {each.name for each in fields(RowOptions)} <= set(inspect.signature(command).parameters)


def test_the_type_of_the_output_is_checked_before_the_input_is_read(tmp_path: Path) -> None:
    def fail() -> None:
        raise AssertionError

    with pytest.raises(DataError):
        RowOptions().read_part(tmp_path / "out.xyz", "rows.jsonl", fail)  # type: ignore[arg-type]


def test_a_shard_has_a_part_of_the_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(f'{{"prompt": "question {at}", "completion": "yes"}}\n' for at in range(20))
    )
    parts = [
        RowOptions(shard=shard, quiet=True).read_part(
            tmp_path / "out.jsonl", "rows", lambda: read(tmp_path / "rows.jsonl")
        )
        for shard in ("0/2", "1/2", None)
    ]
    counts = [len(part.table) for part in parts]
    assert counts[0] + counts[1] == counts[2] == 20 and 0 < counts[0] < 20
