"""``prefboost demo``: the main job on real input, on this machine, without a network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.options import Quiet

__all__ = ["demo_command"]


def demo_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and both policies.")] = Path(
        "demo-out"
    ),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Sample the training completions anew instead of using the shipped ones.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=1, help="Minutes that it may take (15); a slow machine leaves out prompts."),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. held_out=64")] = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train SmolLM2-135M to follow asked-for scores, beside plain DPO on the same budget; writes report.html."""
    import yaml
    from pydantic import ValidationError

    from prefboost.errors import SettingsError
    from prefboost.progress import RichProgress
    from prefboost.runs.demo import Demo, run_demo

    named = dict(override.partition("=")[::2] for override in overrides or [])
    named |= {} if minutes is None else {"minutes": str(minutes)}
    remedy = f"settings of the demo: {', '.join(Demo.model_fields)}"
    try:
        settings = Demo.model_validate({"fresh": fresh, **{key: yaml.safe_load(text) for key, text in named.items()}})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(wrong, remedy=remedy) from None
    except yaml.YAMLError:
        raise SettingsError(f"an override cannot be read as YAML: {' '.join(overrides or [])}", remedy=remedy) from None
    progress = None if quiet else RichProgress()
    try:
        report = run_demo(out, settings, progress=progress)
    finally:
        if progress is not None:
            progress.close()
    if as_json:
        print(json.dumps(asdict(report), indent=2))
        return
    print(f"\n{'The policy follows.' if report.follows else 'No visible effect.'} ({report.seconds / 60:.1f} minutes)")
    for sentence in report.verdict:
        print(f"- {sentence}")
    if report.reduced:
        print(report.reduced)
    print(f"\nreport: {report.report}")
