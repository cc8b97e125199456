"""A tiny random Llama, its tokenizer (bytes), and goal pairs made of a few words. No network."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.preferences.stated_goals import StatedGoals

SAY = SayGoal(place="system", wording="Score{% if goal is not none %} {{ goal }}{% endif %}.", low=1, high=10)
GOALS = StatedGoals(SAY)

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(template: str = CHATML) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={char: number for number, char in enumerate(alphabet)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = template
    return tokenizer


def build_model(seed: int = 0, **changes: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": 259,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
    }
    return LlamaForCausalLM(LlamaConfig(**(sizes | changes))).eval()


def build_folder(folder: Path, seed: int = 0) -> Path:
    build_model(seed).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


WORDS = ["the", "a", "cat", "dog", "sun", "moon", "runs", "sees", "likes", "big", "small", "red", "blue", "old"]


def _messages(role: str, text: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text, "extra": None}]


def build_pairs(count: int, seed: int = 0, goals: bool = True) -> pa.Table:
    """Both views of ``count`` pairs, as `condition` writes them."""
    rng = random.Random(seed)

    def sentence(words: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(words))

    rows = []
    for number in range(count):
        prompt = _messages("user", sentence(4))
        better, worse = sentence(rng.randint(3, 8)), sentence(rng.randint(3, 8)) + "."
        high, low = float(rng.randint(6, 10)), float(rng.randint(1, 5))
        for view, goal in (("chosen", high), ("rejected", low)) if goals else (("plain", None),):
            first, second = ((better, high), (worse, low)) if view != "rejected" else ((worse, low), (better, high))
            text = goal_text(SAY, goal)
            rows.append(
                {
                    "goal_pair_id": f"p{number}/{view}",
                    "row": number,
                    "pair_id": f"p{number}",
                    "prompt_id": f"q{number // 2}",
                    "prompt": prompt if goal is None else place_goal(prompt, text, "system"),
                    "chosen": _messages("assistant", first[0]),
                    "rejected": _messages("assistant", second[0]),
                    "score_chosen": first[1],
                    "score_rejected": second[1],
                    "view": view,
                    "flipped": view == "rejected",
                    "goal": goal,
                    "distance_chosen": None if goal is None else 0.0,
                    "distance_rejected": None if goal is None else high - low,
                }
            )
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model."""
    return build_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def built_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Any]]]:
    """References to all models that are built while the test runs, with the cyclic collector switched off."""
    from transformers import PreTrainedModel

    models: list[weakref.ref[Any]] = []
    original = PreTrainedModel.__init__

    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        models.append(weakref.ref(self))
        original(self, *args, **kwargs)

    monkeypatch.setattr(PreTrainedModel, "__init__", build)
    # The tiny model would not be worth a collection.
    monkeypatch.setattr("prefboost.devices.memory.WORTH", 0)
    gc.disable()
    yield models
    gc.enable()


@pytest.fixture(scope="session")
def pairs() -> pa.Table:
    return build_pairs(12)
