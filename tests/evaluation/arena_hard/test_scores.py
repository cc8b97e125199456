from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.evaluation.arena_hard.judging import ArenaRules, Game
from prefboost.evaluation.arena_hard.scores import arena_scores
from prefboost.evaluation.arena_hard.style import Style
from prefboost.statistics import Bootstrap

LABELS = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]
BASE = "o3-mini-2025-01-31"
QUICK = Bootstrap(resamples=200)


def games(seed: int, questions: int = 40, models: tuple[str, ...] = ("m", "n")) -> list[Game]:
    """Both games of every question; the questions differ in how hard they are."""
    rng = np.random.default_rng(seed)
    found = []
    for at in range(questions):
        hard = rng.random()
        for model in models:
            for game in (1, 2):
                wins = rng.random() < hard
                label = rng.choice(LABELS[3:] if wins == (game == 1) else LABELS[:3])
                found.append(Game(f"q{at}", model, game, str(label), "hard_prompt"))
    return found


def weighted_mean(own: list[Game], weight: int = 3) -> float:
    shares = [share for game in own for share in [game.share] * (weight if game.is_much else 1)]
    return 100 * float(np.mean(shares))


@pytest.mark.parametrize("mode", ["official", "robust"])
@pytest.mark.parametrize("version", ["v0.1", "v2.0"])
def test_without_control_a_win_rate_is_the_weighted_mean(mode, version):
    own = games(1)
    scores = arena_scores(own, ArenaRules(mode=mode, version=version, baseline=BASE), how=QUICK)
    assert {score.model for score in scores} == {"m", "n"}
    for score in scores:
        expected = weighted_mean([game for game in own if game.model == score.model])
        near = 1.5 if (mode, version) == ("official", "v2.0") else 1e-6  # published as the mean of 100 resamples
        assert score.win_rate.estimate == pytest.approx(expected, abs=near)
        assert score.win_rate.low < score.win_rate.estimate < score.win_rate.high


def test_the_published_interval_is_narrower_than_questions_allow():
    own = games(2, questions=150, models=("m",))
    official, robust = (
        arena_scores(own, ArenaRules(mode=mode, version="v0.1", baseline=BASE), how=QUICK)[0].win_rate
        for mode in ("official", "robust")
    )
    assert robust.high - robust.low > 1.15 * (official.high - official.low)
    assert (robust.clusters, official.level, robust.level) == (150, 0.95, 0.95)
    assert arena_scores(own, ArenaRules(mode="official"))[0].win_rate.level == 0.90


@settings(max_examples=15)
@given(st.integers(0, 999), st.randoms())
def test_shuffled_games_change_nothing(seed, random):
    own = games(seed, questions=12)
    mixed = random.sample(own, len(own))
    how = Bootstrap(resamples=100)
    one, two = ({s.model: s for s in arena_scores(rows, ArenaRules(), how=how)} for rows in (own, mixed))
    for model, score in one.items():
        assert two[model].win_rate.estimate == pytest.approx(score.win_rate.estimate)
        assert two[model].error == pytest.approx(score.error)


def test_swapped_orders_are_the_same_game_and_a_model_against_its_mirror_is_a_hundred():
    own = games(3, models=("m",))
    mirror = {"A>>B": "B>>A", "A>B": "B>A", "A=B": "A=B", "B>A": "A>B", "B>>A": "A>>B"}
    swapped = [replace(game, game=3 - game.game, label=mirror[game.label]) for game in own]
    lost = [replace(game, label=mirror[game.label]) for game in own]
    one, two, three = (
        arena_scores(rows, ArenaRules(), how=QUICK)[0].win_rate.estimate for rows in (own, swapped, lost)
    )
    assert two == pytest.approx(one)
    assert three == pytest.approx(100 - one)


def test_a_model_against_itself_is_at_fifty():
    ties = [Game(f"q{at}", "m", game, "A>B", "hard_prompt") for at in range(6) for game in (1, 2)]
    score = arena_scores(ties, ArenaRules(), how=QUICK)[0]
    assert (score.win_rate.estimate, score.bounds) == (pytest.approx(50), (50, 50))


def test_a_missing_verdict_is_neither_a_loss_nor_dropped_silently():
    own = games(4, questions=30, models=("m",))
    own[0] = replace(own[0], label=None)
    score = arena_scores(own, ArenaRules(), how=QUICK)[0]
    assert (score.missing, score.games, score.win_rate) == (1, 60, None)
    assert score.bounds[0] < weighted_mean(own[2:]) < score.bounds[1]
    allowed = arena_scores(own, ArenaRules(), how=QUICK, allow_missing=True)[0]
    assert allowed.win_rate.estimate == pytest.approx(weighted_mean(own[2:]))  # the other order alone would be biased
    old = arena_scores(own, ArenaRules(mode="official", version="v0.1", baseline=BASE), allow_missing=True)[0]
    assert old.win_rate.estimate == pytest.approx(weighted_mean(own[1:]))  # as published: the other game counts


def test_where_no_verdict_came_there_is_no_win_rate():
    score = arena_scores([Game("q", "m", 1, None, "hard_prompt")], ArenaRules())[0]
    assert (score.win_rate, score.bounds) == (None, (0, 100))
    assert math.isnan(score.error)


def test_a_game_that_was_judged_twice_is_refused():
    with pytest.raises(DataError, match="judged twice"):
        arena_scores(games(0, questions=1) * 2, ArenaRules())


def test_several_categories_are_scored_each_against_its_baseline():
    own = [replace(game, category=category) for category in ("hard_prompt", "creative_writing") for game in games(5)]
    scores = arena_scores(own, ArenaRules(categories=("hard_prompt", "creative_writing")), how=QUICK)
    assert [(s.category, s.baseline) for s in scores[::2]] == [
        ("hard_prompt", BASE), ("creative_writing", "gemini-2.0-flash-001"),
    ]  # fmt: skip


def styled(seed: int, questions: int = 600):
    """Style alone decides: the model writes longer, and longer answers win."""
    rng = np.random.default_rng(seed)
    own, styles = [], {}
    for at in range(questions):
        lengths = rng.integers(100, 400), rng.integers(100, 1000)
        styles[BASE, f"q{at}"], styles["m", f"q{at}"] = (
            Style(int(length), *rng.integers(0, 9, 3)) for length in lengths
        )
        odds = 2.5 * (lengths[1] - lengths[0]) / sum(lengths)
        for game in (1, 2):
            wins = rng.random() < 1 / (1 + np.exp(-odds))
            own.append(Game(f"q{at}", "m", game, "B>A" if wins == (game == 1) else "A>B", "hard_prompt"))
    return own, styles


def test_at_equal_style_style_counts_for_nothing_but_the_published_control_leaves_its_mean_in():
    own, styles = styled(0)
    raw = arena_scores(own, ArenaRules(), how=QUICK)[0].win_rate.estimate
    for control in (("length",), ("length", "markdown")):
        robust = arena_scores(own, ArenaRules(control=control), styles=styles, how=QUICK)[0]
        assert robust.win_rate.estimate == pytest.approx(50, abs=4)
        assert robust.style["length"] == pytest.approx(2.5, abs=0.6)
        assert len(robust.style) == (1 if control == ("length",) else 4)
    official = arena_scores(own, ArenaRules(mode="official", control=("length",)), styles=styles)[0]
    assert raw > 65
    assert official.win_rate.estimate == pytest.approx(raw, abs=3)


@pytest.mark.torch
def test_official_style_control_is_the_published_objective_fitted_to_convergence():
    torch = pytest.importorskip("torch")
    own, styles = styled(1, questions=80)
    rng = np.random.default_rng(0)
    styles = {
        key: replace(style, headers=int(rng.integers(9)), bold=int(rng.integers(9))) for key, style in styles.items()
    }
    shares = torch.tensor([game.share for game in own], dtype=torch.float64)
    rows = []
    for game in own:
        m, b = styles["m", game.uid], styles[BASE, game.uid]
        density = [
            (getattr(m, k) / (m.length + 1), getattr(b, k) / (b.length + 1)) for k in ("headers", "lists", "bold")
        ]
        rows.append([(m.length - b.length) / (m.length + b.length), *((x - y) / (x + y + 1) for x, y in density)])
    x = torch.tensor(rows, dtype=torch.float64)
    x = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), (x - x.mean(0)) / x.std(0)], 1)
    theta = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [theta], max_iter=2000, tolerance_grad=1e-11, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ theta, shares, reduction="sum")
        loss.backward()
        return loss

    solver.step(closure)
    score = arena_scores(own, ArenaRules(mode="official", control=("length", "markdown")), styles=styles)[0]
    assert list(score.style.values()) == pytest.approx(theta[1:].tolist(), abs=1e-5)
    assert score.win_rate.estimate == pytest.approx(100 * float(torch.sigmoid(theta[0].detach())), abs=2)


def test_official_control_of_version_one_is_scikit_learns_ridge():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    own, styles = styled(2, questions=60)
    length = [(styles["m", g.uid].length, styles[BASE, g.uid].length) for g in own]
    ratio = np.array([(a - b) / (a + b + 1) for a, b in length])
    x = np.column_stack(
        [np.full(len(own), math.log(10)), np.full(len(own), -math.log(10)), (ratio - ratio.mean()) / ratio.std()]
    )
    y = np.array([game.share for game in own])
    model = linear_model.LogisticRegression(fit_intercept=False, tol=1e-12, max_iter=10000).fit(
        np.vstack([x, x]), np.r_[y, y]
    )
    expected = 100 / (1 + 10 ** (model.coef_[0, 1] - model.coef_[0, 0]))
    score = arena_scores(
        own, ArenaRules(version="v0.1", mode="official", baseline=BASE, control=("length",)), styles=styles
    )[0]
    assert score.win_rate.estimate == pytest.approx(expected, abs=1e-3)


def test_style_control_names_what_it_lacks():
    own, styles = styled(0, questions=3)
    with pytest.raises(DataError, match="needs the style of every answer"):
        arena_scores(own, ArenaRules(control=("length",)))
    del styles[BASE, "q1"]
    with pytest.raises(DataError, match=f"2 answers have no style, such as that of {BASE} to q1"):
        arena_scores(own, ArenaRules(control=("length",)), styles=styles)
