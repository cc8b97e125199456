"""Jinja files that are shipped or the user's own, rendered in a sandbox: rubrics, and prompts to models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prefboost.errors import Place, SettingsError

__all__ = ["TemplateFile", "load_template"]

T = TypeVar("T")


@dataclass(frozen=True)
class TemplateFile:
    """A Jinja file.

    Args:
        name: of a shipped file, or a path.
        what: what it is called in errors, such as "the rubric".
        identity: name of the file and a hash of its text.
        compiled: jinja2's template.
    """

    name: str
    what: str
    identity: str
    compiled: Any = field(repr=False, compare=False)

    def run(self, render: Callable[[Any], T], sees: str) -> T:
        """Return what a function makes of the template.

        Args:
            render: jinja2's template -> what is wanted of it.
            sees: the values that it is given, for the error.

        Raises:
            SettingsError: the template asks for something that it is not given, or fails.
        """
        from jinja2 import TemplateError

        try:
            return render(self.compiled)
        # Whatever the user's expressions raise: 1 / 0, a missing key, a range that the sandbox forbids.
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise _build_error(self.name, self.what, error, sees) from error


def load_template(name: str, shipped: Sequence[str], folder: Path, what: str) -> TemplateFile:
    """Read a Jinja file.

    Args:
        name: one of the shipped files, or the path of another.
        shipped: names of the shipped files.
        folder: where those are.
        what: see `TemplateFile`.

    Raises:
        SettingsError: there is no such file, or it is no Jinja.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    path = folder / f"{name}.jinja" if name in shipped else Path(name)
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{what} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}",
            remedy=f"name a Jinja file, or one of {', '.join(shipped)}",
            place=Place(name),
        ) from error
    # Sandboxed: the file is the user's, and its values are texts of models and data.
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        compiled = environment.from_string(source)
    except TemplateError as error:
        raise _build_error(name, what, error, "the values that the shipped file uses") from error
    return TemplateFile(name, what, f"{path.stem}/{hashlib.sha256(source.encode()).hexdigest()[:16]}", compiled)


def _build_error(name: str, what: str, error: Exception, sees: str) -> SettingsError:
    return SettingsError(
        f"the template of {what} fails: {error}",
        remedy=f"it sees {sees}, and can include no other file",
        place=Place(name, line=getattr(error, "lineno", None)),
    )
