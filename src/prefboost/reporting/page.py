"""Self-contained HTML pages: everything inline, every value escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from prefboost.reporting.charts import place_lines, place_strip
from prefboost.reporting.sections import COLOURED
from prefboost.reporting.texts import flatten_prose, flatten_text, replace_controls

__all__ = ["read_asset", "render_page"]

_ASSETS = Path(__file__).parent / "assets"


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template of ``reporting/templates``.

    Args:
        template: file name, e.g. ``report.html``.
        values: data; strings are HTML-escaped, so completions cannot break the page.

    Returns:
        The page as text, with no link to anything outside the file.
    """
    # StrictUndefined: a value that is missing must fail a test, not leave a gap in a page.
    environment = Environment(
        loader=PackageLoader("prefboost.reporting", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Globals, since imported macros do not see the values of the page.
    environment.globals |= {
        "asset": read_asset, "strip": place_strip, "lines": place_lines, "plain": flatten_text, "prose": flatten_prose,
        "coloured": COLOURED, "visible": replace_controls,
    }  # fmt: skip
    return environment.get_template(template).render(**values)


@cache
def read_asset(name: str) -> Markup:
    """Read a style sheet or script that is inlined as it is."""
    text = (_ASSETS / name).read_text(encoding="utf-8")
    # A browser's tools would look for the map of a minified script beside the page.
    return Markup(re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE))
