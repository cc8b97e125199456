"""The base of both trainers: losses are means over a whole step, and both trainers are configured alike."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from prefboost.errors import RunError
from prefboost.training import Train
from prefboost.training.data.units import Data
from prefboost.training.engine.unit_trainer import UnitTrainer


class Squares(UnitTrainer):
    """Losses are the squares of a batch's numbers."""

    packs = False

    def compute_losses(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        losses: torch.Tensor = model(batch["x"]).square().flatten()
        if not bool(losses.isfinite().all()):
            self.refuse_losses(losses, f" for the row {batch['x'].tolist()}", "rows")
        return losses

    def count_items(self, batch: Any) -> int:
        return len(batch["x"])


@pytest.fixture
def trainer(tmp_path: Path) -> Squares:
    config = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", save_steps=10)
    start = SimpleNamespace(model=torch.nn.Linear(1, 1, bias=False), tokenizer=None)
    return Squares(start, Data(None), Train(model="m", precision="fp32"), config)


def test_micro_batches_of_any_size_add_up_to_the_mean_over_the_step(trainer: Squares) -> None:
    batches = [{"x": torch.tensor([[1.0], [2.0], [4.0]])}, {"x": torch.tensor([[3.0]])}]
    items = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    parts = sum(trainer.compute_loss(trainer.model, batch, num_items_in_batch=items) for batch in batches)
    whole = trainer.compute_loss(trainer.model, {"x": torch.cat([batch["x"] for batch in batches])})
    torch.testing.assert_close(parts, whole)
    assert int(items) == 4


def test_a_loss_that_is_not_finite_names_step_and_rows(trainer: Squares) -> None:
    with pytest.raises(RunError, match="the loss is nan at step 1 for the row"):
        trainer.compute_loss(trainer.model, {"x": torch.tensor([[float("nan")]])})


def test_a_run_shorter_than_its_checkpoint_interval_writes_none(
    trainer: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write(self: Any, model: Any, trial: Any) -> None:
        written.append(self.state.global_step)
        (Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}").mkdir()

    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", write)
    for step, steps in [(10, 10), (5, 10), (20, 20)]:
        trainer.state.global_step, trainer.state.max_steps = step, steps
        trainer._save_checkpoint(trainer.model, None)
    assert written == [5, 20]
    for step in written:
        mark = Path(trainer.args.output_dir) / f"checkpoint-{step}" / "complete.json"
        assert json.loads(mark.read_text()) == trainer.layout


def test_a_checkpoint_is_whole_only_when_every_process_has_written_its_part(
    trainer: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Path(trainer.args.output_dir) / "checkpoint-5"
    marked_before_the_others = []
    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", lambda *arguments: checkpoint.mkdir())
    monkeypatch.setattr(
        trainer.accelerator,
        "wait_for_everyone",
        lambda: marked_before_the_others.append((checkpoint / "complete.json").exists()),
    )
    trainer.state.global_step, trainer.state.max_steps = 5, 20
    trainer._save_checkpoint(trainer.model, None)
    assert marked_before_the_others == [False]
    assert (checkpoint / "complete.json").exists()


def test_devices_that_share_weights_run_equally_many_parts(trainer: Squares, monkeypatch: pytest.MonkeyPatch) -> None:
    base = "prefboost.training.engine.unit_trainer"
    monkeypatch.setattr(f"{base}.gather_maximum", lambda accelerator, number: 4)
    assert trainer.equalise_parts([[0], [2, 1]]) == [[0], [2, 1]]
    monkeypatch.setattr(f"{base}.splits_weights", lambda accelerator: True)
    assert trainer.equalise_parts([[0], [2, 1]]) == [[0], [2, 1], [2, 1], [2, 1]]


def test_a_packed_step_tells_the_optimiser_that_training_goes_on(
    trainer: Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Schedule-free optimisers train on other weights than they are evaluated with, and switch when they are told.
    told: list[str] = []
    trainer.packs = True
    trainer.budget = SimpleNamespace(within=lambda step, clear, label: step(100))  # type: ignore[assignment]
    trainer.optimizer = SimpleNamespace(train=lambda: told.append("train"), eval=lambda: told.append("eval"))
    monkeypatch.setattr(Squares, "step_within", lambda self, model, batch, items, tokens: told.append("step"))
    trainer.training_step(trainer.model, {"x": torch.tensor([[1.0]])}, 1)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    trainer.training_step(trainer.model, {"x": torch.tensor([[1.0]])}, 1)
    assert told == ["train", "step", "step"]


@pytest.mark.parametrize(("mode", "prefix", "mean"), [("eval", "eval_", 2.0), ("train", "", 1.75)])
def test_a_unit_that_fills_up_an_evaluation_counts_once_and_what_is_no_number_not_at_all(
    trainer: Squares, monkeypatch: pytest.MonkeyPatch, mode: str, prefix: str, mean: float
) -> None:
    getattr(trainer.model, mode)()
    trainer.note("margin", ["a", "b", "c"], [1.0, 2.0, float("nan")])
    trainer.note("nothing", ["a"], [float("nan")])
    # Another process had one unit less, and took the first again.
    shares = [dict(trainer.pending_metrics), {"margin": [("d", 3.0), ("a", 1.0)]}]
    monkeypatch.setattr(trainer, "gather_objects", lambda _: shares)
    logs = dict[str, float]()
    trainer.log(logs)
    assert logs[f"{prefix}margin"] == mean and f"{prefix}nothing" not in logs
