"""Rubrics: a text, the aspects it names and the numbers it allows, from a Jinja file.

A rubric sets ``low``, ``high`` and, where aspects are rated, ``aspects`` (name -> meaning), and is rendered with
``several`` (whether it is shown several completions at once). No data pass through the template: neither prompts nor
completions can be taken for Jinja. The template runs in a sandbox and can include nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefboost.errors import Place, SettingsError
from prefboost.scoring.template_file import load_template

__all__ = ["RUBRICS", "Rubric", "load_rubric"]

RUBRICS = ("overall", "ultrafeedback", "additive")
"""Rubrics that come with prefboost."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_CHOICES = 26


@dataclass(frozen=True)
class Rubric:
    """A rubric that was read.

    Args:
        name: of a shipped rubric, or the file's path.
        identity: name of the file and a hash of its text.
        low: lowest rating, a whole number.
        high: highest rating.
        aspects: name -> meaning; empty where one overall rating is given.
        alone: the text for one completion.
        together: the text for several.
    """

    name: str
    identity: str
    low: int
    high: int
    aspects: Mapping[str, str]
    alone: str
    together: str

    @property
    def keys(self) -> list[str]:
        """What is rated, as it is called in the answer: the aspects, or ``rating``."""
        return list(self.aspects) or ["rating"]

    def text(self, completions: int) -> str:
        """Render the rubric for so many completions at once."""
        return self.alone if completions == 1 else self.together


def load_rubric(name: str) -> Rubric:
    """Read a rubric.

    Args:
        name: one of `RUBRICS`, or the path of a Jinja file.

    Raises:
        SettingsError: there is no such file, it is no Jinja, or it sets no usable low, high and aspects.
    """
    template = load_template(name, RUBRICS, Path(__file__).with_name("rubrics"), "the rubric")

    def render(several: bool) -> Any:
        return template.run(lambda jinja: jinja.make_module({"several": several}), "nothing but `several`")

    alone, together = render(False), render(True)
    variables = vars(alone)
    low, high, aspects = variables.get("low"), variables.get("high"), variables.get("aspects", {})
    if not (type(low) is int and type(high) is int and 0 <= low < high < low + _MOST_CHOICES):
        raise SettingsError(
            f"a rubric rates from a whole number low to a larger one high, with at most {_MOST_CHOICES} ratings; "
            f"found low = {low!r}, high = {high!r}",
            remedy="write {% set low, high = 1, 10 %} at its top",
            place=Place(name),
        )
    wrong = [key for key in aspects if not (isinstance(key, str) and _NAME.fullmatch(key))] if aspects else []
    if not isinstance(aspects, Mapping) or wrong or {"candidate", "reason"} & set(aspects):
        raise SettingsError(
            f"aspects are a mapping of names in lower case to their meaning, found {wrong or aspects!r:.80}",
            remedy='write {% set aspects = {"clarity": "Is it easy to follow?"} %}; candidate and reason are taken',
            place=Place(name),
        )
    meanings = {key: str(meaning) for key, meaning in aspects.items()}
    texts = (str(module).strip() for module in (alone, together))
    return Rubric(name, template.identity, low, high, meanings, *texts)
