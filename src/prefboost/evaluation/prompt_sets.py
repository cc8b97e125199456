"""Prompts, references and completions of Arena-Hard and MT-Bench, from their published files or files like them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.record_texts import read_answer, read_answer_turns, read_each, require_text, require_turns
from prefboost.evaluation.user_files import read_records

__all__ = [
    "read_answers",
    "read_arena_answers",
    "read_arena_prompts",
    "read_mt_answers",
    "read_mt_prompts",
    "read_mt_questions",
]


def read_arena_prompts(assets: Assets, version: str = "v2.0") -> list[BenchmarkPrompt]:
    """Read the prompts of Arena-Hard, with CATEGORY or CATEGORY/SUBCATEGORY as category.

    Raises:
        DataError: the asset is absent and may not be fetched.
    """
    path = assets.path(f"arena_hard_{version.replace('.', '')}_questions")

    def read_prompt(at: int, row: Mapping[str, Any]) -> BenchmarkPrompt:
        text = require_text(row["prompt"], "prompt", Place(str(path), row=at))
        category, part = str(row.get("category", "arena-hard-v0.1")), str(row.get("subcategory", ""))
        name = category if part in ("", category) else f"{category}/{part}"
        return BenchmarkPrompt(str(row["uid"]), (text,), name)

    return read_each(_read_rows(path, ("uid", "prompt")), read_prompt, str(path))


def read_arena_answers(path: str | Path, *, reject: bool = False) -> dict[str, tuple[str, ...]]:
    """Read uid -> completion from a file of answers of Arena-Hard-Auto (``model_answer/NAME.jsonl``).

    Args:
        path: records of v2.0 (uid, messages) or of v0.1 (question_id, choices).
        reject: leave faulty records out with a warning, unless all are.

    Raises:
        DataError: a record has no answer, or one that is no text; a prompt has two.
    """

    def read_completion(at: int, row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        place = Place(str(path), row=at)
        uid = row.get("uid", row.get("question_id"))
        if uid is None:
            raise DataError("a record has no uid", remedy="give a file of model_answer", place=place)
        if "choices" in row:
            return str(uid), _read_choice(row, place)[:1]
        messages = row.get("messages")
        if not isinstance(messages, list) or not messages or not isinstance(messages[-1], Mapping):
            raise DataError("a record of answers has no answer", remedy="give a file of model_answer", place=place)
        return str(uid), (read_answer(messages[-1].get("content"), "messages[-1].content", place),)

    return _group_by_uid(read_each(_read_rows(Path(path), ()), read_completion, str(path), reject=reject), path)


def read_mt_prompts(assets: Assets, references: str = "mt_bench_references_gpt4_0125") -> list[BenchmarkPrompt]:
    """Read the questions of MT-Bench with reference answers.

    Args:
        assets: locations of the files.
        references: name of the asset with the reference answers.

    Raises:
        DataError: an asset is absent and may not be fetched.
    """
    answers = read_mt_answers(assets.path(references))
    questions = read_mt_questions(assets.path("mt_bench_questions"))
    return [replace(question, reference=answers.get(question.uid, ())) for question in questions]


def read_mt_questions(path: str | Path) -> list[BenchmarkPrompt]:
    """Read questions of several turns, with the references that the file holds.

    Args:
        path: JSON lines of records like FastChat's: question_id, category, turns, and reference where there is one.

    Raises:
        DataError: a record lacks one of the first three.
    """

    def read_question(at: int, row: Mapping[str, Any]) -> BenchmarkPrompt:
        place = Place(str(path), row=at)
        turns, references = require_turns(row["turns"], "turns", place), row.get("reference")
        reference = require_turns(references, "reference", place) if references else ()
        return BenchmarkPrompt(str(row["question_id"]), turns, str(row["category"]), reference)

    return read_each(_read_rows(Path(path), ("question_id", "category", "turns")), read_question, str(path))


def read_mt_answers(path: str | Path, *, reject: bool = False) -> dict[str, tuple[str, ...]]:
    """Read question_id -> answers to both turns from a file of answers or references of FastChat.

    Args:
        path: the file.
        reject: leave faulty records out with a warning, unless all are.

    Raises:
        DataError: a record has no answer; a question has two.
    """

    def read_turns(at: int, row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        place = Place(str(path), row=at)
        if "question_id" not in row:
            raise DataError("a record has no question_id", remedy="give the published file", place=place)
        return str(row["question_id"]), _read_choice(row, place)

    return _group_by_uid(read_each(_read_rows(Path(path), ()), read_turns, str(path), reject=reject), path)


def read_answers(path: str | Path, prompts: Sequence[BenchmarkPrompt]) -> dict[str, tuple[str, ...]]:
    """Read uid -> completions, turn by turn, from a file of any of three shapes.

    Args:
        path: answers of Arena-Hard-Auto (uid, messages) or FastChat (question_id, choices); or records with instruction
            and output, matched with prompts by their text (``turns`` holds the completions of several turns).
        prompts: prompts of the benchmark; those that the file does not answer are absent from the result. So are those
            of faulty records, which are rejected with a warning: they count as missing, as where an engine fails.

    Raises:
        DataError: no record has one of the shapes; a prompt has two answers.
    """
    first = next(iter(read_records(path)), {})
    if "messages" in first:
        return read_arena_answers(path, reject=True)
    if "choices" in first:
        return read_mt_answers(path, reject=True)

    def read_output(at: int, row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        place, turns = Place(str(path), row=at), row.get("turns")
        if "instruction" not in row or "output" not in row:
            raise DataError(f"found {str(row)[:80]}", remedy="give instruction and output", place=place)
        answer = read_answer_turns(turns, "turns", place) if turns else (read_answer(row["output"], "output", place),)
        return require_text(row["instruction"], "instruction", place), answer

    answers = _group_by_uid(read_each(read_records(path), read_output, str(path), reject=True), path)
    return {prompt.uid: answers[prompt.turns[0]] for prompt in prompts if prompt.turns[0] in answers}


def _group_by_uid(answers: Sequence[tuple[str, tuple[str, ...]]], path: str | Path) -> dict[str, tuple[str, ...]]:
    """Return uid -> answer; two different answers are refused, since nobody can tell which one counts.

    Raises:
        DataError: prompts have two answers; the message names the first few.
    """
    grouped: dict[str, tuple[str, ...]] = {}
    repeated = dict.fromkeys(uid for uid, turns in answers if grouped.setdefault(uid, turns) != turns)
    if repeated:
        names = ", ".join(list(repeated)[:5]) + (", ..." if len(repeated) > 5 else "")
        raise DataError(
            f"{len(repeated):,} prompts have two different answers: {names}",
            remedy="keep one record for each prompt",
            place=Place(str(path)),
        )
    return grouped


def _read_choice(row: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    """Read the turns of the first choice of a record of FastChat, or of Arena-Hard v0.1."""
    choices = row.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        raise DataError(
            "a record of answers has no choices" if choices in (None, []) else "choices holds no object with turns",
            remedy="answer the prompt again, or remove the record from the file: it is then counted as missing",
            place=place,
        )
    return read_answer_turns(first.get("turns"), "choices[0].turns", place)


def _read_rows(path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    """Read JSON lines of objects that have all needed fields."""
    rows = []
    # Not splitlines: answers hold line separators of other kinds.
    for line, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        try:
            row: Any = json.loads(text) if text.strip() else None
        except ValueError as error:
            raise UnreadableFile(
                f"{str(error)[:80]}", remedy="give a whole file of JSON lines", place=Place(str(path), line)
            ) from error
        if row is None:
            continue
        missing = [name for name in needed if not isinstance(row, dict) or name not in row]
        if missing or not isinstance(row, dict):
            fault = f"a record has no {', '.join(missing)}" if missing else f"found {text.strip()[:80]}, no object"
            raise DataError(fault, remedy="give the published file", place=Place(str(path), line))
        rows.append(row)
    return rows
