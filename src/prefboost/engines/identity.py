"""Name what an engine's answers depend on: by construction, all of its settings but those that are said not to."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence

from prefboost.settings import Settings

__all__ = ["identity_of", "name_library"]


def identity_of(fingerprints: Sequence[str], settings: Settings, immaterial: Mapping[str, str]) -> str:
    """Join what names an engine in the store's keys.

    A setting at its default adds nothing, so that a new one leaves the answers that a store holds valid.

    Args:
        fingerprints: of weights, number type and the like.
        settings: of the engine.
        immaterial: settings that add nothing at any value, each with the reason why it changes no answer or stands in
            the key already.
    """
    # By the declared fields, not by what a user wrote: a default that is written out is no other engine.
    defaults = {name: field.get_default() for name, field in type(settings).model_fields.items()}
    values = settings.model_dump(mode="json")
    changed = [
        f"{name}={json.dumps(values[name], sort_keys=True)}"
        for name, default in defaults.items()
        if name not in immaterial and getattr(settings, name) != default
    ]
    return "/".join([*fingerprints, *changed])


def name_library(library: str) -> str:
    """Name the library that computes answers, with its version; without one where it is not installed.

    Another version samples, tokenises or renders chat templates otherwise, so that rows of both would be of two models.
    """
    try:
        return f"{library}-{importlib.metadata.version(library)}"
    except importlib.metadata.PackageNotFoundError:
        # Nothing can be computed here, but prompts can still be rendered and counted for a forecast.
        return library
