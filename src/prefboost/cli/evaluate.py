"""``prefboost evaluate``: models against a baseline by a judge; ``prefboost compare``: two evaluations by prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prefboost.engines.engine import Engine
    from prefboost.evaluation.alpaca_eval import AlpacaEval
    from prefboost.evaluation.benchmark import JudgeRequest, JudgeVerdict

__all__ = ["compare_command", "evaluate_command"]


def evaluate_command(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMPLETIONS ... KEY=VALUE ...",
            help="Files with instruction and output; then the judge: kind=local model=DIR; rules.mode=...",
        ),
    ] = None,
    *,
    baseline: Annotated[Path | None, typer.Option(help="Completions that all others are compared with.")] = None,
    verdicts: Annotated[Path | None, typer.Option(help="Score these stored verdicts; no judge is asked.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("evaluation"),
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first prompts only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count calls and tokens; ask nothing.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Give headline figures although more than 1 % is missing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    selfcheck: Annotated[bool, typer.Option("--selfcheck", help="Hold our figures against published ones.")] = False,
    oracles: Annotated[Path | None, typer.Option(help="The folder of published figures, for --selfcheck.")] = None,
) -> None:
    """Compare completions with a baseline's on the same prompts, as AlpacaEval 2 does, with any judge.

    Writes OUT/verdicts.jsonl, results.json, results.md and results.html. The same command after an interruption goes
    on where it stopped: answers of the judge are kept in OUT/judge.store. Missing completions are counted, never 0,
    never dropped.
    """
    from prefboost.cli.selfcheck import print_selfcheck
    from prefboost.errors import SettingsError
    from prefboost.evaluation.alpaca_eval import AlpacaEval
    from prefboost.evaluation.alpaca_scores import AlpacaRules
    from prefboost.recipes.validate import override
    from prefboost.runs.evaluate import read_verdicts, write_evaluation

    if selfcheck:
        print_selfcheck(oracles, as_json=as_json)
        return
    given = arguments or []
    own = [text for text in given if text.startswith("rules.")]
    settings = [text for text in given if "=" in text and text not in own]
    files = [text for text in given if "=" not in text]
    rules = override(AlpacaRules(), [text.removeprefix("rules.") for text in own])
    if verdicts is None and (baseline is None or not files):
        raise SettingsError("there is nothing to judge", remedy="give completions and --baseline, or --verdicts FILE")
    benchmark = AlpacaEval(rules, baseline.stem if baseline else "baseline")
    if verdicts is not None:
        found = read_verdicts(verdicts)
    else:
        requests = _requests(benchmark, files, baseline or Path(), limit)
        if dry_run:
            _print_forecast(requests, settings)
            return
        found = _judged(benchmark, requests, settings, out)
    results = benchmark.score(found, allow_missing=allow_missing)
    write_evaluation(out, found, results)
    print(json.dumps(results.record(), indent=2, ensure_ascii=False) if as_json else results.markdown())


def compare_command(
    first: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that evaluate wrote.")],
    second: Annotated[Path, typer.Argument(metavar="DIR", help="Another, of the same prompts.")],
) -> None:
    """Compare two evaluations prompt by prompt: paired differences, p-values after Holm, detectable differences."""
    from prefboost.runs.evaluate import compared, read_verdicts

    print("\n".join(compared(read_verdicts(first / "verdicts.jsonl"), read_verdicts(second / "verdicts.jsonl"))))


def _requests(benchmark: AlpacaEval, files: list[str], baseline: Path, limit: int | None) -> list[JudgeRequest]:
    from prefboost.errors import SettingsError
    from prefboost.runs.evaluate import read_completions

    names = [Path(file).stem for file in files]
    if len({*names, benchmark.baseline}) <= len(names):
        raise SettingsError(
            f"two files have one name: {', '.join([*names, benchmark.baseline])}",
            remedy="name each file after its model",
        )
    prompts, own = read_completions(baseline)
    completions = {name: read_completions(file)[1] for name, file in zip(names, files, strict=True)}
    return benchmark.build(prompts[:limit], {**completions, benchmark.baseline: own})


def _judged(benchmark: AlpacaEval, requests: list[JudgeRequest], settings: list[str], out: Path) -> list[JudgeVerdict]:
    from prefboost.engines.store import Store
    from prefboost.runs.evaluate import judged

    out.mkdir(parents=True, exist_ok=True)
    with Store(out / "judge.store") as store:
        return judged(benchmark, requests, _engine_of(settings), store)


def _print_forecast(requests: list[JudgeRequest], settings: list[str]) -> None:
    from prefboost.runs.evaluate import forecast

    found = forecast(requests, _engine_of(settings))
    print(f"{found.calls:,} calls, {found.prompt_tokens:,} tokens read, at most {found.most_tokens:,} written")


def _engine_of(settings: list[str]) -> Engine:
    from prefboost.cli.score import settings_by_kind
    from prefboost.engines.kinds import ENGINES
    from prefboost.runs.evaluate import Evaluating

    return settings_by_kind(settings, Evaluating, "judge", ENGINES).judge.open()
