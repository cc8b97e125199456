"""Cards of what `push` uploads: models, and outputs of verbs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from prefboost import __version__
from prefboost.evaluation.results import Results

__all__ = ["write_model_card", "write_output_card"]

# Whether data are synthetic -> key, title and arXiv number of the paper to cite.
_PAPERS = {
    False: ("zhang2024reward", "Reward-Augmented Data Enhances Direct Preference Alignment of LLMs", "2410.08067"),
    True: (
        "shen2024boosting",
        "Boosting Reward Model with Preference-Conditional Multi-Aspect Synthetic Data Generation",
        "2407.16008",
    ),
}


def write_output_card(file: Path, history: Path, licence: str | None) -> str:
    """Write the card of an output file of a verb.

    Args:
        file: the output.
        history: what was done, as the verb left it: JSON with ``steps``.
        licence: SPDX name; None: the card names none.
    """
    steps: list[Mapping[str, Any]] = json.loads(history.read_text(encoding="utf-8")).get("steps", [])
    loader = "parquet" if file.suffix == ".parquet" else "json"
    front = {
        "pretty_name": file.name,
        **({"license": licence} if licence else {}),
        "tags": ["prefboost", *dict.fromkeys(step["verb"] for step in steps)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": file.name}]}],
    }
    lines = [
        f"# {file.name}",
        "",
        f"Written by prefboost {__version__}: {' → '.join(step['verb'] for step in steps)}.",
        "",
        "```python",
        f'datasets.load_dataset("{loader}", data_files="{file.name}", split="train")',
        "```",
        "",
        "| step | rows in | rows out | rejected |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {step['verb']} | {step['rows_in']:,} | {step['rows_out']:,} | {sum(step['rejected'].values()):,} |"
            for step in steps
        ),
        "",
        *(f"- rejected by {step['verb']}: {n:,} rows: {why}" for step in steps for why, n in step["rejected"].items()),
        "",
        f"Settings of every step are in `{history.name}`.",
        "",
        *_cite(synthetic=any(step["verb"] == "synthesize" for step in steps)),
    ]
    return _join_card(front, lines)


def write_model_card(text: str, licence: str, datasets: Sequence[str], results: Sequence[Results]) -> str:
    """Write a model's own card anew, with licence, data sets, figures and citation.

    Args:
        text: the card as the training wrote it.
        licence: SPDX name.
        datasets: data sets of the hub that the model was trained on.
        results: of `evaluate`.
    """
    _, front_text, body = text.split("---\n", 2)
    front = yaml.safe_load(front_text) or {}
    front |= {"license": licence, **({"datasets": list(datasets)} if datasets else {})}
    if results:
        front["metrics"] = list(dict.fromkeys(figure.name for each in results for figure in each.figures))
    lines = [body.strip(), ""]
    if datasets:
        named = ", ".join(f"[{name}](https://huggingface.co/datasets/{name})" for name in datasets)
        lines += [f"Trained on {named}.", ""]
    for each in results:
        lines += [f"## Evaluation: {each.benchmark}", "", each.markdown()]
    return _join_card(front, [*lines, *_cite(synthetic=False)])


def _cite(*, synthetic: bool) -> Iterator[str]:
    name, title, number = _PAPERS[synthetic]
    yield from ("## Citation", "", "```bibtex", f"@article{{{name},", f"  title = {{{title}}},")
    yield from (f"  journal = {{arXiv:{number}}},", f"  year = {{20{number[:2]}}}", "}", "```", "")


def _join_card(front: Mapping[str, Any], lines: list[str]) -> str:
    return f"---\n{yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True)}---\n\n" + "\n".join(lines)
