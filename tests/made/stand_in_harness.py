"""A stand-in for lm-evaluation-harness: keeps what it was asked, and answers with two records a task."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

SAYS = "Answer with a score of 10."


class Template:
    """A model object whose chat template says system messages, or drops them as Gemma's does in lm-eval."""

    def __init__(self, drops: bool = False) -> None:
        self.drops = drops

    def apply_chat_template(self, turns: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return "".join(f"<{t['role']}>{t['content']}" for t in turns if not (self.drops and t["role"] == "system"))


def record(
    prompt: str, right: bool, reading: str = "none", metric: str = "acc_norm", question: str = "q"
) -> dict[str, Any]:
    calls = [(prompt, "a"), (prompt, "b")] if reading == "none" else [(prompt, {})]
    return {"doc_hash": question, "prompt_hash": prompt, "filter": reading, "arguments": calls, metric: float(right)}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    """Put it in the place of the real one; what is asked of it is in ``asked`` of the module that is given back."""
    asked: list[dict[str, Any]] = []
    root = folder / "lm_eval"
    for name, text in {
        "gsm8k/gsm8k.yaml": "task: gsm8k\nfewshot_split: train\ntest_split: test",
        "arc/arc_easy.yaml": "task: arc_easy\ntraining_split: train\ntest_split: test",
        "arc/arc_challenge.yaml": "include: arc_easy.yaml\ntask: arc_challenge",
    }.items():
        (root / "tasks" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "tasks" / name).write_text(text)

    class TaskManager:
        def __init__(self, **options: Any) -> None:
            self.options = options

    def simple_evaluate(**options: Any) -> dict[str, Any]:
        manager = options["task_manager"].options
        files = sorted(manager["include_path"] and Path(manager["include_path"]).glob("*")) if manager else []
        asked.append({**options, "yaml": [path.read_text() for path in files]})
        prompt = module.says if options["system_instruction"] or module.template_says else "<user>?"
        if any("gsm8k" in task for task in options["tasks"]):
            readings = ("strict-match", "flexible-extract")
            own = [record(prompt, reading == "flexible-extract", reading, "exact_match") for reading in readings]
        else:
            own = [record(prompt, at == 0, question=f"q{at}") | {"acc": 1.0} for at in range(2)]
        return {"samples": {options["tasks"][0]: own}}

    module: Any = types.ModuleType("lm_eval")
    module.__file__, module.__version__, module.simple_evaluate = str(root / "__init__.py"), "0.fake", simple_evaluate
    # A checkpoint whose template says goals by itself needs no system message.
    module.says, module.template_says = f"<system>{SAYS}<user>?", False
    tasks: Any = types.ModuleType("lm_eval.tasks")
    tasks.TaskManager = TaskManager
    monkeypatch.setitem(sys.modules, "lm_eval", module)
    registry: Any = types.ModuleType("lm_eval.api.registry")
    registry.get_model = lambda backend: _Loading(module.loaded, backend)
    monkeypatch.setitem(sys.modules, "lm_eval.api", types.ModuleType("lm_eval.api"))
    monkeypatch.setitem(sys.modules, "lm_eval.api.registry", registry)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    module.asked, module.loaded = asked, []
    return module


class _Loading:
    def __init__(self, loaded: list[Any], backend: str) -> None:
        self.loaded, self.backend = loaded, backend

    def create_from_arg_obj(self, arguments: dict[str, Any], more: dict[str, Any]) -> Template:
        self.loaded.append((self.backend, {**arguments, **more}))
        return Template()
