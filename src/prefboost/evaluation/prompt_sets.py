"""Prompts, references and completions of Arena-Hard and MT-Bench, from their published files or files like them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.own_prompts import read_completions, records_of
from prefboost.evaluation.record_texts import answer_text, answer_turns, plain_text, plain_turns, read_each

__all__ = ["arena_answers", "arena_prompts", "mt_answers", "mt_prompts", "mt_questions", "read_answers"]


def arena_prompts(assets: Assets, version: str = "v2.0") -> list[BenchmarkPrompt]:
    """The prompts of Arena-Hard, their category as CATEGORY or CATEGORY/SUBCATEGORY.

    Raises:
        DataError: the asset is not here and may not be fetched.
    """
    path = assets.path(f"arena_hard_{version.replace('.', '')}_questions")

    def read_prompt(at: int, row: Mapping[str, Any]) -> BenchmarkPrompt:
        return BenchmarkPrompt(
            str(row["uid"]), (plain_text(row["prompt"], "prompt", Place(str(path), row=at)),), _category(row)
        )

    return read_each(_rows(path, ("uid", "prompt")), read_prompt, str(path))


def arena_answers(path: str | Path) -> dict[str, tuple[str, ...]]:
    """uid -> completion, from a file of answers of Arena-Hard-Auto (``model_answer/NAME.jsonl``).

    Args:
        path: records of v2.0 (uid, messages) or of v0.1 (question_id, choices).

    Raises:
        DataError: a record has no answer, or one that is no text.
    """

    def read_answer(at: int, row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        place = Place(str(path), row=at)
        uid = row.get("uid", row.get("question_id"))
        if uid is None:
            raise DataError("a record has no uid", remedy="give a file of model_answer", place=place)
        return str(uid), _turns_of_choices(row, place)[:1] if "choices" in row else (_last_message(row, place),)

    return _by_uid(read_each(_rows(Path(path), ()), read_answer, str(path)), str(path))


def mt_prompts(assets: Assets, references: str = "mt_bench_references_gpt4_0125") -> list[BenchmarkPrompt]:
    """The questions of MT-Bench with reference answers.

    Args:
        assets: where the files are.
        references: name of the asset with the reference answers.

    Raises:
        DataError: an asset is not here and may not be fetched.
    """
    known = mt_answers(assets.path(references))
    return [replace(one, reference=known.get(one.uid, ())) for one in mt_questions(assets.path("mt_bench_questions"))]


def mt_questions(path: str | Path) -> list[BenchmarkPrompt]:
    """Questions of several turns, with the references that the file itself has.

    Args:
        path: JSON lines of records like FastChat's: question_id, category and turns; reference may stand beside them.

    Raises:
        DataError: a record lacks one of them.
    """

    def read_question(at: int, row: Mapping[str, Any]) -> BenchmarkPrompt:
        place = Place(str(path), row=at)
        turns, references = plain_turns(row["turns"], "turns", place), row.get("reference")
        reference = plain_turns(references, "reference", place) if references else ()
        return BenchmarkPrompt(str(row["question_id"]), turns, str(row["category"]), reference)

    return read_each(_rows(Path(path), ("question_id", "category", "turns")), read_question, str(path))


def read_answers(path: str | Path, prompts: Sequence[BenchmarkPrompt]) -> dict[str, tuple[str, ...]]:
    """uid -> completions, turn by turn, from a file of any of three shapes.

    Args:
        path: answers as Arena-Hard-Auto (uid, messages) or FastChat (question_id, choices) has them; or records with
            instruction and output, whose prompts are found by their text (``turns`` holds those of several turns).
        prompts: of the benchmark; one that the file does not answer is missing.

    Raises:
        DataError: a record is of none of the shapes.
    """
    first = next(iter(records_of(path)), {})
    if "messages" in first:
        return arena_answers(path)
    if "choices" in first:
        return mt_answers(path)
    read_completions(path)  # refuses records without both, and prompts that stand twice
    turns = read_each(records_of(path), lambda at, row: _turns(row, Place(str(path), row=at)), str(path))
    said = {str(row["instruction"]): each for row, each in zip(records_of(path), turns, strict=True)}
    return {one.uid: said[one.turns[0]] for one in prompts if one.turns[0] in said}


def _turns(row: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    turns = row.get("turns")
    return answer_turns(turns, "turns", place) if turns else (answer_text(row["output"], "output", place),)


def mt_answers(path: str | Path) -> dict[str, tuple[str, ...]]:
    """question_id -> what was said in both turns, from a file of answers or references of FastChat.

    Raises:
        DataError: a record has no answer.
    """
    path = Path(path)

    def read_turns(at: int, row: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return str(row["question_id"]), _turns_of_choices(row, Place(str(path), row=at))

    return _by_uid(read_each(_rows(path, ("question_id", "choices")), read_turns, str(path)), str(path))


def _by_uid(answers: Sequence[tuple[str, tuple[str, ...]]], path: str) -> dict[str, tuple[str, ...]]:
    """Answers by their prompt; two that differ are refused, since nobody can tell which one counts.

    Raises:
        DataError: prompts with two answers, the first few of them named.
    """
    found: dict[str, tuple[str, ...]] = {}
    twice = dict.fromkeys(uid for uid, turns in answers if found.setdefault(uid, turns) != turns)
    if twice:
        named = ", ".join(list(twice)[:5]) + (", ..." if len(twice) > 5 else "")
        raise DataError(
            f"{len(twice):,} prompts have two different answers: {named}",
            remedy="keep one record for each prompt",
            place=Place(path),
        )
    return found


def _turns_of_choices(row: Mapping[str, Any], place: Place) -> tuple[str, ...]:
    """What the first choice of a record of FastChat, or of Arena-Hard v0.1, said turn by turn."""
    choices = row.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        raise DataError(
            "a record of answers has no choices" if choices in (None, []) else "choices holds no object with turns",
            remedy="answer the prompt again, or take the record out of the file: what is missing is counted as missing",
            place=place,
        )
    return answer_turns(first.get("turns"), "choices[0].turns", place)


def _category(row: Mapping[str, Any]) -> str:
    category, part = str(row.get("category", "arena-hard-v0.1")), str(row.get("subcategory", ""))
    return category if part in ("", category) else f"{category}/{part}"


def _last_message(row: Mapping[str, Any], place: Place) -> str:
    """The last message; its content is text, or holds the answer."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], Mapping):
        raise DataError("a record of answers has no answer", remedy="give a file of model_answer", place=place)
    return answer_text(messages[-1].get("content"), "messages[-1].content", place)


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    parse: Callable[[str], Any] = json.loads
    found = []
    # Not splitlines: answers hold line separators of other kinds.
    for line, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        try:
            row = parse(text) if text.strip() else None
        except ValueError as error:
            raise UnreadableFile(
                f"{str(error)[:80]}", remedy="give a whole file of JSON lines", place=Place(str(path), line)
            ) from error
        if row is None:
            continue
        missing = [name for name in needed if not isinstance(row, dict) or name not in row]
        if missing:
            raise DataError(
                f"a record has no {', '.join(missing)}", remedy="give the published file", place=Place(str(path), line)
            )
        found.append(row)
    return found
