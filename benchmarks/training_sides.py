"""One measurement of training, in a process of its own: a model, some units, one contender.

Counted are the reference pass and the steps; loading, tokenising and the construction of the trainer are not. Memory is
the peak above the loaded model: of the process (VmHWM) on CPU, of the allocator on CUDA.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

sys.path.insert(0, str(Path(__file__).resolve().parent))

from training_data import lengths_of, padded_tokens

__all__ = ["Job", "Outcome", "SIDES", "main", "measure", "rows_in_order"]

SIDES = {
    "trl": "TRL at its defaults",
    "trl_tuned": "TRL, reference precomputed, grouped by length",
    "trl_compact": "TRL, head on completions only",
    "ours": "prefboost, packed",
}
"""Contenders by name."""


@dataclass(frozen=True)
class Job:
    """What a process measures.

    Args:
        side: of ``SIDES``.
        units: Arrow file of tokenised units.
        folder: scratch; ours keeps the reference's log-probs in ``folder/reference``.
        model: folder, hub id or package:NAME; the tokenizer's too.
        shape: of ``RANDOM``: random weights instead of the model's.
        precision: bf16 or fp32.
        recompute: gradient checkpointing.
        batch: rows of a micro-batch of TRL.
        step_units: units of an optimiser step.
        device: cpu or cuda.
        token_budget: tokens of our micro-batch; None is our default.
        learning_rate: TRL's default.
        profile: print where the time goes (ours only).
        changed: of the shape's configuration.
        reference_only: do the reference pass of ours, keep what it finds, and train nothing.
    """

    side: str
    units: str
    folder: str
    model: str
    shape: str | None = None
    precision: str = "bf16"
    recompute: bool = True
    batch: int = 4
    step_units: int = 4
    device: str = "cpu"
    token_budget: int | None = None
    learning_rate: float = 1e-6
    profile: bool = False
    changed: dict[str, Any] = field(default_factory=dict)
    reference_only: bool = False


@dataclass
class Outcome:
    """What was measured.

    Args:
        seconds: reference pass and steps, by the clock.
        reference_seconds: of the reference pass in it; 0 where it is part of the steps.
        cpu_seconds: of all threads.
        peak_gib: above the loaded model.
        tokens: of all sequences, without padding, each prompt counted with each of its completions.
        fed: tokens that went through the policy, padding included, shared ones once.
        losses: of each step.
        operations: floating-point operations of the steps, forward and backward, without attention's scores and without
            what checkpointing makes again; 0 where they are not counted.
    """

    side: str
    seconds: float
    reference_seconds: float
    cpu_seconds: float
    peak_gib: float
    tokens: int
    fed: int
    losses: list[float] = field(default_factory=list)
    operations: float = 0.0


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    outcome = measure(job)
    Path(sys.argv[2]).write_text(json.dumps(asdict(outcome)))


def measure(job: Job) -> Outcome:
    """In this process."""
    return _ours(job) if job.side == "ours" else _trl(job)


@dataclass
class _Clock:
    """Reads time and memory around the work; ``reference`` is told by the trainers' own hook."""

    device: str
    reference: float = 0.0
    reference_cpu: float = 0.0
    base: float = 0.0

    def begin(self) -> None:
        """The model is loaded: from here on memory counts."""
        gc.collect()
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated() / 2**30
        else:
            Path("/proc/self/clear_refs").write_text("5")
            self.base = _status("VmRSS")

    def peak(self) -> float:
        """GiB above the loaded model."""
        if self.device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated() / 2**30 - self.base
        return _status("VmHWM") - self.base

    def now(self) -> tuple[float, float]:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def timed_reference(self, work: Any) -> Any:
        wall, cpu = self.now()
        result = work()
        after, cpu_after = self.now()
        self.reference, self.reference_cpu = after - wall, cpu_after - cpu
        return result


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 2**20


def _measured(job: Job, clock: _Clock, trainer: Any, tokens: int, fed: int) -> Outcome:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    wall, cpu = clock.now()
    trainer.train()
    after, cpu_after = clock.now()
    return Outcome(
        side=job.side,
        seconds=after - wall + clock.reference,
        reference_seconds=clock.reference,
        cpu_seconds=cpu_after - cpu + clock.reference_cpu,
        peak_gib=clock.peak(),
        tokens=tokens,
        fed=fed,
        losses=[line["loss"] for line in trainer.state.log_history if "loss" in line],
    )


def rows_in_order(units: pa.Table, step_units: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows as TRL is given them: each optimiser step holds those that ours holds, shuffled within the step."""
    order = np.random.default_rng([seed, 0]).permutation(units.num_rows).tolist()
    draw, table, rows = random.Random(seed), units.to_pylist(), []
    for start in range(0, len(order), step_units):
        step = [
            {name: table[unit][name][view] for name in ("prompt_ids", "chosen_ids", "rejected_ids")}
            for unit in order[start : start + step_units]
            for view in range(len(table[unit]["view"]))
        ]
        draw.shuffle(step)
        rows += step
    return rows


def _load_units(job: Job) -> pa.Table:
    with ipc.open_file(job.units) as reader:
        return reader.read_all()


def _ours(job: Job) -> Outcome:
    from datasets import Dataset

    from prefboost.packing import probe_support
    from prefboost.training.data.units import Data, plan_steps
    from prefboost.training.engine.configuration import configure_training
    from prefboost.training.policy.settings import Train
    from prefboost.training.policy.trainer import PreferenceTrainer

    clock = _Clock(job.device)

    class Clocked(PreferenceTrainer):
        def add_reference_logps(self, *arguments: Any) -> Any:
            return clock.timed_reference(lambda: super(Clocked, self).add_reference_logps(*arguments))

    units = _load_units(job)
    views = sum(len(each) for each in units["view"].to_pylist())
    settings = Train(
        model=job.model,
        precision=job.precision,
        gradient_checkpointing=job.recompute,
        batch_size=round(job.step_units * views / units.num_rows),
        learning_rate=job.learning_rate,
        schedule="linear",
        warmup_ratio=0.0,
        token_budget=job.token_budget,
        reference_cache=str(Path(job.folder) / "reference"),
        seed=0,
    )
    policy = _policy(job, settings)
    support = probe_support(policy.model)
    if not support.ok:
        raise SystemExit(f"{job.model} cannot be packed: {support.reason}")
    plan = plan_steps(units.num_rows, views, settings.batch_size, settings.batch_size)
    config = configure_training(settings, plan, Path(job.folder), evaluates=False)
    clock.begin()
    trainer = Clocked(policy, Data(Dataset(units)), settings, config)
    rows = rows_in_order(units, job.step_units)
    if job.reference_only:
        return Outcome(job.side, clock.reference, clock.reference, clock.reference_cpu, clock.peak(), 0, 0)
    if job.profile:
        return _profiled(job, clock, trainer, rows)
    outcome = _measured(job, clock, trainer, sum(lengths_of(rows)), 0)
    counted = trainer.meter.summary()
    outcome.fed = int(counted.get("computed", 0))
    outcome.operations = trainer.meter.cost.of(outcome.fed, int(counted.get("scored", 0)))
    return outcome


def _profiled(job: Job, clock: _Clock, trainer: Any, rows: list[dict[str, Any]]) -> Outcome:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if job.device == "cuda" else [])
    with profile(activities=activities, record_shapes=True) as profiler:
        outcome = _measured(job, clock, trainer, sum(lengths_of(rows)), 0)
    key = f"self_{job.device}_time_total"
    print(profiler.key_averages().table(sort_by=key, row_limit=25, max_name_column_width=50), file=sys.stderr)
    by_shape = profiler.key_averages(group_by_input_shape=True)
    print(by_shape.table(sort_by=key, row_limit=40, max_name_column_width=40), file=sys.stderr)
    return outcome


def _policy(job: Job, settings: Any) -> Any:
    """The model as ours loads it; TRL is given the same."""
    from training_models import RANDOM, random_model

    from prefboost.training.policy.model import Policy, add_completion_forward, load_policy, load_policy_tokenizer

    if job.shape is None:
        policy = load_policy(settings)
    else:
        tokenizer = load_policy_tokenizer(settings)
        vocabulary = {"vocab_size": max(RANDOM[job.shape]["vocab_size"], len(tokenizer))}
        policy = Policy(random_model(job.shape, **{**vocabulary, **job.changed}), tokenizer)
        add_completion_forward(policy.model)
    for parameter in policy.model.parameters():
        parameter.data = parameter.data.clone()  # in memory for certain, not pages of a file that are read later
    policy.model.to(job.device)
    return policy


def _trl(job: Job) -> Outcome:
    import trl.trainer.utils
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from trl import DPOConfig, DPOTrainer

    from prefboost.training.policy.settings import Train

    clock = _Clock(job.device)
    tuned = job.side == "trl_tuned"
    if job.side == "trl_compact":
        trl.trainer.utils._use_triton = lambda device: True

    class OnIds(DPOTrainer):
        """DPOTrainer on token ids, so that all contenders are given the same."""

        def _prepare_dataset(self, dataset: Any, *arguments: Any, **named: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *arguments: Any) -> Any:
            return clock.timed_reference(lambda: super(OnIds, self)._precompute_ref_logps(*arguments))

        def _get_train_sampler(self, *arguments: Any) -> Any:
            own = super()._get_train_sampler(*arguments)
            return own if tuned else SequentialSampler(self.train_dataset)

        def _send_telemetry(self) -> None:
            """Nothing is sent anywhere."""

    units = _load_units(job)
    rows = rows_in_order(units, job.step_units)
    per_step = round(job.step_units * len(rows) / units.num_rows)
    if tuned:
        for row in rows:
            row["length"] = max(lengths_of([row]))
    options: dict[str, Any] = {
        "output_dir": str(Path(job.folder) / "trl"),
        "per_device_train_batch_size": job.batch,
        "gradient_accumulation_steps": max(1, per_step // job.batch),
        "num_train_epochs": 1,
        "max_length": 1024,
        "learning_rate": job.learning_rate,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": job.device == "cpu",
        "dataloader_pin_memory": job.device == "cuda",
        "bf16": job.precision == "bf16",
        "gradient_checkpointing": job.recompute,
        "seed": 0,
    }
    if tuned:
        options |= {
            "precompute_ref_log_probs": True,
            "train_sampling_strategy": "group_by_length",
            "length_column_name": "length",
            "remove_unused_columns": False,
        }
    policy = _policy(job, Train(model=job.model))
    policy.model.__dict__.pop("forward", None)  # as transformers made it
    reference = _policy(job, Train(model=job.model)).model if job.shape and not tuned else None
    clock.begin()
    trainer = OnIds(
        model=policy.model,
        ref_model=reference,
        args=DPOConfig(**options),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
    )
    fed = padded_tokens(rows, job.batch) if not tuned else 0
    return _measured(job, clock, trainer, sum(lengths_of(rows)), fed)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    main()
