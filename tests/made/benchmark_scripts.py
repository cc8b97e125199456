"""Benchmarks whose files are called as packages and folders of tests are, loaded under names of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load_benchmark(name: str) -> Any:
    """Load a script of the folder of benchmarks, e.g. ``training``."""
    place = importlib.util.spec_from_file_location(f"benchmark_of_{name}", FOLDER / f"{name}.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    sys.modules[place.name] = module
    place.loader.exec_module(module)
    return module
