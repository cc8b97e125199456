"""`push`, tried on a stand-in for the hub: what is uploaded, and what its card says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from prefboost.cli.main import main
from prefboost.errors import RunError, SettingsError
from prefboost.evaluation.results import Figure, Results
from prefboost.runs.push import Push, push
from prefboost.statistics import Interval

Uploads = list[dict[str, Any]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Uploads:
    """What a stand-in for the hub was given."""
    calls: Uploads = []

    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            calls.append({"create": name, **options})

        def upload_folder(self, **options: Any) -> None:
            calls.append(options)

        def upload_file(self, **options: Any) -> None:
            calls.append(options)

        def model_info(self, name: str) -> Any:
            return SimpleNamespace(card_data=SimpleNamespace(license="mit"))

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    return calls


def read_card(calls: Uploads) -> tuple[dict[str, Any], str]:
    _, front, body = calls[-1]["path_or_fileobj"].decode().split("---\n", 2)
    return yaml.safe_load(front), body


def write_model(folder: Path, base: str = "org/base") -> Path:
    folder.mkdir(parents=True)
    (folder / "prefboost.json").write_text(json.dumps({"train": {"model": base}}))
    (folder / "README.md").write_text(f"---\nbase_model: {base}\ntags:\n- prefboost\n---\n\n# A policy\n")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("of_run", [False, True])
def test_a_models_card_has_licence_base_data_figures_and_citation(of_run: bool, tmp_path: Path, hub: Uploads) -> None:
    model = write_model(tmp_path / "run" / "model")
    results = Results(
        "alpaca_eval", "pairwise", (Figure("lc_win_rate", "mine", Interval(50.0, 45.0, 55.0, 0.95, 9, 9), 0, 9),)
    )
    (tmp_path / "eval" / "alpaca_eval").mkdir(parents=True)
    (tmp_path / "eval" / "alpaca_eval" / "results.json").write_text(json.dumps(results.record()))
    how = Push(datasets=("me/pairs",), evaluation=str(tmp_path / "eval"), visibility="public")
    assert push(model.parent if of_run else model, "me/policy", how) == "https://huggingface.co/me/policy"
    assert hub[0] == {"create": "me/policy", "repo_type": "model", "private": False, "exist_ok": True}
    assert hub[1]["folder_path"] == str(model)
    assert hub[1]["ignore_patterns"] == ["README.md"]
    front, body = read_card(hub)
    assert front == {
        "base_model": "org/base",
        "tags": ["prefboost"],
        "license": "mit",
        "datasets": ["me/pairs"],
        "metrics": ["lc_win_rate"],
    }
    assert "# A policy" in body and "[me/pairs](https://huggingface.co/datasets/me/pairs)" in body
    assert "| mine | lc_win_rate" in body and "arXiv:2410.08067" in body
    assert (model / "README.md").read_text().endswith("# A policy\n")


def test_a_model_without_a_known_licence_is_refused_until_it_is_named(tmp_path: Path, hub: Uploads) -> None:
    model = write_model(tmp_path / "model", base="/models/own")
    with pytest.raises(SettingsError, match=r"(?s)licence of /models/own is not known.*licence=apache-2.0"):
        push(model, "me/policy")
    assert not hub
    push(model, "me/policy", Push(licence="apache-2.0"))
    assert read_card(hub)[0]["license"] == "apache-2.0"


VERBS = {
    "generate": lambda source, out: ["generate", f"replay:{source}", source, "-o", out],
    "select": lambda source, out: ["select", source, "kind=best_of_n", "-o", out],
}


@pytest.mark.parametrize("verb", VERBS)
def test_the_output_of_a_verb_goes_with_its_history_its_rejects_and_a_card(
    verb: str, tmp_path: Path, hub: Uploads, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "q", "completion": f"answer {n}", "score": float(n)} for n in range(3)]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(VERBS[verb](str(source), str(out))) == 0
    assert main(["push", str(out), "me/data", "licence=cc-by-4.0"]) == 0
    assert "https://huggingface.co/datasets/me/data" in capsys.readouterr().out
    names = ["out.jsonl", f"out.jsonl.{verb}.json", "out.jsonl.rejects.parquet"]
    assert hub[1]["allow_patterns"] == [name for name in names if (tmp_path / name).exists()]
    front, body = read_card(hub)
    assert front["license"] == "cc-by-4.0"
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "out.jsonl"}]
    assert f"| {verb} | " in body


def test_a_folder_of_augment_has_its_card_already(tmp_path: Path, hub: Uploads, scored: Any) -> None:
    assert main(["augment", str(scored(tmp_path / "in.jsonl")), "-o", str(tmp_path / "pairs")]) == 0
    assert push(tmp_path / "pairs", "me/pairs") == "https://huggingface.co/datasets/me/pairs"
    assert [call for call in hub if "path_or_fileobj" in call] == []


def test_anything_else_is_refused(tmp_path: Path, hub: Uploads) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="no history lies beside the file"):
        push(tmp_path / "thesis.txt", "me/data")
    with pytest.raises(RunError, match="neither a model"):
        push(tmp_path, "me/data")
    with pytest.raises(SettingsError, match="not a model of the hub"):
        push(write_model(tmp_path / "model"), "mine")
    assert not hub
