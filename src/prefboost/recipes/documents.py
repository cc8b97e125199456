"""YAML documents that remember where each of their values was written."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from prefboost.errors import Place, SettingsError

__all__ = ["Begins", "Document", "KeyPath", "parse_value", "parse", "apply_overrides", "write_yaml"]

KeyPath = tuple[str | int, ...]
"""Path of a value: names of settings and list indices."""

Begins = Callable[[Any, KeyPath], dict[str, Any]]
"""(values of the document, path) -> default of a branch that the document leaves out."""

_MOST_NODES = 20_000
"""A recipe has some hundred values; a file of aliases to aliases would unfold to more than memory holds."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, except that ``5e-7`` is a number, as people expect."""


class _Dumper(yaml.SafeDumper):
    """Quotes every string that `_Loader` would take for a number, such as a revision ``1e5``."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def write_yaml(values: Any) -> str:
    """Write plain values as YAML text that `parse` reads back to the same values."""
    text = _dump_yaml(values, allow_unicode=True)
    # PyYAML writes line separators such as U+0085 as they are and reads them back as spaces: then all is escaped.
    return text if all(char.isprintable() or char == "\n" for char in text) else _dump_yaml(values, allow_unicode=False)


def _dump_yaml(values: Any, *, allow_unicode: bool) -> str:
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=110)
    return text


@dataclass(frozen=True)
class Document:
    """Values, and for each path of keys the place where it was written.

    ``origins`` holds a `Place` for what stands in a file, and the text ``override '...'`` for what came from the
    command line.
    """

    values: Any
    origins: Mapping[KeyPath, Place | str] = field(default_factory=dict)

    def origin(self, path: Sequence[str | int]) -> Place | str:
        """Return the origin of the value at a path, or of the nearest one above it."""
        here: KeyPath = tuple(path)
        while here and here not in self.origins:
            here = here[:-1]
        return self.origins.get(here, Place())


def parse(text: str, *, path: str | None = None) -> Document:
    """Read one YAML document.

    Raises:
        SettingsError: not YAML, a key that stands twice or is not text, or more values than a recipe can have.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        origins: dict[KeyPath, Place | str] = {(): Place(path, line=1)}
        values = _Reading(loader, path, origins).read(node, ()) if node is not None else {}
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise SettingsError(
            f"this is not YAML: {problem}",
            remedy="indent with spaces, and quote texts that hold ': ' or ' #'",
            place=Place(path, line=mark.line + 1 if mark else None),
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    return Document(values, origins)


@dataclass
class _Reading:
    loader: _Loader
    path: str | None
    origins: dict[KeyPath, Place | str]
    nodes: int = 0

    def read(self, node: yaml.Node, at: KeyPath) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        if self.nodes > _MOST_NODES or len(at) > 50:
            raise SettingsError(
                f"more than {_MOST_NODES:,} values, or nested more than 50 deep",
                remedy="remove aliases that refer to each other",
                place=Place(self.path, line=line),
            )
        self.origins.setdefault(at, Place(self.path, line=line))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*at, position)) for position, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self.loader.construct_object(node)
        # Doubled keys are looked for before merges (<<) bring keys that the mapping may override.
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SettingsError(
                    "a key must be text, found a list or mapping",
                    remedy="write `name: value`",
                    place=Place(self.path, line=line),
                )
            if key in seen and key != "<<":
                raise SettingsError(
                    f"{'.'.join(map(str, (*at, key)))} occurs twice, first in line {seen[key]}",
                    remedy="keep one of them",
                    place=Place(self.path, line=line),
                )
            seen[key] = line
        self.loader.flatten_mapping(node)
        for key_node, _ in node.value:
            self.origins[(*at, key_node.value)] = Place(self.path, line=key_node.start_mark.line + 1)
        return {key_node.value: self.read(value, (*at, key_node.value)) for key_node, value in node.value}


def apply_overrides(document: Document, overrides: Iterable[str], begins: Begins = lambda values, path: {}) -> Document:
    """Apply ``dotted.path=value`` overrides to a document, in order; values are read as YAML in one line.

    A list index is a step of the path (``lints.0=ties``); a value that is only a kind (``pair: best_vs_random``) is
    written out as a mapping where a setting below it is overridden.

    Args:
        document: the recipe.
        overrides: of the command line.
        begins: gives the default of a branch that the document leaves out, where a setting below it is overridden.

    Raises:
        SettingsError: an override that is not ``key=value``, a value that is not YAML, a path through a plain value.
    """
    values = copy.deepcopy(document.values)
    origins = dict(document.origins)
    for override in overrides:
        source = f"override {override!r}"
        key, equals, text = override.partition("=")
        if not equals or not key.strip(".") or any(not step for step in key.split(".")):
            raise SettingsError(f"{source}: not of the form key=value", remedy="write e.g. train.learning_rate=1e-6")
        value = parse_value(text, source)
        path = _put(values, key.split("."), value, source, begins)
        # The lines of the file that the override replaces must not be blamed for its values.
        for below in [at for at in origins if at[: len(path)] == path]:
            del origins[below]
        origins[path] = source
        for end in range(1, len(path)):  # branches that the override has added
            origins.setdefault(path[:end], source)
    return Document(values, origins)


def parse_value(text: str, source: str) -> Any:
    """Read the value of an override as YAML; lists and mappings need brackets, so ``Score: {{ goal }}`` is text.

    Args:
        text: text behind ``=``.
        source: name of the override in messages.

    Raises:
        SettingsError: text in brackets or quotes is no YAML.
    """
    if not text.strip():
        return None
    # `{{ goal }}` is a template of Jinja, although YAML would read a mapping.
    in_brackets = text.lstrip().startswith(("[", "{", "'", '"')) and not text.lstrip().startswith("{{")
    try:
        value = parse(text).values
    except SettingsError as error:
        if in_brackets:
            raise SettingsError(f"{source}: the value is not YAML: {error.message}") from None
        return text
    return value if in_brackets or not isinstance(value, dict | list) else text


def _put(values: Any, steps: Sequence[str], value: Any, source: str, begins: Begins) -> KeyPath:
    path: list[str | int] = []
    here: Any = values
    for position, step in enumerate(steps):
        place: Any = step
        if isinstance(here, list):
            if not step.isdigit() or int(step) >= len(here):
                raise SettingsError(f"{source}: {step!r} is not an index of a list of {len(here)}")
            place = int(step)
        path.append(place)
        if position == len(steps) - 1:
            here[place] = value
            break
        below = here[place] if isinstance(here, list) else here.get(place)
        if below is None:
            # A branch that is absent begins with its defaults; one that is null was emptied on purpose.
            absent = isinstance(here, dict) and place not in here
            below = begins(values, tuple(path)) if absent else {}
        elif isinstance(below, str):  # the short form: a kind alone
            below = {"kind": below}
        elif not isinstance(below, (dict, list)):
            raise SettingsError(
                f"{source}: {'.'.join(map(str, path))} is {below!r} and has no settings",
                remedy="see `prefboost show RECIPE` for the tree",
            )
        here[place] = below
        here = below
    return tuple(path)
