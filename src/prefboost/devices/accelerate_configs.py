"""Configurations for ``accelerate launch --config_file``: ``python -m prefboost.devices.accelerate_configs NAME``."""

from __future__ import annotations

import sys
from pathlib import Path

from prefboost.errors import SettingsError

__all__ = ["ACCELERATE_CONFIGS", "find_accelerate_config"]

ACCELERATE_CONFIGS = ("fsdp2", "zero3")


def find_accelerate_config(name: str) -> Path:
    """Return the path of a shipped configuration.

    Args:
        name: one of `ACCELERATE_CONFIGS`.

    Raises:
        SettingsError: there is none of this name.
    """
    if name not in ACCELERATE_CONFIGS:
        raise SettingsError(
            f"there is no configuration {name!r} for accelerate",
            remedy=f"name one of {', '.join(ACCELERATE_CONFIGS)}, or write your own by: accelerate config",
        )
    return Path(__file__).parent / "accelerate" / f"{name}.yaml"


if __name__ == "__main__":
    try:
        print(find_accelerate_config(" ".join(sys.argv[1:])))
    except SettingsError as error:
        # Standard output stays empty: a shell puts it into the command of the launch.
        raise SystemExit(f"error: {error}") from None
