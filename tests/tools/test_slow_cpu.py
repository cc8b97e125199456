"""A modern CPU that acts like an old one: what is chosen there, and that a training works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "slow_cpu.py"

SMOKE = """
import json, sys
from pathlib import Path
import pyarrow.parquet as pq
import torch
from prefboost.training import Train, train
report = train(pq.read_table(sys.argv[1]), Train(model=sys.argv[2], batch_size=8, max_steps=2), Path(sys.argv[3]))
print(json.dumps([torch.backends.cpu.get_cpu_capability(), report.precision, report.steps]))
"""


@pytest.mark.torch
@pytest.mark.slow
def test_a_training_computes_in_float32_on_a_cpu_without_bf16_units(tmp_path: Path) -> None:
    import pyarrow.parquet as pq
    from tests.training.conftest import build_folder, build_pairs

    pq.write_table(build_pairs(12), tmp_path / "pairs.parquet")
    model = build_folder(tmp_path / "model")
    command = [sys.executable, str(TOOL), sys.executable, "-c", SMOKE, str(tmp_path / "pairs.parquet"), str(model)]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    capability, precision, steps = json.loads(done.stdout.splitlines()[-1])
    assert (precision, steps) == ("fp32", 2)
    assert capability in ("AVX2", "DEFAULT", "NO AVX", "default"), "no wider instructions are used"


def test_without_a_command_its_use_is_said() -> None:
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "usage" in done.stderr
