from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.evaluation.arena_hard.judging import ArenaRules, compute_share, is_decisive
from prefboost.evaluation.arena_hard.scores import score_categories
from prefboost.evaluation.arena_hard.style import Style
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.results import Figure
from prefboost.statistics import Bootstrap

LABELS = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]
BASE = "o3-mini-2025-01-31"
QUICK = Bootstrap(resamples=200)


def game(uid: str, model: str, number: int, label: str | None, **facts: object) -> JudgeVerdict:
    facts = {"category": "hard_prompt", **facts, "game": number, "label": label}
    return JudgeVerdict(uid, model, f"game{number}", compute_share(label, number), facts)


def change(verdict: JudgeVerdict, **facts: object) -> JudgeVerdict:
    facts = {**verdict.facts, **facts}
    return replace(verdict, facts=facts, value=compute_share(facts["label"], facts["game"]))


def score(verdicts: list[JudgeVerdict], rules: ArenaRules | None = None, **how: object) -> list[Figure]:
    scores = score_categories(verdicts, rules or ArenaRules(interval=QUICK), **how)
    return [figure for category in scores for figure in category.figures]


def games(seed: int, questions: int = 40, models: tuple[str, ...] = ("m", "n")) -> list[JudgeVerdict]:
    """Both games of every question; the questions differ in how hard they are."""
    rng = np.random.default_rng(seed)
    verdicts = []
    for at in range(questions):
        hard = rng.random()
        for model in models:
            for number in (1, 2):
                wins = rng.random() < hard
                label = rng.choice(LABELS[3:] if wins == (number == 1) else LABELS[:3])
                verdicts.append(game(f"q{at}", model, number, str(label)))
    return verdicts


def weighted_mean(verdicts: list[JudgeVerdict], weight: int = 3) -> float:
    shares = [share for row in verdicts for share in [row.value] * (weight if is_decisive(row) else 1)]
    return 100 * float(np.mean(shares))


@pytest.mark.parametrize("mode", ["official", "robust"])
@pytest.mark.parametrize("version", ["v0.1", "v2.0"])
def test_without_control_a_win_rate_is_the_weighted_mean(mode, version):
    own = games(1)
    figures = score(own, ArenaRules(mode=mode, version=version, baseline=BASE, interval=QUICK))
    assert {figure.model for figure in figures} == {"m", "n"}
    for figure in figures:
        expected = weighted_mean([row for row in own if row.model == figure.model])
        near = 1.5 if (mode, version) == ("official", "v2.0") else 1e-6  # published as the mean of 100 resamples
        assert figure.value.estimate == pytest.approx(expected, abs=near)
        assert figure.value.low < figure.value.estimate < figure.value.high


def test_the_published_interval_is_narrower_than_questions_allow():
    own = games(2, questions=150, models=("m",))
    official, robust = (
        score(own, ArenaRules(mode=mode, version="v0.1", baseline=BASE, interval=QUICK))[0].value
        for mode in ("official", "robust")
    )
    assert robust.high - robust.low > 1.15 * (official.high - official.low)
    assert (robust.clusters, official.level, robust.level) == (150, 0.95, 0.95)
    assert score(own, ArenaRules(mode="official"))[0].value.level == 0.90


@settings(max_examples=15)
@given(st.integers(0, 999), st.randoms())
def test_shuffled_games_change_nothing(seed, random):
    own = games(seed, questions=12)
    mixed = random.sample(own, len(own))
    how = Bootstrap(resamples=100)
    one, two = ({f.model: f for f in score(rows, ArenaRules(interval=how))} for rows in (own, mixed))
    for model, figure in one.items():
        assert two[model].value.estimate == pytest.approx(figure.value.estimate)
        assert two[model].error == pytest.approx(figure.error)


def test_swapped_orders_are_the_same_game_and_a_model_against_its_mirror_is_a_hundred():
    own = games(3, models=("m",))
    mirror = {"A>>B": "B>>A", "A>B": "B>A", "A=B": "A=B", "B>A": "A>B", "B>>A": "A>>B"}
    swapped = [change(row, game=3 - row.facts["game"], label=mirror[row.facts["label"]]) for row in own]
    lost = [change(row, label=mirror[row.facts["label"]]) for row in own]
    one, two, three = (score(rows)[0].value.estimate for rows in (own, swapped, lost))
    assert two == pytest.approx(one)
    assert three == pytest.approx(100 - one)


def test_a_model_against_itself_is_at_fifty():
    ties = [game(f"q{at}", "m", number, "A>B") for at in range(6) for number in (1, 2)]
    figure = score(ties)[0]
    assert (figure.value.estimate, figure.bounds) == (pytest.approx(50), (50, 50))


def test_a_missing_verdict_is_neither_a_loss_nor_dropped_silently():
    own = games(4, questions=30, models=("m",))
    own[0] = change(own[0], label=None)
    figure = score(own)[0]
    assert (figure.missing, figure.rows, figure.value) == (1, 60, None)
    assert figure.bounds[0] < weighted_mean(own[2:]) < figure.bounds[1]
    allowed = score(own, allow_missing=True)[0]
    assert allowed.value.estimate == pytest.approx(weighted_mean(own[2:]))  # the other order alone would be biased
    old = score(own, ArenaRules(mode="official", version="v0.1", baseline=BASE), allow_missing=True)[0]
    assert old.value.estimate == pytest.approx(weighted_mean(own[1:]))  # as published: the other game counts


def test_where_no_verdict_came_there_is_no_win_rate():
    figure = score([game("q", "m", 1, None)])[0]
    assert (figure.value, figure.bounds, figure.error) == (None, (0, 100), None)


def test_a_game_that_was_judged_twice_is_refused():
    with pytest.raises(DataError, match="judged twice"):
        score(games(0, questions=1) * 2)


def test_several_categories_are_scored_each_against_its_baseline():
    own = [change(row, category=category) for category in ("hard_prompt", "creative_writing") for row in games(5)]
    scores = score_categories(own, ArenaRules(categories=("hard_prompt", "creative_writing"), interval=QUICK))
    assert [(part.category, part.baseline) for part in scores] == [
        ("hard_prompt", BASE), ("creative_writing", "gemini-2.0-flash-001"),
    ]  # fmt: skip
    assert [{figure.model for figure in part.figures} for part in scores] == [{"m", "n"}] * 2


def styled(seed: int, questions: int = 600):
    """Style alone decides: the model writes longer, and longer answers win."""
    rng = np.random.default_rng(seed)
    own, styles = [], {}
    for at in range(questions):
        lengths = rng.integers(100, 400), rng.integers(100, 1000)
        styles[BASE, f"q{at}"], styles["m", f"q{at}"] = (
            Style(int(length), *map(int, rng.integers(0, 9, 3))) for length in lengths
        )
        odds = 2.5 * (lengths[1] - lengths[0]) / sum(lengths)
        for number in (1, 2):
            wins = rng.random() < 1 / (1 + np.exp(-odds))
            own.append(game(f"q{at}", "m", number, "B>A" if wins == (number == 1) else "A>B"))
    return own, styles


def with_styles(verdicts: list[JudgeVerdict], styles: dict[tuple[str, str], Style]) -> list[JudgeVerdict]:
    return [
        change(
            row,
            **asdict(styles["m", row.uid]),
            **{f"baseline_{name}": count for name, count in asdict(styles[BASE, row.uid]).items()},
        )
        for row in verdicts
    ]


def test_at_equal_style_style_counts_for_nothing_but_the_published_control_leaves_its_mean_in():
    own = with_styles(*styled(0))
    raw = score(own)[0].value.estimate
    for control in (("length",), ("length", "markdown")):
        robust = score_categories(own, ArenaRules(control=control, interval=QUICK))[0]
        assert robust.figures[0].value.estimate == pytest.approx(50, abs=4)
        assert robust.style["length"] == pytest.approx(2.5, abs=0.6)
        assert len(robust.style) == (1 if control == ("length",) else 4)
    official = score(own, ArenaRules(mode="official", control=("length",)))[0]
    assert raw > 65
    assert official.value.estimate == pytest.approx(raw, abs=3)


@pytest.mark.torch
def test_official_style_control_is_the_published_objective_fitted_to_convergence():
    torch = pytest.importorskip("torch")
    own, styles = styled(1, questions=80)
    rng = np.random.default_rng(0)
    styles = {
        key: replace(style, headers=int(rng.integers(9)), bold=int(rng.integers(9))) for key, style in styles.items()
    }
    shares = torch.tensor([row.value for row in own], dtype=torch.float64)
    rows = []
    for verdict in own:
        m, b = styles["m", verdict.uid], styles[BASE, verdict.uid]
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
    rules = ArenaRules(mode="official", control=("length", "markdown"))
    scores = score_categories(with_styles(own, styles), rules)[0]
    assert list(scores.style.values()) == pytest.approx(theta[1:].tolist(), abs=1e-5)
    assert scores.figures[0].value.estimate == pytest.approx(100 * float(torch.sigmoid(theta[0].detach())), abs=2)


def test_official_control_of_version_one_is_scikit_learns_ridge():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    own, styles = styled(2, questions=60)
    length = [(styles["m", g.uid].length, styles[BASE, g.uid].length) for g in own]
    ratio = np.array([(a - b) / (a + b + 1) for a, b in length])
    x = np.column_stack(
        [np.full(len(own), math.log(10)), np.full(len(own), -math.log(10)), (ratio - ratio.mean()) / ratio.std()]
    )
    y = np.array([row.value for row in own])
    model = linear_model.LogisticRegression(fit_intercept=False, tol=1e-12, max_iter=10000).fit(
        np.vstack([x, x]), np.r_[y, y]
    )
    expected = 100 / (1 + 10 ** (model.coef_[0, 1] - model.coef_[0, 0]))
    rules = ArenaRules(version="v0.1", mode="official", baseline=BASE, control=("length",))
    assert score(with_styles(own, styles), rules)[0].value.estimate == pytest.approx(expected, abs=1e-3)


def test_style_control_names_what_it_lacks():
    own = with_styles(*styled(0, questions=3))
    lacking = [change(row, baseline_bold=None) if row.uid == "q1" else row for row in own]
    with pytest.raises(DataError, match=f"2 answers have no style, such as that of {BASE} to q1"):
        score(lacking, ArenaRules(control=("length",)))
