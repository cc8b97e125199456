"""The machine under the models: number types that a device computes natively, and cores that this process may use."""

from prefboost.devices.cores import limit_threads, set_thread_environment, usable_cores
from prefboost.devices.numbers import (
    AskedNumbers,
    NumberChoice,
    NumberName,
    announce,
    choose_numbers,
    device_name,
    keep_numbers,
)

__all__ = [
    "AskedNumbers",
    "NumberChoice",
    "NumberName",
    "announce",
    "choose_numbers",
    "device_name",
    "keep_numbers",
    "limit_threads",
    "set_thread_environment",
    "usable_cores",
]
