"""The launch of this process: how many processes work together, and which of them this one is."""

from __future__ import annotations

from collections.abc import Mapping

from prefboost.errors import SettingsError

__all__ = ["read_local_rank", "read_rank", "read_world_size"]


def read_world_size(environment: Mapping[str, str]) -> int:
    """Return the number of processes of this launch, at least 1: launchers write it into ``WORLD_SIZE``.

    Raises:
        SettingsError: it is no number of processes.
    """
    return _read_number(environment, "WORLD_SIZE", least=1)


def read_rank(environment: Mapping[str, str]) -> int:
    """Return the number of this process, from 0: launchers write it into ``RANK``.

    Raises:
        SettingsError: it is no number of a process.
    """
    return _read_number(environment, "RANK", least=0)


def read_local_rank(environment: Mapping[str, str]) -> int:
    """Return the number of this process on its machine, from 0: launchers write it into ``LOCAL_RANK``.

    Raises:
        SettingsError: it is no number of a process.
    """
    return _read_number(environment, "LOCAL_RANK", least=0)


def _read_number(environment: Mapping[str, str], name: str, *, least: int) -> int:
    # An empty variable is as good as none: job scripts export such.
    text = environment.get(name, "").strip() or str(least)
    if not text.isdecimal() or int(text) < least:
        raise SettingsError(
            f"the environment variable {name} is {text!r}, found no whole number from {least}",
            remedy=f"unset {name}, or start with accelerate launch, which sets it",
        )
    return int(text)
