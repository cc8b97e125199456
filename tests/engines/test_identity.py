"""The identity of engines: every setting stands in the key of an answer, or is said to change none."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from prefboost.engines import llamacpp, vllm
from prefboost.engines.engine import Request, Sampling
from prefboost.engines.identity import identity_of, name_library
from prefboost.engines.llamacpp import LlamaCpp
from prefboost.engines.local import engine as local
from prefboost.engines.local.engine import Local
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.reuse import query_completion, query_logprobs
from prefboost.engines.vllm import VLLM
from prefboost.settings import Settings

OFF_DEFAULT: dict[str, Any] = {
    "trust_remote_code": True, "context": 64, "adapter_rank": 8, "tensor_parallel": 2, "gpu_memory": 0.5,
    "batch_rows": 2, "batch_tokens": 99, "device": "cpu", "revision": "v2", "parallel": 2, "threads": 3,
    "gpu_layers": 4, "chat_template": "{{ messages }}",
}  # fmt: skip
QUESTION = Request([{"role": "user", "content": "hi", "extra": None}])


@pytest.mark.parametrize("module", [local, vllm, llamacpp], ids=lambda module: module.__name__.rpartition(".")[2])
def test_each_setting_is_in_the_identity_or_has_a_reason_to_be_left_out(module: Any) -> None:
    kind: type[Settings] = {local: Local, vllm: VLLM, llamacpp: LlamaCpp}[module]
    assert {*module.IMMATERIAL} <= {*kind.model_fields}
    assert all(len(reason.split()) > 4 for reason in module.IMMATERIAL.values())
    plain = kind(model="m")
    for name in {*kind.model_fields} & {*OFF_DEFAULT}:
        other = plain.model_copy(update={name: OFF_DEFAULT[name]})
        same = identity_of(["w"], other, module.IMMATERIAL) == identity_of(["w"], plain, module.IMMATERIAL) == "w"
        assert same is (name in module.IMMATERIAL), name
    missing = {*kind.model_fields} - {*OFF_DEFAULT} - {*module.IMMATERIAL}
    assert not missing, "give new settings a value above, or a reason"


@pytest.mark.torch
def test_keys_of_a_model_on_disk_change_with_all_that_changes_an_answer(folder: Path) -> None:
    def keys(**settings: Any) -> tuple[str, ...]:
        engine = Local(model=str(folder), dtype="float32", device="cpu").model_copy(update=settings).open()
        return query_completion(engine, QUESTION, Sampling()).key, query_logprobs(engine, QUESTION, ["A", "B"]).key

    assert keys(batch_rows=2) == keys()
    for settings in ({"chat_template": "{{ messages[0]['content'] }}"}, {"dtype": "bfloat16"}):
        assert not {*keys(**settings)} & {*keys()}


SENT: dict[str, Any] = {
    "model": "n", "base_url": "http://localhost:8000/v2", "revision": "r", "choices": 2,
    "max_tokens_field": "max_completion_tokens", "leave_out": ("seed",), "extra": {"reasoning_effort": "high"},
    # that there are replicas, and not which
    "base_urls": ("http://localhost:8001/v1",),
}  # fmt: skip
NOT_SENT = {
    # pace and patience, and who pays
    "kind", "concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s", "attempts", "backoff_s",
    "longest_wait_s", "api_key_env",
    # rows beyond it are refused before they are asked
    "context",
    # for chat it counts tokens in forecasts alone; for completions what it renders is sent
    "tokenizer", "api",
    # how servers get weights; weights that are handed over are in the key by their content (below)
    "hand_over", "weights",
}  # fmt: skip


def test_each_setting_of_a_server_is_part_of_the_key_or_never_sent() -> None:
    assert {*SENT} | NOT_SENT == {*OpenAICompatible.model_fields}

    def key(settings: OpenAICompatible) -> str:
        return query_completion(settings.open(), QUESTION, Sampling()).key

    plain = OpenAICompatible(model="m")
    for name, value in SENT.items():
        assert key(plain.model_copy(update={name: value})) != key(plain), name
    assert key(plain.model_copy(update={"concurrency": 2, "attempts": 9, "context": 99})) == key(plain)


@pytest.mark.parametrize("how", ["lora", "reload"])
def test_weights_that_servers_are_given_are_in_the_key_by_their_content(how: str, tmp_path: Path) -> None:
    def key(**settings: Any) -> str:
        return query_completion(OpenAICompatible(model="m", **settings).open(), QUESTION, Sampling()).key

    for number, content in enumerate((b"one", b"one", b"two")):
        folder = tmp_path / f"round-{number}" / "model"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "m"}')
        (folder / "model.safetensors").write_bytes(content)
    first, same, other = (
        key(hand_over=how, weights=str(tmp_path / f"round-{number}" / "model")) for number in range(3)
    )
    assert first == same and len({key(), first, other}) == 3
    assert key(hand_over=how) == key(), "without weights there is nothing to hand over"


def test_all_parts_of_a_split_model_are_in_its_identity(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(b"same")
    settings = LlamaCpp(model=str(tmp_path / "m-00001-of-00002.gguf"))
    before = settings.open().identity
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(b"other")
    assert settings.open().identity != before
    (tmp_path / "m-00003-of-00003.gguf").write_bytes(b"of another model")
    assert settings.model_copy(update={"context": 64}).open().identity == f"{settings.open().identity}/context=64"


def test_another_version_of_the_library_that_computes_is_another_key_and_a_server_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"a model")
    engines = {"xllamacpp": LlamaCpp(model=str(tmp_path / "m.gguf")), "server": OpenAICompatible(model="m")}

    def identities(version: str) -> dict[str, str]:
        monkeypatch.setattr(importlib.metadata, "version", lambda library: version)
        return {name: settings.open().identity for name, settings in engines.items()}

    older, newer = identities("1.0"), identities("1.1")
    assert older["xllamacpp"] == newer["xllamacpp"].replace("/xllamacpp-1.1", "/xllamacpp-1.0") != newer["xllamacpp"]
    assert older["server"] == newer["server"]


@pytest.mark.torch
def test_vllm_stands_in_the_key_by_its_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda library: "0.32")
    assert VLLM(model=str(folder), dtype="float32").open().identity.endswith("/float32/vllm-0.32")


def test_a_library_that_is_not_installed_is_named_without_a_version() -> None:
    assert name_library("no-such-library") == "no-such-library"
