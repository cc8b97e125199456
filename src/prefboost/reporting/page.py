"""Self-contained HTML pages: everything inline, every value escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

__all__ = ["render_page"]


def render_page(template: str, values: Mapping[str, Any], *, figures: Mapping[str, str] | None = None) -> str:
    """Fill a template of ``reporting/templates``.

    Args:
        template: file name, e.g. ``demo.html``.
        values: data; strings are HTML-escaped, so completions cannot break the page.
        figures: name -> SVG text that prefboost drew itself; inserted as it is.

    Returns:
        The page as text: no script, no link to anything outside the file.
    """
    # StrictUndefined: a value that is missing must fail a test, not leave a gap in a page.
    environment = Environment(
        loader=PackageLoader("prefboost.reporting", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {name: Markup(svg) for name, svg in (figures or {}).items()}
    return environment.get_template(template).render(**values, figures=drawn)
