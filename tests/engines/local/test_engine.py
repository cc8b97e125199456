"""The local engine, with a tiny random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prefboost.engines.engine import Request, Sampling
from prefboost.engines.local.engine import Local, LocalEngine
from prefboost.errors import ModelError

pytestmark = pytest.mark.torch

SAMPLING = Sampling(max_tokens=12, temperature=1.0, top_p=0.9, seed=3)


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text, "extra": None}]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, "extra": None}]


def test_every_request_is_completed_once_in_planned_order(engine: LocalEngine, requests: list[Request]) -> None:
    plan = engine.plan(requests, SAMPLING)
    found = list(engine.generate(requests, SAMPLING))
    assert [index for index, _ in found] == [index for batch in plan for index in batch]
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    assert all(len(batch) <= 4 for batch in plan)
    assert [result.prompt_tokens for _, result in sorted(found)] == engine.prompt_tokens(requests)
    assert all(1 <= result.tokens <= 12 for _, result in found)


def test_a_planned_batch_planned_again_is_one_batch(engine: LocalEngine, requests: list[Request]) -> None:
    for batch in engine.plan(requests, SAMPLING):
        assert engine.plan([requests[index] for index in batch], SAMPLING) == [list(range(len(batch)))]


def test_batches_keep_to_their_number_of_tokens(folder: Path, requests: list[Request]) -> None:
    engine = Local(model=str(folder), dtype="float32", batch_tokens=200).open()
    lengths = engine.prompt_tokens(requests)
    for batch in engine.plan(requests, SAMPLING):
        assert len(batch) == 1 or len(batch) * (max(lengths[index] for index in batch) + 12) <= 200


def test_rows_depend_on_seed_and_sample_and_not_on_their_company(engine: LocalEngine, requests: list[Request]) -> None:
    whole = dict(engine.generate(requests, SAMPLING))
    alone = [next(engine.generate([request], SAMPLING))[1] for request in requests]
    assert alone == [whole[index] for index in range(len(requests))]
    assert len({whole[index].text for index in (0, 1, 2)}) == 3
    other = dict(engine.generate(requests[:3], Sampling(**{**SAMPLING.model_dump(), "seed": 4})))
    assert [other[index].text for index in range(3)] != [whole[index].text for index in range(3)]


def test_streamed_pieces_are_the_completion(engine: LocalEngine, requests: list[Request]) -> None:
    for request in requests[:4]:
        assert "".join(engine.stream(request, SAMPLING)) == next(engine.generate([request], SAMPLING))[1].text


def test_log_probs_are_those_of_the_models_own_logits(engine: LocalEngine) -> None:
    prompts, answers = ["hi", "a longer prompt"], ["yes", "no, not at all"]
    found = engine.logprob_of([Request(user(text)) for text in prompts], [said(text) for text in answers])
    for prompt, answer, logp in zip(prompts, answers, found, strict=True):
        head = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
        ids = engine.tokenizer([head, f"{head}{answer}<|im_end|>"], add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = engine.model(torch.tensor([ids[1]])).logits[0].log_softmax(-1)
        expected = sum(float(logits[at - 1, ids[1][at]]) for at in range(len(ids[0]), len(ids[1])))
        assert logp == pytest.approx(expected, abs=1e-3)


def test_a_template_that_says_goals_is_noticed(folder: Path, engine: LocalEngine) -> None:
    assert not engine.says_goals
    asking = Local(model=str(folder), dtype="float32").open()
    asking.tokenizer.chat_template = "[{{ goal if goal is defined else 10 }}]" + asking.tokenizer.chat_template
    assert asking.says_goals
    assert asking.render(Request(user("hi"), goal=3)).startswith("[3]")
    assert asking.render(Request(user("hi"))).startswith("[10]")


def test_identity_changes_with_the_weights_and_the_number_type(folder: Path, tmp_path: Path) -> None:
    from tests.training.conftest import build_folder

    other = build_folder(tmp_path / "other", seed=1)
    names = {Local(model=str(place), dtype=dtype).open().identity
             for place in (folder, other) for dtype in ("float32", "bfloat16")}  # fmt: skip
    assert len(names) == 4


def test_what_does_not_fit_the_context_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(ModelError, match=r"exceed the model's 512\n.*max_tokens lower"):
        list(engine.generate([Request(user("hi"))], Sampling(max_tokens=500)))


def test_a_template_that_raises_names_the_roles(folder: Path) -> None:
    engine = Local(model=str(folder)).open()
    engine.tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(ModelError, match="roles user: no system role"):
        engine.render(Request(user("hi")))


def test_a_tokenizer_without_a_template_and_a_device_that_is_not_there_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="device 'cuda:99'"):
        _ = Local(model=str(folder), device="cuda:99").open().model
    from tests.training.conftest import build_model, build_tokenizer

    bare = build_tokenizer()
    bare.chat_template = None
    bare.save_pretrained(tmp_path / "bare")
    build_model().save_pretrained(tmp_path / "bare")
    with pytest.raises(ModelError, match="has no chat template"):
        Local(model=str(tmp_path / "bare")).open()


def test_a_checkpoint_of_ours_is_asked_through_its_template_in_the_words_of_training(folder: Path) -> None:
    from prefboost.chat import SayGoal, goal_text, place_goal
    from prefboost.training.policy.chat_template import rewrite_template

    plain = Local(model=str(folder)).open()
    trained = Local(model=str(folder)).open()
    say = SayGoal(place="system")
    trained.tokenizer.chat_template = rewrite_template(plain.tokenizer.chat_template, say, top=10.0)
    assert trained.says_goals
    for goal, request in ((7.0, Request(user("hi"), goal=7.0)), (10.0, Request(user("hi")))):
        placed = place_goal(user("hi"), goal_text(say, goal), "system")
        assert trained.render(request) == plain.render(Request(placed))
    assert trained.render(Request(user("hi"), goal=False)) == plain.render(Request(user("hi")))


def test_packed_log_probs_are_those_of_padding_and_leave_generation_alone(folder: Path) -> None:
    requests = [Request(user(text), sample) for text in ("hello there", "what now") for sample in range(2)]
    answers = [said(text) for text in ("a cat", "a cat and a dog", "b", "")]
    packed = Local(model=str(folder), dtype="float32", device="cpu").open()
    padded = Local(model=str(folder), dtype="float32", device="cpu").open()
    padded.__dict__["packs"] = False
    before = list(packed.generate(requests, SAMPLING))
    assert packed.packs
    assert packed.logprob_of(requests, answers) == pytest.approx(padded.logprob_of(requests, answers), abs=1e-4)
    assert list(packed.generate(requests, SAMPLING)) == before


def test_log_probs_of_choices_are_those_of_their_tokens_after_the_prompt(
    engine: LocalEngine, requests: list[Request]
) -> None:
    import torch

    found = dict(engine.logprobs_of(iter(requests[:4]), ["A", "B"]))
    for index, request in enumerate(requests[:4]):
        ids = engine.tokenizer(engine.render(request), add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logps = engine.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        expected = [float(logps[engine.tokenizer(text, add_special_tokens=False)["input_ids"][0]]) for text in "AB"]
        assert found[index] == pytest.approx(expected, abs=1e-4)
