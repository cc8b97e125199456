"""What launchers write into the environment, and what else stands there."""

from __future__ import annotations

import pytest

from prefboost.devices.launch import read_local_rank, read_rank, read_world_size
from prefboost.errors import SettingsError


def test_a_launch_is_read_and_without_one_this_process_is_alone() -> None:
    launch = {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}
    assert (read_world_size(launch), read_rank(launch), read_local_rank(launch)) == (8, 5, 1)
    for environment in ({}, dict.fromkeys(launch, ""), dict.fromkeys(launch, " ")):
        assert (read_world_size(environment), read_rank(environment), read_local_rank(environment)) == (1, 0, 0)


@pytest.mark.parametrize("text", ["two", "-1", "1.5"])
def test_what_is_no_number_of_processes_is_one_message(text: str) -> None:
    with pytest.raises(SettingsError, match=f"WORLD_SIZE is '{text}'"):
        read_world_size({"WORLD_SIZE": text})
    with pytest.raises(SettingsError, match="from 1"):
        read_world_size({"WORLD_SIZE": "0"})
    with pytest.raises(SettingsError, match="RANK"):
        read_rank({"RANK": text})
