"""``prefboost evaluate``: models on benchmarks, at goals, by a judge; ``prefboost compare``: two evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefboost.cli.bars import show_work
from prefboost.cli.executors import Address, ExecutorName, Workers, read_executor, share_models
from prefboost.cli.options import AskAgain, OnMachines, Quiet, StoreFolder, add_retry
from prefboost.cli.printing import print_forecast, print_report
from prefboost.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefboost.evaluation.results import Results
    from prefboost.forecast import Forecast
    from prefboost.progress import Tell, WorkProgress
    from prefboost.runs.evaluate.settings import Evaluate

__all__ = ["compare_command", "evaluate_command", "print_canary", "refuse_selfcheck", "show_benchmarks"]

Baseline = Annotated[
    Path | None,
    typer.Option(help="A file with instruction and output: its prompts are used, and all models are compared with it."),
]


def refuse_selfcheck(*, option_given: bool) -> None:
    """Name the command that replaces an option of earlier versions.

    Raises:
        SettingsError: the option was given.
    """
    # The option stood in the README of earlier versions, so it is answered rather than unknown.
    if option_given:
        raise SettingsError(
            "evaluate has no option --selfcheck any more: the published figures are not installed with prefboost",
            remedy="run python benchmarks/selfcheck.py [FOLDER] in a checkout",
        )


def evaluate_command(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL ... KEY=VALUE ...",
            help="Folders, hub ids, openai:NAME, or files with instruction and output; then benchmarks=[alpaca_eval] "
            "goal=10 judge=MODEL judge.base_url=... alpaca_eval.prompts=FILE engine.dtype=...",
        ),
    ] = None,
    *,
    baseline: Baseline = None,
    verdicts: Annotated[Path | None, typer.Option(help="Score these stored verdicts; call no model.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("evaluation"),
    store: StoreFolder = None,
    retry: AskAgain = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first prompts only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count calls, tokens and dollars; ask nothing.")] = False,
    on: OnMachines = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch a benchmark's data.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch a benchmark's data if they are missing.")] = False,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Folder with the benchmarks' data.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Show headline figures even if more than 1 % is missing.")
    ] = False,
    executor: ExecutorName = "local",
    address: Address = None,
    tasks: Workers = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="Ask the judge 50 fixed questions; report changes since the first time.")
    ] = False,
    selfcheck: Annotated[bool, typer.Option("--selfcheck", hidden=True)] = False,
    oracles: Annotated[Path | None, typer.Option("--oracles", hidden=True)] = None,
) -> None:
    """Let models answer benchmarks, at one goal or several, and a judge rate the answers.

    Writes OUT/verdicts.jsonl, results.json, .md, .html and completions/; several benchmarks get a folder each.
    OUT/store keeps every answer: the same command resumes. Missing completions are counted, never scored 0 or dropped.
    """
    from prefboost.cli.evaluate_arguments import read_evaluate

    refuse_selfcheck(option_given=selfcheck or oracles is not None)
    assets = {"offline": offline, "download": download, "data_dir": None if data_dir is None else str(data_dir)}
    options = {"limit": limit, "allow_missing": allow_missing, "assets": assets}
    settings = read_evaluate(add_retry(arguments, retry), baseline, options, any_models=verdicts is None and not canary)
    if verdicts is not None:
        from prefboost.runs.evaluate.rescore import rescore_verdicts

        _print_results({"": rescore_verdicts(settings, verdicts, out)}, as_json)
        return
    # One model is open at a time, so that each may take the whole cluster.
    with share_models(read_executor(executor, address, tasks), settings, one_at_a_time=True) as add_workers:
        if canary:
            print_canary(settings, out, as_json=as_json, quiet=quiet)
        elif dry_run:
            forecast = add_workers(_forecast(settings, out, store))
            print_forecast(forecast, as_json=as_json, on=on, executor=executor)
        else:
            _run(settings, (out, store), quiet=quiet, as_json=as_json)


def compare_command(
    first: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that evaluate wrote.")],
    second: Annotated[Path, typer.Argument(metavar="DIR", help="Another, of the same prompts.")],
    *,
    drift: Annotated[
        bool,
        typer.Option(
            "--drift", help="Measure the judge's drift: the second folder judged completions of the first again."
        ),
    ] = False,
) -> None:
    """Compare two evaluations prompt by prompt: paired differences, p-values after Holm, detectable differences."""
    from prefboost.runs.evaluate.compare import compare_folders

    print("\n".join(compare_folders(first, second, judged_again=drift)))


def print_canary(settings: Evaluate, out: Path, *, as_json: bool = False, quiet: bool = False) -> None:
    """Ask the judge the fifty fixed questions, and print what changed since it was first asked.

    Args:
        settings: the judge, budget and prices.
        out: folder that keeps its verdicts.
        as_json: print the report as JSON.
        quiet: no progress bar.

    Raises:
        SettingsError: no judge is named.
    """
    from prefboost.runs.evaluate.canary import canary

    if settings.judge is None:
        raise SettingsError("the canary needs a judge", remedy="write judge=MODEL, or judge.kind=... judge.model=...")
    with show_work(hidden=quiet) as tell:
        report = canary(settings.judge, out, spending=settings, tell=tell)
    print_report(report.record(), report.lines(), as_json=as_json)


def _forecast(settings: Evaluate, out: Path, store: Path | None) -> Forecast:
    from prefboost.runs.evaluate.forecast import forecast_evaluation

    return forecast_evaluation(settings, out, store=store)


def _run(settings: Evaluate, places: tuple[Path, Path | None], *, quiet: bool, as_json: bool) -> None:
    from prefboost.runs.evaluate.evaluate import evaluate

    with show_benchmarks(hidden=quiet) as tell:
        results = evaluate(settings, places[0], store=places[1], tell=tell)
    _print_results(results, as_json)


@contextmanager
def show_benchmarks(*, hidden: bool) -> Iterator[Callable[[str], Tell]]:
    """Show a bar for every contestant and judge of every benchmark."""

    with show_work(hidden=hidden) as show:

        def name_stages(benchmark: str) -> Tell:
            def tell(progress: WorkProgress) -> None:
                show(replace(progress, name=f"{benchmark}: {progress.name}"))

            return tell

        yield name_stages


def _print_results(results: Mapping[str, Results], as_json: bool) -> None:
    records = {name: each.record() for name, each in results.items()}
    record = next(iter(records.values())) if len(records) == 1 else records
    named = len(results) > 1
    lines = (f"{name}\n{each.markdown()}" if named else each.markdown() for name, each in results.items())
    print_report(record, lines, as_json=as_json)
