"""Prompts and completions of one's own, as benchmarks take them: AlpacaEval's records, lines, or any table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefboost.engines.reasoning import answer_of
from prefboost.errors import DataError, Place
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.record_texts import read_each

__all__ = ["records_of", "read_completions", "read_own_prompts"]


def read_own_prompts(path: str | Path) -> list[BenchmarkPrompt]:
    """Prompts of a file.

    Args:
        path: ``.txt`` with one prompt a line; JSON or JSON lines of records with ``instruction`` (``dataset`` is their
            category; what else they hold plays no part); or any table with prompts that ``read`` takes. A prompt's
            last user turn is what is asked, the messages before it stand before it.

    Returns:
        each prompt once.

    Raises:
        DataError: the file cannot be read, or holds no prompt.
    """
    file = Path(path)
    if file.suffix == ".txt":
        found = [_of_text(line.strip()) for line in _text(file).split("\n") if line.strip()]
    elif file.suffix in (".json", ".jsonl") and "instruction" in next(records_of(file), {}):
        found = read_each(records_of(file), lambda at, record: _of_record(record, file, at), str(file))
    else:
        found = _of_table(file)
    if not found:
        raise DataError("the file holds no prompt", remedy="give one prompt a row", place=Place(str(file)))
    return list({prompt.uid: prompt for prompt in found}.values())


def read_completions(path: str | Path) -> tuple[list[BenchmarkPrompt], dict[str, list[str]]]:
    """Prompts and completions of a file as AlpacaEval has them.

    Args:
        path: JSON list or JSON lines of records with instruction and output. The prompt's text is its uid.

    Raises:
        DataError: a record lacks one of both, or a prompt stands twice.
    """
    prompts: dict[str, BenchmarkPrompt] = {}
    completions: dict[str, list[str]] = {}

    def read_record(at: int, record: Mapping[str, object]) -> None:
        if not all(isinstance(record.get(name), str) for name in ("instruction", "output")):
            raise DataError(
                f"found {str(record)[:80]}", remedy="give instruction and output", place=Place(str(path), row=at)
            )
        prompt = _of_record(record, Path(path), at)
        if prompt.uid in prompts:
            raise DataError(
                f"the prompt {prompt.uid[:60]!r} stands twice",
                remedy="keep one completion",
                place=Place(str(path), row=at),
            )
        prompts[prompt.uid] = prompt
        completions[prompt.uid] = [answer_of(str(record["output"]))]

    read_each(records_of(path), read_record, str(path))
    return list(prompts.values()), completions


def records_of(path: str | Path) -> Iterator[Mapping[str, object]]:
    """Records of a JSON list or of JSON lines.

    Raises:
        DataError: the file cannot be read or holds anything else.
    """
    text = _text(Path(path))
    try:
        # Not splitlines: texts hold line separators of other kinds.
        lines = [line for line in text.split("\n") if line.strip()]
        found = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in lines]
    except ValueError as error:
        raise DataError(
            f"cannot be read: {error}", remedy="give a JSON list or JSON lines", place=Place(str(path))
        ) from error
    for at, record in enumerate(found):
        if not isinstance(record, dict):
            raise DataError(
                f"found {str(record)[:80]}", remedy="give one JSON object a record", place=Place(str(path), row=at)
            )
        yield record


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read: {error}", remedy="give a text file in UTF-8", place=Place(str(path))
        ) from error


def _of_text(text: str, category: str = "") -> BenchmarkPrompt:
    return BenchmarkPrompt(text, (text,), category)


def _of_record(record: Mapping[str, object], path: Path, at: int) -> BenchmarkPrompt:
    if not isinstance(record.get("instruction"), str):
        raise DataError(f"found {str(record)[:80]}", remedy="give instruction", place=Place(str(path), row=at))
    return _of_text(str(record["instruction"]), str(record.get("dataset") or ""))


def _of_table(path: Path) -> list[BenchmarkPrompt]:
    from prefboost.sources import read

    frame = read(path).frame
    return [_of_messages(row["prompt_id"], row["prompt"]) for row in frame.select("prompt_id", "prompt").to_dicts()]


def _of_messages(uid: str, messages: list[dict[str, Any]]) -> BenchmarkPrompt:
    before = tuple({"role": str(one["role"]), "content": str(one["content"])} for one in messages[:-1])
    return BenchmarkPrompt(uid, (str(messages[-1]["content"]),), before=before)
