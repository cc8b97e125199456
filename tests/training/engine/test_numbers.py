"""What a training computes in: resolved before it begins, kept when it resumes, and never bf16 by itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tests.scoring.conftest import completions_table, pairs_table
from tests.training.conftest import GOALS, SAY, build_folder, build_model, build_tokenizer
from tests.training.reward.test_trainer import preference_pairs
from torch.utils._python_dispatch import TorchDispatchMode

from prefboost.devices import NumberChoice, log_number_choice, numbers
from prefboost.engines.engine import Request, Sampling
from prefboost.engines.local.engine import Local
from prefboost.engines.models.embeddings import Embedder, embed_texts
from prefboost.errors import RunError
from prefboost.scoring import ImplicitReward, RewardModelScorer
from prefboost.training import Train, TrainReward, train
from prefboost.training.engine.numbers import budget_of, resolve_precision
from prefboost.training.forecast import forecast_policy
from prefboost.training.reward.train import train_reward

pytestmark = pytest.mark.torch

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "scaled_dot_product", "convolution")
SLOW = NumberChoice("float32", "this CPU has no bf16 units; bf16 would be 12x slower")
FAST = NumberChoice("bfloat16", "this CPU has bf16 units; float32 would be 4x slower")


class ProductTypes(TorchDispatchMode):
    """Notes the number types that matrix products compute in."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in func.__name__ for name in PRODUCTS):
            self.types |= {arg.dtype for arg in args if isinstance(arg, torch.Tensor) and arg.is_floating_point()}
        return func(*args, **(kwargs or {}))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[NumberChoice], None]]:
    """Makes this machine one whose device computes natively what is given."""

    def become(choice: NumberChoice) -> None:
        log_number_choice.cache_clear()
        monkeypatch.setattr(numbers, "_choose_native", lambda device: choice)

    yield become
    log_number_choice.cache_clear()


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose weights are stored in bf16, as most are."""
    folder = tmp_path_factory.mktemp("halved")
    build_model().to(torch.bfloat16).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def small(folder: Path, **changes: Any) -> Train:
    usual: dict[str, Any] = {"model": str(folder), "learning_rate": 1e-3, "batch_size": 4, "max_steps": 2}
    return Train(**(usual | changes))


def generate_some(folder: Path, **changes: Any) -> None:
    engine = Local(model=str(folder), device="cpu", **changes).open()
    list(engine.generate([Request([{"role": "user", "content": "hi"}])], Sampling(max_tokens=3)))


def score_some(folder: Path) -> None:
    table = completions_table([("one", "a cat"), ("one", "b")])
    RewardModelScorer(model=str(folder), device="cpu").score(table)


def everything(halved: Path, folder: Path, pairs: pa.Table) -> dict[str, Callable[[], Any]]:
    """Every part of the package that multiplies matrices, with number types left to it."""
    reward = TrainReward(model=str(halved), learning_rate=1e-3, batch_size=4, max_steps=1)
    train_reward(preference_pairs(8), reward, folder / "judge")
    twin = str(build_folder(folder / "twin", seed=1))
    return {
        "generate": lambda: generate_some(halved),
        "train": lambda: train(pairs, small(halved), folder / "policy", goals=GOALS),
        "train, padded": lambda: train(pairs, small(halved, engine="padded"), folder / "padded", goals=GOALS),
        "train-reward": lambda: train_reward(preference_pairs(8), reward, folder / "reward"),
        "forecast": lambda: forecast_policy(pairs, small(halved), say=SAY),
        "implicit": lambda: ImplicitReward(policy=twin, reference=str(halved), device="cpu").score(
            pairs_table([("one", "a cat", "b")])
        ),
        "reward": lambda: score_some(folder / "judge" / "model"),
        "embeddings": lambda: Embedder(str(halved), "cpu").embed([[1, 2, 3]]),
        "diversity": lambda: embed_texts(str(halved), ["a cat", "b"]),
    }


def test_without_bf16_units_nothing_computes_in_bf16_unless_asked(
    machine: Callable[[NumberChoice], None], halved: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    machine(SLOW)
    for name, compute in everything(halved, tmp_path, pairs).items():
        with ProductTypes() as seen:
            compute()
        assert seen.types == {torch.float32}, name
    with ProductTypes() as seen:
        generate_some(halved, dtype="bfloat16")
    assert torch.bfloat16 in seen.types, "the watch sees bf16 where it is asked for"


def test_with_bf16_units_training_and_generation_use_them(
    machine: Callable[[NumberChoice], None], halved: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    machine(FAST)
    parts = everything(halved, tmp_path, pairs)
    for name in ("generate", "train", "train-reward", "forecast"):
        with ProductTypes() as seen:
            parts[name]()
        assert torch.bfloat16 in seen.types, name
    with ProductTypes() as seen:
        parts["implicit"]()
    assert seen.types == {torch.float32}, "the difference of two log-probs is small"


def test_the_resolved_type_is_what_reports_cards_and_caches_record(
    machine: Callable[[NumberChoice], None], halved: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    for choice, precision in ((SLOW, "fp32"), (FAST, "bf16")):
        machine(choice)
        out = tmp_path / precision
        report = train(pairs, small(halved, reference_cache=str(tmp_path / "cache")), out, goals=GOALS)
        assert report.precision == precision
        facts = json.loads((Path(report.model) / "prefboost.json").read_text())
        assert facts["train"]["precision"] == precision
        assert f'"precision": "{precision}"' in (Path(report.model) / "README.md").read_text()
        assert Local(model=str(halved), device="cpu").open().identity.endswith(f"/{choice.name}")
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2, "log-probs of each numerics are kept apart"


def test_a_resumed_run_keeps_the_numerics_that_it_began_with_and_says_so(
    machine: Callable[[NumberChoice], None],
    halved: Path,
    pairs: pa.Table,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine(FAST)
    train(pairs, small(halved), tmp_path, goals=GOALS)
    machine(SLOW)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="prefboost"):
        kept = resolve_precision(small(halved), tmp_path)
    assert kept.precision == "bf16"
    said = [message for message in caplog.messages if message.startswith("numbers:")]
    assert said == [
        "numbers: bf16, with which this run began "
        "(here it would be float32 (this CPU has no bf16 units; bf16 would be 12x slower))"
    ]
    assert train(pairs, small(halved), tmp_path, goals=GOALS).precision == "bf16"
    with pytest.raises(RunError, match="precision: bf16 -> fp32"):
        train(pairs, small(halved, precision="fp32"), tmp_path, goals=GOALS)
    assert resolve_precision(small(halved), tmp_path / "new").precision == "fp32"


def test_the_token_budget_goes_by_the_resolved_precision(machine: Callable[[NumberChoice], None], halved: Path) -> None:
    machine(SLOW)
    assert budget_of(resolve_precision(small(halved)), "cpu") == 1536
    machine(FAST)
    assert budget_of(resolve_precision(small(halved)), "cpu") == 4096
    assert budget_of(small(halved, token_budget=77), "cpu") == 77


def test_bf16_on_a_cpu_without_units_works_and_warns_once(
    machine: Callable[[NumberChoice], None],
    halved: Path,
    pairs: pa.Table,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine(SLOW)
    with caplog.at_level(logging.INFO, logger="prefboost"):
        for name in ("one", "two"):
            assert train(pairs, small(halved, precision="bf16"), tmp_path / name, goals=GOALS).precision == "bf16"
    warnings = [record.getMessage() for record in caplog.records if "numbers:" in record.getMessage()]
    assert warnings == ["numbers: bfloat16 (as asked; this CPU has no bf16 units; bf16 is 12x slower)"]


def test_float16_and_float32_checkpoints_are_not_narrowed_where_they_measure(
    machine: Callable[[NumberChoice], None], tmp_path: Path
) -> None:
    """Gemma-2-like models overflow in float16 and lose nothing in float32."""
    machine(FAST)
    for dtype in (torch.float16, torch.float32):
        folder = tmp_path / str(dtype)
        build_model().to(dtype).save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
        assert Embedder(str(folder), "cpu").numbers.name == "float32"
        assert Local(model=str(folder), device="cpu").open().numbers.name == "bfloat16"


def test_generation_that_is_resumed_on_another_machine_asks_for_nothing_again(
    machine: Callable[[NumberChoice], None], halved: Path, tmp_path: Path
) -> None:
    from prefboost.runs.generate.generate import Generate, forecast_generation, generate
    from prefboost.runs.generate.prompt_files import read_prompts

    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    table, out = read_prompts(str(tmp_path / "prompts.txt")), tmp_path / "out.jsonl"
    settings = Generate(engine=Local(model=str(halved), device="cpu"), sampling=Sampling(max_tokens=4))
    machine(FAST)
    first = generate(table, settings, out)
    machine(SLOW)
    assert forecast_generation(table, settings, out).total.stored == 2
    assert generate(table, settings, out).frame["completion"].to_list() == first.frame["completion"].to_list()
    assert forecast_generation(table, settings, tmp_path / "other.jsonl").total.stored == 0
