"""Log-probs of a table's completions are those of the model's own logits, and a store spares computing them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.scoring.conftest import completions_table
from tests.scoring.test_implicit import logp

from prefboost.chat.rendering import ChatEncoder
from prefboost.engines.call_session import CallSession
from prefboost.engines.models.weights import load_tokenizer
from prefboost.engines.store.store import Store
from prefboost.errors import ModelError
from prefboost.scoring.sequence_logps import (
    LogprobModel,
    check_vocabularies,
    compute_item_logps,
    compute_log_ratios,
    encode_items,
)
from prefboost.scoring.sides import Scores, list_scored_items

pytestmark = pytest.mark.torch

TEXTS = [("one", "a cat"), ("two", "yes"), ("one", "a dog"), ("three", "a long answer")]


def test_log_probs_are_those_of_the_logits_in_the_order_of_the_items(policies: tuple[Path, Path]) -> None:
    model = LogprobModel(str(policies[0]), batch_tokens=32)
    items = list_scored_items(completions_table(TEXTS))
    usable = list(encode_items(items, ChatEncoder(load_tokenizer(model.name)), None, Scores()))
    values = compute_item_logps(model, [ids for _, ids in usable], CallSession(), "policy")
    for value, (prompt, answer) in zip(values, TEXTS, strict=True):
        assert value == pytest.approx(logp(policies[0], prompt, answer)[0], abs=1e-4)


def test_what_the_store_holds_is_not_computed_again(
    policies: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefboost.engines.local import streams

    model = LogprobModel(str(policies[0]))
    usable = encode_items(
        list_scored_items(completions_table(TEXTS)), ChatEncoder(load_tokenizer(model.name)), None, Scores()
    )
    encoded = [ids for _, ids in usable]
    with Store(tmp_path / "store") as store:
        first = compute_item_logps(model, encoded, CallSession(store), "policy")

        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("computed again")

        monkeypatch.setattr(streams, "logps_of_batch", refuse)
        assert compute_item_logps(model, encoded, CallSession(store), "policy") == first


def test_items_that_the_model_cannot_read_have_a_fault(policies: tuple[Path, Path]) -> None:
    scores = Scores()
    encoder = ChatEncoder(load_tokenizer(str(policies[0])))
    items = list_scored_items(completions_table(TEXTS))
    lengths = [len(prompt) + len(answer) for _, (prompt, answer) in encode_items(items, encoder, None, Scores())]
    usable = list(encode_items(items, encoder, max(lengths) - 1, scores))
    assert [item.row for item, _ in usable] == [at for at, length in enumerate(lengths) if length < max(lengths)]
    assert {reason for reason, _ in scores.faults.values()} == {"the conversation is longer than the model can see"}


def test_a_goal_goes_through_the_template_of_the_policy(policies: tuple[Path, Path]) -> None:
    tokenizer = load_tokenizer(str(policies[0]))
    tokenizer.chat_template = "{% if goal %}[{{ goal }}]{% endif %}" + tokenizer.chat_template
    items = list_scored_items(completions_table(TEXTS))
    goals = {item.row: float(item.row + 1) for item in items}
    asked = encode_items(items, ChatEncoder(tokenizer), None, Scores(), lambda item: goals[item.row])
    plain = encode_items(items, ChatEncoder(tokenizer), None, Scores())
    for (item, (ids, answer)), (_, (plain_ids, plain_answer)) in zip(asked, plain, strict=True):
        assert tokenizer.decode(ids) == f"[{goals[item.row]}]" + tokenizer.decode(plain_ids)
        assert answer == plain_answer


def test_models_with_other_tokens_are_refused(policies: tuple[Path, Path]) -> None:
    tokenizer, other = load_tokenizer(str(policies[0])), load_tokenizer(str(policies[0]))
    check_vocabularies("a", tokenizer, "b", other)
    other.add_tokens(["<new>"])
    with pytest.raises(ModelError, match="different tokens"):
        check_vocabularies("a", tokenizer, "b", other)


def test_a_log_ratio_is_the_difference_of_both_models(policies: tuple[Path, Path]) -> None:
    policy, reference = (LogprobModel(str(folder)) for folder in policies)
    items = list_scored_items(completions_table(TEXTS))
    encoded = [ids for _, ids in encode_items(items, ChatEncoder(load_tokenizer(policy.name)), None, Scores())]
    told: list[str] = []
    found = dict(compute_log_ratios(policy, reference, encoded, CallSession(tell=lambda work: told.append(work.name))))
    ratios = [found[at] for at in range(len(encoded))]
    ours, theirs = (compute_item_logps(model, encoded, CallSession(), "m") for model in (policy, reference))
    assert ratios == [mine - other for mine, other in zip(ours, theirs, strict=True)]
    assert list(dict.fromkeys(told)) == ["policy", "reference"]
