"""``prefboost fit-regressor``: figures beside those of length alone, then a scorer like any other."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tests.engines.models.test_embeddings import encoder  # noqa: F401 - a fixture
from tests.scoring.regressor.test_fit import judged

from prefboost.cli.main import main
from prefboost.sources.write import write

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs the extra regressor"),
]


def test_it_fits_prints_and_scores(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    source, out = tmp_path / "judged.parquet", tmp_path / "r"
    write(judged(), source)
    assert main(["fit-regressor", str(source), f"embedder={encoder}", "device=cpu", "-o", str(out), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "length alone" in said and "plumbing and triage" in said
    line = ["score", str(source), "kind=regressor", f"model={out}", "-o", str(tmp_path / "s.parquet"), "--quiet"]
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(judged())


def test_an_unknown_setting_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit-regressor", str(tmp_path / "x.parquet"), "embeder=a"]) == 2
    assert "embedder" in capsys.readouterr().err
