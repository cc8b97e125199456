"""The machine under the models: number types it computes natively, cores this process may use, and memory."""

from prefboost.devices.cores import limit_threads, set_thread_environment, usable_cores
from prefboost.devices.memory import release_memory
from prefboost.devices.numbers import (
    NumberChoice,
    NumberName,
    NumberSetting,
    choose_numbers,
    keep_numbers,
    log_number_choice,
    resolve_device,
)

__all__ = [
    "NumberSetting",
    "NumberChoice",
    "NumberName",
    "log_number_choice",
    "choose_numbers",
    "resolve_device",
    "keep_numbers",
    "release_memory",
    "limit_threads",
    "set_thread_environment",
    "usable_cores",
]
