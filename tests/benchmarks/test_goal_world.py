"""The world of goals: its score, its arms and its figures at a very small size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import goal_world_arms as arms
import goal_world_model as model
import goal_world_report as report
import goal_world_truth as truth
import numpy as np
import pytest
import torch
from benchmark_scripts import load_benchmark

pytestmark = pytest.mark.torch

benchmark = load_benchmark("goal_world")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def ground() -> arms.Ground:
    seeds, generators = [0, 1], [rng(0), rng(1)]
    truths = [truth.Truth.draw(each) for each in generators]
    topics = [truth.Topics.draw(each) for each in generators]
    return arms.build_ground(truth.World(pairs=60), truths, topics, model.init_weights(seeds), seeds)


def test_a_score_counts_different_good_words_and_an_interior_one_falls_again() -> None:
    world = truth.Truth.draw(rng())
    good, other = np.flatnonzero(world.good[3]), np.flatnonzero(~world.good[3])
    answers = np.array([[*good, other[0]], [*good[:6], *other[:4]], [good[0]] * 10, other[:10]])
    assert world.score(np.full(4, 3), answers).tolist() == [10, 7, 2, 1]
    assert truth.Truth(world.good, interior=True).score(np.full(4, 3), answers).tolist() == [4, 10, 1, 1]


def test_a_gameable_judge_pays_for_praise_and_stays_between_1_and_10() -> None:
    praise = np.full((3, 10), truth.WORDS)
    judged = truth.judge_answers(truth.World(gameable=True), np.array([1.0, 4.0, 9.0]), praise, rng())
    assert judged.tolist() == [10, 10, 10]
    assert truth.judge_answers(truth.World(), np.array([4.4, 0.0]), praise[:2], rng()).tolist() == [4, 1]


def test_more_skilled_writers_score_higher() -> None:
    world, topics = truth.Truth.draw(rng()), np.arange(truth.TOPICS)
    poor, able = (
        world.score(topics, truth.write_answers(world, topics, rng(), np.full(len(topics), skill))).mean()
        for skill in (0.1, 0.9)
    )
    assert able > poor + 3


def test_pairing_and_coverage_change_what_they_name() -> None:
    world, topics = truth.Truth.draw(rng()), np.arange(200) % truth.TOPICS

    def pair(**settings: Any) -> Any:
        return truth.make_pairs(truth.World(**settings), world, topics, None, rng()).frame

    worst, random, second = (pair(pairing=each)["score_rejected"].mean() for each in ("worst", "random", "second"))
    assert worst < random < second
    assert pair(coverage="capped")["score_chosen"].max() == 7
    assert pair(coverage="rich")["score_chosen"].mean() > pair()["score_chosen"].mean() + 1


def test_where_writers_flatter_a_gameable_judge_prefers_praise_to_good_words() -> None:
    world, topics = truth.Truth.draw(rng()), np.arange(400) % truth.TOPICS

    def count_praise(**settings: Any) -> tuple[float, float]:
        frame = truth.make_pairs(truth.World(**settings), world, topics, None, rng()).frame
        chosen, rejected = ((truth.read_words(frame[side]) >= truth.WORDS).sum(1) for side in ("chosen", "rejected"))
        return float(chosen.mean()), float(rejected.mean())

    flattered, usual = count_praise(gameable=True, flattering=True), count_praise(gameable=True)
    assert flattered[0] > flattered[1] + 0.5 > usual[1] + 1.5
    honest = count_praise(flattering=True)
    assert honest[0] <= honest[1]


def test_log_probs_of_answers_are_those_that_sampling_word_by_word_sees(ground: arms.Ground) -> None:
    topics = torch.arange(5).repeat(2, 1)
    tokens = model.encode_goals(topics, torch.full(topics.shape, 7))
    answers, divergence = model.sample(ground.start, tokens, [rng(), rng(1)], (ground.start, tokens))
    assert float(divergence.abs().max()) == 0
    other = model.init_weights([8, 9])
    _, apart = model.sample(ground.start, tokens, [rng(), rng(1)], (other, tokens))
    assert float(apart.min()) > 0
    past: list[Any] = []
    total = torch.zeros(topics.shape)
    feed = tokens
    for place in range(truth.ANSWER):
        logps = model.compute_logits(ground.start, feed, past)[:, :, -1].log_softmax(-1)
        word = answers[..., place : place + 1]
        total += logps.gather(-1, word).squeeze(-1)
        feed = word
    torch.testing.assert_close(model.compute_logps(ground.start, tokens, answers), total)


def test_a_seed_gets_the_same_figures_in_any_company(ground: arms.Ground) -> None:
    cell = benchmark.Cell("main", "ra", 0.1, (3,), 1e-3, ground.world)
    both = arms.train_cell(cell, ground)["3"]
    start = {name: weight[1:] for name, weight in ground.start.items()}
    alone = arms.build_ground(ground.world, ground.truths[1:], ground.topics[1:], start, [1])
    single = arms.train_cell(cell, alone)["3"]
    assert single["test"]["gold"][0] == both["test"]["gold"][1]


@pytest.mark.parametrize("name", list(arms.ARMS))
def test_every_arm_trains_and_its_rows_are_what_it_says(name: str, ground: arms.Ground) -> None:
    arm = arms.ARMS[name]
    rows = arms.make_rows(arm, ground.pairs[0], ground.reference[0])
    assert (rows.goals > 0).all() == arm.asks
    if arm.asks:
        distances = np.abs(rows.scores - rows.goals[:, None])
        assert (distances[:, 0] <= distances[:, 1]).all()
    found = arms.train_cell(benchmark.Cell("main", name, 0.1, (2,), 1e-3, ground.world), ground)
    assert np.isfinite(found["2"]["test"]["kl"]).all() and (found["2"]["goals"] is not None) == arm.asks


def test_both_views_of_a_pair_stay_in_one_step_and_share_their_reference(ground: arms.Ground) -> None:
    rows = arms.make_rows(arms.ARMS["ra"], ground.pairs[0], ground.reference[0])
    order = arms.order_rows(rows, 32, rng())
    assert (rows.units[order][::2] == rows.units[order][1::2]).all()
    assert (rows.chosen[order][::2] == rows.rejected[order][1::2]).all()
    np.testing.assert_array_equal(rows.reference[order][::2], rows.reference[order][1::2, ::-1])


def point(beta: float, validation: list[float], test: list[float], kl: float = 1.0) -> report.Point:
    def figures(scores: list[float]) -> dict[str, Any]:
        return {
            "gold": np.repeat(np.array(scores)[:, None], 3, 1),
            "judge": -np.repeat(np.array(scores)[:, None], 3, 1),
            "kl": np.full((len(scores), 3), kl),
        }

    return report.Point(beta, 200, {"validation": figures(validation), "test": figures(test)}, {})


def test_a_beta_is_chosen_on_validation_topics_and_compared_on_held_out_ones() -> None:
    points = [point(0.1, [1, 5], [9, 2]), point(1.0, [2, 4], [3, 8])]
    assert [each.beta for each in report.choose_best(points) or ()] == [1.0, 0.1]
    assert [each.beta for each in report.choose_best(points, "judge") or ()] == [0.1, 1.0]
    assert report.choose_best(points, "gold", lambda each, seed: each.beta > 0.5 and seed == 0) is None
    lead = report.compare(report.choose_best(points) or (), [points[0]] * 2)
    assert lead.estimate == -3.0 and lead.clusters == 2


def test_a_quick_run_is_kept_reported_drawn_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep, figure = tmp_path / "kept", tmp_path / "world.svg"
    benchmark.main(["--quick", "--keep", str(keep), "--plot", str(figure)])
    printed = capsys.readouterr().out
    assert (
        "## main" in printed
        and "start model, gold: not asked" in printed
        and "reward-augmented" in printed
        and figure.stat().st_size > 1000
    )
    cells = {path: path.stat().st_mtime_ns for path in keep.glob("*.json")}
    assert len(cells) == 4
    next(iter(cells)).unlink()
    benchmark.main(["--quick", "--keep", str(keep), "--missing"])
    again = {path: path.stat().st_mtime_ns for path in keep.glob("*.json")}
    assert again.keys() == cells.keys() and sum(again[path] != cells[path] for path in cells) == 1
    kept = json.loads(next(iter(cells)).read_text())
    assert len(kept["checkpoints"]["4"]["test"]["gold"]) == 2
    outcomes = report.read_outcomes(keep)
    plain, augmented = (outcomes["judge", arm].points[-1] for arm in ("dpo", "ra"))
    assert "less DPO's" in report._describe_losses(augmented, plain)
    assert "judge less gold +" in report._describe_losses(plain, plain)
    assert "less DPO's" not in report._describe_losses(plain, plain)
    with pytest.raises(SystemExit, match="other settings"):
        benchmark.main(["--keep", str(keep), "--missing", "--arms", "dpo", "--betas", "0.1", "--seeds", "2"])


def test_texts_carry_their_score_as_often_as_said_and_a_deaf_model_reads_numbers_that_say_nothing() -> None:
    world = truth.Truth.draw(rng())
    for rated in (0.0, 0.8):
        topics, goals, answers = model._draw_batch(world, rng(), 4000, rated)
        honest = goals == world.score(topics, answers)
        assert abs((goals > 0).mean() - min(rated + 0.2, 1)) < 0.03
        assert abs(honest.mean() - rated - 0.02) < 0.03
