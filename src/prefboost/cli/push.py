"""``prefboost push``: a trained model, or the output of a verb, to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefboost.cli.printing import print_report

__all__ = ["push_command"]


def push_command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Folder of a trained model or of its run, a folder of augment, or an output file of generate, score, "
            "judge, select or synthesize.",
        ),
    ],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository of the hub.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="licence=apache-2.0 datasets=[me/goal-pairs] evaluation=FOLDER visibility=public"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Upload with a card: licence, base model, data sets, figures and citation of a model; steps and rejects of data.

    A new repository is private. The licence of a model is that of its base model on the hub, or must be named.
    """
    from prefboost.cli.overrides import read_overrides
    from prefboost.runs.push import Push, push

    address = push(path, repository, read_overrides(Push, overrides or []))
    print_report({"address": address}, [f"pushed         {address}"], as_json=as_json)
