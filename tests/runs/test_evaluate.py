import json
import math

import pytest
from scripted_engine import Scripted

from prefboost.engines.budget import Ledger
from prefboost.engines.store import Store
from prefboost.errors import DataError
from prefboost.evaluation.alpaca_eval import AlpacaEval
from prefboost.evaluation.alpaca_scores import AlpacaRules
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.results import Results
from prefboost.runs.evaluate import compared, forecast, judged, read_completions, read_verdicts, write_evaluation
from prefboost.statistics import Bootstrap

BENCHMARK = AlpacaEval(AlpacaRules(interval=Bootstrap(resamples=100), threads=1), "base")


def write(path, text, count=12):
    path.write_text(json.dumps([{"instruction": f"q{at}", "output": f"{text} {at}"} for at in range(count)]))
    return path


def scripted():
    judge = Scripted.by(weigh=likes_new)
    judge.open().ledger = Ledger()
    return judge


def requests_in(folder):
    prompts, base = read_completions(write(folder / "base.json", "old"))
    return BENCHMARK.build(prompts, {"mine": read_completions(write(folder / "mine.json", "new"))[1], "base": base})


def likes_new(prompt, choices):
    second = prompt.index('"output": """new') > prompt.index('"output": """old')
    return (math.log(0.1), math.log(0.9)) if second else (math.log(0.9), math.log(0.1))


def test_a_judge_is_asked_once_and_a_second_call_asks_nothing(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    with Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests, judge.open(), store)
        asked = len(judge.asked)
        again = judged(BENCHMARK, requests, judge.open(), store)
    assert asked == len(requests) == forecast(requests, judge.open()).calls
    assert len(judge.asked) == asked
    assert again == verdicts
    assert all(one.value == pytest.approx(0.9) and one.judge == "scripted" for one in verdicts)


def test_what_is_written_is_read_and_scored_again_alike(tmp_path):
    with Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests_in(tmp_path), scripted().open(), store)
    results = BENCHMARK.score(verdicts)
    write_evaluation(tmp_path / "out", verdicts, results)
    assert BENCHMARK.score(read_verdicts(tmp_path / "out" / "verdicts.jsonl")).markdown() == results.markdown()
    assert Results.of(json.loads((tmp_path / "out" / "results.json").read_text())).markdown() == results.markdown()


def test_two_evaluations_are_compared_prompt_by_prompt_and_what_one_lacks_is_counted():
    one = [JudgeVerdict(f"p{at}", "a", "x", 0.9 - at / 100) for at in range(20)]
    other = [JudgeVerdict(f"p{at}", "b", "x", 0.5 + at / 100) for at in range(18)]
    line = compared(one, other)[-1]
    assert line.startswith("| a | b | +23.00 [")
    assert line.endswith("| 18 | 2 |")
    with pytest.raises(DataError, match="share no prompt"):
        compared(one, [JudgeVerdict("else", "b", "x", 0.5)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"instruction": "q"}]', "instruction and output"),
        ('[{"instruction": "q", "output": "a"}, {"instruction": "q", "output": "b"}]', "stands twice"),
        ("{", "cannot be read"),
        ("[1]", "one JSON object"),
    ],
)
def test_a_file_that_holds_no_completions_is_refused(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=said):
        read_completions(tmp_path / "x.json")
