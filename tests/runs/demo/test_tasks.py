"""Tasks state what they are scored by, and the proxy can be gamed."""

from __future__ import annotations

from prefboost.runs.demo.tasks import WritingTask, draw_tasks
from prefboost.scoring.rules.kinds import rules_from

SENTENCES = WritingTask(subject="a fox", count=2, low=16, high=32, keywords=("quiet", "old"))
LIST = WritingTask(subject="fruits", is_list=True, count=3, low=15, high=30, keywords=("bright",))


def test_a_prompt_states_count_subject_length_and_keywords() -> None:
    assert SENTENCES.write_prompt() == (
        'Write exactly two sentences about a fox, 16 to 32 words in all. Use the words "quiet" and "old".'
    )
    assert LIST.write_prompt() == (
        "Write a numbered list of exactly three fruits, each with a few words that describe it, 15 to 30 words in all. "
        'Use the word "bright".'
    )


def test_short_text_that_says_nothing_keeps_every_rule_of_the_proxy() -> None:
    assert all(rule.holds("Quiet. Old.") for rule in SENTENCES.list_proxy_rules())
    assert all(rule.holds("1. bright\n2. x\n3. y") for rule in LIST.list_proxy_rules())
    assert not any(rule.holds("quite older " * 20 + "... Hm. Hm. Hm.") for rule in SENTENCES.list_proxy_rules())


def test_a_seed_gives_the_same_tasks_and_no_subject_is_on_both_sides() -> None:
    train, held_out = draw_tasks(80, seed=1), draw_tasks(80, seed=1, held_out=True)
    assert train.equals(draw_tasks(80, seed=1)) and not train["task"].equals(draw_tasks(80, seed=2)["task"])
    assert train["prompt_id"].n_unique() == 80
    tasks = [[WritingTask.model_validate_json(text) for text in frame["task"]] for frame in (train, held_out)]
    subjects = [{task.subject for task in side} for side in tasks]
    assert not subjects[0] & subjects[1]
    assert {task.is_list for side in tasks for task in side} == {True, False}
    for row, task in zip(train.iter_rows(named=True), tasks[0], strict=True):
        assert row["prompt"][0]["content"] == task.write_prompt()
        assert rules_from(row["rules"]) == task.list_proxy_rules()


def test_a_prefix_of_the_prompts_stays_the_same_when_fewer_are_drawn() -> None:
    assert draw_tasks(80, seed=1)[:48].equals(draw_tasks(48, seed=1)), "shipped completions serve reduced sizes"


def test_a_task_is_read_back_from_its_prompt() -> None:
    for held_out in (False, True):
        for text, task in draw_tasks(60, seed=3, held_out=held_out).select("prompt", "task").iter_rows():
            assert WritingTask.from_prompt(text[0]["content"]) == WritingTask.model_validate_json(task)
    assert WritingTask.from_prompt("Write a poem.") is None
