import json

import pytest
from scripted_engine import Scripted

from prefboost.chat import SayGoal
from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Failure, Sampling
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, ModelError, RunError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.protocols import Contestant, choose_likeliest_tokens
from prefboost.runs.evaluate.answering import answer_prompts, choose_sampling, open_speaker
from prefboost.runs.evaluate.settings import Answering

PROMPTS = [BenchmarkPrompt(f"p{at}", (f"question {at}",)) for at in range(6)]
TALKS = [BenchmarkPrompt(f"t{at}", (f"first {at}", f"then {at}"), "roleplay" if at % 2 else "math") for at in range(4)]


def engine_of(say=lambda text: f"to {text}", **changes):
    engine = Scripted.by(say).open()
    engine.ledger = Ledger()
    for name, value in changes.items():
        setattr(engine, name, value)
    return engine


def who(engine, goal=None, say=None):
    return open_speaker(Contestant("m", engine=None, goal=goal, say=say or SayGoal()), engine)


def dropping(request):
    """A template without a system role: what it is given there is gone."""
    return json.dumps([message["content"] for message in request.prompt if message["role"] != "system"])


def test_a_second_turn_is_asked_with_the_models_own_first_answer_before_it(tmp_path):
    engine = engine_of()
    with Store(tmp_path / "s") as store:
        found = answer_prompts(who(engine), TALKS, choose_likeliest_tokens, store)
        again = answer_prompts(who(engine), TALKS, choose_likeliest_tokens, store)
    assert found.completions["t2"] == ("to first 2", "to then 2")
    last = engine.asked[-1].prompt
    assert [message["role"] for message in last] == ["user", "assistant", "user"]
    assert last[1]["content"] == f"to {last[0]['content']}"
    assert len(engine.asked) == 8, "a second call asks nothing"
    assert again == found


def test_the_goals_text_stands_in_every_rendered_prompt_and_so_in_every_key(tmp_path):
    engine = engine_of()
    with Store(tmp_path / "s") as store:
        for goal in (1.0, 10.0):
            answer_prompts(who(engine, goal), TALKS, choose_likeliest_tokens, store)
        keys = [json.dumps(row.asked) for row in store.rows()]
    assert len(keys) == 16
    assert sum("Overall score: 10." in key for key in keys) == sum("Overall score: 1." in key for key in keys) == 8


def test_a_template_that_drops_system_messages_is_refused_by_name_or_takes_the_goal_elsewhere(tmp_path):
    engine = engine_of(render=dropping)
    with pytest.raises(ModelError, match="m: place is system, but the chat template's system role is dropped"):
        who(engine, 10.0, SayGoal(place="system"))
    with Store(tmp_path / "s") as store:
        answer_prompts(who(engine, 10.0), PROMPTS, choose_likeliest_tokens, store)
    assert all("Overall score: 10." in dropping(request) for request in engine.asked)
    assert {request.prompt[0]["role"] for request in engine.asked} == {"user"}


def test_a_template_that_loses_the_goal_in_one_prompt_alone_ends_the_run_by_name(tmp_path):
    engine = engine_of()
    kept = engine.render
    engine.render = lambda request: dropping(request) if "question 3" in str(request.prompt) else kept(request)
    with (
        Store(tmp_path / "s") as store,
        pytest.raises(ModelError, match=r"the goal of m is not in the rendered prompt .* 'p3'"),
    ):
        answer_prompts(who(engine, 10.0), PROMPTS, choose_likeliest_tokens, store)
    assert not engine.asked


@pytest.mark.parametrize("says", [True, False])
def test_a_checkpoint_that_says_goals_itself_is_seen_to_say_the_number(tmp_path, says):
    engine = engine_of(says_goals=True)
    heard = (
        (lambda request: f"aim {request.goal:g} {request.prompt}") if says else (lambda request: str(request.prompt))
    )
    engine.render = lambda request: str(request.prompt) if request.goal is False else heard(request)
    with Store(tmp_path / "s") as store:
        if says:
            assert len(answer_prompts(who(engine, 7.0), PROMPTS, choose_likeliest_tokens, store).completions) == 6
        else:
            with pytest.raises(ModelError, match="is not in the rendered prompt"):
                answer_prompts(who(engine, 7.0), PROMPTS, choose_likeliest_tokens, store)


def test_what_cannot_be_asked_or_failed_is_missing_with_its_reason_and_not_asked_on(tmp_path):
    engine = engine_of()
    kept = engine.render

    def rendered(request):
        if "first 2" in str(request.prompt[0]["content"]):
            raise ModelError("no emoji", remedy="")
        return kept(request)

    def generate(requests, sampling):
        for index, outcome in type(engine).generate(engine, requests, sampling):
            failed = "first 1" in str(requests[index].prompt[-1]["content"])
            yield index, Failure("refused", 1, permanent=True) if failed else outcome

    engine.render, engine.generate = rendered, generate
    with Store(tmp_path / "s") as store:
        found = answer_prompts(who(engine), TALKS, choose_likeliest_tokens, store)
    assert set(found.completions) == {"t0", "t3"}
    assert found.faults == {"t1": "refused", "t2": "the chat template refuses the prompt: no emoji"}
    assert found.record["missing"] == 2
    assert not any("then 1" in str(request.prompt) for request in engine.asked)


def test_a_prompt_that_leaves_no_room_is_missing_and_small_models_write_half_of_what_they_see(tmp_path):
    engine = engine_of(context=40)
    long = BenchmarkPrompt("long", ("word " * 60,))
    drawn = choose_sampling(who(engine), choose_likeliest_tokens, Answering())
    assert drawn(PROMPTS[0]).max_tokens == 20
    assert choose_sampling(who(engine), choose_likeliest_tokens, Answering(max_tokens=30))(PROMPTS[0]).max_tokens == 30
    with Store(tmp_path / "s") as store:
        found = answer_prompts(who(engine), [*PROMPTS, long], drawn, store)
    assert found.faults == {"long": "the prompt and max_tokens exceed the model's context"}


def test_prompts_are_drawn_as_each_asks_for(tmp_path):
    engine, seen = engine_of(), []

    def generate(requests, sampling):
        seen.append((sampling.temperature, len(requests)))
        yield from type(engine).generate(engine, requests, sampling)

    engine.generate = generate
    by_category = {"roleplay": Sampling(temperature=0.7), "math": Sampling(temperature=0.0)}
    with Store(tmp_path / "s") as store:
        answer_prompts(who(engine), TALKS, lambda prompt: by_category[prompt.category], store)
    assert sorted(seen) == [(0.0, 2)] * 2 + [(0.7, 2)] * 2


def test_a_spent_budget_ends_the_run_and_what_is_done_stays(tmp_path):
    engine = engine_of()
    with Store(tmp_path / "s") as store:
        engine.ledger = Ledger(Budget(requests=4))
        with pytest.raises(RunError, match="the budget is spent: m has 4 of 6 answers"):
            answer_prompts(who(engine), PROMPTS, choose_likeliest_tokens, store)
        engine.ledger = Ledger()
        assert len(answer_prompts(who(engine), PROMPTS, choose_likeliest_tokens, store).completions) == 6
    assert len(engine.asked) == 6


def test_a_prompt_without_a_user_turn_first_cannot_say_a_goal_where_it_has_no_place():
    engine = engine_of(render=dropping)
    with pytest.raises(DataError):
        who(engine, 3.0, SayGoal(place="user")).build_request(BenchmarkPrompt("u", ()), ())
