import json

import pytest

from prefboost.errors import DataError
from prefboost.evaluation.user_files import read_completions, read_user_prompts


def test_a_line_of_text_is_a_prompt_and_empty_or_repeated_lines_are_none(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("one?\n\n two? \none?\n")
    assert [prompt.turns for prompt in read_user_prompts(path)] == [("one?",), ("two?",)]


def test_records_of_alpaca_eval_are_prompts_with_their_dataset_as_category(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{"instruction": "q", "output": "a", "dataset": "koala"}, {"instruction": "r"}]))
    assert [(one.uid, one.category) for one in read_user_prompts(path)] == [("q", "koala"), ("r", "")]


def test_messages_before_the_last_turn_of_a_table_stand_before_it_and_are_shown_to_a_judge(tmp_path):
    path = tmp_path / "p.jsonl"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why?"}]
    path.write_text(json.dumps({"prompt": messages}) + "\n")
    prompt = read_user_prompts(path)[0]
    assert prompt.turns == ("why?",)
    assert prompt.before == ({"role": "system", "content": "Be brief."},)
    assert prompt.text == "[system]\nBe brief.\n\nwhy?"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("p.txt", " \n", "no prompt"), ("p.json", "[1]", "one JSON object"), ("none.txt", None, "cannot be read"),
     ("p.json", '[{"instruction": "q"}, {"prompt": "r"}]', "give instruction")],
)  # fmt: skip
def test_a_file_without_prompts_is_refused_by_name(tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_user_prompts(tmp_path / name)
    assert name in str(caught.value)


def test_a_prompt_that_was_completed_twice_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"instruction": "q", "output": "a"}, {"instruction": "q", "output": "b"}]')
    with pytest.raises(DataError, match="occurs twice"):
        read_completions(path)
