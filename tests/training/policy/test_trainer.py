"""Our trainer follows the trajectory of TRL's DPOTrainer where both can do the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trl
from tests.training.conftest import GOALS, build_model, build_pairs, build_tokenizer

from prefboost.training import Lora, Train, train
from prefboost.training.claim import read_log
from prefboost.training.data.units import UnitSampler

# Nothing is written behind the end of a turn, which TRL would train on and we would not.
TIGHT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEPS = 50
RATE = 3e-4


def rows_in_order(pairs: pa.Table) -> Any:
    """The rows in the order in which our sampler takes them, epoch after epoch."""
    from datasets import Dataset

    units = pairs.num_rows // 2
    order = [index for epoch in range(30) for index in UnitSampler(units, 42, lambda epoch=epoch: epoch)]
    keys = ("prompt", "chosen", "rejected")
    plain = [
        {key: [{k: m[k] for k in ("role", "content")} for m in row[key]] for key in keys} for row in pairs.to_pylist()
    ]
    return Dataset.from_list([plain[2 * unit + view] for unit in order for view in (0, 1)])


def configured(config: type, out: Path, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "output_dir": str(out),
        "per_device_train_batch_size": 8,
        "max_steps": STEPS,
        "learning_rate": RATE,
        "lr_scheduler_type": "cosine",
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "weight_decay": 0.0,
        "optim": "adamw_torch",
    }
    return config(**(fields | changes))


def losses_of(trainer: type, config: Any, folder: Path, pairs: pa.Table, **options: Any) -> list[float]:
    """Losses by a trainer of TRL that takes the rows as they stand."""
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, AutoTokenizer

    class InOrder(trainer):  # type: ignore[misc,valid-type]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(self.train_dataset)

    trained = InOrder(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=config,
        train_dataset=rows_in_order(pairs),
        processing_class=AutoTokenizer.from_pretrained(folder),
        **options,
    )
    trained.train()
    return [line["loss"] for line in trained.state.log_history if "loss" in line]


def trl_losses(folder: Path, pairs: pa.Table, out: Path, loss: str, adapters: bool, **changes: Any) -> list[float]:
    from peft import LoraConfig, TaskType

    config = configured(trl.DPOConfig, out, loss_type=[loss], beta=0.1, max_length=None, **changes)
    lora = LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, lora_alpha=8, target_modules="all-linear")
    return losses_of(trl.DPOTrainer, config, folder, pairs, peft_config=lora if adapters else None)


def simpo_losses(folder: Path, pairs: pa.Table, out: Path) -> list[float]:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    config = configured(CPOConfig, out, loss_type="simpo", beta=2.0, simpo_gamma=1.0, cpo_alpha=0.0, max_length=512)
    return losses_of(CPOTrainer, config, folder, pairs)


def orpo_losses(folder: Path, pairs: pa.Table, out: Path) -> list[float]:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class OfCompletions(ORPOTrainer):  # type: ignore[misc]
        """The likelihood of the chosen completion alone, as in the paper; TRL counts the prompt's tokens too."""

        def concatenated_forward(self, *args: Any, **kwargs: Any) -> Any:
            found = super().concatenated_forward(*args, **kwargs)
            return (*found[:4], -found[0].mean(), *found[5:])

    config = configured(ORPOConfig, out, beta=0.1, max_length=512)
    return losses_of(OfCompletions, config, folder, pairs)


def our_losses(folder: Path, pairs: pa.Table, out: Path, loss: dict[str, Any], **changes: Any) -> list[float]:
    fields: dict[str, Any] = {"learning_rate": RATE, "batch_size": 8, "max_steps": STEPS, "token_budget": 400}
    fields |= {"warmup_ratio": 0.0, "precision": "fp32"}
    train(pairs, Train(model=str(folder), loss=loss, **(fields | changes)), out, goals=GOALS)
    return [line["loss"] for line in read_log(out / "train_log.jsonl") if "loss" in line]


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tight")
    build_model().save_pretrained(folder)
    build_tokenizer(TIGHT).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("loss", "theirs", "adapters"),
    [
        ({"kind": "dpo"}, "sigmoid", False),
        ({"kind": "dpo"}, "sigmoid", True),
        ({"kind": "ipo"}, "ipo", False),
        ({"kind": "hinge"}, "hinge", False),
        ({"kind": "robust", "label_smoothing": 0.1}, "robust", False),
    ],
)
def test_fifty_steps_equal_those_of_trl(
    loss: dict[str, Any], theirs: str, adapters: bool, tight: Path, tmp_path: Path
) -> None:
    pairs = build_pairs(16)
    ours = our_losses(
        tight, pairs, tmp_path / "ours", loss | {"beta": 0.1}, lora=Lora(rank=4, alpha=8) if adapters else None
    )
    smoothing = {key: value for key, value in loss.items() if key == "label_smoothing"}
    expected = trl_losses(tight, pairs, tmp_path / "trl", theirs, adapters, **smoothing)
    assert len(ours) == STEPS
    assert ours == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert max(ours) - min(ours) > 1e-3


@pytest.mark.parametrize(("kind", "theirs"), [("simpo", simpo_losses), ("orpo", orpo_losses)])
def test_fifty_steps_without_a_reference_equal_those_of_trl(
    kind: str, theirs: Any, tight: Path, tmp_path: Path
) -> None:
    pairs = build_pairs(16)
    ours = our_losses(tight, pairs, tmp_path / "ours", {"kind": kind}, reference="none")
    assert ours == pytest.approx(theirs(tight, pairs, tmp_path / "trl"), rel=1e-4, abs=1e-4)
    assert max(ours) - min(ours) > 1e-2


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tiny_models import tiny_model

    folder = tmp_path_factory.mktemp("mixture")
    weight = {"router_aux_loss_coef": 0.5, "max_position_embeddings": 512, "initializer_range": 0.2}
    torch.manual_seed(0)
    tiny_model("mixtral", vocab_size=259, **weight).save_pretrained(folder)
    build_tokenizer(TIGHT).save_pretrained(folder)
    return folder


def test_the_balance_of_experts_is_added_as_trl_does(mixture: Path, tmp_path: Path) -> None:
    """TRL counts the last token of a completion too, which a stream does not feed: hence 3 % and not 1e-4."""
    pairs, dpo = build_pairs(16), {"kind": "dpo", "beta": 0.1}
    few = {"max_steps": 15}
    expected = trl_losses(mixture, pairs, tmp_path / "trl", "sigmoid", False, **few)
    slow = our_losses(mixture, pairs, tmp_path / "slow", dpo, engine="padded", micro_batch=4, **few)
    assert slow == pytest.approx(expected, rel=1e-4, abs=1e-4)
    ours = our_losses(mixture, pairs, tmp_path / "ours", dpo, token_budget=100_000, **few)
    assert ours == pytest.approx(expected, rel=3e-2)
    without = our_losses(mixture, pairs, tmp_path / "without", dpo, token_budget=100_000, router_balance=0.0, **few)
    assert without[0] == pytest.approx(math.log(2), abs=1e-6) and ours[0] > 1.5
    line = read_log(tmp_path / "ours" / "train_log.jsonl")[0]
    assert line["loss"] == pytest.approx(math.log(2) + 0.5 * line["router_balance"], abs=1e-5)


@pytest.mark.parametrize("kind", ["aot", "kto_pair", "dpo"])
def test_all_engines_go_the_same_way(kind: str, tight: Path, tmp_path: Path) -> None:
    pairs = build_pairs(9)
    packed, padded, trl_s = (
        our_losses(tight, pairs, tmp_path / engine, {"kind": kind}, engine=engine, max_steps=8, micro_batch=2)
        for engine in ("packed", "padded", "trl")
    )
    assert packed == pytest.approx(padded, abs=1e-5)
    assert padded == trl_s  # to the last bit: TRL prepares the model and loops over the same batches


@pytest.mark.parametrize("precision", ["fp32", "bf16", "pure_bf16"])
def test_the_first_loss_is_ln_2_to_the_last_bit_of_the_log(precision: str, tight: Path, tmp_path: Path) -> None:
    for name, changes in {"budget": {}, "one": {"token_budget": 1}, "again": {"gradient_checkpointing": True}}.items():
        losses = our_losses(
            tight, build_pairs(12), tmp_path / name, {"kind": "dpo"}, max_steps=1, precision=precision, **changes
        )
        assert losses == pytest.approx([math.log(2)], abs=2e-7)


@pytest.mark.parametrize("engine", ["packed", "padded"])
def test_all_views_of_a_pair_are_in_one_micro_batch(
    engine: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.policy.trainer import PreferenceTrainer

    seen: list[list[str]] = []
    original = PreferenceTrainer.compute_logps

    def watch(self: Any, model: Any, batch: dict[str, Any]) -> Any:
        seen.append(list(batch["unit_ids"]))
        return original(self, model, batch)

    monkeypatch.setattr(PreferenceTrainer, "compute_logps", watch)
    pairs = build_pairs(7).take([13, 2, 5, 0, 1, 3, 4, 6, 7, 8, 9, 10, 11, 12])
    settings = Train(model=str(tiny), precision="fp32", batch_size=6, micro_batch=2, epochs=2, engine=engine)
    train(pairs, settings, tmp_path, goals=GOALS)
    assert all(batch.count(unit) == 2 for batch in seen for unit in batch)
    units = [unit for batch in seen for unit in dict.fromkeys(batch)]
    assert sorted(units[:7]) == sorted(units[7:]) == [f"p{i}" for i in range(7)]
    assert units[:7] != units[7:]


def test_shuffled_views_may_part(tiny: Path, tmp_path: Path) -> None:
    settings = Train(model=str(tiny), precision="fp32", batch_size=4, max_steps=1, order="shuffled")
    assert train(build_pairs(4), settings, tmp_path, goals=GOALS).units == 8


def test_whole_batch_losses_see_the_whole_batch(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefboost.training.policy.trainer import PreferenceTrainer

    sizes: list[int] = []
    original = PreferenceTrainer.compute_losses

    def watch(self: Any, model: Any, batch: dict[str, Any]) -> Any:
        sizes.append(len(batch["unit_ids"]))
        return original(self, model, batch)

    monkeypatch.setattr(PreferenceTrainer, "compute_losses", watch)
    settings = Train(model=str(tiny), precision="fp32", batch_size=8, max_steps=1, loss="aot", engine="padded")
    train(build_pairs(4), settings, tmp_path, goals=GOALS)
    assert sizes == [8]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sequences that reference passes have computed, a number a batch."""
    from prefboost.training.reference.forward import ReferencePass

    counts: list[int] = []
    original = ReferencePass.compute

    def count(self: Any, prompts: Any, completions: Any) -> Any:
        counts.append(len(prompts))
        return original(self, prompts, completions)

    monkeypatch.setattr(ReferencePass, "compute", count)
    return counts


def test_the_reference_is_computed_once_for_all_runs(tiny: Path, tmp_path: Path, computed: list[int]) -> None:
    basis: dict[str, Any] = {"model": str(tiny), "precision": "fp32", "batch_size": 4, "max_steps": 1}
    changes: dict[str, dict[str, Any]] = {
        "first": {},
        "rate": {"learning_rate": 1e-4},
        "loss": {"loss": {"kind": "ipo", "beta": 0.3}},
        "seed": {"seed": 1, "token_budget": 100},
        "adapters": {"lora": Lora(rank=2)},
        "longer than any": {"max_length": 400, "max_prompt_length": 300},
    }
    for name, change in changes.items():
        train(build_pairs(4), Train(**(basis | change)), tmp_path / name, goals=GOALS)
        assert sum(computed) == 16, name


def test_whatever_changes_the_log_probs_misses_the_cache(tiny: Path, tmp_path: Path, computed: list[int]) -> None:
    from tests.training.conftest import build_folder

    basis: dict[str, Any] = {"model": str(tiny), "precision": "fp32", "batch_size": 4, "max_steps": 1}
    changes: dict[str, dict[str, Any]] = {
        "first": {},
        "cut": {"max_length": 50, "max_prompt_length": 49, "max_loss_share": 1.0},
        "half": {"precision": "bf16"},
        "pure": {"precision": "pure_bf16"},
        "engine": {"engine": "padded"},
        "eager": {"attention": "eager"},
        "weights": {"model": str(build_folder(tmp_path / "other", seed=5))},
    }
    for count, (name, change) in enumerate(changes.items(), start=1):
        before = sum(computed)
        train(build_pairs(4), Train(**(basis | change)), tmp_path / name, goals=GOALS)
        assert sum(computed) > before, (count, name)


def test_a_step_that_runs_out_of_memory_is_done_again_with_half_the_budget(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.policy.trainer import PreferenceTrainer

    settings = Train(model=str(tiny), precision="fp32", batch_size=8, max_steps=3, token_budget=4096)
    whole = train(build_pairs(8), settings, tmp_path / "whole", goals=GOALS)
    original = PreferenceTrainer.compute_logps

    def short(self: Any, model: Any, batch: dict[str, Any]) -> Any:
        found = original(self, model, batch)
        if len(batch["views"]) > 4 and model.training:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return found

    monkeypatch.setattr(PreferenceTrainer, "compute_logps", short)
    report = train(build_pairs(8), settings, tmp_path / "short", goals=GOALS)
    assert report.messages and report.messages[0].startswith("memory ran short in step 1: token_budget 4,096 -> 2,048")
    logs = [read_log(tmp_path / name / "train_log.jsonl") for name in ("whole", "short")]
    for one, other in zip(*logs, strict=True):
        assert one.get("loss", 0) == pytest.approx(other.get("loss", 0), abs=1e-5)
        assert one.get("rewards/margins", 0) == pytest.approx(other.get("rewards/margins", 0), abs=1e-5)
    assert whole.messages == []


def test_a_resumed_run_goes_on_with_the_budget_that_was_lowered(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.training.engine.callbacks import JsonLog
    from prefboost.training.policy.trainer import PreferenceTrainer

    settings = Train(model=str(tiny), precision="fp32", batch_size=8, max_steps=4, token_budget=4096, save_minutes=0)
    original, attempts = PreferenceTrainer.step_within, list[tuple[int, int]]()

    def short(self: Any, model: Any, batch: Any, views: Any, tokens: int) -> Any:
        attempts.append((self.state.global_step + 1, tokens))
        if tokens > 2048:
            raise MemoryError
        return original(self, model, batch, views, tokens)

    monkeypatch.setattr(PreferenceTrainer, "step_within", short)
    with monkeypatch.context() as patched:

        def on_log(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                raise KeyboardInterrupt

        patched.setattr(JsonLog, "on_log", on_log)
        with pytest.raises(KeyboardInterrupt):
            train(build_pairs(8), settings, tmp_path, goals=GOALS)
    assert attempts[:3] == [(1, 4096), (1, 2048), (2, 2048)]
    attempts.clear()
    report = train(build_pairs(8), settings, tmp_path, goals=GOALS)
    assert report.resumed_from and {tokens for _, tokens in attempts} == {2048}
    assert report.messages == ["memory ran short in step 1: token_budget 4,096 -> 2,048"]


def test_a_model_that_cannot_be_packed_is_trained_by_the_slow_engine_and_says_so(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import prefboost.packing

    refused = prefboost.packing.Support(False, reason="TinyMamba mixes tokens in another way")
    monkeypatch.setattr(prefboost.packing, "probe_support", lambda model: refused)
    settings = Train(model=str(tiny), precision="fp32", batch_size=4, max_steps=1)
    report = train(build_pairs(4), settings, tmp_path, goals=GOALS)
    assert report.engine == "padded"
    assert report.messages == ["train.engine: padded is used, since TinyMamba mixes tokens in another way"]


def test_the_log_says_how_fast_it_goes(tiny: Path, tmp_path: Path) -> None:
    report = train(build_pairs(6), Train(model=str(tiny), batch_size=4, epochs=1), tmp_path, goals=GOALS)
    line = read_log(tmp_path / "train_log.jsonl")[0]
    for name in ("speed/tokens_per_s", "speed/padding_saved", "speed/prefix_saved", "memory/peak_gib", "time/left"):
        assert line[name] > 0, name
    assert {"time/data", "time/forward_backward", "time/optimizer", "time/reference"} <= set(line)
    assert report.speed["real"] > report.speed["computed"]


def test_evaluation_in_parts_is_that_of_the_slow_engine(tiny: Path, tmp_path: Path) -> None:
    found = []
    for engine in ("packed", "padded"):
        basis: dict[str, Any] = {"precision": "fp32", "batch_size": 8, "micro_batch": 4, "learning_rate": 1e-3}
        settings = Train(model=str(tiny), engine=engine, token_budget=200, max_steps=2, eval_fraction=0.5, **basis)
        found.append(train(build_pairs(16), settings, tmp_path / engine, goals=GOALS).metrics)
    for name in ("eval_loss", "eval_rewards/margins", "eval_accuracy/goal_low"):
        assert found[0][name] == pytest.approx(found[1][name], abs=1e-5), name
