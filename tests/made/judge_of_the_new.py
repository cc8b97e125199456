"""A judge that likes the newer of two completions, and the questions of AlpacaEval to it."""

from __future__ import annotations

import json
import math

from scripted_engine import Scripted

from prefboost.engines.budget import Ledger
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.alpaca.scores import AlpacaRules
from prefboost.evaluation.user_files import read_completions
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


def second_is_new(prompt):
    return prompt.index('"output": """new') > prompt.index('"output": """old')


def likes_new(prompt, choices):
    return (math.log(0.1), math.log(0.9)) if second_is_new(prompt) else (math.log(0.9), math.log(0.1))


def in_words(prompt, seed=0, place=0):
    return "M" if second_is_new(prompt) else "m"


def on(server, **changes):
    return OpenAICompatible(model="j", base_url=server.base_url, backoff_s=0.002, **changes).open()
