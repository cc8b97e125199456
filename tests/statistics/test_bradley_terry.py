from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.statistics import Bootstrap, cluster_standard_error
from prefboost.statistics.bradley_terry import Battles, estimate_win_rate_errors, estimate_win_rates, fit_bradley_terry

NAMES = ["ant", "bee", "cat", "dog"]


def drawn(seed: int, rows: int = 240, style: bool = True) -> Battles:
    """Battles among four models, prompts with several rows, soft outcomes and ties."""
    rng = np.random.default_rng(seed)
    first = rng.integers(4, size=rows)
    second = (first + rng.integers(1, 4, size=rows)) % 4
    features = rng.normal(size=(rows, 2))
    odds = 0.6 * (first - second) + features @ [0.8, -0.3]
    won = rng.choice([0.0, 0.5, 1.0, 0.3], size=rows, p=[0.1, 0.1, 0.7, 0.1])
    won = np.where(rng.random(rows) < 1 / (1 + np.exp(-odds)), won, 1 - won)
    return Battles(
        [NAMES[at] for at in first],
        [NAMES[at] for at in second],
        won,
        weights=rng.integers(1, 4, size=rows).astype(float),
        clusters=rng.integers(40, size=rows),
        style={"length": features[:, 0], "lists": features[:, 1]} if style else {},
    )


def by_torch(battles: Battles, ridge: float = 0.0) -> dict[str, float]:
    """An independent path: all rows, double precision, a quasi-Newton solver run until it stands still."""
    torch = pytest.importorskip("torch")
    names = sorted(set(battles.first) | set(battles.second))
    design = np.zeros((len(battles.first), len(names)))
    design[np.arange(len(design)), [names.index(name) for name in battles.first]] += 1
    design[np.arange(len(design)), [names.index(name) for name in battles.second]] -= 1
    x = torch.tensor(np.column_stack([design, *battles.style.values()]), dtype=torch.float64)
    y, w = (torch.tensor(np.asarray(column), dtype=torch.float64) for column in (battles.won, battles.weights))
    theta = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([theta], lr=1, max_iter=4000, tolerance_grad=1e-12, tolerance_change=1e-16,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ theta, y, weight=w, reduction="sum")
        loss = loss + ridge / 2 * (theta @ theta)
        loss.backward()
        return loss

    solver.step(closure)
    result = theta.detach().numpy()
    return {**{name: result[at] - result[names.index("ant")] for at, name in enumerate(names)},
            **dict(zip(battles.style, result[len(names) :], strict=True))}  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_strengths_are_those_of_another_solver(seed, ridge):
    battles = drawn(seed)
    fitted = fit_bradley_terry(battles, "ant", ridge=max(ridge, 1e-9))
    expected = by_torch(battles, ridge)
    for name, value in {**fitted.strengths, **fitted.style}.items():
        assert value == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_those_of_scikit_learn(seed):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    battles = drawn(seed)
    names = sorted(set(battles.first) | set(battles.second))
    design = np.zeros((len(battles.first), len(names)))
    design[np.arange(len(design)), [names.index(name) for name in battles.first]] += 1
    design[np.arange(len(design)), [names.index(name) for name in battles.second]] -= 1
    x = np.column_stack([design, *battles.style.values()])
    won, weights = np.asarray(battles.won), np.asarray(battles.weights)
    model = linear_model.LogisticRegression(C=1.0, fit_intercept=False, tol=1e-12, max_iter=10000)
    model.fit(np.vstack([x, x]), np.repeat([1, 0], len(x)), sample_weight=np.r_[weights * won, weights * (1 - won)])
    result = fit_bradley_terry(battles, "ant", ridge=1.0)
    expected = model.coef_[0, :4] - model.coef_[0, names.index("ant")]
    assert [result.strengths[name] for name in names] == pytest.approx(expected.tolist(), abs=1e-5)
    assert list(result.style.values()) == pytest.approx(model.coef_[0, 4:].tolist(), abs=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.permutations(NAMES))
def test_relabelled_models_get_the_same_strengths(seed, renamed):
    battles = drawn(seed)
    second = dict(zip(NAMES, renamed, strict=True))
    relabelled = Battles([second[n] for n in battles.first], [second[n] for n in battles.second], battles.won,
                         battles.weights, battles.clusters, battles.style)  # fmt: skip
    first, two = fit_bradley_terry(battles, "ant"), fit_bradley_terry(relabelled, second["ant"])
    for name, value in first.strengths.items():
        assert two.strengths[second[name]] == pytest.approx(value, abs=1e-7)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_swapped_and_shuffled_rows_change_nothing(seed, shuffle):
    battles = drawn(seed)
    rng = np.random.default_rng(shuffle)
    order, swap = rng.permutation(len(battles.first)), rng.random(len(battles.first)) < 0.5
    pairs = [(b, a) if s else (a, b) for a, b, s in zip(battles.first, battles.second, swap, strict=True)]
    won = np.where(swap, 1 - np.asarray(battles.won), battles.won)
    mixed = Battles(
        [pairs[at][0] for at in order],
        [pairs[at][1] for at in order],
        won[order],
        np.asarray(battles.weights)[order],
        np.asarray(battles.clusters)[order],
        {name: np.where(swap, -np.asarray(x), x)[order] for name, x in battles.style.items()},
    )
    first, two = fit_bradley_terry(battles, "ant"), fit_bradley_terry(mixed, "ant")
    assert two.style == pytest.approx(dict(first.style), abs=1e-7)
    assert two.strengths == pytest.approx(dict(first.strengths), abs=1e-7)


def test_a_model_against_itself_wins_half_and_its_battles_change_no_strength():
    battles = drawn(1, style=False)
    extra = Battles([*battles.first, "ant"], [*battles.second, "ant"], [*battles.won, 1.0], [*battles.weights, 50.0])
    first, two = fit_bradley_terry(battles, "bee"), fit_bradley_terry(extra, "bee")
    assert two.win_rate("ant", "ant") == 0.5
    assert two.strengths == pytest.approx(dict(first.strengths), abs=1e-9)


def test_a_weight_is_so_many_rows():
    battles = drawn(2)
    times = np.asarray(battles.weights).astype(int)
    repeated = Battles(list(np.repeat(battles.first, times)), list(np.repeat(battles.second, times)),
                       np.repeat(battles.won, times), None, np.repeat(battles.clusters, times),
                       {name: np.repeat(x, times) for name, x in battles.style.items()})  # fmt: skip
    assert fit_bradley_terry(repeated, "ant").strengths == pytest.approx(
        dict(fit_bradley_terry(battles, "ant").strengths)
    )
    assert estimate_win_rate_errors(repeated, "ant") == pytest.approx(estimate_win_rate_errors(battles, "ant"))


@given(st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.integers(0, 5)), min_size=12, max_size=40))
def test_where_every_battle_has_the_baseline_it_is_the_weighted_mean_with_its_cluster_error(outcomes):
    won = [won for won, _ in outcomes] + [0.0, 1.0]
    prompts = [prompt for _, prompt in outcomes] + [6, 7]
    battles = Battles(["bee"] * len(won), ["ant"] * len(won), won, clusters=prompts)
    assert fit_bradley_terry(battles, "ant").win_rate("bee") == pytest.approx(np.mean(won), abs=1e-9)
    assert estimate_win_rate_errors(battles, "ant")["bee"] == pytest.approx(
        cluster_standard_error(won, prompts), abs=1e-8
    )


def test_a_model_that_won_everything_has_a_win_rate_of_one():
    battles = Battles(["bee"] * 5 + ["cat"] * 4, ["ant"] * 9, [1] * 5 + [0, 1, 1, 0])
    fitted = fit_bradley_terry(battles, "ant")
    assert fitted.win_rate("bee") == pytest.approx(1, abs=1e-8)
    assert fitted.win_rate("cat") == pytest.approx(0.5)
    assert math.isfinite(fitted.strengths["bee"])


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_resamples_in_which_a_model_wins_everything_are_fitted_too(seed, clusters):
    rng = np.random.default_rng(seed)
    won = rng.choice([0.0, 0.5, 1.0], size=12, p=[0.1, 0.05, 0.85])
    battles = Battles(["bee", "cat"] * 6, ["ant"] * 12, won, rng.integers(1, 4, 12), rng.integers(clusters, size=12))
    for name, result in estimate_win_rates(battles, "ant", how=Bootstrap(resamples=100)).items():
        assert 0 <= result.low <= result.high <= 1 or math.isnan(result.low), name


def test_style_that_wins_battles_is_not_counted_as_strength():
    rng = np.random.default_rng(0)
    length_deltas = rng.normal(1.0, 1.0, 4000)
    won = rng.random(4000) < 1 / (1 + np.exp(-length_deltas))
    raw = Battles(["bee"] * 4000, ["ant"] * 4000, won)
    held = Battles(["bee"] * 4000, ["ant"] * 4000, won, style={"length": length_deltas})
    assert fit_bradley_terry(raw, "ant").win_rate("bee") > 0.65
    assert fit_bradley_terry(held, "ant").win_rate("bee") == pytest.approx(0.5, abs=0.03)
    assert fit_bradley_terry(held, "ant").style["length"] == pytest.approx(1, abs=0.15)


def test_intervals_agree_with_the_cluster_errors_and_know_that_repeats_add_nothing():
    battles = drawn(5, rows=400)
    how = Bootstrap(resamples=600)
    intervals, errors = estimate_win_rates(battles, "ant", how=how), estimate_win_rate_errors(battles, "ant")
    for name in ("bee", "cat", "dog"):
        result = intervals[name]
        assert (result.high - result.low) / 3.92 == pytest.approx(errors[name], rel=0.25)
        assert result.low < result.estimate < result.high
    assert (intervals["ant"].estimate, intervals["ant"].low, intervals["ant"].high) == (0.5, 0.5, 0.5)
    assert intervals["bee"].clusters == 40


def test_intervals_are_the_same_for_a_seed():
    battles = drawn(6, rows=80)
    how = Bootstrap(resamples=100, seed=3)
    assert estimate_win_rates(battles, "ant", how=how) == estimate_win_rates(battles, "ant", how=how)


@pytest.mark.parametrize(
    ("battles", "baseline", "message"),
    [
        (Battles(["a", "c"], ["b", "d"], [1, 0]), "a", "c, d and a never met"),
        (Battles(["a"], ["b"], [1]), "z", "z"),
        (Battles(["a"], ["b"], [1.5]), "a", "outcomes lie in"),
        (Battles(["a"], ["b"], [1], weights=[-1]), "a", "weights"),
        (Battles(["a", "b"], ["b"], [1, 0]), "a", "2 first and 1 second"),
        (Battles(["a"], ["b"], [float("nan")]), "a", "nan is not a number"),
    ],
)
def test_battles_that_rate_nothing_are_refused(battles, baseline, message):
    with pytest.raises(DataError, match=message):
        fit_bradley_terry(battles, baseline)


def test_real_battles_give_the_published_win_rates(shared_dir):
    path = shared_dir / "oracles" / "arena_battles.jsonl"
    if not path.exists():
        pytest.skip("the published battles are not on this machine (no ../shared/oracles)")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    won = [{"model_a": 1.0, "model_b": 0.0}.get(row["winner"], 0.5) for row in rows]
    battles = Battles([row["model_a"] for row in rows], [row["model_b"] for row in rows], won,
                      clusters=[row["question_id"] for row in rows])  # fmt: skip
    baseline = "claude-3-haiku-20240307"
    fitted = fit_bradley_terry(battles, baseline)
    rates = sorted(
        (round(100 * fitted.win_rate(name), 4) for name in fitted.strengths if name != baseline), reverse=True
    )
    assert rates == [88.6949, 86.8231, 80.0573, 75.9728]
    by_prompt = estimate_win_rate_errors(battles, baseline)
    by_row = estimate_win_rate_errors(Battles(battles.first, battles.second, won), baseline)
    wider = [by_prompt[name] / by_row[name] for name in by_prompt if name != baseline]
    assert 1.7 < np.mean(wider) < 2.1
    intervals = estimate_win_rates(battles, baseline, how=Bootstrap(resamples=200))
    assert intervals["gpt-4o"].clusters == 120
