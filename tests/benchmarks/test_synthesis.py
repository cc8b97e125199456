"""The benchmark of synthetic pairs at a tiny size: every method, equal budgets, resumed and summed up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmark_scripts import FOLDER, load_benchmark
from made_writer import Writer, by_hash
from synthesis_counts import COUNTED, counted, fitted, rights
from synthesis_questions import nearest_sentences, overlap, qa_feedback, texts_of
from synthesis_report import nested
from synthesis_rewards import Rows, _set_right
from tests.training.conftest import build_folder, build_model, build_tokenizer

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def benchmark() -> Any:
    return load_benchmark("synthesis")


def pairs_file(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [
        {
            "prompt": f"q{n}",
            "chosen": f"yes {n}",
            "rejected": f"no {n % 4}",
            "split": "validation" if n % 4 == 0 else "train",
        }
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def near(prompt: str, sample: int) -> str:
    """Texts of different lengths that share most words, so that filters keep them."""
    return " ".join(by_hash("x", 0).split()[: 8 + sample] + by_hash(prompt, sample).split()[:3])


def made_questions(benchmark: Any, folder: Path) -> Any:
    questions = benchmark.read_questions(pairs_file(folder), None)
    golden = dict.fromkeys(questions.pairs.frame["prompt_id"], "the river runs past old houses")
    return replace(questions, gold=golden)


@pytest.mark.parametrize("reward", ["counted", "trunk"])
def test_every_method_gets_the_same_generations_and_all_is_summed_up(
    benchmark: Any, tmp_path: Path, reward: str
) -> None:
    start = str(build_folder(tmp_path / "start"))
    writer = Writer.by(near)
    sizes = {**benchmark.SIZES["tiny"], "generations": 12, "real": 4, "held": 5, "max_tokens": 8}
    train = {"max_steps": 1, "batch_size": 4}
    plan = benchmark.Plan(writer, start, tmp_path / "work", **{**sizes, "seeds": 1}, reward=reward, train=train)
    questions = made_questions(benchmark, tmp_path)
    found = benchmark.run(plan, questions, lambda _: None)
    for name, at in found["data"].items():
        assert at["completions"] == 12, name
        assert at["pairs"] + sum(count for count, _ in at["rejected"].values()) == at["proposed"], name
    assert found["held"] == {"people": 5, "expert": 5, "model": 5} or set(found["held"]) == {"people"}
    assert {"people (4)", "rmboost", "people + rmboost", "rlcd"} <= set(found["accuracy"])
    for at in found["accuracy"].values():
        assert 0 <= at["people"]["low"] <= at["people"]["estimate"] <= at["people"]["high"] <= 1
    text = (tmp_path / "work" / "results.md").read_text(encoding="utf-8")
    assert "| rmboost |" in text and "set aside because" in text
    benchmark.draw(found, tmp_path / "results.svg")
    assert (tmp_path / "results.svg").stat().st_size > 1000
    asked = len(writer.asked)
    again = benchmark.run(plan, questions, lambda _: None)
    assert again["accuracy"] == found["accuracy"] and len(writer.asked) == asked


def test_the_large_run_is_one_command(benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "start"
    build_model(max_position_embeddings=8192).save_pretrained(model)
    build_tokenizer().save_pretrained(model)
    sizes = {"generations": 12, "real": 4, "held": 4, "seeds": 1, "pools": 1, "max-tokens": 6, "audited": 2}
    told = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    places = ["--pairs", str(pairs_file(tmp_path)), "--work", str(tmp_path / "work"), "--judged", "2"]
    benchmark.main(["--size", "large", "--model", str(model), *places, *told])
    found = json.loads((tmp_path / "work" / "results.json").read_text(encoding="utf-8"))
    assert found["plan"]["reward"] == "trunk" and found["plan"]["generations"] == 12
    assert "| people (4) |" in capsys.readouterr().out
    assert (tmp_path / "work" / "results.svg").exists()


def test_intervals_hold_both_the_draw_of_prompts_and_the_training() -> None:
    rng = np.random.default_rng(0)
    prompts = [f"q{n // 4}" for n in range(200)]
    pairs = (rng.random((1, 200)) < 0.7).astype(float)
    same = nested(np.repeat(pairs, 20, axis=0), prompts, 0.5)
    apart = nested(np.clip(pairs + rng.normal(0, 0.15, (20, 1)), 0, 1), prompts, 0.5)
    assert same["low"] < same["estimate"] < same["high"] and same["p"] < 0.05
    assert apart["high"] - apart["low"] > same["high"] - same["low"]
    alone = nested(np.ones((1, 200)), prompts)
    assert (alone["low"], alone["estimate"], alone["high"]) == (1, 1, 1)


def test_the_counted_reward_model_finds_what_labels_follow() -> None:
    rng = np.random.default_rng(1)
    gaps = rng.normal(size=(400, len(COUNTED)))
    true = np.zeros(len(COUNTED))
    true[2] = 2.0
    sides = np.where(gaps @ true + rng.logistic(size=400) > 0, 1.0, -1.0)[:, None]
    slopes = fitted([(gaps * sides, np.ones(400), 1.0)], np.ones(len(COUNTED)))
    assert int(np.abs(slopes).argmax()) == 2 and slopes[2] > 1
    assert rights(slopes, gaps).mean() == pytest.approx((gaps[:, 2] > 0).mean(), abs=0.1)


def test_a_label_with_probability_one_half_teaches_nothing() -> None:
    gaps = np.random.default_rng(2).normal(size=(50, len(COUNTED)))
    slopes = fitted([(gaps, np.full(50, 0.5), 1.0)], np.ones(len(COUNTED)))
    assert np.abs(slopes).max() < 1e-3
    assert rights(np.zeros(len(COUNTED)), gaps).tolist() == [0.5] * 50


def test_words_that_the_passages_bear_out_are_counted() -> None:
    grounds = "Paris is the capital of France."
    told = dict(zip(COUNTED, counted("Paris is big.", "Question: What is the capital?", grounds), strict=True))
    assert told["words borne out"] == pytest.approx(2 / 3) and told["word pairs borne out"] == 0.5
    assert told["ends with a stop"] == 1 and told["has a number"] == 0
    assert counted("", "Question: ?", grounds)[1:4] == [0.0, 0.0, 0.0]


def test_overlap_is_one_for_the_same_words_and_zero_for_none() -> None:
    assert overlap("a b b", "B a b") == 1 and overlap("a", "b") == 0 and overlap("", "") == 0
    assert overlap("a b", "a c") == 0.5


def test_prompts_hold_the_sentences_nearest_to_the_question_in_their_order() -> None:
    sentences = ["Lyon lies on the Rhone.", "Cheese is made in many places.", "The Rhone is long."]
    rare = {"rhone": 3.0, "cheese": 3.0, "is": 0.1}
    assert nearest_sentences("Where is the Rhone?", sentences, rare, 9) == "Lyon lies on the Rhone. The Rhone is long."
    assert nearest_sentences("Where is the Rhone?", sentences, rare, 4) == "The Rhone is long."


def test_qa_feedback_becomes_pairs_with_short_prompts_and_whole_grounds(tmp_path: Path) -> None:
    passages = [{"title": "t", "sentences": ["Rome is in Italy.", "Bread is old."]}]
    pl.DataFrame(
        {"question_id": ["q"], "question": ["Where is Rome?"], "passages": [passages], "gold": ["In Italy."]}
    ).write_parquet(tmp_path / "qa_items.parquet")
    pl.DataFrame(
        {
            "pair_id": ["1", "2", "3"],
            "question_id": ["q"] * 3,
            "split": ["train"] * 3,
            "response_a": ["a", "b", "c"],
            "response_b": ["x", "y", "z"],
            "label": [0, 1, -1],
        }
    ).write_parquet(tmp_path / "qa.parquet")
    found = qa_feedback(tmp_path / "qa.parquet", tmp_path / "qa_items.parquet", tmp_path / "work", 4)
    assert texts_of(found.pairs, "chosen") == ["a", "y"] and texts_of(found.pairs, "rejected") == ["x", "b"]
    assert texts_of(found.pairs, "prompt")[0].startswith("Rome is in Italy.\n\nQuestion: Where is Rome?")
    assert "Bread" in found.grounds["q"] and found.gold == {"q": "In Italy."}
    assert found.first == {"1": True, "2": False}


def test_labels_that_the_experts_answer_calls_wrong_are_turned_round() -> None:
    rows = Rows(np.array([[1.0], [2.0], [3.0]]), np.ones(3), np.array(["a", "b", "c"], dtype=object))
    clean = _set_right(rows, np.array([1.0, 0.0, np.nan]))
    assert clean.gaps.tolist() == [[1.0], [-2.0]]


def test_files_without_a_split_get_one_by_prompt(benchmark: Any) -> None:
    table = benchmark.read_questions(FOLDER.parent / "examples" / "scored.jsonl", None).pairs
    counts = dict(table.frame["split"].value_counts().iter_rows())
    assert counts["validation"] == 3 and counts["train"] == 9
