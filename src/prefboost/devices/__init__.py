"""The machine under the models: number types that a device computes natively, and cores that this process may use."""

from prefboost.devices.cores import limit_threads, set_thread_environment, usable_cores
from prefboost.devices.numbers import (
    NumberChoice,
    NumberName,
    NumberSetting,
    announce,
    choose_numbers,
    keep_numbers,
    resolve_device,
)

__all__ = [
    "NumberSetting",
    "NumberChoice",
    "NumberName",
    "announce",
    "choose_numbers",
    "resolve_device",
    "keep_numbers",
    "limit_threads",
    "set_thread_environment",
    "usable_cores",
]
