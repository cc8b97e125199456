"""Prompts and completions of a user's files: AlpacaEval's records, plain lines, or any table with prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, Place
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.record_texts import read_each

__all__ = ["read_completions", "read_records", "read_user_prompts"]


def read_user_prompts(path: str | Path) -> list[BenchmarkPrompt]:
    """Read the prompts of a file, each prompt once.

    Args:
        path: ``.txt`` with one prompt per line; JSON or JSON lines of records with ``instruction`` (``dataset`` is the
            category; other fields play no part); or any table with prompts that ``read`` takes. The last user turn of a
            prompt is asked, after the messages in front of it.

    Raises:
        DataError: the file cannot be read, or holds no prompt.
    """
    file = Path(path)
    if file.suffix == ".txt":
        lines = [line.strip() for line in _read_text(file).split("\n")]
        prompts = [BenchmarkPrompt(line, (line,)) for line in lines if line]
    elif file.suffix in (".json", ".jsonl") and "instruction" in next(read_records(file), {}):
        prompts = read_each(read_records(file), lambda at, record: _read_instruction(record, file, at), str(file))
    else:
        from prefboost.sources import read

        rows = read(file).frame.select("prompt_id", "prompt").iter_rows()
        prompts = [_build_prompt(prompt_id, messages) for prompt_id, messages in rows]
    if not prompts:
        raise DataError("the file holds no prompt", remedy="give one prompt per row", place=Place(str(file)))
    # A prompt that is listed twice would count twice and cost two judgements.
    return list({prompt.uid: prompt for prompt in prompts}.values())


def read_completions(path: str | Path) -> tuple[list[BenchmarkPrompt], dict[str, list[str]]]:
    """Read prompts and completions of a file in AlpacaEval's form; the text of a prompt is its uid.

    Args:
        path: JSON list or JSON lines of records with instruction and output.

    Raises:
        DataError: a record lacks one of both, or a prompt is listed twice.
    """
    prompts: dict[str, BenchmarkPrompt] = {}
    completions: dict[str, list[str]] = {}

    def add_record(at: int, record: Mapping[str, object]) -> None:
        place = Place(str(path), row=at)
        if not all(isinstance(record.get(name), str) for name in ("instruction", "output")):
            raise DataError(f"found {str(record)[:80]}", remedy="give instruction and output", place=place)
        prompt = _read_instruction(record, Path(path), at)
        if prompt.uid in prompts:
            raise DataError(f"the prompt {prompt.uid[:60]!r} occurs twice", remedy="keep one completion", place=place)
        prompts[prompt.uid] = prompt
        completions[prompt.uid] = [answer_of(str(record["output"]))]

    read_each(read_records(path), add_record, str(path))
    return list(prompts.values()), completions


def read_records(path: str | Path) -> Iterator[Mapping[str, object]]:
    """Read the records of a JSON list or of JSON lines.

    Raises:
        DataError: the file cannot be read or holds anything else.
    """
    text = _read_text(Path(path))
    try:
        # Not splitlines: texts hold line separators of other kinds.
        lines = [line for line in text.split("\n") if line.strip()]
        records = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in lines]
    except ValueError as error:
        raise DataError(
            f"cannot be read: {error}", remedy="give a JSON list or JSON lines", place=Place(str(path))
        ) from error
    for at, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(
                f"found {str(record)[:80]}", remedy="give one JSON object per record", place=Place(str(path), row=at)
            )
        yield record


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read: {error}", remedy="give a text file in UTF-8", place=Place(str(path))
        ) from error


def _read_instruction(record: Mapping[str, object], path: Path, at: int) -> BenchmarkPrompt:
    text = record.get("instruction")
    if not isinstance(text, str):
        raise DataError(f"found {str(record)[:80]}", remedy="give instruction", place=Place(str(path), row=at))
    return BenchmarkPrompt(text, (text,), str(record.get("dataset") or ""))


def _build_prompt(uid: str, messages: list[dict[str, Any]]) -> BenchmarkPrompt:
    before = tuple({"role": str(message["role"]), "content": str(message["content"])} for message in messages[:-1])
    return BenchmarkPrompt(uid, (str(messages[-1]["content"]),), before=before)
