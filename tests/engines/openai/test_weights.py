"""Servers are given new weights before they get a row, also those that died meanwhile and were started anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from vllm_like import VllmLike
from waiting import PATIENCE_S, wait_until

from prefboost.engines.engine import Request, Result, Sampling
from prefboost.engines.openai import replicas
from prefboost.engines.openai.engine import OpenAICompatible, OpenAICompatibleEngine
from prefboost.errors import ModelError

WAYS = ("lora", "reload")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Folder of a policy, as a round leaves it."""
    return write_weights(tmp_path / "run" / "round-1" / "model" / "adapter", b"1")


def write_weights(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(content)
    return folder


def open_at(how: str, weights: Path, *servers: VllmLike, **changes: Any) -> OpenAICompatibleEngine:
    quick: dict[str, Any] = {"concurrency": 8, "timeout_s": PATIENCE_S, "backoff_s": 0.005}
    addresses = tuple(server.base_url for server in servers)
    settings = OpenAICompatible(model="m", base_urls=addresses, hand_over=how, weights=str(weights), **quick | changes)
    return settings.open()


def ask(engine: OpenAICompatibleEngine, rows: int = 40) -> Iterator[str]:
    """Yield the answers as they come, one for every row in the end."""
    requests = [Request([{"role": "user", "content": f"p{number}"}]) for number in range(rows)]
    indices = []
    for index, outcome in engine.generate(iter(requests), Sampling(max_tokens=50)):
        assert isinstance(outcome, Result), outcome
        indices.append(index)
        yield outcome.text
    assert sorted(indices) == list(range(rows))


@pytest.mark.parametrize("how", WAYS)
def test_every_server_answers_with_the_new_weights_alone(how: str, weights: Path) -> None:
    with VllmLike(delay_s=0.002) as first, VllmLike(delay_s=0.002) as second:
        texts = list(ask(open_at(how, weights, first, second)))
        assert all(text.endswith(f" by {weights}") for text in texts)
        for server in (first, second):
            assert server.answered and {held for what, held in server.log if what == "answer"} == {str(weights)}
            assert [what for what, _ in server.log if what != "answer"] == (
                ["load"] if how == "lora" else ["reload", "reset"]
            )


def test_one_server_is_given_weights_too(weights: Path) -> None:
    with VllmLike() as server:
        engine = OpenAICompatible(model="m", base_url=server.base_url, hand_over="lora", weights=str(weights)).open()
        assert all(text.endswith(f" by {weights}") for text in ask(engine, 4))


def test_the_next_round_takes_the_last_ones_adapter_away_and_lets_those_of_other_runs_be(
    weights: Path, tmp_path: Path
) -> None:
    other = write_weights(tmp_path / "other" / "round-1" / "model" / "adapter", b"other")
    later = write_weights(tmp_path / "run" / "round-2" / "model" / "adapter", b"2")
    with VllmLike() as server:
        engines = [open_at("lora", each, server) for each in (other, weights, later)]
        for engine in engines:
            list(ask(engine, 2))
        assert sorted(server.adapters.values()) == sorted([str(other), str(later)])
        assert ("unload", str(weights)) in server.log
        assert len({engine.identity for engine in engines}) == 3, "answers of other weights are stored by themselves"
        list(ask(open_at("lora", later, server), 2))
        assert server.log.count(("load", str(later))) == 1, "what is loaded is not loaded again"


@pytest.mark.parametrize("how", WAYS)
def test_rows_go_on_where_a_server_dies_and_it_gets_the_weights_before_it_gets_rows_again(
    how: str, weights: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, logger=replicas.__name__)
    monkeypatch.setattr(replicas, "FIRST_PROBE_S", 0.01)
    with ExitStack() as stack:
        back: list[VllmLike] = []

        def wait_for_the_other(body: dict[str, Any], number: int) -> tuple[int, Any] | None:
            return (503, {"error": {"message": "busy"}}) if back and not back[0].answered else None

        steady = stack.enter_context(VllmLike(script=wait_for_the_other))
        dying = VllmLike(most_answers=10)
        dying.__enter__()
        engine = open_at(how, weights, steady, dying, attempts=1000)
        texts = []
        for text in ask(engine, 120):
            texts.append(text)
            # The calls that it holds are broken off.
            if len(texts) == 20:
                dying.__exit__(None, None, None)
                # No server starts as fast as this one: the calls are broken before anybody is there again.
                wait_until(lambda: "is set aside" in caplog.text, "it is known to be gone")
                port = int(dying.base_url.rpartition(":")[2].partition("/")[0])
                back.append(stack.enter_context(VllmLike(port=port)))
        assert len(texts) == 120 and all(text.endswith(f" by {weights}") for text in texts)
        assert back[0].answered and "is set aside" in caplog.text and "is back" in caplog.text
        assert back[0].log[0] == ("load" if how == "lora" else "reload", str(weights))
        assert {held for what, held in back[0].log if what == "answer"} == {str(weights)}


@pytest.mark.parametrize(("how", "variable"), [("lora", "RUNTIME_LORA"), ("reload", "DEV_MODE")])
def test_a_server_that_was_started_without_the_routes_is_refused_by_name(
    how: str, variable: str, weights: Path
) -> None:
    with VllmLike() as able, VllmLike(routes=False) as unable:
        with pytest.raises(ModelError, match="takes no new weights") as caught:
            list(ask(open_at(how, weights, able, unable)))
        assert unable.base_url in caught.value.message and variable in (caught.value.remedy or "")
        assert not able.answered and not unable.answered


@pytest.mark.parametrize("how", WAYS)
def test_a_server_that_fails_to_load_gets_no_rows_and_says_why(
    how: str, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger=replicas.__name__)
    fault = (500, {"error": {"message": "no space left on the GPU"}})
    with VllmLike() as able, VllmLike(fails=fault) as unable:
        assert all(text.endswith(f" by {weights}") for text in ask(open_at(how, weights, able, unable)))
        assert not unable.answered and "no space left on the GPU" in caplog.text
        with pytest.raises(ModelError, match="no space left on the GPU"):
            list(ask(open_at(how, weights, unable)))


def test_a_restart_that_no_call_noticed_is_told_by_the_missing_adapter(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "FIRST_PROBE_S", 0.01)
    with VllmLike() as server:
        texts = []
        for text in ask(open_at("lora", weights, server, concurrency=1, attempts=50), 12):
            texts.append(text)
            if len(texts) == 4:
                server.adapters.clear()
        assert all(text.endswith(f" by {weights}") for text in texts)
        assert server.log.count(("load", str(weights))) == 2


def test_weights_need_a_way_and_a_reload_keeps_the_name(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="say in hand_over"):
        OpenAICompatible(model="m", weights=str(weights))
    other = write_weights(tmp_path / "run" / "round-2" / "model" / "adapter", b"2")
    engines = [OpenAICompatible(model="m", hand_over="reload", weights=str(each)).open() for each in (weights, other)]
    assert [engine.settings.model for engine in engines] == ["m", "m"]
    assert engines[0].identity != engines[1].identity
    plain = OpenAICompatible(model="m", hand_over="lora").open()
    assert plain.identity == OpenAICompatible(model="m").open().identity, "no weights yet: the model of the server"
