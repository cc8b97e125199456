"""Every view is computed once, views of a unit together, within the budget."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE_S

from prefboost.packing import measure_stream
from prefboost.training.engine.micro_batches import default_budget, split_by_budget, split_by_prompt_order
from prefboost.training.policy.batches import Views

TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=40)


@st.composite
def views(draw: st.DrawFn) -> Views:
    common = list(range(20))
    rows = draw(st.lists(st.tuples(st.booleans(), TOKENS, TOKENS, TOKENS), min_size=1, max_size=8))
    prompts = tuple(common + prompt if shares else prompt for shares, prompt, _, _ in rows)
    units = tuple(number // 2 for number in range(len(rows)))
    return Views(prompts, tuple(row[2] for row in rows), tuple(row[3] for row in rows), units)


@given(views(), st.integers(1, 400))
def test_parts_hold_whole_units_within_the_budget(whole: Views, budget: int) -> None:
    parts = split_by_budget(whole, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(whole.units)))
    units = [{whole.units[row] for row in part} for part in parts]
    assert sum(map(len, units)) == len(set(whole.units))
    for part, found in zip(parts, units, strict=True):
        assert whole.take(part).pack_pairs().tokens <= budget or len(found) == 1


@given(views(), st.integers(1, 400))
def test_sequences_of_the_reference_pass_are_split_within_the_budget_too(whole: Views, budget: int) -> None:
    parts = split_by_prompt_order(whole.prompts, whole.chosen, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(whole.units)))
    for part in parts:
        one = ([whole.prompts[i] for i in part], [whole.chosen[i] for i in part])
        assert measure_stream(*one) <= budget or len(part) == 1


def test_units_with_a_common_beginning_meet() -> None:
    one, other = list(range(30)), list(range(50, 80))
    whole = Views((one, other, one, other), ([1],) * 4, ([2],) * 4, (0, 1, 2, 3))
    assert split_by_budget(whole, 40) == [[0, 2], [1, 3]]
    assert split_by_budget(whole, 10) == [[0], [2], [1], [3]]


def test_other_devices_than_cuda_have_the_budget_of_a_cpu() -> None:
    assert default_budget("mps", "bf16") == default_budget("cpu", "bf16") < default_budget("cuda", "bf16")
    assert default_budget("cpu", "fp32") < default_budget("cpu", "bf16")
    assert default_budget("cuda", "fp32") == default_budget("cuda", "bf16")


SHARDED = """
import torch
import torch.distributed as group
from tests.training.conftest import build_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from prefboost.packing import probe_support
from prefboost.training.policy.batches import Views
from prefboost.training.engine.micro_batches import split_by_budget

LENGTHS = (5, 5, 5, 5, 60, 5, 5, 60)
WHOLE = Views(
    tuple([[1 + n % 3] * 20 + [n] for n in range(8)]),
    tuple([[7 + n] * length for n, length in enumerate(LENGTHS)]),
    tuple([[9 + n] * 6 for n in range(8)]),
    tuple(n // 2 for n in range(8)),
)
SIGN = torch.tensor([1.0, -1.0])


def loss_of(model, views, rows):
    part = views.take(rows)
    chosen, rejected = model(packed=part.pack_pairs()).chunk(2)
    return -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).sum() / 8


def split_unevenly(rank):
    mine = WHOLE.take(range(rank * 4, rank * 4 + 4))
    parts = split_by_budget(mine, 200)
    counts = [None, None]
    group.all_gather_object(counts, len(parts))
    assert len(set(counts)) == 2, counts
    weights = [1.0] * len(parts) + [0.0] * (max(counts) - len(parts))
    parts += parts[-1:] * (max(counts) - len(parts))
    return mine, parts, weights


def parted():
    model = build_model()
    assert probe_support(model).ok
    mesh = init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model.model.embed_tokens, mesh=mesh)
    fully_shard([model.model.norm, model.lm_head], mesh=mesh, reshard_after_forward=False)
    fully_shard(model, mesh=mesh)
    return model


def main():
    group.init_process_group("gloo")
    rank = group.get_rank()
    single, model = build_model(), parted()
    assert probe_support(single).ok
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.5) for each in (single, model)]
    mine, parts, weights = split_unevenly(rank)
    for _ in range(3):
        loss_of(single, WHOLE, range(8)).backward()
        for number, (rows, weight) in enumerate(zip(parts, weights)):
            model.set_requires_gradient_sync(number == len(parts) - 1)
            (2 * weight * loss_of(model, mine, rows)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for part, whole in zip(model.parameters(), single.parameters()):
        torch.testing.assert_close(part.full_tensor(), whole, rtol=1e-5, atol=1e-6)
    assert not torch.equal(next(single.parameters()), next(build_model().parameters()))
    group.barrier()
    group.destroy_process_group()


main()
"""


ZERO3 = (
    SHARDED[: SHARDED.index("def parted")]
    + """
import deepspeed
import deepspeed.ops

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # gloo will do, and nothing is compiled
deepspeed.init_distributed(dist_backend="gloo")
rank = group.get_rank()
single, model = build_model(), build_model()
assert probe_support(single).ok and probe_support(model).ok
mine, parts, weights = split_unevenly(rank)
config = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": len(parts),
    "gradient_clipping": 0.0,
    "zero_allow_untested_optimizer": True,
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
}
plain, ours = (torch.optim.SGD(each.parameters(), lr=0.5) for each in (single, model))
engine, *_ = deepspeed.initialize(model=model, optimizer=ours, config=config)
for _ in range(2):
    loss_of(single, WHOLE, range(8)).backward()
    plain.step()
    plain.zero_grad()
    for rows, weight in zip(parts, weights):
        engine.backward(2 * len(parts) * weight * loss_of(engine, mine, rows))
        engine.step()
for part, whole in zip(model.parameters(), single.parameters()):
    with deepspeed.zero.GatheredParameters([part]):
        torch.testing.assert_close(part.data, whole.data, rtol=1e-5, atol=1e-6)
assert not torch.equal(next(single.parameters()), next(build_model().parameters()))
group.barrier()
group.destroy_process_group()
"""
)


@pytest.mark.parametrize("parted", ["fsdp2", "zero3"])
def test_two_processes_that_share_the_weights_take_the_steps_of_one(parted: str, tmp_path: Path) -> None:
    if parted == "zero3" and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    script = tmp_path / "sharded.py"
    script.write_text({"fsdp2": SHARDED, "zero3": ZERO3}[parted])
    root = Path(__file__).parents[3]
    places = [str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")]
    more = {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    environment = {**os.environ, **more}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv_backend=c10d"]
    run = [*launcher, "--rdzv_endpoint=localhost:0", str(script)]
    found = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert found.returncode == 0, found.stderr[-3000:]
