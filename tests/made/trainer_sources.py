"""Functions of other trainers, run from their own source files without the libraries that those import.

`make trainers` puts the pinned sources into ``.trainers``; without them the tests that use this module are skipped.
"""

from __future__ import annotations
import __future__ as compiler

import argparse
import ast
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest


def locate_source(path: str) -> Path:
    """The file of a trainer, or skip the test."""
    folder = Path(os.environ.get("PREFBOOST_TRAINERS") or Path(__file__).parents[2] / ".trainers")
    places = [place / path for place in (folder, *sorted(folder.glob("*-src")))]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        pytest.skip(f"no {path} in {folder}: `make trainers` gets the trainers' sources")
    return found


def borrow(path: str, *names: str, **replacements: Any) -> Any:
    """Run the named functions, classes and constants of a source file; what it cannot import is a mock."""
    source = locate_source(path)
    module = types.ModuleType(f"borrowed_{path.replace('/', '_').removesuffix('.py')}")
    sys.modules[module.__name__] = module  # dataclasses look up their module there
    world = module.__dict__
    world.update(replacements)
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _import(node, world, replacements)
        elif not names or set(names) & set(_list_names(node)):
            _run(node, world, source)
    return module


def borrow_parser(path: str) -> argparse.ArgumentParser:
    """The parser that a script builds under ``if __name__ == "__main__"``."""
    source = locate_source(path)
    world: dict[str, Any] = {"argparse": argparse}
    exec("from datetime import datetime", world)
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        text = ast.unparse(node) if isinstance(node, ast.Assign | ast.Expr) else ""
        if text.startswith(("parser = ", "parser.add_argument(")):
            _run(node, world, source)
    parser: argparse.ArgumentParser = world["parser"]
    return parser


def list_fields(path: str) -> set[str]:
    """Names of the annotated fields of every class in a source file."""
    tree = ast.parse(locate_source(path).read_text(encoding="utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.target.id for each in classes for node in each.body if isinstance(node, ast.AnnAssign)}  # type: ignore


def _import(node: ast.Import | ast.ImportFrom, world: dict[str, Any], replacements: dict[str, Any]) -> None:
    for alias in node.names:
        name = alias.asname or alias.name.partition(".")[0]
        if name in replacements or name == "annotations":
            continue
        single = (
            ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], node.level)
        )
        try:
            _run(single, world, Path("imports"))
        except (ImportError, AttributeError, KeyError, RuntimeError):
            world[name] = MagicMock(name=name)


def _list_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _run(node: Any, world: dict[str, Any], source: Path) -> None:
    module = ast.fix_missing_locations(ast.Module([node], []))
    flags = compiler.annotations.compiler_flag
    exec(compile(module, str(source), "exec", flags=flags, dont_inherit=True), world)
