"""The reward-model scorer gives what the model's own forward gives, text by text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks import ATTACKS
from pickling_pool import PicklingPool
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.engines.pool import work_with
from prefboost.errors import DataError, ModelError
from prefboost.preferences.scales.fit import find_declared_range
from prefboost.scoring import RewardModelScorer
from prefboost.tables import SCORED_COMPLETIONS

pytestmark = pytest.mark.torch

TEXTS = [("one", "a"), ("one", "a cat"), ("one", "a cat and a dog"), ("two", "b"), ("two", "a cat")]


def by_transformers(folder: Path, texts: list[tuple[str, str]]) -> torch.Tensor:
    """The published way: one conversation at a time through the chat template."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    found = []
    for prompt, answer in texts:
        talk = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)["input_ids"]
        with torch.no_grad():
            found.append(model(ids).logits[0])
    return torch.stack(found)


def test_scores_are_the_model_s_own(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("overall")
    scored = RewardModelScorer(model=str(folder)).score(completions_table(TEXTS))
    assert scored.spec is SCORED_COMPLETIONS and scored.steps[-1].notes["packed"] is True
    expected = by_transformers(folder, TEXTS)[:, 0].tolist()
    assert scored.frame["score"].to_list() == pytest.approx(expected, abs=1e-4)


def test_the_range_that_a_model_was_trained_on_is_that_of_its_scores(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("overall")
    (folder / "prefboost.json").write_text('{"heads": ["overall"], "score_range": {"overall": [0.0, 4.0]}}')
    assert find_declared_range(RewardModelScorer(model=str(folder)).score(completions_table(TEXTS))) == (0.0, 4.0)


def test_a_model_on_a_pool_gives_the_same_scores_and_history(judge_folder: Callable[..., Path]) -> None:
    scorer = RewardModelScorer(model=str(judge_folder("helpful", "honest")), batch_tokens=40)
    alone, pool = scorer.score(completions_table(TEXTS)), PicklingPool()
    with work_with(pool):
        scored = scorer.score(completions_table(TEXTS))
    assert scored.frame.equals(alone.frame) and scored.steps == alone.steps
    assert pool.calls.count("compute") > 1


def test_both_sides_of_a_pair_are_scored(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("overall")
    scored = RewardModelScorer(model=str(folder), batch_tokens=40).score(pairs_table([("one", "a cat", "b")]))
    expected = by_transformers(folder, [("one", "a cat"), ("one", "b")])[:, 0].tolist()
    row = scored.frame.row(0, named=True)
    assert [row["score_chosen"], row["score_rejected"]] == pytest.approx(expected, abs=1e-4)


def test_heads_become_aspects_and_the_score_their_weighted_sum(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("helpful", "honest")
    expected = by_transformers(folder, TEXTS)
    frame = RewardModelScorer(model=str(folder), weights={"honest": 2.0}).score(completions_table(TEXTS)).frame
    assert frame["score.helpful"].to_list() == pytest.approx(expected[:, 0].tolist(), abs=1e-4)
    assert frame["score"].to_list() == pytest.approx((2 * expected[:, 1]).tolist(), abs=1e-4)
    mean = RewardModelScorer(model=str(folder)).score(completions_table(TEXTS)).frame["score"]
    assert mean.to_list() == pytest.approx(expected.mean(1).tolist(), abs=1e-4)


def test_an_unknown_head_is_named(judge_folder: Callable[..., Path]) -> None:
    scorer = RewardModelScorer(model=str(judge_folder("helpful", "honest")), weights={"kind": 1.0})
    with pytest.raises(ModelError, match="has no head kind; it has helpful, honest"):
        scorer.score(completions_table(TEXTS))


def test_the_budget_changes_no_score(judge_folder: Callable[..., Path]) -> None:
    small, large = (
        RewardModelScorer(model=str(judge_folder("overall")), batch_tokens=size).score(completions_table(TEXTS)).frame
        for size in (1, 10_000)
    )
    assert small["score"].to_list() == pytest.approx(large["score"].to_list(), abs=1e-5)


def test_conversations_that_are_too_long_are_counted(judge_folder: Callable[..., Path]) -> None:
    table = completions_table([*TEXTS, ("three", "long " * 30)])
    scored = RewardModelScorer(model=str(judge_folder("overall")), max_length=100).score(table)
    assert len(scored) == 5
    assert scored.rejects["reason"].to_list() == ["the conversation is longer than the model can see"]
    assert scored.rejects["found"][0].endswith("tokens, at most 100")


def test_attacks_change_no_score_but_their_own(judge_folder: Callable[..., Path]) -> None:
    scorer = RewardModelScorer(model=str(judge_folder("overall")))
    attacked = scorer.score(completions_table([*TEXTS, *(("one", attack) for attack in ATTACKS.values())]))
    usual = scorer.score(completions_table(TEXTS))
    assert len(attacked) == len(TEXTS) + len(ATTACKS) and attacked.frame["score"].is_finite().all()
    assert attacked.frame["score"].to_list()[: len(TEXTS)] == pytest.approx(usual.frame["score"].to_list(), abs=1e-5)


def test_a_table_of_which_nothing_can_be_scored_is_an_error(judge_folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="none of 5 rows could be scored: the conversation is longer"):
        RewardModelScorer(model=str(judge_folder("overall")), max_length=2).score(completions_table(TEXTS))


def test_a_scale_is_fitted_and_kept_with_the_table(judge_folder: Callable[..., Path]) -> None:
    scored = RewardModelScorer(model=str(judge_folder("overall")), scale="min_max").score(completions_table(TEXTS))
    assert scored.frame["score"].min() == 1.0 and scored.frame["score"].max() == 10.0
    assert scored.scales[""].kind == "min_max"


CODE = Path(__file__).parents[1] / "made" / "armo_like.py"


@pytest.fixture(scope="module")
def armo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that brings the code of its own model."""
    import armo_like
    from tests.training.conftest import build_tokenizer

    folder = tmp_path_factory.mktemp("armo")
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = armo_like.ArmoLikeConfig(vocab_size=259, max_position_embeddings=256, num_labels=10, **sizes)
    model = armo_like.ArmoLike(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    shutil.copy(CODE, folder / "modeling_armo.py")
    names = {"AutoConfig": "ArmoLikeConfig", "AutoModelForSequenceClassification": "ArmoLike"}
    rewrite(folder, auto_map={auto: f"modeling_armo.{name}" for auto, name in names.items()})
    return folder


@pytest.fixture(autouse=True)
def _own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Code that checkpoints bring is copied into a folder of this test."""
    import transformers.dynamic_module_utils

    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    yield


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def by_its_class(folder: Path) -> Any:
    """The output of the model's own class, one conversation at a time."""
    import armo_like
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), armo_like.ArmoLike.from_pretrained(folder).eval()
    found = []
    for prompt, answer in TEXTS:
        talk = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        with torch.no_grad():
            found.append(model(tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)["input_ids"]))
    return found


def test_an_output_of_its_own_is_one_head_whatever_num_labels_says(armo: Path) -> None:
    scorer = RewardModelScorer(model=str(armo), output="score", trust_remote_code=True)
    scored = scorer.score(completions_table(TEXTS))
    assert [name for name in scored.frame.columns if name.startswith("score")] == ["score"]
    assert scored.steps[-1].notes["packed"] is False
    assert scored.frame["score"].to_list() == pytest.approx(
        [float(each.score) for each in by_its_class(armo)], abs=1e-4
    )


def test_several_numbers_of_an_output_are_named_by_the_settings(armo: Path) -> None:
    names = ("helpfulness", "honesty", "brevity")
    scorer = RewardModelScorer(
        model=str(armo),
        output="rewards",
        heads=names,
        weights={"honesty": 1.0, "brevity": -0.5},
        trust_remote_code=True,
    )
    frame = scorer.score(completions_table(TEXTS)).frame
    expected = torch.cat([each.rewards for each in by_its_class(armo)])
    for at, name in enumerate(names):
        assert frame[f"score.{name}"].to_list() == pytest.approx(expected[:, at].tolist(), abs=1e-4)
    overall = expected[:, 1] - 0.5 * expected[:, 2]
    assert frame["score"].to_list() == pytest.approx(overall.tolist(), abs=1e-4)
    unnamed = scorer.model_copy(update={"heads": (), "weights": {"rewards_1": 1.0}}).score(completions_table(TEXTS))
    assert unnamed.frame["score"].to_list() == pytest.approx(expected[:, 1].tolist(), abs=1e-4)


def test_another_number_of_names_than_of_heads_is_an_error(armo: Path, judge_folder: Callable[..., Path]) -> None:
    named = {"heads": ("helpfulness", "honesty")}
    with pytest.raises(ModelError, match=r"the output 'rewards' has 3 numbers, but 2 heads are named: helpfulness"):
        RewardModelScorer(model=str(armo), output="rewards", trust_remote_code=True, **named).score(
            completions_table(TEXTS)
        )
    with pytest.raises(ModelError, match=r"the output 'logits' has 1 numbers, but 2 heads"):
        RewardModelScorer(model=str(judge_folder("overall")), **named).score(completions_table(TEXTS))
    with pytest.raises(ValueError, match="every head needs a name of its own"):
        RewardModelScorer(model="x", heads=("one", "one"))


def test_heads_of_a_checkpoint_can_be_renamed(judge_folder: Callable[..., Path]) -> None:
    folder = judge_folder("helpful", "honest")
    frame = RewardModelScorer(model=str(folder), heads=("a", "b")).score(completions_table(TEXTS)).frame
    assert frame["score.b"].to_list() == pytest.approx(by_transformers(folder, TEXTS)[:, 1].tolist(), abs=1e-4)


def test_an_unknown_output_is_named_before_anything_is_computed(armo: Path) -> None:
    with pytest.raises(ModelError, match=r"has no output 'scores'; it has logits, rewards, score"):
        RewardModelScorer(model=str(armo), output="scores", trust_remote_code=True).score(completions_table(TEXTS))


@pytest.mark.parametrize("kind", ["armo_like", "llama"])
def test_code_that_a_checkpoint_brings_is_refused_by_name_and_never_run(
    armo: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(armo, tmp_path / "armo")
    rewrite(folder, model_type=kind)
    (folder / "modeling_armo.py").write_text("raise AssertionError('this was run')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("transformers asked at the terminal"))
    with pytest.raises(
        ModelError, match=r"contains its own code \(modeling_armo\.ArmoLike\), which runs only on request"
    ) as told:
        RewardModelScorer(model=str(folder), output="score").score(completions_table(TEXTS))
    assert "trust_remote_code" in str(told.value)
    assert not (tmp_path / "modules").exists()
