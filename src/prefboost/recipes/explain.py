"""Help pages of settings, made from their own descriptions."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from pydantic import TypeAdapter

from prefboost.errors import SettingsError
from prefboost.recipes.tree import Setting, classes_at, settings_of
from prefboost.settings import Settings

__all__ = ["Page", "explain", "schema", "summary_of"]


@dataclass(frozen=True)
class Page:
    """The help page of one path.

    Attributes:
        path: the dotted path that was asked for; "" is the whole recipe.
        about: what stands there, in one sentence.
        holds: the type, as text.
        default: the default as text; "" where a value must be given or the path is a group.
        settings: what can be set below.
        arms: kind -> one sentence, where the setting is chosen by ``kind``.
    """

    path: str
    about: str
    holds: str = "settings"
    default: str = ""
    settings: list[Setting] = field(default_factory=list)
    arms: Mapping[str, str] = field(default_factory=dict)


def explain(root: type[Settings], path: str = "") -> Page:
    """Build the help page of a dotted path such as ``train.loss`` or ``train.loss.dpo.beta`` below a class.

    Raises:
        SettingsError: nothing stands at that path; names what does.
    """
    steps = [step for step in path.split(".") if step]
    for position, step in enumerate(steps):
        above = steps[:position]
        group = _find_setting(root, above)
        names = [
            *(group.arms if group else ()),
            *(name for cls in classes_at(root, above) for name in cls.model_fields),
        ]
        if step not in names:
            near = difflib.get_close_matches(step, names, n=1)
            choices = ", ".join(dict.fromkeys(names)) or f"no settings below {'.'.join(above)}"
            raise SettingsError(
                f"{'.'.join([*above, step])} is not a setting",
                remedy=f"did you mean {'.'.join([*above, near[0]])}?" if near else f"there are: {choices}",
            )
    setting = _find_setting(root, steps)
    classes = classes_at(root, steps)
    if setting is None:
        return Page(path, summary_of(classes[0]), settings=settings_of(classes[0]))
    below = settings_of(classes[0]) if len(classes) == 1 and not setting.arms else []
    arms = {kind: summary_of(arm) for kind, arm in setting.arms.items()}
    return Page(path, setting.description, setting.holds, setting.default, below, arms)


def schema(*roots: type[Settings]) -> dict[str, Any]:
    """Build the JSON schema of a settings class, or of any of several, for completion and checks in editors."""
    either: Any = Union[roots]  # noqa: UP007 - made of a tuple
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TypeAdapter(either).json_schema()}


def summary_of(cls: type[Any]) -> str:
    """Return the first sentence of a class's docstring."""
    paragraph = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
    return paragraph


def _find_setting(root: type[Settings], steps: list[str]) -> Setting | None:
    """Return the setting that the last step names; None for the root and for an arm."""
    if not steps:
        return None
    above = classes_at(root, steps[:-1])
    return next((each for cls in above for each in settings_of(cls) if each.name == steps[-1]), None)
