"""Arguments of ``prefboost evaluate`` as settings: models, files, and ``key=value`` by short names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.cli.overrides import Branch, get_first_name, place_overrides, split_overrides
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from prefboost.runs.evaluate.settings import Evaluate
    from prefboost.settings import Settings

__all__ = ["read_evaluate"]

_FILES = (".json", ".jsonl")


def read_evaluate(
    arguments: Sequence[str], baseline: Path | None, options: Mapping[str, Any], *, any_models: bool = True
) -> Evaluate:
    """Read settings from the command line.

    Args:
        arguments: MODEL (a folder, a hub id, ``openai:NAME`` and its like, or ``{kind: ..., ...}``), files with
            instruction and output, and ``key=value``.
        baseline: a file with instruction and output: the prompts of AlpacaEval and its baseline.
        options: settings that have flags of their own.
        any_models: a model or file must be named.

    Raises:
        SettingsError: no model and no file is named, or one line for every wrong setting.
    """
    from prefboost.recipes.documents import Document, apply_overrides
    from prefboost.recipes.validate import validate
    from prefboost.runs.evaluate.settings import Evaluate

    overrides = [text for text in arguments if _is_override(text)]
    contestants = [text for text in arguments if not _is_override(text)]
    # A colon marks a model, e.g. replay:answers.jsonl, whatever its name ends with.
    files = [text for text in contestants if text.endswith(_FILES) and ":" not in text]
    if any_models and not contestants:
        raise SettingsError(
            "no completions to judge are named", remedy="give completions and --baseline, a model, or --verdicts FILE"
        )
    listed, others = split_overrides(overrides, ("benchmarks",))
    value = apply_overrides(Document({}), listed).values.get("benchmarks", [])
    kinds = ([value] if isinstance(value, str) else value) or ["alpaca_eval"]
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise SettingsError(f"benchmarks is {value!r}", remedy="write benchmarks=[alpaca_eval,pairwise]")
    files_of_alpaca = {} if baseline is None else {"prompts": str(baseline), "baseline": str(baseline)}
    models = [_read_engine(text) for text in contestants if text not in files]
    values = {
        **options,
        "models": models,
        "files": files,
        "benchmarks": [{"kind": kind, **files_of_alpaca} for kind in kinds] if files_of_alpaca else list(kinds),
    }
    names = _list_names(kinds, models, judge_stands_alone=any(get_first_name(text) == "kind" for text in others))
    placed = place_overrides(others, names, "; of the judge judge.KEY, of the models engine.KEY")
    return validate(Evaluate, apply_overrides(Document(values), placed))


def _is_override(text: str) -> bool:
    return "=" in text and not text.startswith("{")


def _read_engine(text: str) -> dict[str, Any]:
    """Read the settings of an engine from MODEL."""
    from prefboost.engines.kinds import parse_engine
    from prefboost.recipes.documents import parse

    return dict(parse(text).values) if text.startswith("{") else dict(parse_engine(text))


def _list_names(
    kinds: Sequence[str], models: Sequence[Mapping[str, Any]], *, judge_stands_alone: bool
) -> dict[str, Branch]:
    """List the names that evaluate understands; later entries go before earlier ones of the same name."""
    from prefboost.engines.kinds import ENGINES
    from prefboost.evaluation.kinds import BENCHMARKS
    from prefboost.runs.evaluate.settings import Answering, Evaluate

    def place_judge(key: str, value: str) -> list[str]:
        # judge=MODEL stands for the settings of an engine.
        if key != "judge" or value.startswith("{"):
            return [f"{key}={value}"]
        return [f"judge.{name}={part}" for name, part in _read_engine(value).items()]

    def place_engine(key: str, value: str) -> list[str]:
        # engine.KEY is a setting of every model that has it.
        rest = key.partition(".")[2]
        places = [at for at, model in enumerate(models) if _has_field(ENGINES.get(str(model.get("kind"))), rest)]
        return [f"models.{at}.{rest}={value}" for at in places]

    def place_benchmark(key: str, value: str) -> list[str]:
        # BENCHMARK.KEY is a setting of that one, rules.KEY of AlpacaEval, mode of every one that has it.
        first, _, rest = key.partition(".")
        named = {"rules": ["alpaca_eval"], "mode": [kind for kind in kinds if _has_field(BENCHMARKS.get(kind), "mode")]}
        places = [at for at, kind in enumerate(kinds) if kind in named.get(first, [first])]
        return [f"benchmarks.{at}.{rest or key}={value}" for at in places]

    engine_names = ["kind", *(name for engine in ENGINES.values() for name in engine.model_fields)]
    return {
        **(dict.fromkeys(engine_names, "judge.") if judge_stands_alone else {}),
        **dict.fromkeys(Answering.model_fields, "answering."),
        **dict.fromkeys(Evaluate.model_fields, ""),
        **dict.fromkeys((*kinds, "rules", "mode"), place_benchmark),
        "engine": place_engine,
        "judge": place_judge,
        "goal": lambda key, value: [f"goals=[{value}]"] if key == "goal" else [],
    }


def _has_field(settings: type[Settings] | None, path: str) -> bool:
    """Tell whether settings have a field; settings of an unknown kind name their wrong fields themselves."""
    return settings is None or path.partition(".")[0] in settings.model_fields
