"""The shipped configurations, as accelerate itself reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefboost.devices.accelerate_configs import ACCELERATE_CONFIGS, find_accelerate_config
from prefboost.errors import SettingsError

SEVERAL_NODES = ("--num_machines=2", "--machine_rank=1", "--main_process_ip=10.0.0.7", "--main_process_port=29501")


def resolve(name: str, *options: str) -> Any:
    """Return what `accelerate launch` makes of a configuration and the options of its command."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    path = str(find_accelerate_config(name))
    command = ["--config_file", path, *options, "-m", "prefboost.cli.main", "train"]
    return _validate_launch_command(launch_command_parser().parse_args(command))[0]


@pytest.mark.torch
@pytest.mark.parametrize("name", ACCELERATE_CONFIGS)
def test_accelerate_loads_every_configuration(name: str) -> None:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    config = load_config_from_file(str(find_accelerate_config(name)))
    assert isinstance(config, ClusterConfig)
    assert (config.distributed_type.value, config.num_machines) == ({"fsdp2": "FSDP", "zero3": "DEEPSPEED"}[name], 1)
    with pytest.raises(ValueError, match="manually pass in `--num_processes`"):
        resolve(name)


@pytest.mark.torch
def test_fsdp2_is_version_2_with_checkpoints_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    launch = resolve("fsdp2", "--num_processes=16", *SEVERAL_NODES)
    variables = prepare_multi_gpu_env(launch)
    assert (launch.nproc_per_node, launch.nnodes, launch.node_rank) == ("8", "2", 1)
    assert (launch.rdzv_endpoint, launch.rdzv_backend) == ("10.0.0.7:29501", "static")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "SHARDED_STATE_DICT"


@pytest.mark.torch
def test_zero3_is_stage_3_and_gathers_the_saved_model() -> None:
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    # DeepSpeed itself is not needed: this is what accelerate would hand to it.
    launch = resolve("zero3", "--num_processes=16", *SEVERAL_NODES)
    launch.deepspeed_fields_from_accelerate_config = ""
    command, variables = prepare_deepspeed_cmd_env(launch)
    # No command of DeepSpeed's own launcher: torchrun's on every machine.
    assert command is None and (launch.nproc_per_node, launch.nnodes, launch.node_rank) == ("8", "2", 1)
    assert (launch.rdzv_endpoint, launch.rdzv_backend) == ("10.0.0.7:29501", "static")
    assert variables["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert variables["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"
    # The trainer fills in accumulation and clipping only where none are set.
    assert not {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_GRADIENT_CLIPPING"} & (
        variables.keys() - os.environ.keys()
    )


def test_the_module_prints_a_path_or_says_what_there_is() -> None:
    command = [sys.executable, "-m", "prefboost.devices.accelerate_configs"]
    path = subprocess.run([*command, "zero3"], capture_output=True, text=True, check=True).stdout.rstrip("\n")
    assert Path(path) == find_accelerate_config("zero3") and Path(path).is_file()
    wrong = subprocess.run([*command, "zero9"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and wrong.stdout == "" and "fsdp2, zero3" in wrong.stderr
    with pytest.raises(SettingsError, match="zero9"):
        find_accelerate_config("zero9")
