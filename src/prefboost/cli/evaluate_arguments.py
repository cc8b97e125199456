"""What ``prefboost evaluate`` is told, as settings: models, files, and ``key=value`` by short names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.runs.evaluate.settings import Evaluate
    from prefboost.settings import Settings

__all__ = ["settings_of"]

_FILES = (".json", ".jsonl")


def settings_of(
    arguments: Sequence[str], baseline: Path | None, options: Mapping[str, Any], *, any_models: bool = True
) -> Evaluate:
    """Settings from the command line.

    Args:
        arguments: MODEL (a folder, a hub id, ``openai:NAME`` and its like, or ``{kind: ..., ...}``), files with
            instruction and output, and ``key=value``.
        baseline: a file with instruction and output: the prompts of AlpacaEval and its baseline.
        options: settings that have flags of their own.
        any_models: somebody has to be evaluated.

    Raises:
        SettingsError: nobody is named, or one line for every wrong setting.
    """
    from prefboost.recipes.documents import Document, with_overrides
    from prefboost.recipes.validate import validate
    from prefboost.runs.evaluate.settings import Evaluate

    given = [text for text in arguments if _is_setting(text)]
    named = [text for text in arguments if not _is_setting(text)]
    files = [text for text in named if text.endswith(_FILES) and ":" not in text]
    if any_models and not named:
        raise SettingsError(
            "there is nothing to judge", remedy="give completions and --baseline, a model, or --verdicts FILE"
        )
    kinds, written = _settings_alone(given)
    if not kinds:
        kinds = ["alpaca_eval"]
    own = {"prompts": str(baseline), "baseline": str(baseline)} if baseline is not None else {}
    values = {
        **options,
        "models": [_engine(text) for text in named if text not in files],
        "files": files,
        "benchmarks": [{"kind": kind, **own} for kind in kinds] if own else list(kinds),
    }
    return validate(Evaluate, with_overrides(Document(values), _placed(written, kinds, values["models"])))


def _is_setting(text: str) -> bool:
    return "=" in text and not text.startswith("{")


def _engine(text: str) -> dict[str, Any]:
    """Settings of an engine from MODEL."""
    from prefboost.engines.kinds import engine_settings_of
    from prefboost.recipes.documents import parse

    return dict(parse(text).values) if text.startswith("{") else dict(engine_settings_of(text))


def _settings_alone(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The benchmarks, and all other settings."""
    from prefboost.recipes.documents import Document, with_overrides

    lists = [text for text in given if text.partition("=")[0] == "benchmarks"]
    found = with_overrides(Document({}), lists).values.get("benchmarks", [])
    kinds = [found] if isinstance(found, str) else found
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise SettingsError(f"benchmarks is {found!r}", remedy="write benchmarks=[alpaca_eval,pairwise]")
    return kinds, [text for text in given if text not in lists]


def _placed(given: Sequence[str], kinds: Sequence[str], models: Sequence[Mapping[str, Any]]) -> list[str]:
    """``key=value`` with the whole path of every key."""
    judge_alone = any(text.startswith("kind=") for text in given)
    placed: list[str] = []
    for text in given:
        key, _, value = text.partition("=")
        paths = _paths(key.strip(), value.strip(), kinds, models, judge_alone)
        if not paths:
            raise _unknown(text, key.strip().partition(".")[0], kinds)
        placed += paths
    return placed


def _paths(
    key: str, value: str, kinds: Sequence[str], models: Sequence[Mapping[str, Any]], judge_alone: bool
) -> list[str]:
    """Where a key stands among the settings; nowhere: none.

    ``goal=10`` is ``goals=[10]``; ``judge=NAME`` is an engine; ``engine.KEY`` is a setting of every model that has it;
    ``BENCHMARK.KEY`` one of a benchmark, ``rules.KEY`` one of AlpacaEval; ``mode`` one of every benchmark that has it;
    after ``kind=`` the names of the judge's settings stand alone.
    """
    from prefboost.engines.kinds import ENGINES
    from prefboost.runs.evaluate.settings import Answering, Evaluate

    first, _, rest = key.partition(".")
    engine_names = {"kind", *(name for arm in ENGINES.values() for name in arm.model_fields)}
    if key == "goal":
        return [f"goals=[{value}]"]
    if key == "judge" and not value.startswith("{"):
        return [f"judge.{name}={part}" for name, part in _engine(value).items()]
    if first == "engine":
        having = [at for at, model in enumerate(models) if _has(ENGINES.get(str(model.get("kind"))), rest)]
        return [f"models.{at}.{rest}={value}" for at in having]
    if first in kinds or first == "rules" or key == "mode":
        return [f"benchmarks.{at}.{rest or key}={value}" for at, kind in enumerate(kinds) if _meant(kind, first, rest)]
    if first in Evaluate.model_fields:
        return [f"{key}={value}"]
    if first in Answering.model_fields:
        return [f"answering.{key}={value}"]
    return [f"judge.{key}={value}"] if judge_alone and first in engine_names else []


def _meant(kind: str, first: str, rest: str) -> bool:
    """Whether a setting is one of this benchmark."""
    from prefboost.evaluation.kinds import BENCHMARKS

    if first == "rules":
        return kind == "alpaca_eval"
    return first == kind or (first == "mode" and _has(BENCHMARKS.get(kind), "mode"))


def _has(settings: type[Settings] | None, path: str) -> bool:
    """Whether settings have a field; those that are not known are left to say so themselves."""
    return settings is None or path.partition(".")[0] in settings.model_fields


def _unknown(text: str, name: str, kinds: Sequence[str]) -> SettingsError:
    from prefboost.runs.evaluate.settings import Answering, Evaluate

    known = sorted({"goal", "mode", "engine", *kinds, *Evaluate.model_fields, *Answering.model_fields} - {"models"})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return SettingsError(
        f"override {text!r}: {name} is not a setting here{hint}",
        remedy=f"settings here: {', '.join(known)}; of the judge judge.KEY, of the models engine.KEY",
    )
