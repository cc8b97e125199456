"""`push`: a trained model, or the output of a verb, to the Hugging Face hub, with a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.errors import Place, RunError, SettingsError
from prefboost.evaluation.results import Results
from prefboost.reporting.hub_cards import write_model_card, write_output_card
from prefboost.runs.outputs import locate_rejects
from prefboost.settings import Settings
from prefboost.sources.readers.hub import is_hub_id
from prefboost.sources.writers.hub import find_licence, refuse_repository, upload

__all__ = ["Push", "push"]

_VERBS = ("generate", "score", "judge", "select", "synthesize")
"""Verbs that leave their history beside their output: ``OUT.VERB.json``."""


class Push(Settings):
    """Settings of `push`: what the card says that the files do not."""

    licence: str | None = Field(
        None, description="Licence by its SPDX name, e.g. apache-2.0; none: of a model, that of the base model."
    )
    datasets: tuple[str, ...] = Field((), description="Data sets of the hub that a model was trained on.")
    evaluation: str | None = Field(None, description="Folder of evaluate, whose figures stand in a model's card.")
    visibility: Literal["private", "public"] = Field(
        "private", description="Visibility of a repository that does not exist yet."
    )


def push(path: str | Path, repository: str, settings: Push | None = None) -> str:
    """Upload a model folder, a folder of `augment`, or the output file of a verb, to the hub.

    Args:
        path: a folder with a model that prefboost trained, or the folder of its run; a folder of `augment`; or a file
            that `generate`, `score`, `judge`, `select` or `synthesize` wrote.
        repository: ``owner/name``.
        settings: see `Push`.

    Returns:
        The address.

    Raises:
        RunError: it is none of these, or the hub refuses it.
        SettingsError: the repository has no such name, or the licence of the model is not known.
    """
    settings = settings or Push()
    source, private = Path(path).expanduser(), settings.visibility == "private"
    if source.is_file():
        refuse_repository(repository)
        histories = [source.with_name(f"{source.name}.{verb}.json") for verb in _VERBS]
        history = next((path for path in histories if path.is_file()), None)
        if history is None:
            raise RunError(
                "no history lies beside the file, so that nothing can be said about it",
                remedy=f"push an output of {', '.join(_VERBS)} where its OUT.VERB.json lies",
                place=Place(str(source)),
            )
        card = write_output_card(source, history, settings.licence)
        names = [source.name, history.name, *(path.name for path in [locate_rejects(source)] if path.is_file())]
        return upload(source.parent, repository, "dataset", private=private, card=card, names=names)
    facts = _read_facts(source / "prefboost.json")
    if "report" in facts:
        refuse_repository(repository)
        return upload(source, repository, "dataset", private=private)
    folder = source if facts else source / "model"
    facts = facts or _read_facts(folder / "prefboost.json")
    if "train" not in facts and "train_reward" not in facts:
        raise RunError(
            "it is neither a model that prefboost trained, nor a folder of augment, nor the output of a verb",
            remedy="name the folder of the model or of its run, a folder of augment, or an output file",
            place=Place(str(source)),
        )
    refuse_repository(repository, "model")
    base = str(facts.get("train", facts.get("train_reward", {})).get("model", ""))
    licence = settings.licence or (find_licence(base) if is_hub_id(base) else None)
    if licence is None:
        raise SettingsError(
            f"the licence of {base or 'the base model'} is not known here",
            remedy="name the licence of the model, which that of its base model binds: licence=apache-2.0",
        )
    results: list[Results] = []
    if settings.evaluation is not None:
        place = Path(settings.evaluation)
        files = sorted({*place.glob("results.json"), *place.glob("*/results.json")})
        results = [Results.of(json.loads(file.read_text(encoding="utf-8"))) for file in files]
        if not results:
            raise RunError("evaluate has written no results here", remedy="name its folder", place=Place(str(place)))
    card = write_model_card((folder / "README.md").read_text(encoding="utf-8"), licence, settings.datasets, results)
    return upload(folder, repository, "model", private=private, card=card)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
