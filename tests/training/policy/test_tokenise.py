"""Goal pairs become token ids unit by unit; what is cut or dropped is counted."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import CHATML, SAY, build_pairs, build_tokenizer

from prefboost.chat import goal_text
from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import DataError, TemplateRefusal
from prefboost.training.data.text_loss import refuse_losses
from prefboost.training.policy.tokenise import TokenLimits, tokenise

TOKENIZER = build_tokenizer()
ENCODER = ChatEncoder(TOKENIZER)
OPEN = TokenLimits(None, None)


def changed(pairs: pa.Table, row: int, **values: Any) -> pa.Table:
    rows = pairs.to_pylist()
    rows[row].update(values)
    return pa.Table.from_pylist(rows, schema=pairs.schema)


def assistant(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, "extra": None}]


def test_a_unit_holds_all_views_of_a_pair_in_whatever_order_rows_come() -> None:
    pairs = build_pairs(3)
    units = tokenise(pairs.take([5, 0, 2, 4, 1, 3]), ENCODER, OPEN).units.to_pylist()
    assert {unit["unit_id"]: sorted(unit["view"]) for unit in units} == {
        f"p{i}": ["chosen", "rejected"] for i in range(3)
    }


def test_the_two_views_swap_their_completions() -> None:
    unit = tokenise(build_pairs(1), ENCODER, OPEN).units.to_pylist()[0]
    assert unit["chosen_ids"] == unit["rejected_ids"][::-1]
    assert unit["score_chosen"] == unit["score_rejected"][::-1] == unit["goal"]
    assert TOKENIZER.decode(unit["prompt_ids"][0]).startswith("<|im_start|>system\nScore ")


def test_rows_by_themselves_are_units_in_experiments() -> None:
    assert tokenise(build_pairs(3), ENCODER, OPEN, by_unit=False).units.num_rows == 6


def test_a_unit_with_one_unusable_view_is_dropped_whole_and_counted() -> None:
    pairs = build_pairs(3)
    pairs = changed(pairs, 0, chosen=assistant("same"), rejected=assistant("same"))
    found = tokenise(pairs, ENCODER, OPEN)
    assert found.units["unit_id"].to_pylist() == ["p1", "p2"]
    assert found.dropped == {"the two completions are equal within max_length": 2}
    assert (found.rows, found.views) == (6, 4)


def test_too_long_completions_lose_their_end_and_are_counted() -> None:
    pairs = build_pairs(1)
    whole = tokenise(pairs, ENCODER, OPEN).units.to_pylist()[0]
    limit = len(whole["prompt_ids"][0]) + 12
    found = tokenise(pairs, ENCODER, TokenLimits(limit, None))
    unit = found.units.to_pylist()[0]
    assert unit["chosen_ids"][0] == whole["chosen_ids"][0][:12]
    assert found.shortened["chosen"] == 2


def test_a_completion_that_generation_cut_has_no_end_of_turn_on_whichever_side_it_stands() -> None:
    pairs = build_pairs(2)
    ends = pa.array(["length", "stop", None, "stop"]), pa.array(["stop", "length", None, "stop"])
    whole = tokenise(pairs, ENCODER, OPEN).units.to_pylist()
    for name, values in zip(("finish_chosen", "finish_rejected"), ends, strict=True):
        pairs = pairs.append_column(name, values)
    found = tokenise(pairs, ENCODER, OPEN)
    first, second = found.units.to_pylist()
    end = TOKENIZER.eos_token_id
    assert whole[0]["chosen_ids"][0][-1] == end
    assert first["chosen_ids"][0] == whole[0]["chosen_ids"][0][:-1] == first["rejected_ids"][1]
    assert first["rejected_ids"][0] == whole[0]["rejected_ids"][0] == first["chosen_ids"][1]
    assert second == whole[1]
    assert found.shortened == {"end of turn of chosen": 1, "end of turn of rejected": 1}
    ended = tokenise(pairs, ENCODER, TokenLimits(None, None, ends_cut=True))
    assert ended.units.to_pylist() == whole and not ended.shortened


def test_completions_without_room_drop_the_unit() -> None:
    found = tokenise(build_pairs(1), ENCODER, TokenLimits(10, None))
    assert found.units.num_rows == 0
    assert found.dropped == {"a completion has no tokens within max_length": 2}


def test_pairs_that_are_all_dropped_are_refused_with_the_counts_and_reasons() -> None:
    tokenise(build_pairs(1), ENCODER, OPEN).refuse_empty()
    found = tokenise(build_pairs(3), ENCODER, TokenLimits(10, None))
    with pytest.raises(DataError, match=r"of 6 rows 6 were dropped, 6 because a completion has no tokens") as error:
        found.refuse_empty()
    assert "raise max_length" in str(error.value)
    with pytest.raises(DataError, match=r"of 0 rows 0 were dropped\n"):
        tokenise(build_pairs(1).slice(0, 0), ENCODER, OPEN).refuse_empty()


def test_too_long_prompts_lose_text_from_the_left_but_not_the_goal() -> None:
    pairs = build_pairs(1)
    row = pairs.to_pylist()[0]
    row["prompt"][1]["content"] = "word " * 60 + "the question"
    pairs = changed(pairs, 0, prompt=row["prompt"])
    found = tokenise(pairs, ENCODER, TokenLimits(None, 100), say=SAY)
    prompt = found.units.to_pylist()[0]["prompt_ids"][0]
    text = TOKENIZER.decode(prompt)
    assert len(prompt) == 100 and found.shortened["prompt"] == 1
    assert text.startswith("<|im_start|>system\n" + goal_text(SAY, row["goal"]))
    assert text.endswith("the question<|im_end|>\n<|im_start|>assistant\n")


def test_without_room_for_the_goal_a_prompt_is_cut_as_published() -> None:
    whole = tokenise(build_pairs(1), ENCODER, OPEN).units.to_pylist()[0]["prompt_ids"][0]
    cut = tokenise(build_pairs(1), ENCODER, TokenLimits(None, 10), say=SAY).units.to_pylist()[0]["prompt_ids"][0]
    assert cut == whole[-10:]


def test_numbers_travel_and_missing_ones_are_null() -> None:
    unit = tokenise(build_pairs(1, goals=False), ENCODER, OPEN).units.to_pylist()[0]
    assert unit["goal"] == [None] and unit["view"] == ["plain"] and unit["score_chosen"][0] >= 6


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="'rejected'"):
        tokenise(build_pairs(1).drop_columns(["rejected"]), ENCODER, OPEN)


NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)


def without_goals(count: int) -> pa.Table:
    return build_pairs(count, goals=False)


def with_system(pairs: pa.Table, row: int) -> pa.Table:
    system = {"role": "system", "content": "Be brief.", "extra": None}
    return changed(pairs, row, prompt=[system, *pairs["prompt"][row].as_py()])


def test_a_conversation_that_the_template_refuses_is_rejected_with_its_row_and_the_others_stay() -> None:
    pairs = with_system(without_goals(4).append_column("row", pa.array([10, 11, 12, 13])), 2)
    found = tokenise(pairs, ChatEncoder(build_tokenizer(NO_SYSTEM)), OPEN)
    assert found.units["unit_id"].to_pylist() == ["p0", "p1", "p3"]
    assert found.dropped == {"the chat template refuses the conversation": 1}
    [rejected] = found.loss.rejected
    assert rejected["row"] == 12 and "System role not supported" in rejected["found"]
    refuse_losses(found.loss, found.rows, 0.25)
    with pytest.raises(TemplateRefusal, match=r"row 12: 1 of 4 rows cannot be rendered") as error:
        refuse_losses(found.loss, found.rows, 0.2)
    assert "system_messages: merge" in str(error.value)


def test_system_messages_that_are_refused_can_be_merged() -> None:
    pairs = with_system(without_goals(3), 1)
    encoder = ChatEncoder(build_tokenizer(NO_SYSTEM), merge_system=True)
    found = tokenise(pairs, encoder, OPEN)
    assert found.units.num_rows == 3 and not found.dropped
    prompt = TOKENIZER.decode(found.units["prompt_ids"][1].as_py()[0])
    assert prompt.startswith("<|im_start|>user\nBe brief.\n\n")


def test_a_completion_whose_call_the_template_drops_is_rejected_with_its_row() -> None:
    pairs = without_goals(3)
    call = {"tool_calls": [{"function": {"name": "find", "arguments": {"zip": 75001}}}]}
    rows = pairs.to_pylist()
    rows[1]["chosen"] = [{"role": "assistant", "content": "", "extra": json.dumps(call)}]
    pairs = pa.Table.from_pylist(rows)
    found = tokenise(pairs, ENCODER, OPEN)
    assert found.dropped == {"the chat template leaves out a part of a completion": 1}
    assert 'the call of find({"zip": 75001})' in found.loss.rejected[0]["found"]
    calling = CHATML.replace("{{ message['content'] }}", "{{ message['content'] }}{{ message['tool_calls'] | tojson }}")
    calling = calling.replace("['tool_calls'] | tojson", "['tool_calls'] | default('', true) | tojson")
    whole = tokenise(pairs, ChatEncoder(build_tokenizer(calling)), OPEN)
    assert not whole.dropped
    chosen = TOKENIZER.decode(whole.units["chosen_ids"][1].as_py()[0])
    assert chosen == json.dumps(call["tool_calls"]) + "<|im_end|>"


def test_every_way_in_which_text_is_lost_is_counted() -> None:
    pairs = build_pairs(1)
    whole = tokenise(pairs, ENCODER, OPEN).units["prompt_ids"][0].as_py()
    longest = max(map(len, whole))
    assert tokenise(pairs, ENCODER, TokenLimits(None, 20)).shortened["beginning of prompt"] == 2
    message = pairs["prompt"][0].as_py()
    message[1]["content"] = "word " * 60
    kept = tokenise(changed(pairs, 0, prompt=message), ENCODER, TokenLimits(None, 100), say=SAY).shortened
    assert kept["prompt"] == 1 and "beginning of prompt" not in kept
    assert tokenise(pairs, ENCODER, TokenLimits(longest + 1, None)).shortened["one token"] >= 1
    assert tokenise(pairs, ENCODER, TokenLimits(None, None, positions=longest)).shortened["beyond positions"] == 2
    endless = ChatEncoder(build_tokenizer(CHATML.replace("<|im_end|>\n", "\n")))
    assert tokenise(pairs, endless, OPEN).shortened["no end of turn"] == 2
    deaf = CHATML.replace("{{ message['content'] }}", "{{ message['content'] if message['role'] != 'system' }}")
    alone = pairs.slice(0, 1)  # both views would ask one prompt for both completions, which is refused
    assert tokenise(alone, ChatEncoder(build_tokenizer(deaf)), OPEN).shortened["lost message"] == 1
    assert not tokenise(pairs, ENCODER, OPEN).shortened
